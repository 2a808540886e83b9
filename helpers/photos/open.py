"""Open a picture file of any kind: upright, RGB in the colours of sRGB, nothing hidden in it; or say why not."""

import io
import mmap
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageColor, ImageOps, JpegImagePlugin

pillow_heif.register_heif_opener()
PIXELS = 120_000_000  # a picture of more is not opened: as RGB it would take 360 MB
SRGB = ImageCms.createProfile("sRGB")
ORIENTATION = ExifTags.Base.Orientation


def open_photo(path, background="white", at_least=None):
    """The picture in a file: RGB (sRGB), upright, transparent parts on `background`, free of metadata.

    Reads whatever Pillow reads, and HEIC through pillow-heif; of an animation the first frame; 16 bits and floats
    (0 to 1) are scaled to 8 bits. at_least: no side comes out with fewer pixels, but large pictures come out smaller;
    a JPEG is then decoded small, in a third of the time.
    Raises ValueError, one sentence that names the file, for whatever cannot be shown whole.
    """
    return decode(path, background, at_least)[0]


def decode(path, background="white", at_least=None):
    """open_photo's picture and the upright (width, height) that the file really has."""
    path, background = Path(path), ImageColor.getrgb(background)[:3]
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file: leave only photos in the folder.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} is empty: copy it from the phone again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures are measured below, odd tags do no harm
            _check_whole(path)
            with Image.open(path) as file:
                return _upright(file, background, at_least)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"{path.name} is not a picture, whatever its name says: leave it out.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has too many pixels to be safe to open: save it smaller.") from error
    except Exception as error:  # broken files make decoders raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is damaged ({reason}): copy it from the phone again.") from error


def _upright(file, background, at_least):
    stored = file.size
    if at_least:
        file.draft(None, (at_least, at_least))
    drafted = file.size
    if drafted[0] * drafted[1] > PIXELS:
        raise Image.DecompressionBombError
    file.load()
    full = file.size if drafted == stored else stored  # some decoders turn the picture while they load it
    orientation = file.getexif().get(ORIENTATION, 1)
    if file.format in ("JPEG", "MPO") and _ends_in_grey(file):
        raise OSError("its lower part is missing")
    factor = min(file.size) // at_least if at_least else 1
    small = file.reduce(factor) if factor > 1 and file.mode in ("RGB", "L", "CMYK") else file
    plain = _plain(small, file.info.get("icc_profile"), background)
    if orientation in range(2, 9):
        plain.getexif()[ORIENTATION] = orientation
        ImageOps.exif_transpose(plain, in_place=True)  # takes the note out again
    return plain, full[::-1] if orientation in (5, 6, 7, 8) else full


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


def _check_whole(path):
    """Raise OSError or SyntaxError if a file shows that it is damaged; decoders often go on regardless.

    Of a PNG every byte is checked. Other formats have no check sums: then only the end and the length can tell.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:8] == b"\x89PNG\r\n\x1a\n":
            with Image.open(path) as image:
                image.verify()  # the check sums, which loading skips for the pixels
        elif content[:2] == b"\xff\xd8":
            with JpegImagePlugin.JpegImageFile(path) as image:  # stops at the pixels, past the thumbnail
                if content.find(b"\xff\xd9", image.fp.tell()) < 0:  # cannot occur among pixels (ITU-T T.81, B.1)
                    raise OSError("its end is missing")  # more may follow it: phones append films
        elif not content[-max(32, len(content) // 50) :].strip(b"\0"):  # space kept for what never came
            raise OSError("its end is empty, as if a copy broke off")
        elif (stated := _stated_length(content)) is not None:
            spare = len(content) - stated
            if spare and not (content[:2] == b"BM" and 0 < spare < 4):  # some programs pad their BMP files
                raise OSError(f"it should be {stated} bytes long")


def _stated_length(content):
    """How long a file says it is: WebP and BMP in their heads, HEIC and AVIF by the lengths of their boxes; else None.

    (RIFF; BITMAPFILEHEADER; ISO/IEC 14496-12, 4.2)
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return 8 + int.from_bytes(content[4:8], "little")
    if content[:2] == b"BM":
        return int.from_bytes(content[2:6], "little") or None
    return _end_of_boxes(content) if content[4:8] == b"ftyp" else None


def _end_of_boxes(content):
    """Where the last box ends; it may lie beyond the end of the file, and so may a box that is none."""
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length == 0:  # to the end of the file
            return len(content)
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16], "big")
        if length < 8 or not content[at + 4 : at + 8].isascii():
            return at
        at += length
    return at


def _ends_in_grey(image):
    """Whether the last rows are the grey that libjpeg fills in for missing data, and the first are not."""
    if image.mode not in ("RGB", "L") or image.height < 2:
        return False
    last, first = (np.asarray(image.crop((0, y, image.width, y + 1))) for y in (image.height - 1, 0))
    return bool((last == 128).all() and (first != 128).any())
