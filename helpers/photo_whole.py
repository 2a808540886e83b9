"""Whether a picture file is whole, as far as the file itself can tell."""

import numpy as np
from PIL import Image


def check_whole(path):
    """Raise OSError or SyntaxError if a file shows that it is not as it was written; decoders often go on regardless.

    Of a PNG every byte is checked. Other formats have no check sums: then only the end and the length can tell.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if head == b"\x89PNG\r\n\x1a\n":
        with Image.open(path) as file:
            file.verify()  # the check sums, which loading skips for the pixels
    elif head[:2] == b"\xff\xd8":
        if not _has_end(path.read_bytes()):
            raise OSError("its end is missing")
    elif _ends_in_nothing(path):
        raise OSError("its end is empty, as if a copy broke off")
    elif (told := _length_told(path)) is not None:
        spare = path.stat().st_size - told
        if spare and not (head[:2] == b"BM" and 0 < spare < 4):  # some programs pad their BMP files
            raise OSError(f"it should be {told} bytes long")


def _ends_in_nothing(path):
    """Whether the last fiftieth of a file, and at least 32 bytes, are zeros: space kept for what never came."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(-min(size, max(32, size // 50)), 2)
        return not file.read().strip(b"\0")


def _has_end(jpeg):
    """Whether an end-of-image mark follows the start of the pixels. More may follow: phones append films.

    The mark cannot occur among the pixels themselves, and the thumbnail's lies before them (ITU-T T.81, B.1).
    """
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        if jpeg[at + 1] == 0xDA:  # start of scan
            return jpeg.find(b"\xff\xd9", at) >= 0
        at += 1 if jpeg[at + 1] == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return True  # unusual segments: let the decoder judge


def _length_told(path):
    """How long a file says it is: WebP and BMP in their heads, HEIC and AVIF by the lengths of their boxes; else None.

    (RIFF; BITMAPFILEHEADER; ISO/IEC 14496-12, 4.2)
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WEBP":
            return 8 + int.from_bytes(head[4:8], "little")
        if head[:2] == b"BM":
            return int.from_bytes(head[2:6], "little") or None
        return _end_of_boxes(file, path.stat().st_size) if head[4:8] == b"ftyp" else None


def _end_of_boxes(file, size):
    """Where the last box ends; it may lie beyond the end of the file, and so may a box that is none."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 0:  # to the end of the file
            return size
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8 or not head[4:8].isascii():
            return at
        at += length
    return at


def ends_in_grey(image):
    """Whether the last rows are the grey that libjpeg fills in for missing data, and the first are not."""
    if image.mode not in ("RGB", "L") or image.height < 2:
        return False
    last, first = (np.asarray(image.crop((0, y, image.width, y + 1))) for y in (image.height - 1, 0))
    return bool((last == 128).all() and (first != 128).any())
