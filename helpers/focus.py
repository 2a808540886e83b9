"""Where to look in a photo: at a face, else at what stands out, else at the middle."""

import functools

import numpy as np
from PIL import Image


@functools.cache
def _cascade():
    """scikit-image's face detector (local binary patterns), or None where it cannot be had.

    That is where scikit-image is not installed, or comes without the detector's file: then the crop
    follows what stands out.
    """
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        return Cascade(lbp_frontal_face_cascade_filename())
    except (ImportError, OSError, RuntimeError, ValueError):
        return None


def find_face(image):
    """The largest face as (left, top, right, bottom) in pixels, or None.

    By scikit-image's LBP cascade, which learnt from photographs: of drawn faces it sees about half.
    """
    scale = max(image.size) / 400  # faces of an eighth of the picture and more
    small = image.resize([max(1, round(side / scale)) for side in image.size], reducing_gap=2)
    if _cascade() is None or min(small.size) < 48:
        return None
    found = _cascade().detect_multi_scale(
        np.asarray(small), scale_factor=1.2, step_ratio=1, min_size=(48, 48), max_size=(400, 400)
    )
    if not found:
        return None
    face = max(found, key=lambda box: box["width"])
    left, top, side = face["c"] * scale, face["r"] * scale, face["width"] * scale
    return left, top, left + side, top + side


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


def find_focus(image):
    """The point (x, y) that a crop should hold, in pixels, and what found it: "face", "salience" or "centre"."""
    face = find_face(image)
    if face:  # which sits a little above the middle of a portrait
        left, top, right, bottom = face
        return ((left + right) / 2, top + 0.75 * (bottom - top)), "face"
    weights = salience(image)
    if weights.sum() < 0.01 * weights.size:
        return (image.width / 2, image.height / 2), "centre"
    rows, columns = np.indices(weights.shape) + 0.5
    x, y = (float((along * weights).sum() / weights.sum()) for along in (columns, rows))
    return (x * image.width / weights.shape[1], y * image.height / weights.shape[0]), "salience"


def crop_box(size, focus):
    """The largest square within width and height `size`, as near to `focus` (x, y) as it can lie.

    (left, top, right, bottom) in whole pixels.
    """
    side = min(size)
    left, top = (round(min(max(at - side / 2, 0), length - side)) for at, length in zip(focus, size))
    return left, top, left + side, top + side
