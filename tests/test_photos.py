"""From a folder of photos to squares and a report."""

import hashlib
import json
import os
import struct
import time

import numpy as np
import pandas as pd
import pytest
from pictures import bad_files, blobs, corners, deadly, encoded
from PIL import ExifTags, Image, ImageFilter, ImageOps, IptcImagePlugin

import helpers.contact_sheet
from helpers import crops, photo_examine, photo_work, photos, places
from helpers.consent import write_consent
from helpers.contact_sheet import contact_sheet


def chunks(png):
    """The names of a PNG's chunks, by its specification."""
    found, at = [], 8
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        found.append(name.decode())
        at += 12 + length
    return found


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def test_prepare_reports_bad_files_and_does_the_rest(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, content in bad_files().items():
        (raw / name).write_bytes(content)
    (raw / "folder.jpg").mkdir()
    (raw / ".DS_Store").write_bytes(b"hidden")
    good = ["with space.jpg", "صورة أمير.jpg", "🙂.png", "a" * 246 + ".jpg"]
    assert len(good[-1]) == 250
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


def with_iptc_and_thumbnail(photo):
    """A JPEG with IPTC fields, as press programs write them, and an EXIF thumbnail, which often shows what was cut away.

    (IIM 4.2; TIFF 6.0; EXIF 2.32, 4.5.5)
    """
    small = encoded(Image.new("RGB", (32, 24), "red"), "JPEG", comment=b"SECRET thumbnail")
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((0x201, 44), (0x202, len(small))))
    exif = b"Exif\0\0II*\0" + struct.pack("<IHIH", 8, 0, 14, 2) + entries + bytes(4) + small
    fields = b"".join(b"\x1c\x02" + bytes([what, 0, len(text)]) + text for what, text in IPTC.items())
    resource = (
        b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(fields)) + fields + b"\0" * (len(fields) % 2)
    )
    segments = [(b"\xff\xe1", exif), (b"\xff\xed", resource)]
    told = b"".join(mark + struct.pack(">H", len(content) + 2) + content for mark, content in segments)
    return photo[:2] + told + photo[2:]


IPTC = {80: b"SECRET author", 90: b"SECRET city", 120: b"SECRET caption"}


def parts_of(content):
    """The names of a picture file's parts, by the specification of its format."""
    if content[:4] == b"\x89PNG":
        return set(chunks(content))
    if content[:4] == b"RIFF":
        return {content[12:16].decode()} if int.from_bytes(content[16:20], "little") + 20 >= len(content) - 1 else None
    found, at = set(), 2
    while content[at + 1] != 0xDA:
        found.add(f"{content[at + 1]:x}")
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return found


@pytest.mark.parametrize(
    ("format", "parts"),
    [("PNG", {"IHDR", "IDAT", "IEND"}), ("JPEG", {"e0", "db", "c0", "c4"}), ("WEBP", {"VP8 "})],
)
def test_iptc_and_thumbnails_stay_behind_in_every_format(tmp_path, raw, format, parts):
    (raw / "me.jpg").write_bytes(with_iptc_and_thumbnail(encoded(blobs(5), "JPEG")))
    (raw / "you.jpg").write_bytes(secretive())
    with Image.open(raw / "me.jpg") as opened:
        assert IptcImagePlugin.getiptcinfo(opened)[2, 120] == b"SECRET caption"
        assert opened.getexif().get_ifd(ExifTags.IFD.IFD1)[0x201] == 44, "the thumbnail is there"
    report = photos.prepare(raw, tmp_path / "out", 64, format=format, keep=["me.jpg", "you.jpg"])
    assert report.kept.all()
    for name in report.output:
        written = (tmp_path / "out" / name).read_bytes()
        assert b"SECRET" not in written and parts_of(written) == parts
        with Image.open(tmp_path / "out" / name) as opened:
            assert not opened.getexif() and not {"photoshop", "xmp", "icc_profile", "comment"} & set(opened.info)
            assert IptcImagePlugin.getiptcinfo(opened) is None


