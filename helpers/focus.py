"""Where to look in a photo: at a face, else at what stands out, else at the middle."""

import numpy as np
from PIL import Image

from helpers.faces import find_faces


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
