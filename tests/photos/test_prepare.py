"""From a folder of photos to squares and a report."""

import itertools
import json
import os
import re
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest
from pictures import bad_files, blobs, corners, deadly, encoded
from PIL import ExifTags, Image, ImageDraw, ImageFilter, ImageOps, IptcImagePlugin

from helpers import machine, photos
from helpers.photos import check, contact_sheet, crop, preparation


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def prepare(raw, out):
    """Prepares the photos in `raw`; returns the report by file."""
    return lambda **options: photos.prepare(raw, out, 64, **{"rename": "{name}"} | options).set_index("file")


def test_bad_files_are_reported_and_the_rest_goes_through(raw, out, prepare):
    for name, content in bad_files().items():
        (raw / name).write_bytes(content)
    (raw / ".DS_Store").write_bytes(b"hidden")
    good = ["with space.jpg", "صورة أمير.jpg", "🙂.png", "a" * 246 + ".jpg"]
    for seed, name in enumerate(good):
        blobs(seed).save(raw / name)
    report = prepare()
    assert set(report.index) == {*bad_files(), *good} and set(report.index[report.kept]) == set(good)
    assert ((report.why == "") == report.kept).all()
    squares = photos.load_prepared(out)
    assert {path.name for path, _ in squares} == set(report.output[report.kept])
    assert {image.size for _, image in squares} == {(64, 64)}
    assert contact_sheet(report.reset_index(), raw, columns=4, cell=60).height > 3 * 60


