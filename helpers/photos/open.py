"""Open a picture file of any kind: upright, RGB in the colours of sRGB, nothing hidden in it; or say why not."""

import bisect
import contextlib
import io
import mmap
import random
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageColor, ImageOps, JpegImagePlugin, TiffImagePlugin

pillow_heif.register_heif_opener()
# what Pillow may try, whatever a name says: not EPS, which it would hand to another program
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM", "TGA", "PSD")
RAW = {".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".x3f"}
FILMS = {".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".mts", ".wmv"}
PIXELS = 120_000_000  # a picture of more is not opened: as RGB it would take 360 MB
SRGB = ImageCms.createProfile("sRGB")
ORIENTATION = ExifTags.Base.Orientation


def open_photo(path, background="white", at_least=None):
    """The picture in a file: RGB (sRGB), upright, transparent parts on `background`, free of metadata.

    Reads FORMATS, HEIC through pillow-heif; of an animation the first frame; 16 bits and floats (0 to 1) are scaled to
    8 bits. at_least: no side comes out with fewer pixels, but large pictures come out smaller; a JPEG is then decoded
    small, in a third of the time, and so is one that is too large for memory.
    Raises ValueError, one sentence that names the file, for whatever cannot be shown whole.
    """
    return decode(path, background, at_least)[0]


def decode(path, background="white", at_least=None):
    """open_photo's picture and the upright (width, height) that the file really has."""
    path, background = Path(path), ImageColor.getrgb(background)[:3]
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file: leave only photos in the folder.")
    with path.open("rb") as file:
        head = file.read(4)
    if why := _no_photo(path, head):
        raise ValueError(f"{path.name} {why}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures are measured below, odd tags do no harm
            _check_whole(path)
            jpeg = head.startswith(b"\xff\xd8")  # its pixels can be decoded small, so any number may come
            with JpegImagePlugin.JpegImageFile(path) if jpeg else Image.open(path, formats=FORMATS) as file:
                return _upright(file, background, at_least)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"{path.name} is not a picture, whatever its name says: leave it out.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has too many pixels to be safe to open: save it smaller.") from error
    except Exception as error:  # broken files make decoders raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is damaged ({reason}): copy it from the phone again.") from error


def _no_photo(path, head):
    """What a file is instead of a photo, with the mend; "" if it may be one."""
    ending = path.suffix.lower()
    raw = ending in RAW
    if not raw and head in (b"II*\0", b"MM\0*"):  # a DNG, or a preview of what only a camera's own program reads
        with contextlib.suppress(Exception), TiffImagePlugin.TiffImageFile(path) as image:  # damaged: told below
            raw = 50706 in image.tag_v2 or (image.tag_v2.get(254) == 1 and 330 in image.tag_v2)
    kinds = {
        "is a film: if its photo is here too (a Live Photo), all is well; else take a still from it.": ending in FILMS,
        "is a zip that cannot be read: unpack it, or pack it again.": ending == ".zip",
        "is empty: copy it from the phone again, without a zip around it.": not head,
        "is a RAW file of a camera: export it as JPEG.": raw,
    }
    return next((words for words, it_is in kinds.items() if it_is), "")


def _load(file, at_least):
    """Decode a picture, small if it may be or must be. Raises DecompressionBombError if it would take too much."""
    shrink = next((by for by in (1, 2, 4) if file.width * file.height <= PIXELS * by * by), 8)
    file.draft(None, [min(at_least or side, side // shrink) for side in file.size])
    if file.width * file.height > PIXELS:
        raise Image.DecompressionBombError
    file.load()
    return file


def _upright(file, background, at_least):
    stored = file.size
    _load(file, at_least)
    full = stored if file.format == "JPEG" else file.size  # some decoders turn the picture while they load it
    orientation = file.getexif().get(ORIENTATION, 1)
    if file.format == "JPEG" and _breaks_off(file, at_least):
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
        # viewers take the colours for sRGB where a profile is broken, and so do we
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                return ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _check_whole(path):
    """Raise OSError or SyntaxError if a file shows that it is damaged; decoders often go on regardless.

    Of a PNG every byte is checked. Other formats have no check sums: then only the end and the length can tell.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:8] == b"\x89PNG\r\n\x1a\n":
            with Image.open(path, formats=["PNG"]) as image:
                image.verify()  # the check sums, which loading skips for the pixels
        elif content[:2] == b"\xff\xd8":
            with JpegImagePlugin.JpegImageFile(path) as image:  # stops at the pixels, past the thumbnail
                if content.find(b"\xff\xd9", image.fp.tell()) < 0:  # cannot occur among pixels (ITU-T T.81, B.1)
                    raise OSError("its end is missing")  # more may follow it: phones append films
        elif not content[-max(32, len(content) // 50) :].strip(b"\0") and not _black_below(path, content):
            raise OSError("its end is empty, as if a copy broke off")  # space kept for what never came
        elif (stated := _stated_length(content)) not in (None, len(content)):
            raise OSError(f"it should be {stated} bytes long")


def _black_below(path, content):
    """Whether the zeros at a file's end are black pixels; a copy breaks off amid a row, above which the picture goes on."""
    with Image.open(path, formats=FORMATS) as image:
        tiles = sorted(image.tile, key=lambda tile: tile[2])
    if not tiles or image.format in ("AVIF", "WEBP", "HEIF") or any(codec != "raw" for codec, *_ in tiles):
        return False  # their tiles are what a library of their own has decoded
    end, starts = len(content[:].rstrip(b"\0")), [start for _, _, start, _ in tiles]
    number = max(0, bisect.bisect(starts, end) - 1)
    (_, top, _, bottom), stop = tiles[number][1], [*starts, len(content)][number + 1]
    row = (stop - starts[number]) // (bottom - top)  # in bytes
    above = content[end - row : end - row + (starts[number] - end) % row]
    return len(above.replace(b"\0", b"")) <= max(8, len(above) // 2)


def _stated_length(content):
    """How long a file says it is: WebP and BMP in their heads, HEIC and AVIF by the lengths of their boxes; else None.

    (RIFF; BITMAPFILEHEADER; ISO/IEC 14496-12, 4.2)
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return 8 + int.from_bytes(content[4:8], "little")
    if content[:2] == b"BM":
        stated = int.from_bytes(content[2:6], "little")
        return len(content) if 0 < len(content) - stated < 4 else stated or None  # some programs pad their BMP files
    at = 0  # where the last box ends, which may lie beyond the end of the file, and so may a box that is none
    while content[4:8] == b"ftyp" and at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length == 0:  # to the end of the file
            return len(content)
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16], "big")
        if length < 8 or not content[at + 4 : at + 8].isascii():
            return at
        at += length
    return at or None


def _breaks_off(image, at_least):
    """Whether a JPEG's pixels break off: more data before its end would then show; of a whole one nobody reads it.

    Looked at where the last row is the grey that libjpeg fills in for missing data, and the first is not.
    """
    last, first = (np.asarray(image.crop((0, y, image.width, y + 1))) for y in (image.height - 1, 0))
    if image.mode not in ("RGB", "L") or (last != 128).any() or (first == 128).all():
        return False
    content = Path(image.filename).read_bytes()
    with JpegImagePlugin.JpegImageFile(io.BytesIO(content)) as head:
        end = content.find(b"\xff\xd9", head.fp.tell())
    more = random.Random(0).randbytes(4096).replace(b"\xff", b"\x55")
    with JpegImagePlugin.JpegImageFile(io.BytesIO(content[:end] + more + content[end:])) as other:
        return not np.array_equal(_load(other, at_least), image)
