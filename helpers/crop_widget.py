"""The crop editor as a widget of its own; crop_widget.js draws it."""

from pathlib import Path

import anywidget
import traitlets

from helpers.widget_host import data_url


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
