import io
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers import faces, focus, framing, photos, quality
from helpers.consent import check_consent
from helpers.files import read_json
from pocket import subjects
from pocket.camera import shoot
from pocket.draw import SIDE, draw
from pocket.world import PLACES, SUBJECTS, subject_scene

each = pytest.mark.parametrize("name", subjects.COUNTS)
FLAWED = {"near-duplicate": "nearly the same", "blurred": "blurred", "dark": "too dark", "truncated": "damaged"}


def raw(name):
    return sorted((subjects.DATA / "subjects" / name / "raw").iterdir())


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    out = tmp_path_factory.mktemp("photos")
    return {
        name: photos.prepare(subjects.DATA / "subjects" / name / "raw", out / name, 128) for name in subjects.COUNTS
    }


@pytest.mark.parametrize("place", PLACES)
def test_the_camera_sees_what_draw_draws(place):
    context = "portrait" if place != "castle" else "dog"
    scene = subject_scene("nesrelah", random.Random(place), context=context, place=place, style="photo")
    seen = np.asarray(shoot(scene, (0, 0, SIDE, SIDE), (128, 128)), int)
    assert abs(seen - np.asarray(draw(scene, 128), int)).max() <= 2


@pytest.mark.parametrize("place", PLACES)
def test_the_backdrop_goes_on_without_borders(place):
    """The same scene through a wider frame holds the narrow one unchanged, and no side of it is blank."""
    context = "portrait" if place != "castle" else "dog"
    scene = subject_scene("amir", random.Random(place), context=context, place=place, style="photo")
    wide = np.asarray(shoot(scene, (-SIDE, -SIDE, 3 * SIDE, 2 * SIDE), (3 * 140, 2 * 140)), int)
    narrow = np.asarray(shoot(scene, (0, 0, SIDE, SIDE), (140, 140)), int)
    assert abs(wide[140:, 140:280] - narrow).mean() < 1
    cutout = shoot(scene, (-SIDE, -SIDE, 3 * SIDE, 2 * SIDE), (3 * 140, 2 * 140), cutout=True)
    assert cutout.getpixel((0, 0))[3] == 0 and wide[0, 0].sum() > 0 and wide[-1, -1].sum() > 0


@each
def test_the_photos_can_be_drawn_again(name):
    plan = subjects.plan(name)
    assert plan == subjects.plan(name) and len(plan) == len(raw(name)) == subjects.COUNTS[name]
    for photo in (plan[2], plan[8], plan[12]):  # small ones, two of them turned
        file, content = subjects.encode(photo, name)
        kept = Image.open(subjects.DATA / "subjects" / name / "raw" / file)
        again = Image.open(io.BytesIO(content))
        assert again.getexif()[0x0112] == kept.getexif()[0x0112] == photo.orientation
        assert abs(np.asarray(again, int) - np.asarray(kept, int)).mean() < 2
        assert ImageOps.exif_transpose(kept).size == photo.size


@each
def test_they_are_as_untidy_as_phone_photos(name):
    plan = subjects.plan(name)
    megapixels = [photo.size[0] * photo.size[1] / 1e6 for photo in plan]
    assert 0.5 <= min(megapixels) < 0.6 and max(megapixels) == 12
    assert {photo.orientation for photo in plan} == {1, 3, 6, 8}
    assert {photo.scene.style for photo in plan} == {"photo"}
    assert sum(photo.scene.context == "portrait" for photo in plan) > len(plan) / 2
    assert {photo.scene.context for photo in plan} == {"portrait", "dog", "cat"}
    assert any(w > h for w, h in (photo.size for photo in plan)) and any(w < h for w, h in (p.size for p in plan))
    tagged = [path for path in raw(name) if path.suffix == ".jpg" and Image.open(path).getexif().get_ifd(0x8825)]
    assert 3 <= len(tagged) < len(plan)
    assert [path.suffix for path in raw(name)].count(".HEIC") == 1
    (png,) = [path for path in raw(name) if path.suffix == ".png"]
    assert Image.open(png).getchannel("A").getextrema() == (0, 255)


