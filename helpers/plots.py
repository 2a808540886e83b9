"""The figures of the notebooks: labelled grids of images, loss curves, shares with their intervals.

Every function returns its figure and shows nothing; the last line of a cell does that.
"""

import math
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot
from PIL import Image, ImageDraw, ImageFont, ImageOps

GAP = 6  # pixels between two cells and around text
INK, PAPER, EMPTY = "#1b1b1f", "white", "#f1f1f4"
COLORS = ("#8a8d98", "#e08214", "#3f6fb5", "#4d9a5b", "#a3569c", "#c0504d")  # told apart by colour-blind eyes too


def color_of(name, place):
    """The same colour for a method in every figure; what is no method gets one by its place in the figure."""
    methods = ("base", "hypernetwork", "dreambooth")
    found = [i for i, method in enumerate(methods) if str(name).lower().startswith(method)]
    return COLORS[found[0]] if found else COLORS[3 + place % (len(COLORS) - 3)]


def image_grid(images, row_labels=None, column_labels=None, cell=128):
    """Lay images out in a labelled grid and return it as one RGB image.

    images: a list of images (as many columns as column_labels, else as row_labels ask for, else
    about a square), or a list of rows, each a list; rows may differ in length and None leaves a
    cell empty. Every image is shown whole in a square of `cell` pixels.
    Raises ValueError if there are no images, or not as many labels as rows or columns.
    """
    rows = _rows(images, row_labels, column_labels)
    columns = max(len(row) for row in rows)
    _check_count(row_labels, len(rows), "row")
    _check_count(column_labels, columns, "column")
    font = _font(max(9, cell // 10))
    sides = [wrap(text, font, max(cell, 96)) for text in row_labels or []]
    heads = [wrap(text, font, cell) for text in column_labels or []]
    left = max((_text_size(side, font)[0] for side in sides), default=-GAP) + 2 * GAP
    top = max((_text_size(head, font)[1] for head in heads), default=-GAP) + 2 * GAP
    heights = [max(cell, _text_size(side, font)[1]) for side in sides] or [cell] * len(rows)
    size = (left + columns * (cell + GAP), top + sum(heights) + len(rows) * GAP)
    grid = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(grid)
    for column, head in enumerate(heads):
        draw.multiline_text((left + column * (cell + GAP), GAP), head, INK, font)
    y = top
    for row, height in zip(rows, heights):
        for column, image in enumerate(row):
            grid.paste(_square(image, cell), (left + column * (cell + GAP), y))
        y += height + GAP
    for i, side in enumerate(sides):
        draw.multiline_text((GAP, top + sum(heights[:i]) + i * GAP), side, INK, font)
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


def _check_count(labels, count, what):
    if labels is not None and len(labels) != count:
        raise ValueError(f"The grid has {count} {what}s but {len(labels)} {what} labels.")


def _square(image, cell):
    """The whole image in the middle of a square of `cell` pixels."""
    if image is None:
        return Image.new("RGB", (cell, cell), EMPTY)
    return ImageOps.pad(image.convert("RGB"), (cell, cell), Image.Resampling.LANCZOS, EMPTY)


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
        line = ""
        for word in paragraph.split():
            joined = f"{line} {word}".strip()
            if font.getlength(joined) <= width:
                line = joined
                continue
            lines += [line] if line else []
            *full, line = _pieces(word, font, width)
            lines += full
        lines.append(line)
    return "\n".join(lines)


def _pieces(word, font, width):
    """A word cut where it does not fit; a piece has at least one letter."""
    pieces = [word[:1]]
    for letter in word[1:]:
        if font.getlength(pieces[-1] + letter) <= width:
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces


def loss_curves(table):
    """Draw the training loss and its running mean, and the held-out loss where there is one.

    table: path of a run's loss.csv, or such a table: columns step, loss and maybe held_out_loss.
    """
    table = table if isinstance(table, pd.DataFrame) else pd.read_csv(table)
    chart, axes = figure(7, 3)
    window = max(1, len(table) // 20)
    axes.plot(table["step"], table["loss"], ".", color=COLORS[0], alpha=0.35, markersize=3, label="each step")
    axes.plot(table["step"], table["loss"].rolling(window, min_periods=1).mean(), color=COLORS[1], label="running mean")
    held_out = table.dropna(subset=["held_out_loss"]) if "held_out_loss" in table else table[:0]
    if len(held_out):
        axes.plot(held_out["step"], held_out["held_out_loss"], "o-", color=COLORS[2], label="held out")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False)
    return chart


def share_bars(table, xlabel="share of images", limits=(0, 1)):
    """Draw one bar a row with its interval, grouped by prompt, one colour a method.

    table: columns prompt, method, mean, low, high, as bootstrap.summarise returns it.
    limits: of the axis; None leaves them to matplotlib.
    """
    prompts, methods = list(table["prompt"].unique()), list(table["method"].unique())
    chart, axes = figure(7, 0.7 + 0.28 * len(prompts) * (len(methods) + 0.6))
    step = 0.8 / len(methods)
    for i, method in enumerate(methods):
        rows = table[table["method"] == method]
        y = rows["prompt"].map(prompts.index) + (i - (len(methods) - 1) / 2) * step
        whiskers = [(rows["mean"] - rows["low"]).clip(lower=0), (rows["high"] - rows["mean"]).clip(lower=0)]
        color = color_of(method, i)
        axes.barh(y, rows["mean"], step * 0.9, xerr=whiskers, color=color, ecolor=INK, capsize=2, label=method)
    axes.set(yticks=range(len(prompts)), yticklabels=prompts, xlabel=xlabel, xlim=limits)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(methods))
    return chart


def figure(width, height):
    """(figure, axes) of so many inches, without the frame at the top and right, shown by nobody yet."""
    chart, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    pyplot.close(chart)  # else a notebook would show it a second time, below its cell
    axes.spines[["top", "right"]].set_visible(False)
    return chart, axes
