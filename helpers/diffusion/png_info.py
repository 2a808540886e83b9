"""The web UI's `parameters` text: how an image was made, kept inside its PNG, and read back."""

import hashlib
import json
import re
from pathlib import Path

from PIL import Image, PngImagePlugin

from helpers.machine import atomic_write

NEGATIVE = "Negative prompt:"
_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_NUMBERS = {"Steps": int, "CFG scale": float, "Seed": int, "Hypernet strength": float}
SAMPLERS = {  # diffusers' classes under the names the web UI shows
    "DDIMScheduler": "DDIM",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "DPMSolverSDEScheduler": "DPM++ SDE",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "HeunDiscreteScheduler": "Heun",
    "LMSDiscreteScheduler": "LMS",
    "PNDMScheduler": "PLMS",
    "UniPCMultistepScheduler": "UniPC",
}


def settings(pipe, *, seed, guidance_scale, num_inference_steps, size, hypernetwork=None, strength=None, **others):
    """The settings line of one image as a dict, under the web UI's names and in its order.

    size: (width, height) in pixels. hypernetwork: its name. others: such as model_hash="45dee52b".
    """
    line = {"Steps": num_inference_steps, "Sampler": sampler_name(pipe.scheduler), "CFG scale": guidance_scale}
    line |= {"Seed": seed, "Size": f"{size[0]}x{size[1]}"}
    line |= {name.replace("_", " ").capitalize(): value for name, value in others.items()}
    if hypernetwork is not None:
        line |= {"Hypernet": hypernetwork, "Hypernet strength": 1.0 if strength is None else strength}
    return line


def sampler_name(scheduler):
    """The web UI's name for a diffusers scheduler; the class name where it has none."""
    name = SAMPLERS.get(type(scheduler).__name__, type(scheduler).__name__)
    return f"{name} Karras" if scheduler.config.get("use_karras_sigmas") else name


def model_hash(path):
    """The web UI's short model hash: the first ten digits of a checkpoint file's SHA-256."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:10]


def write_text(prompt, negative_prompt, settings):
    """The `parameters` text: prompt, negative prompt if there is one, and a line of "Name: value, ..." pairs.

    settings: at least three names and values; fewer would be read as a line of the prompt.
    Values with commas, colons, quotes or line breaks are quoted as JSON, as the web UI does.
    Raises ValueError for a name no reader would find, or a prompt line that begins "Negative prompt:".
    """
    if any(line.startswith(NEGATIVE) for line in f"{prompt}\n{negative_prompt}".split("\n")):
        raise ValueError(f"A line of a prompt cannot begin with {NEGATIVE!r}: write it as the negative prompt.")
    pairs = ", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items())
    if len(_PAIR.findall(pairs)) < 3 or [name for name, _ in _PAIR.findall(pairs)] != list(settings):
        raise ValueError(f"{list(settings)} cannot be written: give three or more plain names, of two letters or more.")
    lines = [prompt] if prompt else []
    lines += [f"{NEGATIVE} {negative_prompt}"] if negative_prompt else []
    return "\n".join([*lines, pairs])


def _quoted(value):
    text = str(value)
    plain = text == text.strip() and not re.search(r'[,:"\n]', text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def read_text(text):
    """(prompt, negative prompt, settings) of a `parameters` text, ours or the web UI's.

    settings: a dict of texts; Steps and Seed are ints, CFG scale and Hypernet strength floats.
    """
    *lines, last = text.split("\n")
    if len(_PAIR.findall(last)) < 3:
        lines, last = [*lines, last], ""
    begin = next((i for i, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    prompt, negative = "\n".join(lines[:begin]), "\n".join(lines[begin:])
    negative = negative.removeprefix(NEGATIVE).removeprefix(" ")
    return prompt, negative, {name: _value(name, value) for name, value in _PAIR.findall(last)}


def _value(name, value):
    try:
        value = json.loads(value) if value.startswith('"') else value.strip()
        return _NUMBERS.get(name, str)(value)
    except ValueError:
        return value  # as it stands: another program's idea of the format


def save(path, image, text):
    """Saves a PIL image as PNG with the `parameters` text and nothing else of its metadata, atomically."""
    about = PngImagePlugin.PngInfo()
    about.add_text("parameters", text)
    with atomic_write(path) as partial:
        image.convert("RGB").save(partial, format="PNG", pnginfo=about, exif=b"", icc_profile=None)


def read(path):
    """(prompt, negative prompt, settings) of a PNG. Raises ValueError if it has no `parameters` text."""
    with Image.open(path) as image:
        image.load()  # texts may stand after the pixels
        text = getattr(image, "text", {}).get("parameters")
    if text is None:
        raise ValueError(f"{path} has no parameters text: take the PNG as it was saved, not a copy without it.")
    return read_text(text)


def generate_arguments(prompt, negative_prompt, settings, size=None):
    """What was read, as the keyword arguments of diffusion.generate that make the image again.

    Model, sampler and hypernetwork are the caller's to load. size: pixels a side of what that model makes.
    Raises ValueError if a setting is missing, or the image has another size.
    """
    if missing := [name for name in ("Steps", "CFG scale", "Seed") if name not in settings]:
        raise ValueError(f"The image has no {', '.join(missing)} in its settings: it cannot be made again.")
    pixels = settings.get("Size", f"{size}x{size}")
    if size and pixels != f"{size}x{size}":
        raise ValueError(f"The image has {pixels} pixels, this model makes {size}x{size}: load a model of its size.")
    return {
        "prompts": prompt,
        "seeds": [settings["Seed"]],
        "guidance_scale": settings["CFG scale"],
        "num_inference_steps": settings["Steps"],
        "negative_prompt": negative_prompt,
    }
