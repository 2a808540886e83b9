"""One photo from file to squares, and what was measured on the way; runs in any process."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from helpers import framing, quality
from helpers.faces import find_faces
from helpers.files import atomic_write, write_json
from helpers.focus import find_focus
from helpers.photo_open import decode

BROKEN = 0.1  # of the height
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}


def examine(path, folder, key, settings):
    """Measure a photo, write its squares as folder/KEY-0.png and so on, and folder/KEY.json last; returns its content.

    settings: size, fit, background, flip, pieces, format, quality, and of this photo box or focus (or None),
    keep, leave_out. Never raises for a bad photo: its record says what is wrong.
    """
    record = {"row": {"kept": False, "why": ""}, "print": None, "squares": []}
    try:
        image, full = _open(path, settings)
    except ValueError as error:
        record["row"]["why"] = str(error)
    else:
        boxes = _measure(record, image, full, settings)
        if record["row"]["kept"]:
            record["squares"] = _write(image, full, boxes, Path(folder), key, settings)
    write_json(Path(folder) / f"{key}.json", record)
    return record


def _open(path, settings):
    """The photo, decoded no larger than its squares and its measures need. A crop by hand may need all of it."""
    enough = max(round(1.4 * settings["size"]), 2 * quality.SIDE)  # 48 dB from the square of the whole photo
    return decode(path, settings["background"], None if settings["box"] else enough)


def _measure(record, image, full, settings):
    """Fill in the record's row and fingerprint; returns the boxes to cut, in pixels of the full photo."""
    row, scale = record["row"], full[0] / image.width
    faces = find_faces(image)
    boxes, row["focus"] = _boxes(image, full, faces, settings)
    samples = [_sample(image, _scaled(box, 1 / scale, image.size)) for box in boxes]
    sample = max(samples, key=quality.sharpness)  # of pieces, one may well show nothing but sky
    (dark, bright), sharp = quality.brightness(sample), round(quality.sharpness(sample), 1)
    row |= {"width": full[0], "height": full[1], "faces": len(faces), "blur": sharp}
    row |= {"darkest": round(dark), "brightness": round(bright), "crop": boxes[0], "further_crops": boxes[1:]}
    if settings["leave_out"]:
        row["why"] = "left out by hand."
    elif not settings["keep"]:
        cut = max(full) if settings["fit"] == "pad" else boxes[0][2] - boxes[0][0]
        chosen = row["focus"] in ("hand", "pieces")
        row["why"] = quality.complaint(full, settings["size"], sharp, dark, bright, cut, chosen)
        if not row["why"] and quality.broken_off(image) > BROKEN:
            row["why"] = "its lower part is one flat colour, as if a copy broke off: look at it."
    row["kept"] = not row["why"]
    record["print"] = quality.fingerprint(image).tolist()
    return boxes


def _sample(image, box):
    """The part of the image in `box` at the size at which photos are measured."""
    return image.resize((quality.SIDE,) * 2, Image.Resampling.BOX, box=box)


def _boxes(image, full, faces, settings):
    """The squares to cut out of a photo and what found them; for padding, the whole photo."""
    if settings["fit"] == "pad":
        return [(0, 0, *full)], "padded"
    if settings["box"]:
        return [framing.clamp(settings["box"], full)], "hand"
    if settings["pieces"] and len(framing.pieces(full)) > 1:
        return framing.pieces(full), "pieces"
    if settings["focus"]:
        return [framing.crop_box(full, settings["focus"])], "hand"
    (x, y), found_by = find_focus(image, faces)
    scale = full[0] / image.width
    return [framing.crop_box(full, (x * scale, y * scale))], found_by


def _scaled(box, scale, size):
    """A box in another scale, within the picture."""
    return tuple(float(min(max(edge * scale, 0), limit)) for edge, limit in zip(box, (*size, *size)))


def _write(image, full, boxes, folder, key, settings):
    """Write the squares and, if asked, their mirror images; returns the names of the files."""
    scale, size, squares = image.width / full[0], settings["size"], []
    for box in boxes:
        if settings["fit"] == "pad":
            square = framing.pad(image, size, settings["background"])
        else:
            square = framing.cut(image, _scaled(box, scale, image.size), size)
        squares += [("", square), ("_flipped", ImageOps.mirror(square))] if settings["flip"] else [("", square)]
    names = []
    for number, (mark, square) in enumerate(squares):
        names.append(f"{key}-{number}{mark}{SUFFIXES[settings['format']]}")
        with atomic_write(folder / names[-1]) as partial:
            save(square, partial, settings["format"], settings["quality"])
    return names


def save(image, path, kind, quality=95):
    """Save an image as "PNG", "JPEG" or "WEBP" (quality 1 to 100), with nothing but its pixels."""
    options = {"PNG": {"compress_level": 3}, "JPEG": {"quality": quality, "subsampling": 0 if quality > 90 else -1}}
    bare = Image.fromarray(np.asarray(image))
    bare.save(path, kind, **options.get(kind, {"quality": quality, "method": 4}))
