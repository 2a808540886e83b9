"""DreamBooth (Ruiz et al. 2023): a rare identifier for one subject, class images so the class stays itself."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F

from helpers import training
from helpers.diffusion import generate
from helpers.files import atomic_write, write_json


def check_identifier(tokenizer, identifier):
    """(pieces, known words): how the tokenizer cuts an identifier, and which parts of it are words it knows.

    A good identifier falls into several rare pieces and has no known word: the model can then have no
    opinion of it. "nesrelah_001" is one; "sks" is a rifle.
    """
    pieces = tokenizer.tokenize(identifier)
    words = re.findall(r"[^\W\d_]{2,}", identifier.lower())
    return pieces, [word for word in words if len(tokenizer.tokenize(word)) == 1]


def class_images(pipe, prompt, folder, count, seed, *, weights="", batch_size=8, **sampler):
    """Paths of `count` pictures of the class, made by the model itself before it learns (section 3.2 there).

    weights: a name for the model's weights. sampler: as for `diffusion.generate`. Image i has seed + i.
    Kept in a folder within `folder`, one for each set of settings; what is there already is reused.
    """
    told = {"prompt": prompt, "seed": seed, "weights": weights} | sampler
    name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(folder) / f"{re.sub('[^a-z0-9]+', '-', prompt.lower())[:40].strip('-')}-{name}"
    write_json(folder / "settings.json", told)
    paths = [folder / f"{i:05}.png" for i in range(count)]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    for start in range(0, len(missing), batch_size):
        chosen = missing[start : start + batch_size]
        images = generate(pipe, prompt, [seed + i for i in chosen], batch_size=batch_size, **sampler)
        for i, image in zip(chosen, images):
            with atomic_write(paths[i]) as partial:
                image.save(partial, format="PNG")
    return paths


def paired_batches(instances, class_count, batch_size, seed):
    """A function of the step number to (instance indices, class indices), `batch_size` of each.

    Both are reshuffled every epoch by themselves, so no photo is bound to the same class image for ever.
    """
    instance_batch = training.shuffled(instances, batch_size, seed)
    class_batch = training.shuffled(class_count, batch_size, seed + 1)
    return lambda step: (instance_batch(step), class_batch(step))


def dreambooth_loss(prediction, noise, prior_weight):
    """Subject loss + prior_weight * class loss, each a mean squared error (equation 2 there).

    prediction, noise: (2n, 4, h, w), the n subject examples first, then n class examples.
    """
    subject, prior = (prediction.float() - noise.float()).chunk(2)
    zero = torch.zeros_like(subject)
    return F.mse_loss(subject, zero) + prior_weight * F.mse_loss(prior, zero)


def save(folder, pipe):
    """Writes the whole pipeline in 16 bits (about 2 GB for SD 1.x), replacing `folder` in one move.

    The pipeline in memory is rounded to the same 16 bits, so what it makes from now on is what the folder makes.
    """
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    precisions = [part.dtype for part in parts]
    for part in parts:
        torch.nn.Module.to(part, dtype=torch.float16)  # diffusers' own `to` warns of layers that are not there
    pipe.save_pretrained(partial)
    for part, precision in zip(parts, precisions):
        torch.nn.Module.to(part, dtype=precision)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
