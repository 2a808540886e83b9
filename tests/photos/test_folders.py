"""Folders, lists and zip archives of photos."""

import io
import struct
import unicodedata
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pictures import blobs, encoded
from PIL import Image

from helpers import photos
from helpers.photos import captions, crop, folders


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content, **options)
    return path


def test_a_zip_is_as_good_as_a_folder(tmp_path):
    picture = encoded(blobs(1), "PNG")
    members = [("holiday/a.png", picture), ("b/a.png", encoded(blobs(2), "PNG")), ("__MACOSX/holiday/._a.png", b"x")]
    archive = zipped(tmp_path / "photos.zip", [*members, ("holiday/", b""), (".DS_Store", b"x")])
    report = photos.prepare(archive, tmp_path / "out", 64)
    assert list(report.file) == ["a.png", "a_2.png"] and report.kept.all()
    assert {path.name for path, _ in photos.load_prepared(tmp_path / "out")} == {"out_001.png", "out_002.png"}
    assert photos.prepare(archive, tmp_path / "out", 64).equals(report)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
evil = st.sampled_from(["../a", "/etc/a", "..\\..\\a", "C:\\a", "a/../../a", "..", "x/..", "con:x"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["\0", "a.png"])
@given(st.lists(st.one_of(names, evil, st.tuples(names, names).map("/".join)), min_size=1, max_size=6, unique=True))
def test_no_member_leaves_the_folder(tmp_path_factory, members):
    place = tmp_path_factory.mktemp("zip")
    archive = zipped(place / "photos.zip", [(zipfile.ZipInfo(name), str(n)) for n, name in enumerate(members)])
    written = folders.unpack(archive, place / "a" / "b")
    assert {path.resolve() for path in (place / "a").rglob("*") if path.is_file()} == {p.resolve() for p in written}
    assert all(path.parent == place / "a" / "b" for path in written)
    assert sorted(place.iterdir()) == [place / "a", archive]


BOMBS = [
    ("TOGETHER", 1000, dict.fromkeys("ab", bytes(600)), "more than 0 GB"),
    ("MOST", 3, dict.fromkeys("abcd", b"x"), "4 files"),
]


@pytest.mark.parametrize(("limit", "value", "members", "words"), BOMBS)
def test_bombs_are_refused(tmp_path, monkeypatch, limit, value, members, words):
    monkeypatch.setattr(folders, limit, value)
    archive = zipped(tmp_path / "bomb.zip", members.items(), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=words):
        folders.unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_film_and_what_is_too_large_in_a_zip_are_passed_over_and_told(tmp_path, monkeypatch):
    """As with the Live Photos of an iPhone, whose films may be larger than a photo is allowed to be."""
    monkeypatch.setattr(folders, "LARGEST", 1_000_000)
    monkeypatch.setattr(folders, "TOGETHER", 1_000_000)
    large = {"IMG_1.MOV": bytes(3_000_000), "IMG_2.png": bytes(2_000_000)}
    members = {"IMG_1.HEIC": encoded(blobs(1), "HEIF"), "IMG_1.mp4": b"film"} | large
    archive = zipped(tmp_path / "live.zip", members.items(), compress_type=zipfile.ZIP_DEFLATED)
    report = photos.prepare(archive, tmp_path / "out", 64).set_index("file")
    assert list(report.index[report.kept]) == ["IMG_1.HEIC"] and len(report) == 4
    assert "is a film" in report.why["IMG_1.MOV"] and "is a film" in report.why["IMG_1.mp4"]
    assert "is empty" in report.why["IMG_2.png"]


def test_folders_and_zips_within_the_folder_are_read(tmp_path):
    """As machine.upload says one may: a zip is quicker than many photos."""
    raw, png = tmp_path / "raw", lambda seed: encoded(blobs(seed), "PNG")
    for number, name in enumerate(["a.png", "one/a.png", "two/one/a.png", "two/b.png", ".ipynb_checkpoints/a.png"]):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(png(number))
    (raw / "desktop.ini").write_text("[.ShellClassInfo]")
    zipped(raw / "chat.zip", [("c.png", png(7)), ("b.png", png(8)), ("__MACOSX/._c.png", b"x")])
    (raw / "broken.zip").write_bytes(b"PK nothing")
    report = photos.prepare(raw, tmp_path / "out", 64).set_index("file")
    assert set(report.index[report.kept]) == {"a.png", "one_a.png", "one_a_2.png", "b.png", "c.png", "two_b.png"}
    assert list(report.index[~report.kept]) == ["broken.zip"] and "is a zip" in report.why["broken.zip"]
    assert photos.prepare(raw, tmp_path / "out", 64).set_index("file").equals(report)
    photos.contact_sheet(report.reset_index(), raw)
    editor = photos.CropEditor(report.reset_index(), raw, tmp_path / "out")
    assert set(editor.files) == set(report.index[report.kept]), "those in the zip, too"
    with pytest.raises(ValueError, match="within the originals"):
        photos.prepare(raw, raw / "squares", 64)


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_is_found_however_a_mac_writes_its_accents(tmp_path, on_disk, written):
    on_disk, written = (unicodedata.normalize(form, "Zoë am Café.png") for form in (on_disk, written))
    (tmp_path / "raw").mkdir()
    blobs(1).save(tmp_path / "raw" / on_disk)
    crop.write_crop(tmp_path / "out", written, (0, 0, 100, 100), (320, 240))
    report = photos.prepare(tmp_path / "raw", tmp_path / "out", 64, keep=[written])
    assert report.crop[0] == (0, 0, 100, 100) and report.kept[0]
    assert photos.prepare(tmp_path / "raw", tmp_path / "out", 64, leave_out=[written]).why[0] == "left out by hand."
    square = tmp_path / "squares" / on_disk
    square.parent.mkdir()
    blobs(1).save(square)
    photos.write_captions(square.parent, pd.DataFrame({"file": [written], "caption": ["a woman"]}))
    assert photos.read_captions(square.parent).file[0] == on_disk
    captions.keep_edits(pd.DataFrame({"file": [on_disk], "caption": ["x"]}), square.parent)


def test_squares_are_found_however_their_endings_are_written(tmp_path):
    names = ["a.JPG", "b.jpeg", "c.PNG", "d.webp", "e.bmp", "f.jfif"]
    for name in [*names, "notes.txt", ".hidden.png"]:
        (tmp_path / name).write_bytes(encoded(blobs(1, 64, 64), "JPEG"))
    assert [path.name for path, _ in photos.load_prepared(tmp_path)] == names
    assert [path.name for path in photos.squares_in(tmp_path)] == names
    assert photos.squares_in(tmp_path / "nowhere") == []


def test_a_broken_archive_is_refused_and_a_member_that_lies_or_is_damaged_is_left_empty(tmp_path):
    """The directory says 10 bytes where 3 million are packed; another member has a wrong check sum."""
    members = [("lie.png", bytes(3_000_000)), ("bad.png", b"hello")]
    archive = zipped(tmp_path / "a.zip", members, compress_type=zipfile.ZIP_DEFLATED)
    data = bytearray(archive.read_bytes())
    first = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, first + 24, 10)
    struct.pack_into("<I", data, data.index(b"PK\x01\x02", first + 4) + 16, 123)
    archive.write_bytes(data)
    sizes = {path.name: path.stat().st_size for path in folders.unpack(archive, tmp_path / "out")}
    assert sizes == {"lie.png": 0, "bad.png": 0}
    archive.write_bytes(data[:-30])
    with pytest.raises(ValueError, match=r"a\.zip is not a whole zip"):
        folders.unpack(archive, tmp_path / "out")


