"""A small web UI in a cell: write a prompt, choose a model, look through the pictures, save one, send it back.

Core ipywidgets only, 7 (Colab) or 8. Pictures are img elements, because widgets.Image has no text alternative; the
button below each does by keyboard what a click on the picture does.
"""

import html
import random
from pathlib import Path

import ipywidgets as widgets

from helpers import diffusion, machine, show
from helpers.compare import trained
from helpers.diffusion import png_info

MOST = 16  # pictures at a time
NAMES = {  # the settings of a picture, which are fields of the box, in the order in which they are shown
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
    style = f"max-width:100%;display:block;{f'width:{side}px;' if side else ''}{'cursor:zoom-in;' if click else ''}"
    action = f' onclick="{CLICK}"' if click else ""
    return f'<img src="{source}" alt="{html.escape(words)}" style="{style}"{action}>'


def describe(settings):
    """A picture's text alternative: its prompt, model and seed."""
    words = settings["prompt"] or "a picture without a prompt"
    return f"{words}, by {settings['method']}, seed {settings['seed']}"


class ImageGrid(widgets.VBox):
    """Pictures with a button each, and below them the one that was opened, large, with its settings.

    folder: where Save puts PNGs with the web UI's parameters text; on_reuse: called with the settings of a picture
    that is sent back. show(images, settings) fills it.
    """

    def __init__(self, *, folder, on_reuse, side=160):
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
        buttons = widgets.HBox([self.save, self.reuse, self.close_button])
        self.detail = widgets.VBox([self.large, buttons, self.status])
        self.show([], [])

    def show(self, images, settings):
        """Puts other pictures up; settings: for each a dict of NAMES. Raises ValueError if they are not as many."""
        self.images, self.settings = list(images), [dict(each) for each in settings]
        if len(self.images) != len(self.settings):
            raise ValueError(f"There are {len(self.images)} pictures: give as many settings, not {len(self.settings)}.")
        self.buttons = [self._button(number) for number in range(len(self.images))]
        self.grid.children = [self._cell(number) for number in range(len(self.images))]
        self.enlarge(None)

    def _button(self, number):
        words = f"{number + 1}: seed {self.settings[number]['seed']}"
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
            if settings[name] not in (None, "")
        )
        large = img(image, f"Enlarged: {describe(settings)}", max(384, image.width))
        self.large.value = f"{large}<table>{rows}</table>"
        self.children = [self.grid, self.detail]
        if hasattr(self.close_button, "focus"):  # ipywidgets 8
            self.close_button.focus()

    def keep(self):
        """Saves the opened picture as a PNG with its settings; says under which name and returns the path."""
        settings, number = self.settings[self.opened], 1
        while (path := self.folder / f"picture-{number:03}-seed{settings['seed']}.png").exists():
            number += 1
        line = {"Steps": settings["steps"], "CFG scale": settings["guidance"], "Seed": settings["seed"]}
        line |= {NAMES[name]: settings[name] for name in ("method", "strength") if settings[name] is not None}
        text = png_info.write_text(settings["prompt"], settings["negative_prompt"], line)
        png_info.save(path, self.images[self.opened], text)
        words = html.escape(f"Saved as {path.name} in {path.parent.name}.")
        self.status.value = f'<p role="status">{words}</p>'
        return path


