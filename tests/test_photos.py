import hashlib
import io
import os
import struct

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from helpers import focus, photos, quality, runtime
from helpers.consent import check_consent
from helpers.contact_sheet import contact_sheet
from helpers.files import read_json, write_json

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# How a camera stores an upright picture under each EXIF orientation (CIPA DC-008, table 4.6.4-A).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def corners(width, height):
    """Red, green, blue and white quarters."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), "red")
    draw.rectangle((width // 2, 0, width, height // 2 - 1), "lime")
    draw.rectangle((0, height // 2, width // 2 - 1, height), "blue")
    return image


def blobs(seed, width=320, height=240):
    """A picture of soft coloured blobs, another for every seed."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    ImageDraw.Draw(image).line((0, seed % height, width, height // 2), "black", 3)
    return image


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunks(png):
    """The names of a PNG's chunks, by its specification."""
    found, at = [], 8
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        found.append(name.decode())
        at += 12 + length
    return found


@quick
@given(
    st.sampled_from(sorted(STORED)), st.integers(16, 90), st.integers(16, 90), st.sampled_from(["JPEG", "PNG", "WEBP"])
)
def test_every_orientation_comes_out_upright(tmp_path, orientation, width, height, kind):
    upright = corners(width, height)
    stored = upright if orientation == 1 else upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{kind.lower()}"
    path.write_bytes(encoded(stored, kind, exif=exif))
    opened = photos.open_photo(path)
    assert opened.size == (width, height)
    seen = [opened.getpixel((x, y)) for y in (3, height - 4) for x in (3, width - 4)]
    for found, wanted in zip(seen, [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]):
        assert max(abs(a - b) for a, b in zip(found, wanted)) < 40


@pytest.mark.parametrize(
    ("mode", "value", "kind", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("LA", (90, 0), "PNG", (255, 255, 255)),
        ("P", 7, "PNG", None),
        ("RGB", (10, 200, 30), "BMP", (10, 200, 30)),
        ("RGB", (10, 200, 30), "AVIF", (10, 200, 30)),
        ("RGBA", (10, 200, 30, 255), "WEBP", (10, 200, 30)),
        ("RGBA", (0, 0, 0, 128), "PNG", (127, 127, 127)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("I;16", 40_000, "PNG", (156, 156, 156)),
        ("I;16", 300, "TIFF", (1, 1, 1)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, value, kind, expected):
    path = tmp_path / f"photo.{kind.lower()}"
    image = Image.new(mode, (20, 12), value)
    path.write_bytes(encoded(image, kind))
    opened = photos.open_photo(path)
    assert (opened.mode, opened.size, opened.info) == ("RGB", (20, 12), {})
    if expected:
        assert max(abs(a - b) for a, b in zip(opened.getpixel((9, 6)), expected)) <= 6


def test_transparent_palette_and_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("P", (9, 9), color) for color in (0, 1)]
    frames[0].putpalette([0, 0, 0, 200, 0, 0])
    frames[1].putpalette([0, 0, 0, 200, 0, 0])
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], transparency=0)
    assert photos.open_photo(tmp_path / "a.gif").getpixel((4, 4)) == (255, 255, 255)


def test_heic_opens_upright_and_says_what_is_missing(tmp_path, monkeypatch):
    upright = corners(120, 80)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = upright.transpose(STORED[6])
    pillow_heif.from_pillow(stored).save(tmp_path / "a.HEIC", quality=90, exif=exif.tobytes())
    opened = photos.open_photo(tmp_path / "a.HEIC")
    assert opened.size == (120, 80)
    assert abs(np.asarray(opened, float) - np.asarray(upright)).mean() < 12
    monkeypatch.setattr(photos, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"a\.HEIC is HEIC: run `pip install pillow-heif`"):
        photos.open_photo(tmp_path / "a.HEIC")


