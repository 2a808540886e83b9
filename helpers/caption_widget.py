"""The caption editor as a widget of its own; caption_widget.js draws it."""

from pathlib import Path

import anywidget
import traitlets

from helpers.widget_host import data_url


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
