"""All photos of a folder at a glance, with what becomes of each."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from helpers import plots
from helpers.photos import open_photo


def contact_sheet(report, folder_in, columns=6, cell=150):
    """All photos of a report with its row number and crop, green if kept, red if not; one RGB image."""
    thumbnails = [_thumbnail(Path(folder_in), number, row, cell) for number, row in report.iterrows()]
    return plots.image_grid([thumbnails[i : i + columns] for i in range(0, len(thumbnails), columns)], cell=cell)


def _thumbnail(folder, number, row, cell):
    color = "#1a9850" if row["kept"] else "#d73027"
    sheet = Image.new("RGB", (cell, cell), "#f1f1f4")
    draw = ImageDraw.Draw(sheet)
    if row["crop"] is None:
        draw.line((0, 0, cell, cell), color, 3)
    else:
        image = open_photo(folder / row["file"])
        scale = cell / max(image.size)
        small = image.resize([max(1, round(side * scale)) for side in image.size], reducing_gap=2)
        left, top = (cell - small.width) // 2, (cell - small.height) // 2
        sheet.paste(small, (left, top))
        box = [round(edge * scale) + offset for edge, offset in zip(row["crop"], (left, top, left - 1, top - 1))]
        draw.rectangle(box, outline=color, width=3)
    draw.text((4, 4), str(number), color, ImageFont.load_default(16), stroke_width=2, stroke_fill="white")
    return sheet
