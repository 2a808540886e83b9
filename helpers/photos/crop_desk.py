"""The photos of a report at a glance, and their crops chosen by hand: drag and resize the frame on the photo."""

import math
from pathlib import Path

import anywidget
import traitlets
from PIL import Image, ImageDraw, ImageFont

from helpers import show
from helpers.photos.crop import clamp, read_crops, write_crop
from helpers.photos.folders import originals
from helpers.photos.open import decode
from helpers.show import data_url, enable_widgets

SHOWN = 720  # pixels of the longer side in the editor


class CropDesk:
    """The photos of a report whose crops can be chosen, and where the choices are kept: folder/crops.json."""

    def __init__(self, report, source, folder, target=0):
        with originals(source) as files:
            self.paths = {row["file"]: files.get(row["file"]) for _, row in report.iterrows() if row["crop"]}
        if not self.paths or not all(path and path.is_file() for path in self.paths.values()):
            raise ValueError("The photos of this report cannot be found: unpack the zip, and give the folder.")
        self.automatic = {row["file"]: tuple(row["crop"]) for _, row in report.iterrows() if row["crop"]}
        self.files, self.folder, self.target = list(self.paths), folder, target

    def show(self, index):
        """Everything an editor shows of the photo at `index` (it wraps round), a dict of plain values and `image`."""
        index %= len(self.files)
        file = self.files[index]
        image, size = decode(self.paths[file], at_least=SHOWN)
        kept = read_crops(self.folder).get(file)
        box = clamp(kept or self.automatic[file], size)
        view = {"file": file, "index": index, "count": len(self.files), "size": list(size), "target": self.target}
        return view | {"box": list(box), "by_hand": kept is not None, "image": image}

    def keep(self, file, box):
        """Keep a box for a photo, or None for the automatic one; what stands in crops.json now, as a list."""
        if file not in self.paths:
            raise ValueError(f"There is no photo {file!r} in this report.")
        size = decode(self.paths[file], at_least=SHOWN)[1]
        kept = write_crop(self.folder, file, box, size)
        return list(kept or clamp(self.automatic[file], size))


def crop_editor(report, source, folder, target=0):
    """A widget to choose the crops of a report by hand; each change is kept at once in folder/crops.json.

    source, folder: as given to photos.prepare, which reads crops.json when it is run again.
    target: pixels a side that the squares need; the editor warns below.
    Raises ValueError if the photos cannot be found (a zip has to be unpacked first).
    """
    enable_widgets()
    return CropWidget(CropDesk(report, source, folder, target))


class CropWidget(anywidget.AnyWidget):
    """Shows one photo of a CropDesk at a time, with its frame.

    The page asks by messages: {"kind": "show", "index"} and {"kind": "keep", "file", "box"} (None: automatic).
    The answer is always the trait `view`.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).parent / "widgets.css"
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, desk):
        super().__init__()
        self.desk = desk
        self.show(0)
        self.on_msg(self._answer)

    def show(self, index, told=""):
        """Show the photo at `index`, with a sentence on what has just been done."""
        view = self.desk.show(index)
        self.view = view | {"image": data_url(view["image"]), "told": told}

    def _answer(self, _, message, __):
        if message.get("kind") == "show":
            self.show(int(message["index"]))
        elif message.get("kind") == "keep":
            try:
                self.desk.keep(message["file"], message["box"])
            except (ValueError, OSError) as error:
                self.view = self.view | {"told": str(error)}
            else:
                self.show(
                    self.desk.files.index(message["file"]), "Automatic crop." if message["box"] is None else "Kept."
                )


def contact_sheet(report, source, columns=6, cell=150):
    """All photos of a report with its row number and crops, green and unbroken if kept, red and broken if not.

    source: where the photos came from, as given to photos.prepare. One RGB image.
    """
    with originals(source) as files:
        thumbnails = [_thumbnail(files.get(row["file"]), number, row, cell) for number, row in report.iterrows()]
    return show.image_grid([thumbnails[i : i + columns] for i in range(0, len(thumbnails), columns)], cell=cell)


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
