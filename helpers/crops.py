"""Crops chosen by hand, kept in crops.json beside the squares: {file of the photo: [left, top, right, bottom]}."""

from pathlib import Path

from helpers.files import read_json, write_json
from helpers.framing import clamp


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
