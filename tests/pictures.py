"""Pictures and picture files to test with."""

import io
import os
import time

import numpy as np
import pillow_heif
from PIL import Image, ImageDraw

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
    """A picture of coloured fields in focus, another for every seed."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)
    ImageDraw.Draw(image).line((0, seed % height, width, height // 2), "black", 3)
    return image


def noise_images(count, seed=0, size=128):
    """Squares in which every pixel has a colour of its own."""
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)]


def encoded(image, kind, **options):
    file = io.BytesIO()
    if kind == "HEIF" and "exif" in options:  # Pillow's own way to it loses the orientation
        pillow_heif.from_pillow(image).save(file, exif=options["exif"].tobytes())
    else:
        image.save(file, kind, **options)
    return file.getvalue()


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


def deadly(path, folder, key, settings):
    """Stands for a decoder that crashes."""
    if "killer" in str(path):
        os._exit(1)
    time.sleep(0.05)
    return {"row": {"kept": True, "why": ""}, "print": None, "squares": []}
