"""What makes a photo bad to learn from: too small, too dark or bright, blurred, taken twice."""

import numpy as np
from PIL import Image

SIDE = 256  # pixels: photos are measured at one size, or large ones would always seem blurred
BLURRED = 12  # sharpness below this; photos in focus have hundreds, blurred by 1 % of their width under 10
DARK, BRIGHT = 60, 200  # of 255
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
    return np.sign(steps) * (abs(steps) >= 8)


def distance(one, other):
    """How far two fingerprints are apart, 0 to 1, one of them mirrored if that brings them nearer."""
    mirrored = -other[:, ::-1]
    return min(_differing(one, other), _differing(one, mirrored))


def _differing(one, other):
    """Of the places where at least one fingerprint has a step, the share where they differ."""
    steps = (one != 0) | (other != 0)
    return float((one != other).sum() / max(1, steps.sum()))


def complaint(size, target, sharp, dark, bright):
    """Why a photo should not be learnt from, in words for its owner; "" if nothing is wrong.

    size: width and height in pixels; target: side of the square that is wanted; the rest as measured above.
    """
    if min(size) < target:
        return f"only {size[0]} x {size[1]} pixels for a square of {target}: take the original, not a preview."
    if bright < DARK:
        return "too dark: nothing in it is bright; take it again with more light."
    if dark > BRIGHT:
        return "too bright: nothing in it is dark; take it again with less light."
    if sharp < BLURRED:
        return "blurred: take it again, or leave it out."
    return ""
