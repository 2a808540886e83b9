import io
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers import photos
from helpers.machine import read_json
from helpers.photos import check, crop
from pocket import subjects
from pocket.camera import shoot
from pocket.draw import SIDE, draw
from pocket.world import PLACES, SUBJECTS, subject_scene

pytestmark = pytest.mark.slow

each = pytest.mark.parametrize("name", subjects.COUNTS)
FLAWED = {"near-duplicate": "nearly the same", "blurred": "blurred", "dark": "too dark", "truncated": "damaged"}


def raw(name):
    return sorted((subjects.DATA / "subjects" / name / "raw").iterdir())


@pytest.mark.parametrize("place", PLACES)
def test_the_camera_sees_what_draw_draws_and_the_backdrop_goes_on_without_borders(place):
    """The same scene through a wider frame holds the narrow one unchanged, and no side of it is blank."""
    context = "portrait" if place != "castle" else "dog"
    scene = subject_scene("amir", random.Random(place), context=context, place=place, style="photo")
    narrow = np.asarray(shoot(scene, (0, 0, SIDE, SIDE), (128, 128)), int)
    assert abs(narrow - np.asarray(draw(scene, 128), int)).max() <= 2
    wide = np.asarray(shoot(scene, (-SIDE, -SIDE, 3 * SIDE, 2 * SIDE), (3 * 128, 2 * 128)), int)
    assert abs(wide[128:, 128:256] - narrow).mean() < 1
    cutout = shoot(scene, (-SIDE, -SIDE, 3 * SIDE, 2 * SIDE), (3 * 64, 2 * 64), cutout=True)
    assert cutout.getpixel((0, 0))[3] == 0 and wide[0, 0].sum() > 0 and wide[-1, -1].sum() > 0


@each
def test_the_photos_can_be_drawn_again(name):
    plan = subjects.plan(name)
    assert plan == subjects.plan(name) and len(plan) == len(raw(name)) == subjects.COUNTS[name]
    subject = read_json(subjects.DATA / "subjects" / name / "subject.json")
    assert subject["telling"].items() <= vars(SUBJECTS[name]["person"]).items()
    for photo in (plan[2], plan[8], plan[12]):  # small ones, two of them turned
        file, content = subjects.encode(photo, name)
        kept = Image.open(subjects.DATA / "subjects" / name / "raw" / file)
        again = Image.open(io.BytesIO(content))
        assert again.getexif()[0x0112] == kept.getexif()[0x0112] == photo.orientation
        assert abs(np.asarray(again, int) - np.asarray(kept, int)).mean() < 2
        assert ImageOps.exif_transpose(kept).size == photo.size


@each
def test_they_are_as_untidy_as_phone_photos_but_small(name):
    plan = subjects.plan(name)
    assert {photo.orientation for photo in plan} == {1, 3, 6, 8}
    assert {photo.size[0] > photo.size[1] for photo in plan} == {True, False}
    assert {path.suffix for path in raw(name)} == {".jpg", ".png", ".HEIC"}
    assert sum(path.stat().st_size for path in raw(name)) < 3e6


@each
def test_only_the_flawed_stay_behind_each_for_its_own_reason(name, tmp_path):
    report, plan = photos.prepare(subjects.DATA / "subjects" / name / "raw", tmp_path, 128), subjects.plan(name)
    for (_, row), photo in zip(report.iterrows(), plan, strict=True):
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
def test_the_head_is_in_the_square(name):
    for photo in [photo for photo in subjects.plan(name) if not photo.flaw]:
        scale = 600 / max(photo.size)
        image = shoot(photo.scene, photo.view, [round(side * scale) for side in photo.size])
        box = crop.crop_box(image.size, crop.find_focus(image)[0])
        assert head_share(photo, [edge / scale for edge in box]) > 0.93, (photo.number, box)


@pytest.mark.parametrize("place", ["space", "grey", "white"])
@pytest.mark.parametrize("skin", ["light", "dark"])
def test_nobody_is_sorted_out_for_skin_or_dress_before_a_night_sky_or_a_white_wall(place, skin):
    scene = subject_scene("amir", random.Random(3), context="portrait", place=place, style="photo")
    person = replace(scene.person, skin=skin, clothes="hoodie", clothes_color="black", expression="serious")
    dark, bright = check.brightness(draw(replace(scene, person=person), 256))
    assert check.complaint((256, 256), 128, 1000, dark, bright) == ""


def test_the_prepared_set_is_made_from_the_raw_one(tmp_path, monkeypatch):
    """In small: six photos, from raw to squares, captions and split, and a correction survives doing it again."""
    folder, few = tmp_path / "prepared" / "amir", tmp_path / "subjects" / "amir" / "raw"
    few.mkdir(parents=True)
    for path in [path for path in raw("amir") if path.suffix == ".jpg" and path.stat().st_size < 50_000][:6]:
        shutil.copy(path, few)
    monkeypatch.setattr(subjects, "DATA", tmp_path)
    subjects.write_prepared("amir")
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
