"""All photos of a folder at a glance, with what becomes of each."""

import math

from PIL import Image, ImageDraw, ImageFont

from helpers import plots
from helpers.photo_open import decode
from helpers.photo_sources import originals


def contact_sheet(report, source, columns=6, cell=150):
    """All photos of a report with its row number and crops, green and unbroken if kept, red and broken if not.

    source: where the photos came from, as given to photos.prepare. One RGB image.
    """
    with originals(source) as files:
        thumbnails = [_thumbnail(files.get(row["file"]), number, row, cell) for number, row in report.iterrows()]
    return plots.image_grid([thumbnails[i : i + columns] for i in range(0, len(thumbnails), columns)], cell=cell)


def _thumbnail(path, number, row, cell):
    sheet = Image.new("RGB", (cell, cell), "#f1f1f4")
    draw = ImageDraw.Draw(sheet)
    if path is None or row["crop"] is None:
        draw.line((0, 0, cell, cell), "#b2182b", 3)
        draw.line((0, cell, cell, 0), "#b2182b", 3)
    else:
        image, full = decode(path, at_least=cell)
        scale = cell / max(full)
        small = image.resize([max(1, round(side * scale)) for side in full], reducing_gap=2)
        left, top = (cell - small.width) // 2, (cell - small.height) // 2
        sheet.paste(small, (left, top))
        for crop in [row["crop"], *row["further_crops"]]:
            box = [round(edge * scale) + offset for edge, offset in zip(crop, (left, top, left - 1, top - 1))]
            _frame(draw, box, row["kept"])
    color = "#1a7a3c" if row["kept"] else "#b2182b"
    draw.text((4, 4), str(number), color, ImageFont.load_default(16), stroke_width=2, stroke_fill="white")
    return sheet


def _frame(draw, box, kept):
    """A rectangle that eyes which do not tell red from green can read, too: whole, or dashed."""
    if kept:
        draw.rectangle(box, outline="#1a7a3c", width=3)
        return
    left, top, right, bottom = box
    for ends in (
        (left, top, right, top),
        (left, bottom, right, bottom),
        (left, top, left, bottom),
        (right, top, right, bottom),
    ):
        length = math.dist(ends[:2], ends[2:])
        for at in range(0, int(length), 10):
            start, stop = at / length, min(1, (at + 5) / length)
            x, y = ends[2] - ends[0], ends[3] - ends[1]
            draw.line((ends[0] + start * x, ends[1] + start * y, ends[0] + stop * x, ends[1] + stop * y), "#b2182b", 3)
