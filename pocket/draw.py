"""Draw a scene of the pocket world: avatar parts and emoji put together as SVG, then a style.

Art: "Avataaars" by Pablo Stanley through DiceBear, Fluent Emoji by Microsoft (see data/README.md).
"""

import functools
import io
import json
import random
import re
from pathlib import Path

import dicebear_styles
import resvg_py
from dicebear import Avatar, Style
from PIL import Image

from pocket.styles import STYLE_FILTERS

ART = Path(__file__).parent / "art"
SIDE = 280  # units of an avatar and of the whole scene

SKIN_HEX = {
    "light": ("#ffdbb4", "#fcd3a8", "#f2c193", "#edb98a"),
    "tan": ("#d99a68", "#d08b5b", "#d08b5b", "#c98350"),
    "brown": ("#ae5d29", "#a85a2a", "#b0622f", "#9f5428"),
    "dark": ("#614335", "#5a3d30", "#6b4a3a", "#503629"),
}
HAIR_HEX = {
    "black": "#2c1b18",
    "brown": "#724133",
    "blonde": "#d6b370",
    "red": "#c93305",
    "grey": "#e8e1e1",
    "pink": "#f59797",
}
COLOR_HEX = {
    "black": "#262e33",
    "blue": "#5199e4",
    "grey": "#929598",
    "pink": "#ff488e",
    "red": "#e03c3c",
    "white": "#ffffff",
    "yellow": "#ffe14d",
    "green": "#3fbf6f",
    "navy": "#25557c",
}
PLAIN_HEX = {
    "white": "#f4f4f0",
    "blue": "#9fd3f5",
    "green": "#b5e2b0",
    "pink": "#f9c6d4",
    "yellow": "#fbe9a6",
    "grey": "#c9ccd1",
    "purple": "#cdb8ec",
    "orange": "#f8c79a",
}
TOPS = {
    "short": ("shortFlat", "shortRound", "theCaesar", "theCaesarAndSidePart"),
    "wavy": ("shortWaved",),
    "curly": ("shortCurly",),
    "bald": ("sides",),
    "dreadlocks": ("dreads01",),
    "shaggy": ("shaggyMullet",),
    "turban": ("turban",),
    "long straight": ("straight01", "straight02"),
    "long wavy": ("longButNotTooLong", "curvy"),
    "long curly": ("curly",),
    "bob": ("bob",),
    "bun": ("bun",),
    "afro": ("fro",),
    "big": ("bigHair",),
    "hijab": ("hijab",),
    "afro with headband": ("froBand",),
}
FACES = {  # eyes, mouth, eyebrows
    "smiling": ("default", "smile", "default"),
    "happy": ("happy", "smile", "raisedExcited"),
    "serious": ("default", "serious", "default"),
    "sad": ("default", "sad", "sadConcerned"),
    "surprised": ("surprised", "disbelief", "raisedExcited"),
    "winking": ("wink", "twinkle", "upDown"),
    "laughing": ("squint", "smile", "raisedExcitedNatural"),
}
CLOTHES_PARTS = {
    "shirt": "shirtCrewNeck",
    "hoodie": "hoodie",
    "overalls": "overall",
    "sweater": "collarAndSweater",
    "suit": "blazerAndShirt",
}
BEARD_PARTS = {"beard": "beardMedium", "moustache": "moustacheMagnum", "majestic beard": "beardMajestic"}
GLASSES_PARTS = {
    "glasses": "prescription02",
    "sunglasses": "sunglasses",
    "round glasses": "round",
    "square glasses": "prescription01",
}


@functools.cache
def _avataaars():
    return Style(json.loads((Path(next(iter(dicebear_styles.__path__))) / "avataaars.json").read_text()))


@functools.cache
def _art(name):
    """The inside of an emoji's SVG, 32 units wide."""
    return re.sub(r"^<svg[^>]*>|</svg>\s*$", "", (ART / f"{name}.svg").read_text())


def _emoji(name, x, y, size, mirrored=False):
    scale = size / 32
    across = f"{-scale} {scale}" if mirrored else f"{scale} {scale}"
    return f'<g transform="translate({x + (size if mirrored else 0)},{y}) scale({across})">{_art(name)}</g>'


@functools.lru_cache(maxsize=512)
def _bust(person):
    """Head and shoulders of a person as SVG, 280 units square."""
    eyes, mouth, eyebrows = FACES[person.expression]
    tops = TOPS[person.hair]
    options = {
        "seed": "pocket",
        "skinColor": SKIN_HEX[person.skin][person.shade % 4],
        "hairColor": HAIR_HEX[person.hair_color],
        "facialHairColor": HAIR_HEX[person.hair_color],
        "topVariant": tops[person.shade % len(tops)],
        "topProbability": 100,
        "eyesVariant": eyes,
        "mouthVariant": mouth,
        "eyebrowsVariant": eyebrows,
        "clothesVariant": CLOTHES_PARTS[person.clothes],
        "clothesColor": COLOR_HEX[person.clothes_color],
        "hatColor": COLOR_HEX[person.hat_color],
        "clothesGraphicProbability": 0,
        "accessoriesColor": "#262e33",
        "facialHairProbability": 0 if person.beard == "none" else 100,
        "accessoriesProbability": 0 if person.glasses == "none" else 100,
    }
    if person.beard != "none":
        options["facialHairVariant"] = BEARD_PARTS[person.beard]
    if person.glasses != "none":
        options["accessoriesVariant"] = GLASSES_PARTS[person.glasses]
    svg = re.sub(r"<metadata.*?</metadata>", "", Avatar(_avataaars(), options).to_string(), flags=re.DOTALL)
    return re.sub(r"^<svg[^>]*>|</svg>$", "", svg)


