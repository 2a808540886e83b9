"""Pictures kept on disk, each with its settings inside: made in batches, read again, dropped when settings change."""

import hashlib
import re
from pathlib import Path

from PIL import Image

from helpers import machine
from helpers.diffusion import device, png_info, sampling

BATCH = 8  # pictures made, then saved, at a time


def make(pipe, pictures, *, model, weights, hypernetwork=None, **sampler):
    """Make and keep pictures; pictures: {path: (prompt, seed)}. Each PNG has its settings. A kill costs one batch.

    model, hypernetwork: names to write into the PNG; weights: folder, file or hub id of the model's weights.
    Of several processes each makes some of the batches that one process would make: no bit differs.
    """
    paths, state = list(pictures), device.state()
    written = {"model": model, "hypernetwork": hypernetwork}
    if weights and Path(weights).exists():
        written["model_hash"] = machine.weights_id(weights)[:10]
    with state.split_between_processes([paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]) as batches:
        for batch in batches:
            prompts, seeds = zip(*(pictures[path] for path in batch))
            images = sampling.generate(pipe, prompts, seeds, **sampler)
            for path, prompt, seed, image in zip(batch, prompts, seeds, images):
                settings = written | {"seed": int(seed), "size": image.size}
                settings |= {"withheld": "by the safety checker"} if "withheld" in image.info else {}
                text = png_info.write_text(prompt, "", png_info.settings(pipe, **settings, **sampler))
                png_info.save(path, image, text)
    state.wait_for_everyone()


def missing(pictures):
    """Those of {path: ...} that are not on disk; of several processes the first one looks, for all."""
    return device.from_first(lambda: {path: picture for path, picture in pictures.items() if not path.exists()})


def read(path):
    """A picture on disk: RGB, with the texts of its PNG in `info`."""
    with Image.open(path, formats=["PNG"]) as image:
        return image.convert("RGB")


def withheld(image):
    """Whether a picture that was read from disk is only the card of one that the safety checker withheld."""
    return "Withheld" in png_info.read_text(image.info.get("parameters", ""))[2]


def is_checked(pipe):
    """Whether a safety checker looks at what a pipeline makes."""
    return getattr(pipe, "safety_checker", None) is not None


def slug(prompt):
    """The first words of a prompt as a file name can have them; "prompt" where none are Latin, or none are there."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:40].strip("-") or "prompt"


def file_name(prompt, seed):
    """A name that people can read and that no other prompt has."""
    return f"{slug(prompt)}-{hashlib.sha256(prompt.encode()).hexdigest()[:6]}-seed{seed}.png"


def drop_outdated(folder, settings):
    """Remove the pictures of a folder that were made with other settings, and write down these.

    Where only the safety checker was taken off since, its cards go and what it let pass stays.
    """
    path = folder / "settings.json"
    before = machine.read_json(path) if path.exists() else settings
    if before != settings:
        taken_off = before == settings | {"safety_checker": True}
        for image in folder.glob("*.png"):
            if not taken_off or withheld(read(image)):
                image.unlink()
    machine.write_json(path, settings)
