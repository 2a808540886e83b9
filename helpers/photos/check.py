"""One photo from file to squares, and what makes it bad to learn from: too small, dark, bright, blurred, taken twice."""

import numpy as np
from PIL import Image, ImageOps

from helpers.machine import atomic_write, write_json
from helpers.photos import crop
from helpers.photos.open import decode

BOX = Image.Resampling.BOX
SIDE = 256  # pixels: photos are measured at one size, or large ones would always seem blurred
BLURRED = 30  # sharpness below this; photos in focus have 60 to 80, before a soft ground 35, blurred by 1 % 20 to 32
DARK, BRIGHT = 60, 200  # of 255
LONGEST = 8  # times the short side: a strip, not a photo
SAME = 0.25  # distance below this; a copy, brighter and shifted by 1 %, has 0.05 to 0.22, another photo 0.3 or more
MARK = (32, 36, 3)  # the shape of a fingerprint
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}


def examine(path, folder, key, settings):
    """Measure a photo, write its squares as folder/KEY-0.png and so on, and folder/KEY.json last; returns its content.

    settings: a dict of preparation.settings_of. Never raises for a bad photo: its record says what is wrong.
    """
    enough = max(round(1.4 * settings["size"]), 2 * SIDE)  # 48 dB from the square of the whole photo
    try:  # a crop by hand may need all pixels
        image, full = decode(path, settings["background"], None if settings["box"] else enough)
    except ValueError as error:
        record = empty_record(str(error))
    else:
        row, boxes = _measure(image, full, settings)
        squares = _write(image, full, boxes, folder, key, settings) if row["kept"] else []
        record = {"row": row, "print": fingerprint(image).tobytes().hex(), "squares": squares}
    write_json(folder / f"{key}.json", record)
    return record


def empty_record(why):
    """The record of a photo that cannot be opened."""
    return {"row": {"kept": False, "why": why}, "print": None, "squares": []}


def _measure(image, full, settings):
    """(what the report says of a photo, the boxes to cut in pixels of the full photo)."""
    faces, scale = crop.find_faces(image), image.width / full[0]
    boxes, found_by = _boxes(image, full, faces, settings)
    samples = [image.resize((SIDE, SIDE), BOX, box=_scaled(box, scale, image.size)) for box in boxes]
    sample = max(samples, key=sharpness)  # of pieces, one may well show nothing but sky
    (dark, bright), sharp, why = brightness(sample), round(sharpness(sample), 1), ""
    if settings["leave_out"]:
        why = "left out by hand."
    elif not settings["keep"]:
        cut = max(full) if settings["fit"] == "pad" else boxes[0][2] - boxes[0][0]
        why = complaint(full, settings["size"], sharp, dark, bright, cut, found_by in ("hand", "pieces"))
    row = {"kept": not why, "why": why, "width": full[0], "height": full[1], "faces": len(faces), "focus": found_by}
    row |= {"blur": sharp, "darkest": round(dark), "brightness": round(bright)}
    return row | {"crop": boxes[0], "further_crops": boxes[1:]}, boxes


def _boxes(image, full, faces, settings):
    """The squares to cut out of a photo and what found them; for padding, the whole photo."""
    if settings["fit"] == "pad":
        return [(0, 0, *full)], "padded"
    if settings["box"]:
        return [crop.clamp(settings["box"], full)], "hand"
    if settings["pieces"] and len(crop.pieces(full)) > 1:
        return crop.pieces(full), "pieces"
    if settings["focus"]:
        return [crop.crop_box(full, settings["focus"])], "hand"
    (x, y), found_by = crop.find_focus(image, faces)
    scale, found_by = full[0] / image.width, found_by if faces else f"no face found: {found_by}"
    return [crop.crop_box(full, (x * scale, y * scale))], found_by


def _scaled(box, scale, size):
    """A box in another scale, within the picture."""
    return tuple(float(min(max(edge * scale, 0), limit)) for edge, limit in zip(box, (*size, *size)))


def _write(image, full, boxes, folder, key, settings):
    """Write the squares and, if asked, their mirror images, nothing but the pixels; returns the names of the files."""
    scale, size, kind, quality = image.width / full[0], *(settings[name] for name in ("size", "format", "quality"))
    options = {"PNG": {"compress_level": 3}, "WEBP": {"quality": quality, "method": 4}}
    options["JPEG"] = {"quality": quality, "subsampling": 0 if quality > 90 else -1}
    if settings["fit"] == "pad":
        cut = [crop.pad(image, size, settings["background"])]
    else:
        cut = [crop.cut(image, _scaled(box, scale, image.size), size) for box in boxes]
    squares = {}
    for number, square in enumerate(cut):
        squares[f"{key}-{number}{SUFFIXES[kind]}"] = square
        if settings["flip"]:
            squares[f"{key}-{number}_flipped{SUFFIXES[kind]}"] = ImageOps.mirror(square)
    for name, square in squares.items():
        with atomic_write(folder / name) as partial:
            Image.fromarray(np.asarray(square)).save(partial, kind, **options[kind])
    return list(squares)


