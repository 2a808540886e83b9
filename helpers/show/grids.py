"""Labelled grids of images, and cards that stand for a picture that is not there.

Every function returns its figure and shows nothing; the last line of a cell does that.
"""

import math
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP = 6  # pixels between two cells and around text
LABEL = 12  # pixels a letter is high, whatever the cell: labels of all grids are alike
INK, PAPER, EMPTY = "#1b1b1f", "white", "#f1f1f4"
# told apart by colour-blind eyes too
COLORS = ("#8a8d98", "#e08214", "#3f6fb5", "#4d9a5b", "#a3569c", "#c0504d", "#1f9e9e", "#6b4f2a")


def image_grid(images, row_labels=None, column_labels=None, cell=128):
    """Lay images out in a labelled grid and return it as one RGB image.

    images: a list of images (as many columns as column_labels, else as row_labels ask for, else
    about a square), or a list of rows, each a list; rows may differ in length and None leaves a
    cell empty. Every image is shown whole in a square of `cell` pixels.
    Raises ValueError if there are no images, or not as many labels as rows or columns.
    """
    rows = _rows(images, row_labels, column_labels)
    columns = max(len(row) for row in rows)
    for labels, count, what in ((row_labels, len(rows), "row"), (column_labels, columns, "column")):
        if labels is not None and len(labels) != count:
            raise ValueError(f"The grid has {count} {what}s but {len(labels)} {what} labels.")
    font = _font(LABEL)
    sides = [wrap(text, font, max(cell, 96)) for text in row_labels or []]
    heads = [wrap(text, font, cell - GAP) for text in column_labels or []]
    left = max((_text_size(side, font)[0] for side in sides), default=-GAP) + 2 * GAP
    top = max((_text_size(head, font)[1] for head in heads), default=-GAP) + 2 * GAP
    heights = [max(cell, _text_size(side, font)[1]) for side in sides] or [cell] * len(rows)
    size = (left + columns * (cell + GAP), top + sum(heights) + len(rows) * GAP)
    grid = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(grid)
    for column, head in enumerate(heads):
        draw.multiline_text((left + column * (cell + GAP), GAP), head, INK, font)
    y = top
    for row, side, height in zip(rows, sides or [""] * len(rows), heights):
        draw.multiline_text((GAP, y), side, INK, font)
        for column, image in enumerate(row):
            whole = Image.new("RGB", (1, 1), EMPTY) if image is None else image.convert("RGB")
            square = ImageOps.pad(whole, (cell, cell), Image.Resampling.LANCZOS, EMPTY)
            grid.paste(square, (left + column * (cell + GAP), y))
        y += height + GAP
    return grid


def _rows(images, row_labels, column_labels):
    """The images as a list of rows."""
    images = list(images)
    if not images or not any(image is None or isinstance(image, Image.Image) for image in images):
        if not any(len(row) for row in images):
            raise ValueError("There are no images to show.")
        return [list(row) for row in images]
    if column_labels:
        columns = len(column_labels)
    elif row_labels:
        columns = math.ceil(len(images) / len(row_labels))
    else:
        columns = min(8, math.ceil(math.sqrt(len(images))))
    return [images[i : i + columns] for i in range(0, len(images), columns)]


def card(text, size):
    """A picture of `size` (width, height) pixels that says why there is no other."""
    image = Image.new("RGB", size, EMPTY)
    edge = max(4, size[0] // 16)
    font = _font(max(9, size[0] // 12))
    ImageDraw.Draw(image).multiline_text((edge, edge), wrap(text, font, size[0] - 2 * edge), INK, font)
    return image


def _font(size):
    """DejaVu Sans, which comes with matplotlib and has Latin, Greek, Cyrillic and Arabic letters."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _text_size(text, font):
    """Width and height in pixels of lines drawn from (0, 0)."""
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font)
    return math.ceil(box[2]), math.ceil(box[3])


def wrap(text, font, width):
    """Break text into lines of at most `width` pixels, at spaces where possible, losing no letter."""
    lines = []
    for paragraph in str(text).split("\n"):
        lines.append("")
        for word in paragraph.split():
            joined = f"{lines[-1]} {word}".strip()
            if font.getlength(joined) <= width:
                lines[-1] = joined
                continue
            lines += [""] if lines[-1] else []
            for letter in word:  # cut where it does not fit; a piece has at least one letter
                lines += [""] if lines[-1] and font.getlength(lines[-1] + letter) > width else []
                lines[-1] += letter
    return "\n".join(lines)