def bad_files():
    jpeg, png = encoded(blobs(1), "JPEG"), encoded(blobs(1), "PNG")
    huge = b"P5 60000 60000 255\n" + bytes(100)
    return {
        "empty.jpg": b"",
        "text.jpg": b"dear diary, this is no picture",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": png[: len(png) // 2],
        "noise.png": bytes(range(256)) * 4,
        "broken.heic": b"\0\0\0\x18ftypheic" + bytes(64),
        "huge.pgm": huge,
    }


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_gives_one_line_that_names_it(tmp_path, name):
    (tmp_path / name).write_bytes(bad_files()[name])
    with pytest.raises(ValueError, match=rf"^{name} .+: .+\.$") as caught:
        photos.open_photo(tmp_path / name)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF"]), st.data())
def test_mutated_files_open_or_are_refused_in_words(tmp_path, kind, data):
    content = bytearray(encoded(blobs(3, 64, 48), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "photo.bin"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        assert photos.open_photo(path).mode == "RGB"
    except ValueError as error:
        assert str(error).startswith("photo.bin ")


def test_prepare_reports_bad_files_and_does_the_rest(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, content in bad_files().items():
        (raw / name).write_bytes(content)
    (raw / "folder.jpg").mkdir()
    (raw / ".DS_Store").write_bytes(b"hidden")
    good = ["with space.jpg", "صورة أمير.jpg", "🙂.png", "a" * 240 + ".jpg"]
    for seed, name in enumerate(good):
        blobs(seed).save(raw / name)
    report = photos.prepare(raw, tmp_path / "out", 64)
    assert set(report.file) == {*bad_files(), "folder.jpg", *good}
    assert set(report.file[report.kept]) == set(good)
    assert all(report.why[~report.kept].str.len() > 0) and all(report.why[report.kept] == "")
    squares = photos.load_prepared(tmp_path / "out")
    assert {path.name for path, _ in squares} == set(report.output[report.kept])
    assert {image.size for _, image in squares} == {(64, 64)}
    sheet = contact_sheet(report, raw, columns=4, cell=60)
    assert sheet.width > 4 * 60 and sheet.height > 3 * 60


def secretive():
    """A JPEG with everything that gives a person away."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x927C] = "SECRET camera", 1, b"SECRET maker note"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 28.0, 38.0), 29: "SECRET day"})
    exif.get_ifd(0x8769)[0x9286] = b"SECRET comment"
    secrets = {"exif": exif, "comment": b"SECRET words", "xmp": b"<x>SECRET</x>", "icc_profile": b"SECRET profile"}
    return encoded(blobs(5), "JPEG", **secrets)


def test_nothing_hidden_leaves_with_the_square(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "me.jpg").write_bytes(secretive())
    exif = Image.open(tmp_path / "raw" / "me.jpg").getexif()
    assert exif.get_ifd(0x8825) and secretive().count(b"SECRET") >= 5, "the test photo must have secrets to lose"
    photos.prepare(tmp_path / "raw", tmp_path / "out", 64)
    written = (tmp_path / "out" / "me.png").read_bytes()
    assert set(chunks(written)) == {"IHDR", "IDAT", "IEND"}
    assert b"SECRET" not in written
    opened = photos.open_photo(tmp_path / "raw" / "me.jpg")
    assert opened.info == {} and not opened.getexif()


def state(folder):
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
    }


def test_originals_are_untouched_and_a_second_run_changes_nothing(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for seed in range(3):
        blobs(seed).save(raw / f"{seed}.jpg")
    blobs(7).save(raw / "1.png")  # the same stem as 1.jpg
    before = state(raw)
    first = photos.prepare(raw, out, 64)
    written = {name: content for name, (content, _) in state(out).items()}
    second = photos.prepare(raw, out, 64)
    assert state(raw) == before
    assert {name: content for name, (content, _) in state(out).items()} == written
    pd.testing.assert_frame_equal(first, second)
    assert first.output.nunique() == 4


def test_what_an_earlier_run_made_goes_and_nothing_else(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for seed in range(2):
        blobs(seed).save(raw / f"{seed}.jpg")
    photos.prepare(raw, out, 64)
    blobs(9).save(out / "mine.png")
    (raw / "0.jpg").unlink()
    photos.prepare(raw, out, 64)
    assert {path.name for path in out.glob("*.png")} == {"1.png", "mine.png"}


def test_prepare_refuses_to_write_among_the_originals(tmp_path):
    blobs(1).save(tmp_path / "a.png")
    for out in (tmp_path, tmp_path / "squares"):
        with pytest.raises(ValueError, match="lies within the originals"):
            photos.prepare(tmp_path, out, 64)
    with pytest.raises(FileNotFoundError, match="There are no photos in"):
        photos.prepare(tmp_path / "nowhere", tmp_path / "out", 64)


def test_a_hand_chosen_focus_wins(tmp_path):
    (tmp_path / "raw").mkdir()
    corners(300, 100).save(tmp_path / "raw" / "a.png")
    report = photos.prepare(tmp_path / "raw", tmp_path / "out", 50, focus={"a.png": (300, 50)})
    assert (report.focus[0], report.crop[0]) == ("hand", (200, 0, 300, 100))


@quick
@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0, 1), st.floats(0, 1))
def test_crop_box_is_the_largest_square_around_the_focus(width, height, across, down):
    x, y = across * width, down * height
    left, top, right, bottom = focus.crop_box((width, height), (x, y))
    assert right - left == bottom - top == min(width, height)
    assert 0 <= left and right <= width and 0 <= top and bottom <= height
    assert left - 0.5 <= x <= right + 0.5 and top - 0.5 <= y <= bottom + 0.5
    if min(width, height) / 2 <= x <= width - min(width, height) / 2:
        assert abs((left + right) / 2 - x) <= 0.5


@quick
@given(st.integers(200, 600), st.integers(200, 600), st.floats(0.2, 0.8), st.floats(0.2, 0.8))
def test_what_stands_out_is_in_the_square_and_stays_round(width, height, across, down):
    x, y, radius = across * width, down * height, 0.12 * min(width, height)
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), "red")
    square = np.asarray(photos.square_crop(image, 100), int)
    rows, columns = np.nonzero(square[..., 0] - square[..., 1] > 120)
    assert np.ptp(rows) == pytest.approx(24, abs=3) and np.ptp(columns) == pytest.approx(24, abs=3)


def test_an_even_picture_is_cropped_in_the_middle(monkeypatch):
    assert focus.find_focus(Image.new("RGB", (300, 200), "teal")) == ((150, 100), "centre")
    monkeypatch.setattr(focus, "_cascade", lambda: None)  # as where scikit-image is not installed
    assert focus.find_face(Image.new("RGB", (300, 200))) is None


def test_a_real_face_is_found():
    data = pytest.importorskip("skimage.data")
    image = Image.fromarray(data.astronaut())  # her eyes and mouth lie between (190, 80) and (260, 170)
    left, top, right, bottom = focus.find_face(image)
    assert left < 200 and right > 250 and top < 90 and bottom > 150 and right - left < 200
    assert focus.find_focus(image)[1] == "face"


@quick
@given(st.integers(0, 10_000), st.floats(0.9, 1.05), st.booleans(), st.booleans(), st.floats(0, 0.01))
def test_copies_are_near_and_others_are_far(seed, brighter, mirrored, small, shift):
    image = blobs(seed)
    copy = ImageEnhance.Brightness(image).enhance(brighter).crop((round(shift * image.width), 0, *image.size))
    copy = ImageOps.mirror(copy) if mirrored else copy
    copy = copy.resize((120, 90)) if small else copy
    copy = Image.open(io.BytesIO(encoded(copy, "JPEG", quality=50)))
    one, other, stranger = (quality.fingerprint(each) for each in (image, copy, blobs(seed + 1)))
    assert quality.distance(one, other) == quality.distance(other, one) < quality.SAME
    assert quality.distance(one, stranger) > quality.SAME
    assert quality.distance(one, one) == 0


def test_sharpness_falls_with_blur_and_not_with_size():
    image = blobs(4, 800, 800)
    values = [quality.sharpness(image.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 3, 8, 20)]
    assert values[0] > values[1] > quality.BLURRED > values[2] > max(values[3:])
    double = image.resize((1600, 1600), Image.Resampling.BICUBIC)
    assert quality.sharpness(double) == pytest.approx(quality.sharpness(image), rel=0.25)


def test_complaints_name_the_trouble():
    fine = {"size": (800, 600), "target": 512, "sharp": 300, "dark": 20, "bright": 220}
    assert quality.complaint(**fine) == ""
    cases = [
        ("size", (800, 500), "only 800 x 500"),
        ("sharp", 3, "blurred"),
        ("bright", 40, "too dark"),
        ("dark", 230, "too bright"),
    ]
    for key, value, words in cases:
        assert words in quality.complaint(**{**fine, key: value})


def test_duplicates_stay_behind_and_name_their_twin(tmp_path):
    (tmp_path / "raw").mkdir()
    for name, seed in (("a.png", 1), ("c.png", 2)):
        blobs(seed).save(tmp_path / "raw" / name)
    ImageOps.mirror(blobs(1)).save(tmp_path / "raw" / "b.jpg")
    report = photos.prepare(tmp_path / "raw", tmp_path / "out", 64).set_index("file")
    assert list(report.kept) == [True, False, True]
    assert report.near_duplicate_of["b.jpg"] == "a.png" and "a.png" in report.why["b.jpg"]


@quick
@given(st.integers(1, 40), st.integers(0, 39), st.integers(0, 99), st.randoms())
def test_split_deals_each_photo_once_and_the_same_again(tmp_path, count, held_out, seed, shuffler):
    files = [tmp_path / f"{i:02d}.png" for i in range(count)]
    if held_out >= count:
        with pytest.raises(ValueError, match="cannot be held out"):
            photos.split(files, held_out, seed)
        return
    training, validation = photos.split(files, held_out, seed)
    assert sorted(training + validation) == files and len(validation) == held_out
    shuffler.shuffle(files)
    assert photos.split(files, held_out, seed) == (training, validation)
    names = {"training": [p.name for p in training], "validation": [p.name for p in validation]}
    assert read_json(tmp_path / "split.json") == {"seed": seed} | names


def test_prepared_folder_prefers_the_own_run(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runtime, "REPO", tmp_path / "repo")
    with pytest.raises(FileNotFoundError, match="run 01_prepare_photos first"):
        photos.prepared_folder("amir")
    own, finished = tmp_path / "runs" / "photos" / "amir", tmp_path / "repo" / "data" / "prepared" / "amir"
    own.mkdir(parents=True)
    blobs(1).save(own / "a.png")
    assert photos.prepared_folder("amir") == own
    finished.mkdir(parents=True)
    (finished / "captions.csv").touch()
    assert photos.prepared_folder("amir") == finished, "squares without captions are not ready to train on"
    (own / "captions.csv").touch()
    assert photos.prepared_folder("amir") == own
    with pytest.raises(FileNotFoundError, match="no prepared photos"):
        photos.load_prepared(finished)


def test_consent_is_asked_for_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no .*consent\.json: ask the person"):
        check_consent(tmp_path)
    given_ = {"who": "a friend", "what_for": "this course", "until": "2099-01-01"}
    write_json(tmp_path / "consent.json", given_)
    assert check_consent(tmp_path) == given_
    for change, words in [
        ({"who": ""}, "does not say who"),
        ({"until": "2020-01-01"}, "ended on 2020-01-01"),
        ({"until": "soon"}, "until is 'soon': write a day"),
    ]:
        write_json(tmp_path / "consent.json", given_ | change)
        with pytest.raises(ValueError, match=words):
            check_consent(tmp_path)
    write_json(tmp_path / "consent.json", ["yes"])
    with pytest.raises(ValueError, match="does not say who, what_for, until"):
        check_consent(tmp_path)


def test_a_read_only_folder_of_originals_is_enough(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    blobs(1).save(raw / "a.jpg")
    os.chmod(raw / "a.jpg", 0o444)
    os.chmod(raw, 0o555)
    try:
        assert photos.prepare(raw, tmp_path / "out", 64).kept.all()
    finally:
        os.chmod(raw, 0o755)
