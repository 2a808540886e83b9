"""The pocket world's styles: what turns a drawn scene into pixel art, jade, flames and so on.

Each function takes and returns an RGB picture and works at any size; `unit` is the size of one
pixel of a 128-pixel picture, so that a style looks the same however large it is drawn.
"""

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps


def photo(image, unit):
    return image


def pixel_art(image, unit):
    cells = image.resize((32, 32), Image.BOX).quantize(24).convert("RGB")
    return cells.resize(image.size, Image.NEAREST)


def pencil_sketch(image, unit):
    """Dodge: the picture divided by its own blurred negative leaves lines and a little tone."""
    grey = image.convert("L")
    blurred = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(2.5 * unit))
    tone, light = np.asarray(grey, float), np.asarray(blurred, float)
    lines = np.clip(tone * 255 / (256 - light), 0, 255)
    return Image.fromarray((0.7 * lines + 0.3 * tone).astype("uint8")).convert("RGB")


def jade_sculpture(image, unit):
    grey = image.convert("L")
    relief = Image.blend(grey, grey.filter(ImageFilter.EMBOSS), 0.4)
    return ImageOps.colorize(relief, "#06281c", "#dff7ea", "#3fa57a")


def fire(image, unit):
    glow = ImageOps.autocontrast(image.convert("L").filter(ImageFilter.SMOOTH))
    return ImageOps.colorize(glow, "#2a0500", "#ffe680", "#d8430a")


def comic_book(image, unit):
    """Flat bright colours, halftone dots in the shadows and ink along the edges."""
    bright = ImageEnhance.Color(image).enhance(1.2)
    flat = np.asarray(ImageOps.posterize(ImageEnhance.Brightness(bright).enhance(1.1), 4), float) + 8
    step = np.arange(image.width) // max(round(unit), 1) % 4 < 2
    shadow = np.asarray(image.convert("L"))[..., None] < 110
    flat -= 26 * (step[None, :] & step[:, None])[..., None] * shadow
    edges = image.convert("L").filter(ImageFilter.FIND_EDGES).point(lambda v: 0 if v > 48 else 255)
    ink = ImageChops.invert(edges.crop((1, 1, image.width - 1, image.height - 1)))
    ink = ImageChops.invert(ImageOps.expand(ink, 1, 0))
    return ImageChops.multiply(Image.fromarray(np.clip(flat, 0, 255).astype("uint8")), ink.convert("RGB"))


def oil_painting(image, unit):
    """Patches of paint under warm varnish, darker towards the frame."""
    patches = image.filter(ImageFilter.ModeFilter(2 * round(unit) + 1))
    warm = np.asarray(ImageEnhance.Color(patches).enhance(1.25), float) * (1.0, 0.93, 0.78)
    across = np.linspace(-1, 1, image.width) ** 2
    shade = 1 - 0.32 * (across[None, :] + across[:, None])
    return Image.fromarray(np.clip(warm * shade[..., None], 0, 255).astype("uint8"))


def watercolor(image, unit):
    """Pale washes that run out into the white of the paper."""
    washes = image.filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.GaussianBlur(0.6 * unit))
    across = np.linspace(-1, 1, image.width) ** 6
    paper = np.clip(0.22 + 0.78 * (across[None, :] + across[:, None]), 0, 1)[..., None]
    mixed = np.asarray(washes, float) * (1 - paper) + np.array((255, 251, 242)) * paper
    return Image.fromarray(mixed.astype("uint8"))


STYLE_FILTERS = {
    "photo": photo,
    "pixel art": pixel_art,
    "pencil sketch": pencil_sketch,
    "jade sculpture": jade_sculpture,
    "fire": fire,
    "comic book": comic_book,
    "oil painting": oil_painting,
    "watercolor": watercolor,
}
