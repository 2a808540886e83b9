"""Opening picture files of every kind, whole or damaged."""

import ast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import STORED, bad_files, blobs, corners, encoded
from PIL import Image, ImageCms, ImageOps

from helpers.machine import REPO
from helpers.photos import check, open, open_photo, preparation

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = ["JPEG", "PNG", "WEBP", "TIFF"]


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@quick
@given(st.sampled_from(sorted(STORED)), st.integers(16, 90), st.integers(16, 90), st.sampled_from([*KINDS, "HEIF"]))
def test_every_orientation_comes_out_upright(tmp_path, orientation, width, height, kind):
    upright = corners(width, height)
    stored = upright if orientation == 1 else upright.transpose(STORED[orientation])
    (tmp_path / "photo").write_bytes(encoded(stored, kind, exif=turned(orientation)))
    opened = open_photo(tmp_path / "photo")
    assert opened.size == (width, height)
    seen = [opened.getpixel((x, y)) for y in (3, height - 4) for x in (3, width - 4)]
    assert abs(np.subtract(seen, [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])).max() < 40


@pytest.mark.parametrize(
    ("mode", "value", "kind", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("LA", (90, 0), "PNG", (255, 255, 255)),
        ("RGBA", (10, 200, 30, 255), "WEBP", (10, 200, 30)),
        ("RGBA", (0, 0, 0, 128), "PNG", (127, 127, 127)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("I;16", 40_000, "PNG", (156, 156, 156)),
        ("I;16", 300, "TIFF", (1, 1, 1)),
        ("F", 0.5, "TIFF", (127, 127, 127)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, value, kind, expected):
    (tmp_path / "photo").write_bytes(encoded(Image.new(mode, (20, 12), value), kind))
    opened = open_photo(tmp_path / "photo")
    assert (opened.mode, opened.size, opened.info) == ("RGB", (20, 12), {})
    assert abs(np.subtract(opened.getpixel((9, 6)), expected)).max() <= 6


def test_the_first_frame_of_a_transparent_animation_is_shown_on_white(tmp_path):
    frames = [Image.new("P", (9, 9), color) for color in (0, 1)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 200, 0, 0])
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], transparency=0)
    assert open_photo(tmp_path / "a.gif").getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_gives_one_line_that_names_it(tmp_path, name):
    (tmp_path / name).write_bytes(bad_files()[name])
    with pytest.raises(ValueError, match=rf"^{name} .+: .+\.$") as caught:
        open_photo(tmp_path / name)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_transparent_parts_take_the_background_that_is_asked_for(tmp_path):
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png", "#102030").getpixel((5, 5)) == (16, 32, 48)
    with pytest.raises(ValueError, match="unknown color"):
        open_photo(tmp_path / "a.png", "no such colour")


