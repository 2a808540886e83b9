"""A small web UI in a cell: write a prompt, choose who makes the picture, look through what comes.

Core ipywidgets only, 7 (Colab) or 8.
"""

import html
import random
from pathlib import Path

import ipywidgets as widgets

from helpers import diffusion, machine
from helpers.compare import trained
from helpers.compare.image_grid import ImageGrid
from helpers.diffusion import sampling

MOST = 16  # pictures at a time
WIDE = {"width": "32em", "max_width": "98%"}
LABEL = {"description_width": "8em"}


class PromptBox(widgets.VBox):
    """Prompt, negative prompt, method, strength, seed, steps and guidance; a button; the pictures below it.

    make: a function of (settings, progress) that returns as many PIL images as settings["count"], from the seeds
    settings["seed"], + 1, + 2 ...; progress is called with (done, all). methods: {name: why it cannot be used, or ""}.
    What it raises as ValueError or FileNotFoundError is told as a sentence. See `for_model` for a ready one.
    """

    def __init__(self, make, methods, *, folder, prompt="a photo of a man", steps=20, guidance=5.0, count=4):
        self.make, self.methods = make, methods
        field = lambda kind, label, **given: kind(
            description=label, style=LABEL, layout=widgets.Layout(**WIDE), **given
        )
        # sent when the field is left: sent at every key, the last letters may come after the button's press
        words = lambda label, **given: field(widgets.Textarea, label, continuous_update=False, **given)
        self.prompt = words("Prompt", value=prompt, rows=2)
        self.negative_prompt = words("Not wanted", rows=1, placeholder="negative prompt")
        self.method = field(widgets.Dropdown, "Method", options=list(methods))
        self.strength = field(widgets.FloatSlider, "Strength", value=1.0, min=0.0, max=2.0, step=0.1)
        self.seed = field(widgets.BoundedIntText, "Seed", value=1, min=0, max=2**31 - 1)
        self.fresh = field(widgets.Checkbox, "A fresh seed each time", value=False)
        self.steps = field(widgets.IntSlider, "Steps", value=steps, min=1, max=100)
        self.guidance = field(widgets.FloatSlider, "Guidance", value=guidance, min=1.0, max=20.0, step=0.5)
        self.count = field(widgets.IntSlider, "Pictures", value=min(count, MOST), min=1, max=MOST)
        self.button = widgets.Button(description="Make pictures", button_style="primary")
        self.button.on_click(lambda _: self.run())
        self.progress = widgets.IntProgress(
            description="Progress", min=0, max=1, layout=widgets.Layout(width="16em", visibility="hidden")
        )
        self.status = widgets.HTML()
        self.pictures = ImageGrid(folder=Path(folder), on_reuse=self.use)
        self.fields = ["prompt", "negative_prompt", "method", "strength", "seed", "steps", "guidance"]
        self.method.observe(lambda _: self._choose(), "value")
        shown = [getattr(self, name) for name in (*self.fields[:5], "fresh", *self.fields[5:], "count")]
        super().__init__([*shown, widgets.HBox([self.button, self.progress]), self.status, self.pictures])
        self._choose()

    def _choose(self):
        """Strength is for hypernetworks; a method that is not there says why."""
        self.strength.disabled = not self.method.value.startswith("hypernetwork")
        missing = self.methods[self.method.value]
        self.button.disabled = bool(missing)
        self.say(missing, alert=bool(missing))

    def say(self, words, alert=False):
        """Tell something below the button; screen readers say it too."""
        role, color = ("alert", "#a8281c") if alert else ("status", "inherit")
        self.status.value = (
            f'<p role="{role}" dir="auto" style="color:{color}">{html.escape(words)}</p>' if words else ""
        )

    def settings(self):
        """The fields as they stand: a dict."""
        found = {name: getattr(self, name).value for name in self.fields}
        if self.strength.disabled:
            found["strength"] = None
        return found

    def run(self):
        """Make the pictures and show them; an error is a sentence below the button."""
        if self.fresh.value:
            self.seed.value = random.SystemRandom().randrange(2**31 - MOST)
        settings = self.settings()
        self.button.disabled, self.progress.layout.visibility = True, "visible"
        self.say("Making pictures ...")
        try:
            images = self.make(settings | {"count": self.count.value}, self._tick)
            told = [settings | {"seed": settings["seed"] + i} for i in range(len(images))]
            self.pictures.show(images, told)
            self.say(f"{len(images)} {'picture' if len(images) == 1 else 'pictures'} made.")
        except (ValueError, FileNotFoundError) as error:
            self.say(str(error), alert=True)
        finally:
            self.button.disabled, self.progress.layout.visibility = False, "hidden"

    def _tick(self, done, total):
        self.progress.max, self.progress.value = total, done

    def use(self, settings):
        """Put the settings of a picture back into the fields, with its own seed."""
        for name in self.fields:
            if settings.get(name) is not None:
                getattr(self, name).value = settings[name]
        self.fresh.value, self.count.value = False, 1
        self.say("The settings are back in the box.")


def for_model(model, base):
    """A PromptBox for a model of helpers.diffusion.models: the base pipeline and every finished training of it."""
    found, config, loaded = trained.find(model), diffusion.model_config(model), {}

    def make(settings, progress):
        model = trained.required(found, settings["method"])
        if model.name not in loaded:
            loaded.clear()  # one training in memory at a time
            loaded[model.name] = trained.load(model, base)
        pipe, networks = loaded[model.name]
        prompt = settings["prompt"] + (f" <hypernet:{model.name}:{settings['strength']}>" if networks else "")
        return sampling.generate(
            pipe,
            prompt,
            [settings["seed"] + i for i in range(settings["count"])],
            guidance_scale=settings["guidance"],
            num_inference_steps=settings["steps"],
            negative_prompt=settings["negative_prompt"],
            hypernetworks=networks,
            progress=progress,
        )

    return PromptBox(
        make,
        {name: model.missing for name, model in found.items()},
        folder=machine.RUNS / "pictures",
        steps=4 if machine.QUICK else config.num_inference_steps,
        guidance=config.guidance_scale,
    )
