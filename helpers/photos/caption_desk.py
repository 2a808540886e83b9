"""Read and correct captions beside their pictures; what is typed is in captions.csv a moment later."""

import re
from collections import Counter
from pathlib import Path

import anywidget
import traitlets

from helpers.machine import read_json, write_json
from helpers.photos.captions import read_captions, write_captions
from helpers.photos.open import open_photo
from helpers.show import data_url, enable_widgets


class CaptionDesk:
    """The captions of a folder, kept in its captions.csv at every change. check: caption -> list of sentences."""

    def __init__(self, folder, check=None):
        self.folder, self.check = Path(folder), check or (lambda text: [])
        self.table = read_captions(folder)
        self.files = list(self.table["file"])
        self.before = None  # the captions before the last replacement

    def text(self, index):
        """The caption at `index`."""
        return self.table["caption"].iloc[index]

    def show(self, index):
        """Everything an editor shows of the photo at `index` (it wraps round), a dict of plain values and `image`.

        Where one was is remembered for the next visit.
        """
        index %= len(self.files)
        row = self.table.iloc[index]
        write_json(self.folder / ".caption_editor.json", {"file": row["file"]})
        view = {"file": row["file"], "index": index, "count": len(self.files), "machine": row["machine_caption"]}
        view |= {"caption": row["caption"], "warnings": self.check(row["caption"]), "words": self.words()}
        return view | {"image": open_photo(self.folder / row["file"])}

    def last(self):
        """Where the last visit ended, 0 on the first."""
        path = self.folder / ".caption_editor.json"
        file = read_json(path).get("file") if path.exists() else None
        return self.files.index(file) if file in self.files else 0

    def write(self, file, text):
        """Change one caption; line breaks become spaces. Raises ValueError if there is no such photo."""
        if file not in self.files:
            raise ValueError(f"There is no photo {file!r} in captions.csv.")
        self._save([" ".join(text.split()) if name == file else old for name, old in self._pairs()])

    def replace(self, find, by):
        """Replace words in all captions, in upper or lower case; returns how many captions changed.

        Only whole words are found: "cat" not in "catch". Raises ValueError if there is nothing to look for.
        """
        if not find.strip():
            raise ValueError("Write the words to look for.")
        pattern = re.compile(rf"(?<!\w){re.escape(find.strip())}(?!\w)", re.IGNORECASE)
        old = [text for _, text in self._pairs()]
        new = [" ".join(pattern.sub(lambda _: by, text).split()) if pattern.search(text) else text for text in old]
        self.before = old
        self._save(new)
        return sum(one != other for one, other in zip(old, new))

    def undo(self):
        """Take the last replacement back, with what was typed since. Raises ValueError if there was none."""
        if self.before is None:
            raise ValueError("There is no replacement to take back.")
        self._save(self.before)
        self.before = None

    def words(self, most=40):
        """The commonest words of all captions and how often each stands there, [(word, count)]."""
        counts = Counter(word for _, text in self._pairs() for word in re.findall(r"[\w'-]+", text.lower()))
        return counts.most_common(most)

    def _pairs(self):
        return zip(self.table["file"], self.table["caption"])

    def _save(self, captions):
        write_captions(self.folder, self.table.assign(caption=captions))
        self.table = self.table.assign(caption=captions)


def caption_editor(folder, check=None):
    """A widget to read and correct the captions in folder/captions.csv; each change is saved as it is typed.

    check: caption -> list of sentences, shown below each caption. Run again, it opens where the last visit ended.
    Raises as captions.read_captions does.
    """
    enable_widgets()
    return CaptionWidget(CaptionDesk(folder, check))


class CaptionWidget(anywidget.AnyWidget):
    """Shows one photo of a CaptionDesk at a time, with its caption to edit.

    The page asks by messages: {"kind": "show", "index"}, "write" (file, text), "replace" (find, by) or "undo".
    The answer is always the trait `view`; its number `turn` grows when the page must take over the text in it.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).parent / "widgets.css"
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, desk):
        super().__init__()
        self.desk, self.turn = desk, 0
        self.show(desk.last())
        self.on_msg(self._answer)

    def show(self, index, told=""):
        """Show the photo at `index`, with a sentence on what has just been done."""
        view, self.turn = self.desk.show(index), self.turn + 1
        self.view = view | {"image": data_url(view["image"], 512), "told": told, "turn": self.turn}

    def _answer(self, _, message, __):
        """Do what the page asks; what cannot be done is said in the page."""
        kinds = {"show": self._show, "write": self._write, "replace": self._replace, "undo": self._undo}
        try:
            kinds[message["kind"]](message)
        except (ValueError, OSError) as error:
            self.view = self.view | {"told": str(error)}

    def _show(self, message):
        self.show(int(message["index"]))

    def _write(self, message):
        self.desk.write(message["file"], message["text"])
        faults = self.desk.check(message["text"]) if message["file"] == self.view["file"] else self.view["warnings"]
        self.view = self.view | {"told": "Saved.", "warnings": faults, "words": self.desk.words()}

    def _replace(self, message):
        count = self.desk.replace(message["find"], message["by"])
        self.show(self.view["index"], "1 caption changed." if count == 1 else f"{count} captions changed.")

    def _undo(self, _):
        self.desk.undo()
        self.show(self.view["index"], "Taken back.")
