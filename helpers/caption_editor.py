"""Read and correct captions beside their pictures; what is typed is in captions.csv a moment later."""

import re
from collections import Counter
from pathlib import Path

import ipywidgets as widgets

from helpers.captions import read_captions, write_captions
from helpers.files import read_json, write_json
from helpers.photo_open import open_photo
from helpers.widget_host import custom_widgets, jpeg


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


def caption_editor(folder, check=None, plain=False):
    """A widget to read and correct the captions in folder/captions.csv; each change is saved as it is typed.

    check: caption -> list of sentences, shown below each caption. plain: ipywidgets' own parts in any case.
    Run again, it opens where the last visit ended. Raises as captions.read_captions does.
    """
    desk = CaptionDesk(folder, check)
    if plain or not custom_widgets():
        return CaptionFields(desk)
    from helpers.caption_widget import CaptionWidget

    return CaptionWidget(desk)


class CaptionFields(widgets.VBox):
    """The editor put together from ipywidgets' own parts, for where nothing else runs.

    A caption is saved when its field is left: at every key, its last letters might come after "Next" was pressed.
    """

    def __init__(self, desk):
        self.desk, self.view, self.loading = desk, None, False
        self.picture, self.told = widgets.Image(format="jpeg", width=256), widgets.Label()
        self.caption = widgets.Textarea(layout=widgets.Layout(width="90%", height="6em"), continuous_update=False)
        self.find, self.by = (
            widgets.Text(placeholder=name, continuous_update=False) for name in ("find", "replace by")
        )
        names = ("Previous", "Next", "Replace in all", "Take back")
        previous, following, replace, undo = (widgets.Button(description=name) for name in names)
        previous.on_click(lambda _: self.load(self.view["index"] - 1))
        following.on_click(lambda _: self.load(self.view["index"] + 1))
        replace.on_click(lambda _: self._replace())
        undo.on_click(lambda _: self._undo())
        self.caption.observe(self._typed, "value")
        rows = [widgets.HBox([previous, following]), self.picture, self.caption, self.told]
        super().__init__([*rows, widgets.HBox([self.find, self.by, replace, undo])])
        self.load(desk.last())

    def load(self, index, told=""):
        """Show the photo at `index` with its caption."""
        self.view = self.desk.show(index)
        self.loading, self.picture.value = True, jpeg(self.view["image"])
        self.caption.value = self.view["caption"]
        self.loading = False
        self._tell(told)

    def _tell(self, told):
        words, view = len(self.caption.value.split()), self.view
        faults = " ".join(self.desk.check(self.caption.value))
        self.told.value = f"{view['index'] + 1} of {view['count']}: {view['file']}, {words} words. {told} {faults}"

    def _typed(self, _):
        if not self.loading:
            self.desk.write(self.view["file"], self.caption.value)
            self._tell("Saved.")

    def _replace(self):
        try:
            told = f"{self.desk.replace(self.find.value, self.by.value)} captions changed."
        except ValueError as error:
            told = str(error)
        self.load(self.view["index"], told)

    def _undo(self):
        try:
            self.desk.undo()
            told = "Taken back."
        except ValueError as error:
            told = str(error)
        self.load(self.view["index"], told)
