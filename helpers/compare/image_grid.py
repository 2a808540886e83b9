"""A grid of pictures to look through in a notebook: enlarge one, see its settings, save it, send it back.

Core ipywidgets only, 7 or 8. Pictures are img elements, because widgets.Image has no text alternative; the button
below each does by keyboard what a click on the picture does.
"""

import html
from pathlib import Path

import ipywidgets as widgets

from helpers import show
from helpers.diffusion import png_info

NAMES = {  # the settings of a picture, in the order in which they are told
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "method": "Method",
    "strength": "Strength",
    "seed": "Seed",
    "steps": "Steps",
    "guidance": "Guidance",
}
CLICK = "this.closest('.picture-cell').querySelector('button').click()"


def img(image, words, side=None, click=False):
    """An img element with the picture inside it and `words` as its text alternative; side: pixels it is shown at."""
    source = show.data_url(image, None, "PNG")
    style = (
        "max-width:100%;display:block;" + (f"width:{side}px;" if side else "") + ("cursor:zoom-in;" if click else "")
    )
    action = f' onclick="{CLICK}"' if click else ""
    return f'<img src="{source}" alt="{html.escape(words)}" style="{style}"{action}>'


def describe(settings):
    """A picture's text alternative: what was asked, of whom, from which seed."""
    by = f", by {settings['method']}" if settings.get("method") else ""
    seed = f", seed {settings['seed']}" if "seed" in settings else ""
    return f"{settings.get('prompt') or 'a picture without a prompt'}{by}{seed}"


class ImageGrid(widgets.VBox):
    """Pictures with a button each, and below them the one that was opened, large, with its settings.

    folder: where Save puts PNGs that carry the web UI's parameters text; on_reuse: called with the settings of a
    picture that is sent back (without it there is no such button). show(images, settings) fills it.
    """

    def __init__(self, images=(), settings=(), *, folder, on_reuse=None, side=160):
        super().__init__()
        self.folder, self.side, self.opened = Path(folder), side, None
        self.grid = widgets.Box(layout=widgets.Layout(flex_flow="row wrap"))
        self.large, self.status = widgets.HTML(), widgets.HTML()
        self.save = widgets.Button(description="Save", icon="download")
        self.reuse = widgets.Button(description="Use these settings", layout=widgets.Layout(width="auto"))
        self.close_button = widgets.Button(description="Close")
        self.save.on_click(lambda _: self.keep())
        self.reuse.on_click(lambda _: on_reuse(dict(self.settings[self.opened])))
        self.close_button.on_click(lambda _: self.enlarge(None))
        buttons = [self.save, *([self.reuse] if on_reuse else []), self.close_button]
        self.detail = widgets.VBox([self.large, widgets.HBox(buttons), self.status])
        self.show(images, settings)

    def show(self, images, settings):
        """Puts other pictures up; settings: for each a dict with any of NAMES. Raises ValueError if they are not as many."""
        self.images, self.settings = list(images), [dict(each) for each in settings]
        if len(self.images) != len(self.settings):
            raise ValueError(f"{len(self.images)} pictures but settings of {len(self.settings)}.")
        self.buttons = [self._button(number) for number in range(len(self.images))]
        self.grid.children = [self._cell(number) for number in range(len(self.images))]
        self.enlarge(None)

    def _button(self, number):
        words = f"{number + 1}: seed {self.settings[number].get('seed', '?')}"
        button = widgets.Button(description=words, tooltip="Show this picture large, with its settings")
        button.layout.width = f"{self.side}px"
        button.on_click(lambda _: self.enlarge(number))
        return button

    def _cell(self, number):
        words = f"Picture {number + 1} of {len(self.images)}: {describe(self.settings[number])}"
        picture = widgets.HTML(img(self.images[number], words, self.side, click=True))
        cell = widgets.VBox([picture, self.buttons[number]], layout=widgets.Layout(margin="2px"))
        cell.add_class("picture-cell")
        return cell

    def enlarge(self, number):
        """Shows a picture large with its settings, by its number from 0; None closes it."""
        self.opened, self.status.value = number, ""
        if number is None:
            self.children = [self.grid]
            return
        settings, image = self.settings[number], self.images[number]
        rows = "".join(
            f'<tr><th scope="row" style="text-align:start;vertical-align:top;padding-inline-end:1em">{words}</th>'
            f'<td dir="auto">{html.escape(str(settings[name]))}</td></tr>'
            for name, words in NAMES.items()
            if settings.get(name) not in (None, "")
        )
        large = img(image, f"Enlarged: {describe(settings)}", max(384, image.width))
        self.large.value = f"{large}<table>{rows}</table>"
        self.children = [self.grid, self.detail]
        if hasattr(self.close_button, "focus"):  # ipywidgets 8
            self.close_button.focus()

    def keep(self):
        """Saves the opened picture as a PNG that tells its settings; says under which name."""
        settings, number = self.settings[self.opened], 1
        while (path := self.folder / f"picture-{number:03}-seed{settings.get('seed', 0)}.png").exists():
            number += 1
        told = {
            "Steps": settings.get("steps", 0),
            "CFG scale": settings.get("guidance", 0),
            "Seed": settings.get("seed", 0),
        }
        told |= {NAMES[name]: settings[name] for name in ("method", "strength") if settings.get(name) not in (None, "")}
        prompts = (settings.get("prompt", ""), settings.get("negative_prompt", ""))
        png_info.save(path, self.images[self.opened], png_info.write_text(*prompts, told))
        self.status.value = (
            f'<p role="status">Saved as {html.escape(path.name)} in {html.escape(path.parent.name)}.</p>'
        )
        return path