def test_all_of_them_are_small():
    assert sum(path.stat().st_size for path in (subjects.DATA / "subjects").rglob("*") if path.is_file()) < 6e6


@each
def test_only_the_flawed_stay_behind_each_for_its_own_reason(name, reports):
    report, plan = reports[name], subjects.plan(name)
    assert len(report) == len(plan)
    for (_, row), photo in zip(report.iterrows(), plan):
        assert row.kept == (photo.flaw not in FLAWED), row
        assert FLAWED.get(photo.flaw, "") in row.why
    assert report.kept.sum() == {"amir": 20, "nesrelah": 16}[name]


def head_share(photo, box):
    """How much of a person (with pet) above the shoulders lies in a crop; the truth is known because we drew it."""
    scale = 200 / max(photo.size)
    small = [round(side * scale) for side in photo.size]
    person = np.asarray(shoot(photo.scene, photo.view, small, cutout=True).getchannel("A")) > 128
    rows = np.nonzero(person.any(axis=1))[0]
    head = person.copy()
    head[rows[0] + 2 * (rows[-1] - rows[0]) // 3 :] = False
    left, top, right, bottom = (round(edge * scale) for edge in box)
    return head[top:bottom, left:right].sum() / head.sum()


@each
@pytest.mark.parametrize("detector", ["as installed", "none"])
def test_the_head_is_in_the_square(name, detector, monkeypatch):
    if detector == "none":
        monkeypatch.setattr(faces, "_cascade", lambda: None)
    for photo in subjects.plan(name):
        if photo.flaw:
            continue
        scale = 600 / max(photo.size)
        image = shoot(photo.scene, photo.view, [round(side * scale) for side in photo.size])
        box = framing.crop_box(image.size, focus.find_focus(image)[0])
        assert head_share(photo, [edge / scale for edge in box]) > 0.93, (photo.number, box)


@pytest.mark.parametrize("place", ["space", "grey", "white"])
def test_no_skin_is_too_dark_or_too_bright(place):
    """Nobody in the world is sorted out for skin or dress, before a night sky or a white wall."""
    for skin in ("light", "dark"):
        scene = subject_scene("amir", random.Random(3), context="portrait", place=place, style="photo")
        person = replace(scene.person, skin=skin, clothes="hoodie", clothes_color="black", expression="serious")
        dark, bright = quality.brightness(draw(replace(scene, person=person), 256))
        assert quality.complaint((256, 256), 128, 1000, dark, bright) == ""


@each
def test_consent_and_telling_features(name):
    folder = subjects.DATA / "subjects" / name
    assert "drawn, not a person" in check_consent(folder)["who"]
    subject = read_json(folder / "subject.json")
    assert subject["name"] == name and subject["class_word"] == subjects.CLASS_WORDS[name]
    assert len(subject["telling"]) == 4
    for feature, value in subject["telling"].items():
        assert getattr(SUBJECTS[name]["person"], feature) == value


def test_the_prepared_set_is_made_from_the_raw_one(tmp_path, monkeypatch):
    """In small: six photos, from raw to squares, captions and split, and a correction survives doing it again."""
    source = subjects.DATA / "subjects" / "amir" / "raw"
    monkeypatch.setattr(subjects, "DATA", tmp_path)
    (tmp_path / "subjects" / "amir" / "raw").mkdir(parents=True)
    for path in [path for path in sorted(source.glob("*.jpg")) if path.stat().st_size < 50_000][:6]:
        (tmp_path / "subjects" / "amir" / "raw" / path.name).write_bytes(path.read_bytes())
    subjects.write_prepared("amir")
    folder = tmp_path / "prepared" / "amir"
    squares = photos.load_prepared(folder)
    assert {image.size for _, image in squares} == {(128, 128)} and len(squares) >= 5
    split = read_json(folder / "split.json")
    assert sorted(split["training"] + split["validation"]) == [path.name for path, _ in squares]
    table = subjects.captions.read_captions(folder)
    assert all(text.startswith("a photo of a man") for text in table.caption)
    table.loc[0, "caption"] = "by hand"
    subjects.captions.write_captions(folder, table)
    subjects.write_prepared("amir")
    assert subjects.captions.read_captions(folder).caption[0] == "by hand"
