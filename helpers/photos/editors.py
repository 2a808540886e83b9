"""The editors of crops and captions, widgets in which every change is kept at once; and all photos on one sheet."""

import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import anywidget
import traitlets
from PIL import Image, ImageDraw, ImageFont

from helpers import machine, show
from helpers.photos import captions, crop
from helpers.photos.folders import originals
from helpers.photos.open import decode, open_photo

HERE = Path(__file__).parent
SHOWN = 720  # pixels of the longer side of a photo in the crop editor
KEPT, LEFT_OUT, GROUND = "#1a7a3c", "#b2182b", "#f1f1f4"  # colours of the contact sheet


def _obey(widget, actions, message):
    """Call the action of the message's kind with the rest of it; what cannot be done is said in the page."""
    message = dict(message)
    try:
        actions[message.pop("kind")](**message)
    except (ValueError, OSError) as error:
        widget.view = widget.view | {"status": str(error)}


class CropEditor(anywidget.AnyWidget):
    """A widget to choose the crops of a report by hand; each change is kept at once in folder/crops.json.

    source, folder: as given to photos.prepare, which reads crops.json when it is run again.
    target: pixels a side that the squares need; the editor warns below.
    Zips are unpacked as long as the widget lives. Raises ValueError if a photo of the report is not in the source.
    The page sends {"kind": "show", "index"} or "keep" (file, box; None: automatic). The answer is the trait `view`.
    """

    _esm, _css = HERE / "crop_editor.js", HERE / "editors.css"
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, report, source, folder, target=0):
        show.enable_widgets()
        super().__init__()
        self.automatic = {file: tuple(box) for file, box in zip(report["file"], report["crop"]) if box}
        self.unpacked = ExitStack()
        paths = self.unpacked.enter_context(originals(source))
        self.paths = {file: paths.get(file) for file in self.automatic}
        if not self.paths or None in self.paths.values():
            raise ValueError("The photos of this report cannot be found: give the folder that it was made of.")
        self.files, self.folder, self.target = list(self.paths), folder, target
        self.show(0)
        actions = {"show": self.show, "keep": self.keep}
        self.on_msg(lambda _, message, __: _obey(self, actions, message))

    def show(self, index, status=""):
        """Show the photo at `index` (it wraps round), with a sentence on what has just been done."""
        index = int(index) % len(self.files)
        file = self.files[index]
        image, size = decode(self.paths[file], at_least=SHOWN)
        by_hand = crop.read_crops(self.folder).get(file)
        view = {"file": file, "index": index, "count": len(self.files), "size": list(size), "target": self.target}
        view |= {"box": list(crop.clamp(by_hand or self.automatic[file], size)), "by_hand": by_hand is not None}
        self.view = view | {"image": show.data_url(image), "status": status}

    def keep(self, file, box):
        """Keep a box for a photo, or None for the automatic one, and show it. Raises ValueError for no such photo."""
        if file not in self.paths:
            raise ValueError(f"There is no photo {file!r} in this report: run the cell again.")
        crop.write_crop(self.folder, file, box, decode(self.paths[file], at_least=SHOWN)[1])
        self.show(self.files.index(file), "Automatic crop." if box is None else "Kept.")


