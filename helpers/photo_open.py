"""Open a picture file of any kind: upright, RGB in the colours of sRGB, nothing hidden in it; or say why not."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageColor

from helpers.photo_whole import check_whole, ends_in_grey

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:  # then only HEIC cannot be read, and open_photo says so
    pillow_heif = None

PIXELS = 120_000_000  # a picture of more is not opened: as RGB it would take 360 MB
SRGB = ImageCms.createProfile("sRGB")
TURN = {  # what the EXIF orientation asks of a viewer (CIPA DC-008, table 4.6.4-A)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_photo(path, background="white", at_least=None):
    """The picture in a file: RGB (sRGB), upright, transparent parts on `background`, free of metadata.

    Any format that Pillow reads, and HEIC through pillow-heif; of an animation the first frame; 16 bits and
    floats (0 to 1) are scaled to 8 bits. at_least: a picture whose sides are at least twice as many pixels may
    come out smaller, but no side under this; a JPEG is then decoded small, in a third of the time.
    Raises ValueError, in one sentence that names the file, for whatever cannot be shown whole.
    """
    return decode(path, background, at_least)[0]


def decode(path, background="white", at_least=None):
    """open_photo's picture and the upright (width, height) that the file really has."""
    path = Path(path)
    _check_file(path)
    background = ImageColor.getrgb(background)[:3] if isinstance(background, str) else tuple(background)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures are measured below, odd tags do no harm
            check_whole(path)
            with Image.open(path) as file:
                return _upright(file, background, at_least)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"{path.name} is not a picture, whatever its name says: leave it out.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has too many pixels to be safe to open: save it smaller.") from error
    except Exception as error:  # broken files make decoders raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is damaged ({reason}): copy it from the phone again.") from error


def _check_file(path):
    """Raise ValueError for what need not be opened to be refused."""
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file: leave only photos in the folder.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} is empty: copy it from the phone again.")
    if path.suffix.lower() in (".heic", ".heif") and pillow_heif is None:
        raise ValueError(f"{path.name} is HEIC: run `pip install pillow-heif`, or save it as JPEG.")


def _upright(file, background, at_least):
    stored = file.size
    if at_least:
        file.draft(None, (at_least, at_least))
    drafted = file.size
    if drafted[0] * drafted[1] > PIXELS:
        raise Image.DecompressionBombError
    file.load()
    full = file.size if drafted == stored else stored  # some decoders turn the picture while they load it
    orientation = file.getexif().get(0x0112, 1)
    if file.format in ("JPEG", "MPO") and ends_in_grey(file):
        raise OSError("its lower part is missing")
    plain = _plain(_smaller(file, at_least), file.info.get("icc_profile"), background)
    if orientation in TURN:
        plain = plain.transpose(TURN[orientation])
    return plain, full[::-1] if orientation in (5, 6, 7, 8) else full


def _smaller(image, at_least):
    """The image by a whole factor smaller, areas averaged, where that leaves `at_least` pixels a side."""
    factor = min(image.size) // at_least if at_least else 1
    return image.reduce(factor) if factor > 1 and image.mode in ("RGB", "L", "CMYK") else image


def _plain(image, profile, background):
    """8-bit RGB in sRGB on the background, made anew so that no EXIF, GPS, profile or comment comes along."""
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip instead of scaling
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype("uint8"))
    elif image.mode == "F":
        image = Image.fromarray((255 * np.nan_to_num(np.asarray(image)).clip(0, 1)).astype("uint8"))
    alpha = None
    if image.has_transparency_data:
        grey, image = image.mode == "LA", image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("L" if grey else "RGB")  # a profile of grey fits nothing else
    plain = Image.new("RGB", image.size, background)
    plain.paste(_to_srgb(image, profile), mask=alpha)
    return plain


def _to_srgb(image, profile):
    """The image as RGB, its colours translated if they come with a profile that fits and can be read."""
    image = image.convert("RGB") if image.mode == "P" else image  # the profile is of the palette's colours
    if profile and image.mode in ("RGB", "L", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                return ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a broken profile: viewers take the colours for sRGB then, and so do we
    return image if image.mode == "RGB" else image.convert("RGB")