def everything_wrong(raw):
    """Fills a folder with whatever people hand over, all at once; returns {file: what the report says of it}."""
    raw.mkdir(exist_ok=True)
    told = {"IMG_0001.MOV": "is a film", "DSC_0002.NEF": "RAW file", "letter.jpg": "is not a picture"}
    told |= {
        "broken.zip": "is a zip",
        "night.jpg": "too dark",
        "tiny.png": "only 40 x 30",
        "notes.txt": "is not a picture",
    }
    contents = dict.fromkeys(told, b"%!PS-Adobe-3.0 EPSF-3.0\n") | bad_files()
    contents["night.jpg"] = encoded(Image.eval(blobs(3), lambda value: value // 9), "JPEG")
    contents["tiny.png"] = encoded(blobs(4, 40, 30), "PNG")
    contents["First Last zu Hause, Café.JPG".replace("é", "e\u0301")] = encoded(blobs(5), "JPEG")
    contents |= {"desktop.ini": b"[x]", "Thumbs.db": b"x", ".DS_Store": b"x", ".ipynb_checkpoints/a.png": b"x"}
    contents |= {"more/IMG_7.png": encoded(blobs(6), "PNG"), "more/deeper/IMG_7.png": encoded(blobs(7), "PNG")}
    with zipfile.ZipFile(raw / "from the chat.zip", "w") as archive:
        archive.writestr("WhatsApp Images/IMG-2023.webp", encoded(blobs(8), "WEBP", lossless=True))
        archive.writestr("WhatsApp Images/VID-2023.mp4", b"film")
        archive.writestr("../../evil.png", encoded(blobs(9), "PNG"))
    for name, content in contents.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content)
    return told | {"VID-2023.mp4": "is a film"} | dict.fromkeys(bad_files(), "")


def test_a_folder_with_everything_wrong_at_once_ends_in_a_readable_report(raw, tmp_path):
    told, out = everything_wrong(raw), tmp_path / "zoë"
    report = photos.prepare(raw, out, 64).set_index("file")
    good = {"First Last zu Hause, Café.JPG", "IMG_7.png", "deeper_IMG_7.png", "IMG-2023.webp", "evil.png"}
    assert set(report.index) == {*told, *good} and set(report.index[report.kept]) == good
    for file, words in told.items():
        assert words in report.why[file] and report.why[file].endswith(".") and "\n" not in report.why[file]
    assert report.focus[report.kept].str.startswith("no face found").all()
    assert sorted(path.name for path, _ in photos.load_prepared(out)) == [f"zoë_{n:03}.png" for n in range(1, 6)]
    assert not list(tmp_path.rglob("evil.png"))
    assert contact_sheet(report.reset_index(), raw).height > 0


def secretive():
    """A JPEG with everything that gives a person away."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x927C] = "SECRET camera", 1, b"SECRET model note"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 28.0, 38.0), 29: "SECRET day"})
    exif.get_ifd(0x8769)[0x9286] = b"SECRET comment"
    secrets = {"exif": exif, "comment": b"SECRET words", "xmp": b"<x>SECRET</x>", "icc_profile": b"SECRET profile"}
    return encoded(blobs(5), "JPEG", **secrets)


def with_iptc_and_thumbnail():
    """A JPEG with IPTC, as press programs write it, and an EXIF thumbnail, which often shows what was cut away.

    (IIM 4.2; TIFF 6.0; EXIF 2.32, 4.5.5)
    """
    small = encoded(Image.new("RGB", (32, 24), "red"), "JPEG", comment=b"SECRET thumbnail")
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((0x201, 44), (0x202, len(small))))
    exif = b"Exif\0\0II*\0" + struct.pack("<IHIH", 8, 0, 14, 2) + entries + bytes(4) + small
    photo, field = encoded(blobs(5), "JPEG", exif=exif), b"\x1c\x02\x78\0\x0eSECRET caption"
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(field)) + field + bytes(1)  # of even length
    return photo[:2] + b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc + photo[2:]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_nothing_hidden_leaves_with_the_square(raw, out, prepare, format):
    (raw / "me.jpg").write_bytes(with_iptc_and_thumbnail())
    (raw / "you.jpg").write_bytes(secretive())
    with Image.open(raw / "me.jpg") as me, Image.open(raw / "you.jpg") as you:  # there are secrets to lose
        assert IptcImagePlugin.getiptcinfo(me)[2, 120] == b"SECRET caption"
        assert me.getexif().get_ifd(ExifTags.IFD.IFD1)[0x201] == 44 and you.getexif().get_ifd(0x8825)
    for name in prepare(format=format, keep=["me.jpg", "you.jpg"]).output:
        written = (out / name).read_bytes()
        assert not re.search(b"SECRET|Exif|EXIF|8BIM|iCCP|ICCP|ICC_PROFILE|XMP|tEXt|iTXt|tIME", written)
        with Image.open(out / name) as opened:
            assert not opened.getexif() and not {"photoshop", "xmp", "icc_profile", "comment"} & set(opened.info)
    opened = photos.open_photo(raw / "you.jpg")
    assert opened.info == {} and not opened.getexif()
    kept = [path for path in out.rglob("*") if path.is_file()]
    assert len(kept) == 7 and not any(b"SECRET" in path.read_bytes() for path in kept)
    (raw / "me.jpg").unlink()
    (raw / "you.jpg").rename(raw / "other.jpg")
    prepare()
    assert len(list((out / ".squares").iterdir())) == 2, "what is remembered goes with the photo"


def state(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_originals_stay_and_a_second_run_changes_nothing_and_takes_back_only_its_own(raw, out, prepare):
    for seed in range(2):
        blobs(seed).save(raw / f"{seed}.jpg")
    blobs(7).save(raw / "1.png")  # the same stem as 1.jpg
    for path in (*raw.iterdir(), raw):
        os.chmod(path, 0o555)  # a read-only folder is enough
    try:
        before, first, written = state(raw), prepare(), state(out)
        pd.testing.assert_frame_equal(first, prepare())
        assert state(raw) == before and state(out) == written and first.output.nunique() == 3
    finally:
        os.chmod(raw, 0o755)
    blobs(9).save(out / "mine.png")
    (raw / "0.jpg").unlink()
    prepare()
    assert {path.name for path in out.glob("*.png")} == {*first.output[1:], "mine.png"}


def test_it_refuses_to_write_among_the_originals(tmp_path):
    blobs(1).save(tmp_path / "a.png")
    for folder in (tmp_path, tmp_path / "squares"):
        with pytest.raises(ValueError, match="within the originals"):
            photos.prepare(tmp_path, folder, 64)
    with pytest.raises(FileNotFoundError, match="no photos"):
        photos.prepare(tmp_path / "nowhere", tmp_path / "out", 64)


def test_prepared_folder_prefers_the_own_run_and_asks_for_consent(tmp_path, monkeypatch):
    """Notebooks 03 to 05, the command that trains and the benchmarks all ask prepared_folder."""
    monkeypatch.setattr(machine, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(machine, "REPO", tmp_path)
    own, finished = (tmp_path / folder / "amir" for folder in ("runs/photos", "data/prepared"))
    with pytest.raises(FileNotFoundError, match="run 01"):
        photos.prepared_folder("amir")
    for folder in (own, finished):
        folder.mkdir(parents=True)
    blobs(1).save(own / "a.png")
    with pytest.raises(FileNotFoundError, match="ask the person"):
        photos.prepared_folder("amir")
    photos.consent.write_consent(tmp_path / "data/subjects/amir", "a friend", "this course", "2099-01-01")
    assert photos.prepared_folder("amir") == own
    (finished / "captions.csv").touch()
    assert photos.prepared_folder("amir") == finished, "squares without captions are not ready to train on"
    (own / "captions.csv").touch()
    assert photos.prepared_folder("amir") == own
    with pytest.raises(FileNotFoundError, match="no prepared photos"):
        photos.load_prepared(finished)
    consent = tmp_path / "data/subjects/amir/consent.json"
    consent.write_text(consent.read_text().replace("2099", "2020"))
    with pytest.raises(ValueError, match="ended on 2020"):
        photos.prepared_folder("amir")


def test_squares_come_as_asked(raw, out, prepare):
    blobs(1).save(raw / "a.png")
    blobs(2).save(raw / "b.jpg")
    for kind, suffix, magic in (("JPEG", ".jpg", b"\xff\xd8"), ("webp", ".webp", b"RIFF")):
        report = prepare(format=kind, quality=60, flip=True, rename="me {number:03}")
        assert list(report.output) == [f"me 001{suffix}", f"me 002{suffix}"]
        assert list(report.copies) == [[f"me 001_flipped{suffix}"], [f"me 002_flipped{suffix}"]]
        squares = dict(photos.load_prepared(out))
        assert len(squares) == 4, "the squares of the other format are gone"
        assert all(path.read_bytes().startswith(magic) for path in squares)
        (one, flipped) = (np.asarray(image, int) for path, image in squares.items() if "001" in path.name)
        assert abs(one[:, ::-1] - flipped).mean() < 6
    read = pd.read_csv(out / "report.csv", keep_default_na=False)
    assert list(read.copies.map(json.loads)) == list(report.copies) and list(read.crop) == [*map(str, report.crop)]


def test_a_file_name_is_no_formula_in_the_report_and_is_known_again(raw, out, prepare):
    blobs(1).save(raw / "=1+1.png")
    report = prepare(rename="-{number:03}")
    cells = pd.read_csv(out / "report.csv", dtype=str, keep_default_na=False)
    assert cells["file"][0] == "'=1+1.png" and cells["output"][0] == "'-001.png"
    assert list(report.index) == ["=1+1.png"] and [path.name for path, _ in photos.load_prepared(out)] == ["-001.png"]
    prepare(rename="me {number:03}")
    assert [path.name for path, _ in photos.load_prepared(out)] == ["me 001.png"], "the square of before is gone"


def test_whole_numbers_stay_whole_beside_a_photo_that_has_none(raw, out, prepare):
    """pandas before 3, which Colab has, wrote 1.0, and the next run could not read it."""
    blobs(1).save(raw / "a.png")
    (raw / "b.png").write_bytes(b"no photo")
    prepare()
    numbers = ["width", "height", "faces", "darkest", "brightness", "number"]
    cells = pd.read_csv(out / "report.csv", dtype=str, keep_default_na=False)[numbers]
    assert not cells.map(lambda cell: "." in cell).any(axis=None) and cells["number"].tolist() == ["1", ""]
    assert list(prepare().number.fillna(0)) == [1, 0]


def test_padding_and_pieces(raw, out, prepare, monkeypatch):
    corners(300, 100).save(raw / "long.png")
    report = prepare(fit="pad", background="lime", keep=["long.png"])
    ((_, square),) = photos.load_prepared(out)
    assert square.getpixel((32, 5)) == (0, 255, 0) and square.getpixel((5, 25)) == (255, 0, 0)
    assert report.crop.iloc[0] == (0, 0, 300, 100)
    report, drawn = prepare(pieces=True, keep=["long.png"]).reset_index(), []
    assert len([report.output[0], *report.copies[0]]) == len(photos.load_prepared(out)) == 4
    monkeypatch.setattr(ImageDraw.ImageDraw, "rectangle", lambda draw, box, **_: drawn.append(tuple(box)))
    contact_sheet(report, raw, cell=300)
    assert drawn == [(left, 100, right - 1, 199) for left, _, right, _ in [report.crop[0], *report.further_crops[0]]]


def test_squares_tell_neither_who_nor_where_and_keep_their_numbers(raw, tmp_path):
    """What others get to see is the square: its name goes into captions, cards and zips."""
    names = ["First Last at home.jpg", "IMG_2047.jpg", "PXL_20230514_101500.jpg", "Z.png"]
    for seed, name in enumerate(names):
        blobs(seed).save(raw / name)
    prepare = lambda **options: photos.prepare(raw, tmp_path / "zoë", 64, **options).set_index("file").output
    assert list(prepare()) == ["zoë_001.png", "IMG_2047.png", "zoë_003.png", "zoë_004.png"]
    assert list(prepare(leave_out=[names[0]])) == ["", "IMG_2047.png", "zoë_003.png", "zoë_004.png"]
    blobs(8).save(raw / "A.png")  # comes first now
    again = prepare(keep=["IMG_2047.jpg"])
    assert again["A.png"] == "zoë_005.png" and list(again[names]) == list(prepare()[names])
    assert again[names[0]] == "zoë_001.png", "captions that were written stay with their photos"
    with zipfile.ZipFile(photos.folders.pack(tmp_path / "zoë", tmp_path / "set.zip")) as packed:
        assert not [name for name in packed.namelist() if "Last" in name or "2023" in name]


IMPOSSIBLE = [
    ({"format": "BMP"}, "Choose PNG"),
    ({"quality": 0}, "1 to 100"),
    ({"flap": True}, "no option 'flap'"),
    ({"background": "beige-ish"}, "unknown color"),
    ({"rename": "photo"}, "no file names"),
    ({"rename": "{name}/{number}"}, "no file names"),
    ({"rename": "{when}"}, "no file names"),
    ({"focus": {"b.png": (5, 5)}}, "no photo 'b.png'"),
    ({"leave_out": ["b.png"]}, "no photo 'b.png'"),
]


@pytest.mark.parametrize(("options", "words"), IMPOSSIBLE)
def test_impossible_options_are_refused(raw, out, prepare, options, words):
    blobs(1).save(raw / "a.png")
    with pytest.raises(ValueError, match=words):
        prepare(**options)
    assert not list(out.glob("*.png"))


def test_a_crop_or_focus_by_hand_wins_and_outlives_the_next_run(raw, out, prepare):
    corners(400, 400).save(raw / "a.png")
    corners(300, 100).save(raw / "b.png")
    crop.write_crop(out, "a.png", (200, 0, 400, 200), (400, 400))
    report = prepare(keep=["a.png", "b.png"], focus={"b.png": (300, 50)})
    assert list(report.focus) == ["hand"] * 2 and list(report.crop) == [(200, 0, 400, 200), (200, 0, 300, 100)]
    square = dict(photos.load_prepared(out))[out / "a.png"]
    assert square.crop((6, 6, 58, 58)).getextrema() == ((0, 0), (255, 255), (0, 0)), "only the upper right quarter"
    crop.write_crop(out, "a.png", (0, 0, 32, 32), (400, 400))
    report = prepare()
    assert not report.kept["a.png"] and "only 32 pixels" in report.why["a.png"]
    crop.write_crop(out, "a.png", None, (400, 400))
    assert prepare(keep=["a.png"]).crop["a.png"] == (0, 0, 400, 400)


def test_what_is_measured_leaves_photos_out_and_a_person_has_the_last_word(raw, out, prepare):
    blobs(1).filter(ImageFilter.GaussianBlur(9)).save(raw / "blurred.png")
    blobs(2).save(raw / "fine.png")
    Image.eval(blobs(3), lambda value: 210 + value // 6).save(raw / "bright.png")
    report = prepare()
    assert "blurred" in report.why["blurred.png"] and "too bright" in report.why["bright.png"]
    assert report.kept["fine.png"] and report.darkest["fine.png"] < report.brightness["fine.png"]
    assert report.darkest["bright.png"] > check.BRIGHT
    report = prepare(keep=["blurred.png"], leave_out=["fine.png"])
    assert report.kept["blurred.png"] and "by hand" in report.why["fine.png"]
    assert [path.name for path, _ in photos.load_prepared(out)] == ["blurred.png"]


def test_of_two_copies_the_sharper_is_kept_unless_a_person_chose(raw, prepare):
    blobs(1).filter(ImageFilter.GaussianBlur(1)).save(raw / "a.png")
    ImageOps.mirror(blobs(1)).save(raw / "b.png")
    report = prepare()
    assert list(report.kept) == [False, True] and "b.png, which is sharper" in report.why["a.png"]
    report = prepare(keep=["a.png"])
    assert list(report.kept) == [True, False] and report.near_duplicate_of["b.png"] == "a.png" in report.why["b.png"]
    assert prepare(keep=["a.png", "b.png"]).kept.all()


def test_a_strip_is_left_out_unless_somebody_says_what_to_cut(raw, out, prepare):
    blobs(1, 6000, 200).save(raw / "wide.png")
    tall = Image.new("RGB", (200, 2000), "skyblue")
    tall.paste(blobs(3, 200, 200), (0, 1800))
    tall.save(raw / "tall.png")
    report = prepare()
    assert not report.kept.any() and "strip of 6000 x 200" in report.why["wide.png"]
    crop.write_crop(out, "wide.png", (3000, 0, 3200, 200), (6000, 200))
    report = prepare(pieces=True)
    assert report.kept.all() and report.crop["wide.png"] == (3000, 0, 3200, 200)
    assert report.crop["tall.png"] == (0, 0, 200, 200)
    assert len(report.copies["tall.png"]) == len(report.further_crops["tall.png"]) == 13 - 1
    assert report.further_crops["tall.png"][-1] == (0, 1800, 200, 2000)


@pytest.fixture
def worked_on(monkeypatch):
    """The names of the photos that are really worked on from now on."""
    names, examine = [], check.examine
    monkeypatch.setattr(check, "examine", lambda path, *rest: names.append(path.name) or examine(path, *rest))
    return names


def test_an_interrupted_run_goes_on_where_it_stopped(raw, out, prepare, worked_on):
    for seed in range(4):
        blobs(seed).save(raw / f"{seed}.png")

    def impatient(found, **_):
        yield from itertools.islice(found, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(progress=impatient)
    assert len(worked_on) == 3
    first = prepare()
    assert sorted(worked_on) == [f"{seed}.png" for seed in range(4)], "none twice"
    worked_on.clear()
    (out / "1.png").unlink()
    assert first.equals(prepare()) and (out / "1.png").exists() and worked_on == []
    blobs(9).save(raw / "3.png")
    os.utime(raw / "3.png", (1, 1))
    prepare()
    assert worked_on == ["3.png"], "only what has changed"
    worked_on.clear()
    half_written = next((out / ".squares").glob("*.json"))
    half_written.write_text(half_written.read_text()[:50])
    assert prepare().kept.all() and len(worked_on) == 1
    next((out / ".squares").glob("*.png")).unlink()
    assert prepare().kept.all() and len(worked_on) == 2


def test_two_processes_do_the_same_as_one(tmp_path, raw):
    blobs(0).save(raw / "0.jpg")
    blobs(1).save(raw / "1.jpg")
    (raw / "bad.jpg").write_bytes(b"no picture")
    counted, count = [], lambda found, **_: (counted.append(each) or each for each in found)
    one = photos.prepare(raw, tmp_path / "one", 64, processes=1, rename="{number}")
    two = photos.prepare(raw, tmp_path / "two", 64, processes=2, progress=count, rename="{number}")
    pd.testing.assert_frame_equal(one, two)
    assert len(counted) == 3
    for name in one.output[one.kept]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_photo_that_kills_its_process_is_named_and_the_rest_goes_through(tmp_path, raw, monkeypatch):
    for name in ("a", "killer", "z"):
        blobs(len(name)).save(raw / f"{name}.png")
    monkeypatch.setattr(check, "examine", deadly)
    found = preparation._examine_all([(path, {"size": 64}) for path in sorted(raw.iterdir())], tmp_path, processes=2)
    assert [record["row"]["why"][:10] for record in found] == ["", "killer.png", ""]