def test_files_of_one_name_from_two_folders(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        blobs(ord(name)).save(tmp_path / name / "a.png")
    with folders.originals([tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"]) as files:
        assert files == {"a.png": tmp_path / "x" / "a.png", "y_a.png": tmp_path / "y" / "a.png"}
    with pytest.raises(FileNotFoundError, match="no photos"), folders.originals([]):
        pass


def test_the_packed_set_is_complete_and_tells_nothing_of_the_originals(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for seed in range(2):
        blobs(seed).save(raw / f"private name {seed}.jpg")
    photos.prepare(raw, out, 64, rename="{number}")
    (out / "captions.csv").write_text("file,caption\n")
    first = folders.pack(out, tmp_path / "set.zip").read_bytes()
    assert folders.pack(out, tmp_path / "set.zip").read_bytes() == first and b"private" not in first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == ["1.png", "2.png", "captions.csv"]
        assert archive.read("1.png") == (out / "1.png").read_bytes()
    for _ in range(2):
        assert folders.pack(out, out / "set.zip").read_bytes() == first, "never packs itself"


def test_squares_are_cut_again_out_of_their_originals_as_they_were(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for number, kind in enumerate(("PNG", "PNG", "JPEG"), 1):
        image = blobs(number, 400, 300)
        (raw / f"{number}.{kind.lower()}").write_bytes(
            encoded(image, kind, **({"exif": turned()} if number == 3 else {}))
        )
    photos.prepare(raw, out, 64, focus={"2.png": (60, 60)})
    squares = photos.squares_in(out)
    again = photos.cut_again(squares, raw, 64)
    assert all(np.array_equal(image, photos.open_photo(path)) for image, path in zip(again, squares, strict=True))
    assert [image.size for image in photos.cut_again(squares, raw, 128)] == [(128, 128)] * 3
    (raw / "2.png").unlink()
    assert len(photos.cut_again(squares, raw, 128)) == 2
    with pytest.raises(FileNotFoundError, match="none of the originals"):
        photos.cut_again(squares[1:2], raw, 128)
    with pytest.raises(ValueError, match="several folders"):
        photos.cut_again([*squares, tmp_path / "other" / squares[0].name], raw, 128)


def test_mirror_images_and_squares_without_a_report_are_left_out(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "a.png").write_bytes(encoded(blobs(1), "PNG"))
    photos.prepare(raw, out, 64, flip=True)
    assert len(photos.squares_in(out)) == 2 and len(photos.cut_again(photos.squares_in(out), raw, 64)) == 1
    (out / "report.csv").unlink()
    with pytest.raises(FileNotFoundError, match="none of the originals"):
        photos.cut_again(photos.squares_in(out), raw, 64)


def turned():
    """EXIF that says: lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