def state(folder):
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.iterdir())
        if path.is_file()
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


def test_duplicates_stay_behind_and_name_their_twin(tmp_path):
    (tmp_path / "raw").mkdir()
    for name, seed in (("a.png", 1), ("c.png", 2)):
        blobs(seed).save(tmp_path / "raw" / name)
    ImageOps.mirror(blobs(1)).save(tmp_path / "raw" / "b.jpg")
    report = photos.prepare(tmp_path / "raw", tmp_path / "out", 64).set_index("file")
    assert list(report.kept) == [True, False, True]
    assert report.near_duplicate_of["b.jpg"] == "a.png" and "a.png" in report.why["b.jpg"]


def test_prepared_folder_prefers_the_own_run(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(places, "REPO", tmp_path / "repo")
    with pytest.raises(FileNotFoundError, match="run 01_prepare_photos first"):
        photos.prepared_folder("amir")
    own, finished = tmp_path / "runs" / "photos" / "amir", tmp_path / "repo" / "data" / "prepared" / "amir"
    own.mkdir(parents=True)
    blobs(1).save(own / "a.png")
    write_consent(tmp_path / "repo" / "data" / "subjects" / "amir", "a friend", "this course", "2099-01-01")
    assert photos.prepared_folder("amir") == own
    finished.mkdir(parents=True)
    (finished / "captions.csv").touch()
    assert photos.prepared_folder("amir") == finished, "squares without captions are not ready to train on"
    (own / "captions.csv").touch()
    assert photos.prepared_folder("amir") == own
    with pytest.raises(FileNotFoundError, match="no prepared photos"):
        photos.load_prepared(finished)


def test_without_consent_nobody_gets_the_squares_to_train_on(tmp_path, monkeypatch):
    """Notebooks 03 to 05, the command that trains and the benchmarks all ask prepared_folder."""
    monkeypatch.setattr(places, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(places, "REPO", tmp_path / "repo")
    for folder in (tmp_path / "runs" / "photos" / "friend", tmp_path / "repo" / "data" / "prepared" / "friend"):
        folder.mkdir(parents=True)
        blobs(1).save(folder / "a.png")
        (folder / "captions.csv").touch()
    with pytest.raises(FileNotFoundError, match=r"consent\.json: ask the person"):
        photos.prepared_folder("friend")
    subject = tmp_path / "repo" / "data" / "subjects" / "friend"
    subject.mkdir(parents=True)
    (subject / "consent.json").write_text('{"who": "a friend", "what_for": "this course", "until": "2020-01-01"}')
    with pytest.raises(ValueError, match="ended on 2020-01-01"):
        photos.prepared_folder("friend")
    write_consent(subject, "a friend", "this course", "2099-01-01")
    assert photos.prepared_folder("friend") == tmp_path / "runs" / "photos" / "friend"


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


def test_squares_come_as_asked(tmp_path, raw):
    blobs(1).save(raw / "a.png")
    blobs(2).save(raw / "b.jpg")
    for kind, suffix, magic in (("JPEG", ".jpg", b"\xff\xd8"), ("webp", ".webp", b"RIFF"), ("png", ".png", b"\x89PNG")):
        report = photos.prepare(raw, tmp_path / "out", 64, format=kind, quality=60, flip=True, rename="me {number:03}")
        assert list(report.output) == [f"me 001{suffix}", f"me 002{suffix}"]
        assert list(report.copies) == [[f"me 001_flipped{suffix}"], [f"me 002_flipped{suffix}"]]
        squares = dict(photos.load_prepared(tmp_path / "out"))
        assert len(squares) == 4, "the squares of the other format are gone"
        assert all(path.read_bytes().startswith(magic) for path in squares)
        (one, flipped) = (np.asarray(image, int) for path, image in squares.items() if "001" in path.name)
        assert abs(one[:, ::-1] - flipped).mean() < 6
    saved = Image.open(tmp_path / "out" / "me 001.png")
    assert saved.info == {}


def test_padding_and_pieces(tmp_path, raw):
    corners(300, 100).save(raw / "long.png")
    report = photos.prepare(raw, tmp_path / "out", 64, fit="pad", background="lime", keep=["long.png"])
    ((_, square),) = photos.load_prepared(tmp_path / "out")
    assert square.getpixel((32, 5)) == (0, 255, 0) and square.getpixel((5, 25)) == (255, 0, 0)
    assert report.crop[0] == (0, 0, 300, 100)
    report = photos.prepare(raw, tmp_path / "out", 64, pieces=True, keep=["long.png"])
    assert len([report.output[0], *report.copies[0]]) == len(photos.load_prepared(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"format": "BMP"}, "Choose PNG, JPEG or WEBP"),
        ({"fit": "stretch"}, "fit='crop' or 'pad'"),
        ({"quality": 0}, "quality of 1 to 100"),
        ({"background": "beige-ish"}, "unknown color"),
        ({"rename": "photo"}, "makes no file names"),
        ({"rename": "{name}/{number}"}, "makes no file names"),
        ({"rename": "{when}"}, "cannot be filled in"),
        ({"crops": {"b.png": (0, 0, 9, 9)}}, "no photo 'b.png'"),
        ({"leave_out": ["b.png"]}, "no photo 'b.png'"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_in_words(tmp_path, raw, wish, words):
    blobs(1).save(raw / "a.png")
    with pytest.raises(ValueError, match=words):
        photos.prepare(raw, tmp_path / "out", 64, **wish)
    assert not list((tmp_path / "out").glob("*.png")) if (tmp_path / "out").exists() else True


def test_a_crop_by_hand_is_cut_exactly_and_outlives_the_next_run(tmp_path, raw):
    corners(400, 400).save(raw / "a.png")
    crops.write_crop(tmp_path / "out", "a.png", (200, 0, 400, 200), (400, 400))
    report = photos.prepare(raw, tmp_path / "out", 64, keep=["a.png"])
    assert (report.focus[0], report.crop[0]) == ("hand", (200, 0, 400, 200))
    ((_, square),) = photos.load_prepared(tmp_path / "out")
    assert square.crop((6, 6, 58, 58)).getextrema() == ((0, 0), (255, 255), (0, 0)), (
        "nothing but the upper right quarter"
    )
    report = photos.prepare(raw, tmp_path / "out", 64, crops={"a.png": (0, 0, 32, 32)})
    assert not report.kept[0] and "the frame holds only 32 pixels" in report.why[0]
    crops.write_crop(tmp_path / "out", "a.png", None, (400, 400))
    assert photos.prepare(raw, tmp_path / "out", 64, keep=["a.png"]).crop[0] == (0, 0, 400, 400)


def test_a_person_has_the_last_word(tmp_path, raw):
    blobs(1).filter(ImageFilter.GaussianBlur(9)).save(raw / "blurred.png")
    blobs(2).save(raw / "fine.png")
    report = photos.prepare(raw, tmp_path / "out", 64).set_index("file")
    assert "blurred" in report.why["blurred.png"] and report.kept["fine.png"]
    report = photos.prepare(raw, tmp_path / "out", 64, keep=["blurred.png"], leave_out=["fine.png"]).set_index("file")
    assert report.kept["blurred.png"] and report.why["fine.png"] == "left out by hand."
    assert [path.name for path, _ in photos.load_prepared(tmp_path / "out")] == ["blurred.png"]


def test_a_person_has_the_last_word_on_copies_too(tmp_path, raw):
    blobs(1).filter(ImageFilter.GaussianBlur(1)).save(raw / "a.png")
    ImageOps.mirror(blobs(1)).save(raw / "b.png")
    report = photos.prepare(raw, tmp_path / "out", 64, keep=["a.png"]).set_index("file")
    assert list(report.kept) == [True, False] and report.near_duplicate_of["b.png"] == "a.png"
    assert report.why["b.png"] == "nearly the same as a.png: one of the two is enough."
    assert photos.prepare(raw, tmp_path / "out", 64, keep=["a.png", "b.png"]).kept.all()


def test_a_strip_is_left_out_unless_somebody_says_what_to_cut(tmp_path, raw):
    blobs(1, 60_000, 200).save(raw / "wide.png")
    report = photos.prepare(raw, tmp_path / "out", 64)
    assert report.why[0].startswith("a strip of 60000 x 200 pixels: ") and not report.kept[0]
    report = photos.prepare(raw, tmp_path / "out", 64, crops={"wide.png": (30_000, 0, 30_200, 200)})
    assert "strip" not in report.why[0] and report.crop[0] == (30_000, 0, 30_200, 200)
    (raw / "wide.png").unlink()
    tall = Image.new("RGB", (200, 2000), "skyblue")
    tall.paste(blobs(3, 200, 200), (0, 1800))
    tall.save(raw / "tall.png")
    assert not photos.prepare(raw, tmp_path / "out", 64).kept[0]
    report = photos.prepare(raw, tmp_path / "out", 64, pieces=True)
    assert report.kept[0] and len(report.copies[0]) == len(report.further_crops[0]) == 13 - 1
    assert report.crop[0] == (0, 0, 200, 200) and report.further_crops[0][-1] == (0, 1800, 200, 2000)
    again = photos.prepare(raw, tmp_path / "out", 64, pieces=True)
    pd.testing.assert_frame_equal(report, again)


def test_the_contact_sheet_draws_every_piece(tmp_path, raw, monkeypatch):
    blobs(3, 300, 100).save(raw / "long.png")
    report = photos.prepare(raw, tmp_path / "out", 64, pieces=True, keep=["long.png"])
    drawn = []
    monkeypatch.setattr(helpers.contact_sheet, "_frame", lambda draw, box, kept: drawn.append(tuple(box)))
    contact_sheet(report, raw, cell=300)
    assert drawn == [(left, 100, right - 1, 199) for left, _, right, _ in [report.crop[0], *report.further_crops[0]]]
    assert len(drawn) == 4 and drawn[0][0] == 0 and drawn[-1][2] == 299


def test_dark_and_bright_are_both_reported(tmp_path, raw):
    image = blobs(2)
    image.save(raw / "a.png")
    Image.eval(image, lambda value: 210 + value // 6).save(raw / "bright.png")
    report = photos.prepare(raw, tmp_path / "out", 64).set_index("file")
    assert report.darkest["a.png"] < report.brightness["a.png"]
    assert (
        report.darkest["bright.png"] > photos.photo_report.quality.BRIGHT and "too bright" in report.why["bright.png"]
    )


def test_the_sharper_copy_is_kept(tmp_path, raw):
    blobs(1).filter(ImageFilter.GaussianBlur(1)).save(raw / "a.png")
    ImageOps.mirror(blobs(1)).save(raw / "b.png")
    report = photos.prepare(raw, tmp_path / "out", 64).set_index("file")
    assert list(report.kept) == [False, True]
    assert report.why["a.png"] == "nearly the same as b.png, which is sharper."


def examined(monkeypatch):
    """The names of the photos that are really worked on from now on."""
    worked_on, examine = [], photo_examine.examine

    def counting(path, *rest):
        worked_on.append(path.name)
        return examine(path, *rest)

    monkeypatch.setattr(photo_work, "examine", counting)
    return worked_on


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, raw, monkeypatch):
    for seed in range(5):
        blobs(seed).save(raw / f"{seed}.png")
    worked_on = examined(monkeypatch)

    def impatient(found, total, **_):
        assert total == 5
        for i, each in enumerate(found):
            if i == 2:
                raise KeyboardInterrupt
            yield each

    with pytest.raises(KeyboardInterrupt):
        photos.prepare(raw, tmp_path / "out", 64, progress=impatient)
    assert len(worked_on) == 3
    first = photos.prepare(raw, tmp_path / "out", 64)
    assert sorted(worked_on) == [f"{seed}.png" for seed in range(5)], "none twice"
    worked_on.clear()
    assert first.equals(photos.prepare(raw, tmp_path / "out", 64)) and worked_on == []
    blobs(9).save(raw / "3.png")
    os.utime(raw / "3.png", (1, 1))
    photos.prepare(raw, tmp_path / "out", 64)
    assert worked_on == ["3.png"], "only what has changed"
    worked_on.clear()
    (tmp_path / "out" / "1.png").unlink()
    photos.prepare(raw, tmp_path / "out", 64)
    assert (tmp_path / "out" / "1.png").exists() and worked_on == []


def test_a_half_written_record_is_done_again(tmp_path, raw, monkeypatch):
    blobs(1).save(raw / "a.png")
    photos.prepare(raw, tmp_path / "out", 64)
    (record,) = (tmp_path / "out" / ".squares").glob("*.json")
    record.write_text(record.read_text()[:50])
    worked_on = examined(monkeypatch)
    assert photos.prepare(raw, tmp_path / "out", 64).kept.all() and worked_on == ["a.png"]


def test_what_is_remembered_holds_no_secret_and_goes_with_the_photo(tmp_path, raw):
    (raw / "me.jpg").write_bytes(secretive())
    photos.prepare(raw, tmp_path / "out", 64)
    kept = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(kept) == 4 and not any(b"SECRET" in path.read_bytes() for path in kept)
    (raw / "me.jpg").rename(raw / "other.jpg")
    photos.prepare(raw, tmp_path / "out", 64)
    assert len(list((tmp_path / "out" / ".squares").iterdir())) == 2


def test_two_processes_do_the_same_as_one(tmp_path, raw):
    for seed in range(3):
        blobs(seed).save(raw / f"{seed}.jpg")
    (raw / "bad.jpg").write_bytes(b"no picture")
    counted = []
    one = photos.prepare(raw, tmp_path / "one", 64, processes=1)
    two = photos.prepare(
        raw, tmp_path / "two", 64, processes=2, progress=lambda f, **_: (counted.append(x) or x for x in f)
    )
    pd.testing.assert_frame_equal(one, two)
    assert len(counted) == 4
    for name in one.output[one.kept]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_photo_that_kills_its_process_is_named_and_the_rest_goes_through(tmp_path, raw, monkeypatch):
    for name in ("a", "killer", "z"):
        blobs(len(name)).save(raw / f"{name}.png")
    monkeypatch.setattr(photo_work, "examine", deadly)
    tasks = [(path, {"size": 64}) for path in sorted(raw.iterdir())]
    found = photo_work.work(tasks, tmp_path, processes=2)
    assert [record["row"]["why"][:10] for record in found] == ["", "killer.png", ""]


def test_a_thousand_photos_are_compared_in_a_moment():
    prints = np.random.default_rng(0).integers(-1, 2, (1000, 8, 8, 3))
    prints[500] = -prints[3][:, ::-1]
    began = time.process_time()
    assert photos.photo_report.quality.near_duplicates(prints, np.ones(1000)) == {500: 3}
    assert time.process_time() - began < 60, "one by one it would take minutes"


def test_the_report_file_says_what_the_table_says(tmp_path, raw):
    corners(200, 400).save(raw / "a.png")
    report = photos.prepare(raw, tmp_path / "out", 64, keep=["a.png"], flip=True)
    read = pd.read_csv(tmp_path / "out" / "report.csv", keep_default_na=False)
    assert list(read.columns) == list(report.columns)
    assert json.loads(read.copies[0]) == report.copies[0] == ["a_flipped.png"]
    assert read.width[0] == 200 and read.crop[0] == str(report.crop[0])