def _ground(sky, land, horizon):
    return f'<rect width="280" height="280" fill="{sky}"/><rect y="{horizon}" width="280" height="120" fill="{land}"/>'


def _beach(rng):
    sun = f'<circle cx="{rng.choice((50, 140, 230))}" cy="45" r="24" fill="#ffd95e"/>'
    sea = '<rect y="150" width="280" height="60" fill="#3f9fd8"/>'
    palm = _emoji("palm-tree", rng.choice((-18, 178)), rng.uniform(60, 80), 120)
    return _ground("#8fd6f7", "#f3dca4", 196).replace("<rect y", sun + sea + "<rect y", 1) + palm


def _forest(rng):
    trees = [rng.choice(("deciduous-tree", "evergreen-tree")) for _ in range(4)]
    rows = "".join(_emoji(tree, -40 + i * 80, rng.uniform(60, 80), 120) for i, tree in enumerate(trees))
    return _ground("#bfe5c9", "#6fae5e", 200) + rows


def _city(rng):
    """Encoders on a grid of 35 units with lit windows, shifted: a skyline that a small VAE can learn."""
    svg = '<rect width="280" height="280" fill="#f6cfa0"/>'
    for i in range(6):
        height = rng.choice((105, 140, 175, 210))
        x, top = i * 52.5 - 17.5, 280 - height
        svg += (
            f'<rect x="{x}" y="{top}" width="49" height="{height}" fill="{("#6b7a99", "#8492b0", "#54617d")[i % 3]}"/>'
        )
        for row in range(int(height / 17.5) - 1):
            svg += "".join(
                f'<rect x="{x + 7 + column * 14}" y="{top + 9 + row * 17.5}" width="8" height="9" fill="#ffe9a0"/>'
                for column in range(3)
            )
    return svg


STARS = [(37 * i % 280, 61 * i % 271, 1.2 + 0.5 * (i % 4)) for i in range(1, 34)]


def _space(rng):
    stars = "".join(f'<circle cx="{x}" cy="{y}" r="{r}" fill="#fff"/>' for x, y, r in STARS)
    planet = _emoji("ringed-planet", rng.choice((8, 188)), rng.uniform(10, 40), 84)
    return '<rect width="280" height="280" fill="#141432"/>' + stars + planet


def _snow(rng):
    flakes = "".join(f'<circle cx="{(x + 90) % 280}" cy="{y}" r="3.6" fill="#fff"/>' for x, y, _ in STARS[::2])
    trees = "".join(_emoji("evergreen-tree", x, rng.uniform(75, 95), 110) for x in (-24, rng.choice((190, 200))))
    return _ground("#b9cfe6", "#fbfdff", 205) + trees + flakes


def _castle(rng):
    return _ground("#a8d8ef", "#7fb765", 215) + _emoji("castle", rng.choice((-20, 45, 110)), rng.uniform(38, 48), 190)


PLACE_DRAWERS = {
    "beach": _beach,
    "forest": _forest,
    "city": _city,
    "space": _space,
    "snow": _snow,
    "castle": _castle,
}


def _placed(bust, x, y, scale, turn=0):
    return f'<g transform="translate({x},{y}) scale({scale}) rotate({turn} 140 200)">{bust}</g>'


def _portrait(bust, person, rng):
    scale = rng.uniform(0.9, 1.08)
    return _placed(bust, 140 - 140 * scale + rng.uniform(-12, 12), 284 - 280 * scale, scale, rng.uniform(-3, 3))


def _on_horse(bust, person, rng):
    """The horse is drawn over the rider, whose shoulders stand out behind its neck."""
    mirrored, x = rng.random() < 0.5, rng.uniform(-6, 6)
    horse = _emoji("horse", 42 + x, 84 + rng.uniform(-3, 3), 196, mirrored)
    return _placed(bust, 66 + x + (14 if mirrored else -10), 6, 0.52) + horse


def _on_bicycle(bust, person, rng):
    x = rng.uniform(-6, 6)
    bicycle = _emoji("bicycle", 60 + x, 128 + rng.uniform(-3, 3), 150, rng.random() < 0.5)
    return _placed(bust, 60 + x, 14, 0.57) + bicycle


def _with_pet(pet, bust, person, rng):
    left = rng.random() < 0.5
    scale = rng.uniform(0.82, 0.9)
    x = 140 - 140 * scale + (26 if left else -26)
    animal = _emoji(pet, 4 if left else 164, 164 + rng.uniform(-4, 4), 114, left)
    return _placed(bust, x, 284 - 280 * scale, scale) + animal