def swapped_profile():
    """An sRGB profile in which red and blue have changed places: its colours can only be right if it is used."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = plain.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return swapped.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [*((kind, "RGB") for kind in [*KINDS, "AVIF"]), ("WEBP", "RGBA"), ("PNG", "RGBA"), ("PNG", "P"), ("TIFF", "P")],
)
def test_colours_are_translated_to_srgb(tmp_path, kind, mode):
    image, options = Image.new(mode, (40, 40), 1 if mode == "P" else "red"), {}
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0])
        options = {"transparency": 0} if kind == "PNG" else {}
    (tmp_path / "a").write_bytes(encoded(image, kind, icc_profile=swapped_profile(), **options))
    seen = open_photo(tmp_path / "a")
    red, _, blue = seen.getpixel((20, 20))
    assert blue > 200 and red < 60 and seen.info == {}


def test_a_broken_or_foreign_profile_changes_nothing(tmp_path):
    for number, profile in enumerate([b"nonsense", swapped_profile()[:200]]):
        Image.new("RGB", (40, 40), (200, 40, 10)).save(tmp_path / f"{number}.png", icc_profile=profile)
        assert open_photo(tmp_path / f"{number}.png").getpixel((3, 3)) == (200, 40, 10)
    Image.new("L", (40, 40), 90).save(tmp_path / "grey.png", icc_profile=swapped_profile())
    assert open_photo(tmp_path / "grey.png").getpixel((3, 3)) == (90, 90, 90)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path, orientation):
    (tmp_path / "a.jpg").write_bytes(encoded(blobs(4, 1600, 1200), "JPEG", quality=92, exif=turned(orientation)))
    image, full = open.decode(tmp_path / "a.jpg", at_least=256)
    assert full == ((1600, 1200) if orientation == 1 else (1200, 1600))
    assert 256 <= min(image.size) < 600
    both = (each.resize((128, 128), Image.Resampling.LANCZOS) for each in (image, open_photo(tmp_path / "a.jpg")))
    error = np.subtract(*(np.asarray(each, float) for each in both))
    assert 10 * np.log10(255**2 / (error**2).mean()) > 38, "no eye tells them apart"


@quick
@given(st.integers(8, 300), st.integers(8, 300), st.integers(8, 200), st.sampled_from(["JPEG", "PNG", "CMYK"]))
def test_no_side_comes_out_under_what_is_needed(tmp_path, width, height, at_least, kind):
    image = blobs(1, width, height)
    image, kind = (image.convert("CMYK"), "JPEG") if kind == "CMYK" else (image, kind)
    (tmp_path / "a").write_bytes(encoded(image, kind))
    small, full = open.decode(tmp_path / "a", at_least=at_least)
    assert full == (width, height)
    assert min(small.size) >= min(at_least, width, height)
    assert small.width / small.height == pytest.approx(width / height, rel=0.15)


def test_a_jpeg_without_its_lower_part_and_a_png_with_a_wrong_check_sum_are_refused(tmp_path):
    jpeg, png = encoded(blobs(1), "JPEG", quality=90), bytearray(encoded(blobs(1), "PNG"))
    png[-13] ^= 1  # the last of IDAT's, before IEND
    for name, content in (("a.jpg", jpeg[: len(jpeg) * 2 // 3] + b"\xff\xd9"), ("a.png", png)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            open_photo(tmp_path / name)


def test_a_film_behind_the_photo_does_no_harm(tmp_path):
    film = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes() + b"\xff\xda" + bytes(99)
    (tmp_path / "a.jpg").write_bytes(encoded(blobs(1), "JPEG") + film)
    assert open_photo(tmp_path / "a.jpg").size == blobs(1).size
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "grey.jpg")
    assert open_photo(tmp_path / "grey.jpg").size == (64, 64), "grey all over is no damage"


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"
NOT_A_PHOTO = [
    ("IMG_0001.MOV", b"\0\0\0\x14ftypqt  ", "is a film"),
    ("DSC_0001.NEF", encoded(blobs(1, 160, 120), "TIFF"), "RAW file of a camera: export it as JPEG"),
    ("IMG_0001.CR3", b"\0\0\0\x18ftypcrx ", "export it as JPEG"),
    ("renamed.tif", encoded(blobs(1), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "export it as JPEG"),
    ("inner.zip", b"PK\3\4", "is a zip"),
    ("letter.jpg", EPS, "is not a picture"),
]


@pytest.mark.parametrize(("name", "content", "words"), NOT_A_PHOTO)
def test_what_is_no_photo_is_told_by_what_it_is(tmp_path, monkeypatch, name, content, words):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("handed to Ghostscript"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        open_photo(tmp_path / name)


def test_every_picture_file_is_opened_as_one_of_the_formats_that_are_named():
    """Else Pillow goes by the content, and hands EPS to Ghostscript, which runs programs."""
    for path in (
        path for place in ("helpers", "pocket", "tools", "benchmarks") for path in (REPO / place).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
                assert any(keyword.arg == "formats" for keyword in node.keywords), f"{path}, line {node.lineno}"


def below(kind, color, **options):
    """A picture whose lower third is of one colour, as a file."""
    image = blobs(1, 330, 240)
    image.paste(color, (0, 160, 330, 240))
    return encoded(image, kind, **options)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PPM", "JPEG", "JPEG progressive"])
def test_a_lower_part_of_one_colour_is_no_damage(tmp_path, kind):
    kind, *progressive = kind.split()
    color = (128, 128, 128) if kind == "JPEG" else (0, 0, 0)
    whole = below(kind, color, progressive=bool(progressive))
    if kind == "BMP":  # which begins at the bottom
        whole = encoded(ImageOps.flip(open_photo(write(tmp_path / "b", whole))), kind)
    assert open_photo(write(tmp_path / "photo", whole)).size == (330, 240)
    assert open_photo(write(tmp_path / "photo", whole), at_least=60).height >= 60
    (settings_of_it,) = preparation.settings_of({"photo": tmp_path / "photo"}, 64)
    assert check.examine(tmp_path / "photo", tmp_path, "key", settings_of_it)["row"]["kept"]
    broken = whole[: len(whole) // 2 + 400]  # amid a row
    broken = broken + b"\xff\xd9" if kind == "JPEG" else broken.ljust(len(whole), b"\0")
    with pytest.raises(ValueError, match="is damaged"):
        open_photo(write(tmp_path / "photo", broken))


def write(path, content):
    path.write_bytes(content)
    return path


def test_a_jpeg_of_200_megapixels_is_decoded_small(tmp_path):
    Image.linear_gradient("L").resize((16_400, 12_300)).save(tmp_path / "a.jpg", quality=30)
    small, full = open.decode(tmp_path / "a.jpg", at_least=512)
    assert full == (16_400, 12_300) and 512 <= small.height < 1600 and small.getpixel((5, small.height - 5))[0] > 240
    assert open_photo(tmp_path / "a.jpg").size == (8200, 6150), "where nobody says how small: as large as is safe"


def test_too_many_pixels_are_refused_before_they_take_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(open, "PIXELS", 320 * 200)
    blobs(1).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="too many pixels"):
        open_photo(tmp_path / "a.png")
    blobs(1).save(tmp_path / "a.jpg")
    assert open_photo(tmp_path / "a.jpg", at_least=60).size == (80, 60), "decoded small, it fits"