class CaptionEditor(anywidget.AnyWidget):
    """A widget to read and correct the captions in folder/captions.csv; each change is saved as it is typed.

    check: caption -> list of sentences, shown below each caption. Run again, it opens where the last visit ended.
    Raises as captions.read_captions does.
    The page sends {"kind": "show", "index"}, "write" (file, text), "replace" (find, by) or "undo". The answer is the
    trait `view`; its number `turn` grows when the page must take over the text in it.
    """

    _esm, _css = HERE / "caption_editor.js", HERE / "editors.css"
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, folder, check=None):
        show.enable_widgets()
        super().__init__()
        self.folder, self.check = Path(folder), check or (lambda text: [])
        self.table, self.turn = captions.read_captions(folder), 0
        self.files = list(self.table["file"])
        self.before = None  # the captions before the last replacement
        self.bookmark = self.folder / ".caption_editor.json"  # where the last visit ended
        file = machine.read_json(self.bookmark).get("file") if self.bookmark.exists() else None
        self.show(self.files.index(file) if file in self.files else 0)
        actions = {"show": self.show, "write": self.write, "replace": self.replace, "undo": self.undo}
        self.on_msg(lambda _, message, __: _obey(self, actions, message))

    def show(self, index, status=""):
        """Show the photo at `index` (it wraps round), with a sentence on what has just been done."""
        index, self.turn = int(index) % len(self.files), self.turn + 1
        row = self.table.iloc[index]
        machine.write_json(self.bookmark, {"file": row["file"]})
        view = {"file": row["file"], "index": index, "count": len(self.files), "machine": row["machine_caption"]}
        view |= {"caption": row["caption"], "warnings": self.check(row["caption"]), "words": self.words()}
        image = show.data_url(open_photo(self.folder / row["file"]), 512)
        self.view = view | {"image": image, "status": status, "turn": self.turn}

    def write(self, file, text):
        """Change one caption; line breaks become spaces. Raises ValueError if there is no such photo."""
        if file not in self.files:
            raise ValueError(f"There is no photo {file!r} in captions.csv: run the cell again.")
        text = " ".join(text.split())
        self._save(self.table["caption"].mask(self.table["file"] == file, text))
        warnings = self.check(text) if file == self.view["file"] else self.view["warnings"]
        self.view = self.view | {"status": "Saved.", "warnings": warnings, "words": self.words()}

    def replace(self, find, by):
        """Replace words in all captions, in upper or lower case. Only whole words are found: "cat" not in "catch".

        Raises ValueError if there is nothing to look for.
        """
        if not find.strip():
            raise ValueError("Write the words to look for.")
        pattern = re.compile(rf"(?<!\w){re.escape(find.strip())}(?!\w)", re.IGNORECASE)
        old = self.before = list(self.table["caption"])
        new = [" ".join(pattern.sub(lambda _: by, text).split()) if pattern.search(text) else text for text in old]
        self._save(new)
        count = sum(one != other for one, other in zip(old, new))
        self.show(self.view["index"], "1 caption changed." if count == 1 else f"{count} captions changed.")

    def undo(self):
        """Take the last replacement back, with what was typed since. Raises ValueError if there was none."""
        if self.before is None:
            raise ValueError("There is no replacement to take back.")
        self._save(self.before)
        self.before = None
        self.show(self.view["index"], "Taken back.")

    def words(self, most=40):
        """The commonest words of all captions and how often each stands there, [(word, count)]."""
        return Counter(re.findall(r"[\w'-]+", " ".join(self.table["caption"]).lower())).most_common(most)

    def _save(self, texts):
        table = self.table.assign(caption=texts)
        captions.write_captions(self.folder, table)
        self.table = table


def contact_sheet(report, source, columns=6, cell=150):
    """All photos of a report with its row number and crops: a green frame if kept, a red one, struck out, if not.

    source: where the photos came from, as given to photos.prepare. One RGB image.
    """
    with originals(source) as paths:
        thumbnails = [_thumbnail(paths.get(row["file"]), number, row, cell) for number, row in report.iterrows()]
    return show.image_grid([thumbnails[i : i + columns] for i in range(0, len(thumbnails), columns)], cell=cell)


def _thumbnail(path, number, row, cell):
    sheet, color = Image.new("RGB", (cell, cell), GROUND), KEPT if row["kept"] else LEFT_OUT
    draw = ImageDraw.Draw(sheet)
    if path is None or row["crop"] is None:
        draw.line((0, 0, cell, cell), LEFT_OUT, 3)
        draw.line((0, cell, cell, 0), LEFT_OUT, 3)
    else:
        image, full = decode(path, at_least=cell)
        sheet.paste(crop.pad(image, cell, GROUND))
        left, top = ((cell - round(side * cell / max(full))) // 2 for side in full)
        for part in [row["crop"], *row["further_crops"]]:
            ends = zip(part, (left, top, left - 1, top - 1))
            box = [round(edge * cell / max(full)) + offset for edge, offset in ends]
            draw.rectangle(box, outline=color, width=3)
            if not row["kept"]:  # eyes that do not tell red from green can read it, too
                draw.line(box, color, 3)
    draw.text((4, 4), str(number), color, ImageFont.load_default(16), stroke_width=2, stroke_fill="white")
    return sheet