def _robot(bust, person, rng):
    """A head on a metal body; the lamps on its chest have the colour of the clothes."""
    x, light = 140 + rng.uniform(-6, 6), COLOR_HEX[person.clothes_color]
    arm = '<rect x="{}" y="176" width="27" height="96" rx="12" fill="#8b95a3"/>'
    head = f'<g clip-path="url(#neck)">{_placed(bust, x - 140 * 0.68, -2, 0.68)}</g>'
    return (
        f'<clipPath id="neck"><rect width="280" height="146"/></clipPath>'
        f'<rect x="{x - 14}" y="136" width="28" height="34" fill="#39424e"/>{head}'
        f'<rect x="{x - 76}" y="160" width="152" height="130" rx="16" fill="#aeb6c2"/>'
        f'<rect x="{x - 46}" y="188" width="92" height="52" rx="8" fill="#39424e"/>'
        f'<circle cx="{x - 21}" cy="214" r="14" fill="{light}"/><circle cx="{x + 21}" cy="214" r="14" fill="{light}"/>'
        + arm.format(x - 108)
        + arm.format(x + 81)
    )


def _chibi(bust, person, rng):
    """A big head on short legs, on a round stand."""
    x, scale = 140 + rng.uniform(-6, 6), 0.74
    leg = '<rect x="{}" y="200" width="21" height="52" rx="8" fill="#39424e"/>'
    return (
        f'<ellipse cx="{x}" cy="260" rx="78" ry="15" fill="#5b4636"/><ellipse cx="{x}" cy="253" rx="78" ry="15" fill="#8a6a4f"/>'
        + leg.format(x - 27)
        + leg.format(x + 6)
        + f'<clipPath id="body"><path d="M0 0H280V190C280 190 {x + 66} 214 {x} 214S0 190 0 190z"/></clipPath>'
        + f'<g clip-path="url(#body)">{_placed(bust, x - 140 * scale, 6, scale)}</g>'
    )


CONTEXT_DRAWERS = {
    "portrait": _portrait,
    "horse": _on_horse,
    "bicycle": _on_bicycle,
    "dog": functools.partial(_with_pet, "dog"),
    "cat": functools.partial(_with_pet, "cat"),
    "robot": _robot,
    "chibi": _chibi,
}

TONGUE = '<path transform="translate({},{}) scale({} {})" d="M0 0C-26 -30 -22 -58 -2 -100C4 -70 30 -48 24 -20C22 -8 12 0 0 0z" fill="{}"/>'


def _flames(front):
    """A row of flames: tall dark ones behind the person, short bright ones in front."""
    colors, height = (("#ff8a1c", "#ffd23c"), 0.62) if front else (("#8f1d04", "#d8430a"), 2.1)
    row = ""
    for i in range(9):
        tall = height * (1.0, 0.72, 1.15, 0.85)[i % 4]
        for color, size in zip(colors, (1, 0.6)):
            row += TONGUE.format(i * 35, 284, 1.15 * size, tall * size, color)
    return row


def _render(svg, size):
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 280 280">{svg}</svg>'
    return Image.open(
        io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))), formats=["PNG"]
    )


def face_box(scene):
    """Where the face is, without hair and beard around it: (left, top, side) as shares of the picture's side."""
    rng = random.Random(scene.layout)
    if scene.place in PLACE_DRAWERS:  # draws its own random numbers first
        PLACE_DRAWERS[scene.place](rng)
    figure = CONTEXT_DRAWERS[scene.context]("", scene.person, rng)
    x, y, scale = map(float, re.search(r"translate\(([-\d.e]+),([-\d.e]+)\) scale\(([\d.]+)\)", figure).groups())
    return (x + 90 * scale) / SIDE, (y + 80 * scale) / SIDE, 100 * scale / SIDE


def draw(scene, size=128):
    """The picture of a scene, RGB, size x size pixels; the same scene always gives the same picture."""
    rng = random.Random(scene.layout)
    place = scene.place
    backdrop = (
        f'<rect width="280" height="280" fill="{PLAIN_HEX[place]}"/>'
        if place in PLAIN_HEX
        else PLACE_DRAWERS[place](rng)
    )
    figure = CONTEXT_DRAWERS[scene.context](_bust(scene.person), scene.person, rng)
    if scene.style != "fire":
        image = _render(backdrop + figure, size).convert("RGB")
        return STYLE_FILTERS[scene.style](image, size / 128)
    # A burning scene: the glow is a filter, the flames are drawn, in front of the person and behind.
    behind = STYLE_FILTERS["fire"](_render(backdrop, size).convert("RGB"), size / 128)
    behind = Image.blend(behind, Image.new("RGB", behind.size, "#2a0500"), 0.35)
    cutout = _render(figure, size)
    glowing = STYLE_FILTERS["fire"](cutout.convert("RGB"), size / 128)
    for layer in (_render(_flames(front=False), size), None, _render(_flames(front=True), size)):
        behind.paste(glowing if layer is None else layer, mask=(cutout if layer is None else layer).getchannel("A"))
    return behind