class PromptBox(widgets.VBox):
    """Prompt, negative prompt, method, strength, seed, steps and guidance; a button; the pictures below it.

    make: a function of (settings, progress) that returns as many PIL images as settings["count"], from the seeds
    settings["seed"], + 1, + 2 ...; progress is called with (done, all). methods: {name: why it cannot be used, or ""}.
    A ValueError or FileNotFoundError of `make` is shown as a sentence. See `prompt_box` for a ready one.
    """

    def __init__(self, make, methods, *, folder, prompt="a photo of a man", steps=20, guidance=5.0, count=4):
        self.make, self.methods = make, methods
        look = {"layout": widgets.Layout(width="32em", max_width="98%"), "style": {"description_width": "8em"}}
        field = lambda kind, label, **given: kind(description=label, **look, **given)
        # sent when the field is left: sent at every key, the last letters may come after the button's press
        words = lambda label, **given: field(widgets.Textarea, label, continuous_update=False, **given)
        self.prompt = words("Prompt", value=prompt, rows=2)
        self.negative_prompt = words("Not wanted", rows=1, placeholder="negative prompt")
        self.method = field(widgets.Dropdown, "Method", options=list(methods))
        self.strength = field(widgets.FloatSlider, "Strength", value=1.0, min=0.0, max=2.0, step=0.1)
        self.seed = field(widgets.BoundedIntText, "Seed", value=1, min=0, max=2**32 - 1)
        self.fresh = field(widgets.Checkbox, "A fresh seed each time", value=False)
        self.steps = field(widgets.IntSlider, "Steps", value=steps, min=1, max=100)
        self.guidance = field(widgets.FloatSlider, "Guidance", value=guidance, min=1.0, max=20.0, step=0.5)
        self.count = field(widgets.IntSlider, "Pictures", value=min(count, MOST), min=1, max=MOST)
        self.button = widgets.Button(description="Make pictures", button_style="primary")
        self.button.on_click(lambda _: self.run())
        hidden = widgets.Layout(width="16em", visibility="hidden")
        self.progress = widgets.IntProgress(description="Progress", min=0, max=1, layout=hidden)
        self.status = widgets.HTML()
        self.pictures = ImageGrid(folder=Path(folder), on_reuse=self.use)
        self.method.observe(lambda _: self._choose(), "value")
        shown = [getattr(self, name) for name in (*list(NAMES)[:5], "fresh", *list(NAMES)[5:], "count")]
        super().__init__([*shown, widgets.HBox([self.button, self.progress]), self.status, self.pictures])
        self._choose()

    def _choose(self):
        """Strength is for hypernetworks; a method that is not there says why."""
        self.strength.disabled = not self.method.value.startswith("hypernetwork")
        missing = self.methods[self.method.value]
        self.button.disabled = bool(missing)
        self.say(missing, alert=bool(missing))

    def say(self, words, alert=False):
        """Shows a sentence below the button; screen readers say it too."""
        role, color = ("alert", "#a8281c") if alert else ("status", "inherit")
        line = f'<p role="{role}" dir="auto" style="color:{color}">{html.escape(words)}</p>'
        self.status.value = line if words else ""

    def settings(self):
        """The fields as they stand: a dict."""
        settings = {name: getattr(self, name).value for name in NAMES}
        return settings | ({"strength": None} if self.strength.disabled else {})

    def run(self):
        """Make the pictures and show them; an error is a sentence below the button."""
        if self.fresh.value:
            self.seed.value = random.SystemRandom().randrange(2**32 - MOST)
        settings = self.settings()
        self.button.disabled, self.progress.layout.visibility = True, "visible"
        self.say("Making pictures ...")
        try:
            images = self.make(settings | {"count": self.count.value}, self._tick)
            self.pictures.show(images, [settings | {"seed": settings["seed"] + i} for i in range(len(images))])
            self.say(f"{len(images)} {'picture' if len(images) == 1 else 'pictures'} made.")
        except (ValueError, FileNotFoundError) as error:
            self.say(str(error), alert=True)
        finally:
            self.button.disabled, self.progress.layout.visibility = False, "hidden"

    def _tick(self, done, total):
        self.progress.max, self.progress.value = total, done

    def use(self, settings):
        """Put the settings of a picture back into the fields, with its own seed."""
        for name in NAMES:
            if settings.get(name) is not None:
                getattr(self, name).value = settings[name]
        self.fresh.value, self.count.value = False, 1
        self.say("The settings are back in the box.")


def prompt_box(model, base):
    """A PromptBox for a model of helpers.diffusion.models: the base pipeline and every finished training of it."""
    models, config, loaded = trained.find(model), diffusion.model_config(model), {}

    def make(settings, progress):
        model = trained.required(models, settings["method"])
        if model.name not in loaded:
            loaded.clear()  # one training in memory at a time
            loaded[model.name] = trained.load(model, base)
        pipe, networks = loaded[model.name]
        prompt = diffusion.prompts.without_comments(settings["prompt"])  # a comment at its end must not hide the tag
        prompt += f" <hypernet:{model.name}:{settings['strength']}>" if networks else ""
        return diffusion.generate(
            pipe,
            prompt,
            [settings["seed"] + i for i in range(settings["count"])],
            guidance_scale=settings["guidance"],
            num_inference_steps=settings["steps"],
            negative_prompt=settings["negative_prompt"],
            hypernetworks=networks,
            progress=progress,
        )

    methods, steps = {name: each.missing for name, each in models.items()}, config.num_inference_steps
    settings = {"steps": 4 if machine.QUICK else steps, "guidance": config.guidance_scale}
    word = machine.subjects.class_of(machine.subjects.learnt_by("hypernetwork"))
    settings["prompt"] = f"a photo of {machine.subjects.with_article(word)}"
    return PromptBox(make, methods, folder=machine.RUNS / "pictures", **settings)