def sharpness(image):
    """How much blurring once more would change the grey picture at 256 x 256 pixels: 0 (blurred) to 100.

    100 * (1 - the blur effect of Crete et al. 2007), which takes the worse of across and down.
    """
    from skimage.measure import blur_effect  # a second to import

    return 100 * (1 - float(blur_effect(_grey(image))))


def _grey(image):
    return np.asarray(image.resize((SIDE, SIDE), BOX).convert("L"))


def brightness(image):
    """What the darkest twentieth and the brightest twentieth of the picture reach, 0 to 255.

    The mean would call a dark-skinned face before a night sky a bad photo; in one that is too dark nothing is bright.
    """
    return tuple(float(value) for value in np.percentile(_grey(image), (5, 95)))


def fingerprint(image):
    """The picture in small, (32, 36, 3) of uint8: by `distance` it is known again when it is brighter, shifted, mirrored."""
    return np.asarray(image.resize(MARK[1::-1], BOX, reducing_gap=2))


def distance(one, other):
    """How unlike two fingerprints are, 0 to 1; one is mirrored if that brings them nearer.

    Of the places that get brighter or darker to the right in at least one, the share where they differ. Before the same
    wall that is little, whatever the pose; so it is at least 25 times the share of what is no even ground of which one
    shows nothing like it there or beside it.
    """
    both = ((_unlike(_steps(one), _steps(turned)), _missing(one, turned)) for turned in (other, other[:, ::-1]))
    return float(min(max(unlike, min(1, 25 * missing)) for unlike, missing in both))


def _steps(mark):
    """A difference hash in colour: where a fingerprint, 9 x 8 pixels small, gets brighter or darker to the right.

    (8, 8, 3) of -1, 0, 1. Steps under 8 of 255 count as none: a plain wall would be all noise. (Krawetz 2013)
    """
    steps = np.diff(np.asarray(mark, float).reshape(8, 4, 9, 4, 3).mean(axis=(1, 3)), axis=1)
    return (np.sign(steps) * (abs(steps) >= 8)).astype("int8")


def _unlike(one, other):
    """Of the places where one of two arrays of steps has a step, the share where they differ; other: or n such arrays."""
    axes = (-3, -2, -1)
    return (one != other).sum(axes) / np.maximum(1, ((one != 0) | (other != 0)).sum(axes))


def _missing(one, other):
    """Of the places in two fingerprints that are no even ground, the share where one is unlike all around it in the other."""
    from scipy import ndimage

    bright = (np.mean(one) + np.mean(other)) / 2
    one, other = (mark * (bright / max(1, np.mean(mark))) for mark in (one, other))
    low, least = (ndimage.minimum_filter(mark, (3, 3, 1)) for mark in (one, other))
    high, most = (ndimage.maximum_filter(mark, (3, 3, 1)) for mark in (one, other))
    outside = lambda mark, floor, top: (np.maximum(floor - mark, mark - top) > 24).any(-1).sum()
    uneven = (high - low > 24).any(-1) | (most - least > 24).any(-1)
    return min(outside(one, least, most), outside(other, low, high)) / max(1, uneven.sum())


def near_duplicates(prints, sharpness, stay=()):
    """Which of many pictures to keep where several are nearly the same: {index left out: index kept instead}.

    prints: n fingerprints; sharpness: n numbers. The sharper one stays; of two that differ by less
    than a tenth, the earlier. stay: indices that are never left out; what is near them goes, however sharp.
    """
    steps, instead = np.array([_steps(mark) for mark in prints]), {}
    for i in range(1, len(prints)):
        before = [j for j in range(i) if j not in instead]
        alike = np.minimum(*(_unlike(each, steps[before]) for each in (steps[i], -steps[i][:, ::-1]))) < SAME
        near = (j for j in np.array(before)[alike] if distance(prints[i], prints[j]) < SAME)
        for twin in (int(j) for j in near if not (i in stay and j in stay)):
            better = i in stay or (twin not in stay and sharpness[i] > 1.1 * sharpness[twin])
            loser, winner = (twin, i) if better else (i, twin)
            instead |= {other: winner for other, kept in instead.items() if kept == loser} | {loser: winner}
            if loser == i:
                break
    return instead


def complaint(size, target, sharp, dark, bright, cut=None, chosen=False):
    """Why a photo should not be learnt from, in words for its owner; "" if nothing is wrong.

    size: width and height in pixels; target: side of the square; the rest as measured above. cut: pixels a side of
    the part that is cut out, if not the short side of the photo. chosen: whether somebody chose that part or asked for
    several; then the photo may be a strip.
    """
    cut, pixels = min(size) if cut is None else cut, f"{size[0]} x {size[1]} pixels"
    strip = max(size) > LONGEST * min(size) and not chosen
    faults = {
        f"the frame holds only {cut} pixels for a square of {target}: draw it larger.": cut < target <= min(size),
        f"only {pixels} for a square of {target}: take the original, not a preview.": cut < target,
        f"a strip of {pixels}: draw the frame around the person, or ask for pieces=True.": strip,
        "too dark: nothing in it is bright; take it again with more light.": bright < DARK,
        "too bright: nothing in it is dark; take it again with less light.": dark > BRIGHT,
        "blurred: take it again, or leave it out.": sharp < BLURRED,
    }
    return next((why for why, found in faults.items() if found), "")
