"""From a photo of any shape to squares: cut around a point, pad, or cut a long photo into several."""

import math

from PIL import Image

STRIP = 0.5  # a photo whose short side is at most this share of its long side is worth cutting into pieces
OVERLAP = 0.2  # of a piece, shared with the next; both as in AUTOMATIC1111's preprocessing


def crop_box(size, focus):
    """The largest square within width and height `size`, as near to `focus` (x, y) as it can lie.

    (left, top, right, bottom) in whole pixels.
    """
    side = min(size)
    left, top = (round(min(max(at - side / 2, 0), length - side)) for at, length in zip(focus, size))
    return left, top, left + side, top + side


def clamp(box, size):
    """A square box near the one given, whole pixels, within `size` and at least 16 pixels (or all there is) a side.

    Raises ValueError if the box is not four numbers.
    """
    try:
        left, top, right, bottom = (float(edge) for edge in box)
        side = round(min(max(min(right - left, bottom - top), 16), min(size)))
        left, top = (round(min(max(edge, 0), length - side)) for edge, length in zip((left, top), size))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{box!r} is not a crop: write (left, top, right, bottom) in pixels.") from error
    return left, top, left + side, top + side


def pieces(size):
    """Square boxes that cover a long photo from end to end, each sharing a fifth or more with the next.

    One box for a photo that is not long.
    """
    width, height = size
    side, length = min(size), max(size)
    if side > STRIP * length:
        return [crop_box(size, (width / 2, height / 2))]
    count = math.ceil((length - side * OVERLAP) / (side * (1 - OVERLAP)))
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    return [(at, 0, at + side, side) if width > height else (0, at, side, at + side) for at in starts]


def cut(image, box, size):
    """The part of the image in `box` as size x size pixels. Lanczos over averaged areas, never stretched."""
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3)


def pad(image, size, background="white"):
    """The whole image within size x size pixels, the rest filled with a colour."""
    scale = size / max(image.size)
    small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS, reducing_gap=3)
    square = Image.new("RGB", (size, size), background)
    square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return square
