"""The comparison: images of each method made once and kept, and what each training took."""

import hashlib
import re
from pathlib import Path

import pandas as pd
from PIL import Image

from helpers import diffusion, files, runtime

BATCH = 8  # images made, then saved, at a time


def finished_run(name, notebook, model):
    """The folder of a finished training in RUNS.

    Raises FileNotFoundError that says which notebook to run, ValueError if it trained another model.
    """
    folder = runtime.RUNS / name
    if not (folder / "card.md").exists():
        raise FileNotFoundError(f"There is no finished training in {folder}: run notebooks/{notebook}.ipynb first.")
    trained = files.read_json(folder / "settings.json")["model"]
    if trained != model:
        raise ValueError(
            f"The training in {folder} is of {trained}, not {model}: run notebooks/{notebook}.ipynb again."
        )
    return folder


def fingerprint(weights):
    """A short name for weights that changes with them; a hub id, which is not on disk, stays as it is."""
    weights = Path(weights)
    if not weights.exists():
        return weights.as_posix()
    if weights.is_file():
        return files.fingerprint([weights])
    parts = ("text_encoder", "unet", "vae")  # what makes the pictures; a captioner beside them does not
    return files.fingerprint([path for part in parts for path in sorted((weights / part).glob("*.safetensors"))])


def images(folder, pipe, weights, prompts, seeds, *, guidance_scale, num_inference_steps):
    """One image for each (prompt, seed) pair, the seeds of the first prompt first.

    An image made before is read from `folder`. If the weights or the settings have changed since, all
    of them are made again: settings.json in the folder says what they were made with.
    """
    sampler = {"guidance_scale": guidance_scale, "num_inference_steps": num_inference_steps}
    _forget_others(Path(folder), {"weights": fingerprint(weights)} | sampler)
    pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
    paths = [Path(folder) / file_name(prompt, seed) for prompt, seed in pairs]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        made = diffusion.generate(pipe, [pairs[i][0] for i in batch], [pairs[i][1] for i in batch], **sampler)
        for i, image in zip(batch, made):
            with files.atomic_write(paths[i]) as partial:
                image.save(partial, format="PNG")
    return [_read(path) for path in paths]


def file_name(prompt, seed):
    """A name that people can read and that no other prompt has."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:40].strip("-")
    return f"{words}-{hashlib.sha256(prompt.encode()).hexdigest()[:6]}-seed{seed}.png"


def _forget_others(folder, settings):
    """Remove the images of a folder that were made with other settings."""
    path = folder / "settings.json"
    if path.exists() and files.read_json(path) != settings:
        for image in folder.glob("*-seed*.png"):
            image.unlink()
    files.write_json(path, settings)


def _read(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def training_facts(run, result):
    """What a training took, from its run folder: dict steps, minutes, and MB of `result` (file or folder)."""
    last = pd.read_csv(Path(run) / "loss.csv").iloc[-1]
    result = Path(result)
    paths = [path for path in result.rglob("*") if path.is_file()] if result.is_dir() else [result]
    size = sum(path.stat().st_size for path in paths) / 1e6
    return {"steps": int(last["step"]), "minutes": round(last["seconds"] / 60, 1), "MB on disk": round(size, 1)}
