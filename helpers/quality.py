"""What makes a photo bad to learn from: too small, too dark or bright, blurred, taken twice."""

import numpy as np
from PIL import Image

SIDE = 256  # pixels: photos are measured at one size, or large ones would always seem blurred
BLURRED = 12  # sharpness below this; photos in focus have hundreds, blurred by 1 % of their width under 10
DARK, BRIGHT = 60, 200  # of 255
LONGEST = 8  # times the short side: a strip, not a photo
SAME = 0.25  # distance below this; a copy, brighter and shifted by 1 %, has 0.05 to 0.22, another photo 0.3 or more


def sharpness(image):
    """Variance of the Laplacian of the grey picture at 256 x 256 pixels: low where nothing has an edge."""
    grey = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("L"), float)
    neighbours = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    return float((neighbours - 4 * grey[1:-1, 1:-1]).var())


def brightness(image):
    """What the darkest twentieth and the brightest twentieth of the picture reach, 0 to 255.

    The mean would call a dark-skinned face before a night sky a bad photo. In one that is too dark
    nothing at all is bright.
    """
    grey = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("L"))
    return tuple(float(value) for value in np.percentile(grey, (5, 95)))


def fingerprint(image):
    """A difference hash in colour: where the picture, 9 x 8 pixels small, gets brighter or darker to the right.

    (8, 8, 3) of -1, 0, 1. Steps under 8 of 255 count as none: a plain wall would be all noise. (Krawetz 2013)
    """
    small = np.asarray(image.resize((9, 8), Image.Resampling.BOX, reducing_gap=2), int)
    steps = small[:, 1:] - small[:, :-1]
    return (np.sign(steps) * (abs(steps) >= 8)).astype("int8")


def distance(one, other):
    """How far two fingerprints are apart, 0 to 1, one of them mirrored if that brings them nearer.

    other: (8, 8, 3), or many of them (n, 8, 8, 3); then n distances.
    """
    return np.minimum(_differing(one, other), _differing(-one[:, ::-1], other))


def _differing(one, other):
    """Of the places where at least one fingerprint has a step, the share where they differ."""
    axes = (-3, -2, -1)
    return (one != other).sum(axes) / np.maximum(1, ((one != 0) | (other != 0)).sum(axes))


def broken_off(image):
    """The share of the picture, from below, that is one flat colour although the top is not: 0 for most photos.

    A copy that broke off ends in black, grey or white in formats without check sums.
    """
    pixels = np.asarray(image)
    if (pixels[0] == pixels[0, 0]).all() or (pixels[-1] != pixels[-1, 0]).any():
        return 0.0
    flat = (pixels == pixels[-1, 0]).all(axis=(1, 2))[::-1]
    return float(flat.argmin() / len(flat))


def near_duplicates(prints, sharpness, stay=()):
    """Which of many pictures to keep where several are nearly the same: {index left out: index kept instead}.

    prints: (n, 8, 8, 3) fingerprints; sharpness: n numbers. The sharper one stays; of two that differ by less
    than a tenth, the earlier. stay: indices that are never left out; what is near them goes, however sharp.
    """
    prints, instead = np.asarray(prints, "int8"), {}
    for i in range(1, len(prints)):
        before = [j for j in range(i) if j not in instead]
        near = distance(prints[i], prints[before]) < SAME
        for twin in (before[j] for j in np.nonzero(near)[0] if not (i in stay and before[j] in stay)):
            better = i in stay or (twin not in stay and sharpness[i] > 1.1 * sharpness[twin])
            loser, winner = (twin, i) if better else (i, twin)
            instead |= {other: winner for other, kept in instead.items() if kept == loser} | {loser: winner}
            if loser == i:
                break
    return instead


def complaint(size, target, sharp, dark, bright, cut=None, chosen=False):
    """Why a photo should not be learnt from, in words for its owner; "" if nothing is wrong.

    size: width and height in pixels; target: side of the square that is wanted; the rest as measured above.
    cut: pixels a side of the part that is cut out, if not the short side of the photo. chosen: whether somebody
    chose that part or asked for several; then the photo may be a strip.
    """
    if cut is not None and cut < target <= min(size):
        return f"the frame holds only {cut} pixels for a square of {target}: draw it larger."
    if min(size if cut is None else (cut,)) < target:
        return f"only {size[0]} x {size[1]} pixels for a square of {target}: take the original, not a preview."
    if max(size) > LONGEST * min(size) and not chosen:
        return f"a strip of {size[0]} x {size[1]} pixels: draw the frame around the person, or ask for pieces=True."
    if bright < DARK:
        return "too dark: nothing in it is bright; take it again with more light."
    if dark > BRIGHT:
        return "too bright: nothing in it is dark; take it again with less light."
    if sharp < BLURRED:
        return "blurred: take it again, or leave it out."
    return ""
