"""Scenes seen through a frame of any shape: what `pocket.draw.draw` shows in its square goes on around it."""

import io
import random
import re

import resvg_py
from PIL import Image

from pocket.draw import CONTEXT_DRAWERS, PLACE_DRAWERS, PLAIN_HEX, SIDE, _bust


def shoot(scene, view, size, cutout=False):
    """The picture of a scene in the style of a photo, upright.

    view: left, top, width and height of the frame in units of the scene, whose own square is (0, 0, 280, 280).
    size: width and height in pixels. cutout: the person alone, on nothing (RGBA instead of RGB).
    """
    rng = random.Random(scene.layout)  # as draw does, so that both show the same
    content = backdrop(scene, rng)
    figure = CONTEXT_DRAWERS[scene.context](_bust(scene.person), scene.person, rng)
    content = figure if cutout else content + figure
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size[0]}" height="{size[1]}" preserveAspectRatio="none" '
        f'viewBox="{" ".join(f"{number:.4f}" for number in view)}">{content}</svg>'
    )
    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg))), formats=["PNG"])
    return image if cutout else image.convert("RGB")


def backdrop(scene, rng):
    """SVG of the scene's surroundings, going on beyond its own square as far as any view sees."""
    if scene.place in PLAIN_HEX:
        return f'<rect x="-840" y="-840" width="1960" height="1960" fill="{PLAIN_HEX[scene.place]}"/>'
    square = PLACE_DRAWERS[scene.place](rng)
    wide = square.replace('<rect width="280" height="280"', '<rect x="-840" y="-840" width="1960" height="1960"')
    wide = re.sub(r'<rect (y="[\d.]+") width="280"', r'<rect x="-840" \1 width="1960"', wide)
    things, across, up = _repeated(scene.place, square)
    steps = [(i * across, j * up) for i in (-2, -1, 0, 1, 2) for j in ((-2, -1, 0) if up else (0,)) if i or j]
    return wide + "".join(f'<g transform="translate({x},{y})">{things}</g>' for x, y in steps)


def _repeated(place, square):
    """What a place has more of to the side or above (SVG), and after how many units across and up."""
    if place == "forest":
        return square.split("/>", 2)[2], 320, 0
    if place == "city":
        return square.split("/>", 1)[1], 315, 0
    if place in ("space", "snow"):
        return "".join(re.findall(r"<circle[^>]*/>", square)), SIDE, SIDE
    return "", SIDE, 0
