"""DreamBooth (Ruiz et al. 2023): a rare identifier for one subject, class images so the class stays itself."""

import functools
import hashlib
import json
import re
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F

from helpers import diffusion, machine, training
from helpers.diffusion import device, kept
from helpers.machine import read_json, write_json
from helpers.methods import memory


def check_identifier(tokenizer, identifier):
    """(pieces, known words): how the tokenizer cuts an identifier, and which parts of it are words it knows.

    A good identifier falls into several rare pieces and has no known word: "nesrelah_001" is one; "sks" is a rifle.
    """
    words = re.findall(r"[^\W\d_]{2,}", identifier.lower())
    return tokenizer.tokenize(identifier), [word for word in words if len(tokenizer.tokenize(word)) == 1]


def class_images(pipe, prompt, folder, count, seed, *, weights, **sampler):
    """Paths of `count` pictures of the class, made by the model itself before it learns (section 3.2 there).

    weights: where the model's weights are. sampler: as for `diffusion.generate`. Image i has seed + i; where the
    safety checker withholds it a further seed is taken. Kept and reused in a folder within `folder`, one for each set
    of settings. Processes that were launched together share the work.
    Raises ValueError if the checker withholds more than it lets pass, or for a count of 0.
    """
    _require_class(count)
    settings = {"prompt": prompt, "seed": seed, "weights": machine.weights_id(weights)} | sampler
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(folder) / f"{kept.slug(prompt)}-{name}"
    if device.state().is_main_process:
        write_json(folder / "settings.json", settings)
    passed, tried = [], 0
    while len(passed) < count and tried < 2 * count:
        batch = range(tried, tried + count - len(passed))
        paths = {folder / f"{i:05}.png": (prompt, seed + i) for i in batch}
        if missing := kept.missing(paths):
            kept.make(pipe, missing, model="base", weights=weights, **sampler)
        passed += [path for path in paths if not kept.withheld(kept.read(path))]
        tried = batch.stop
    if len(passed) < count:
        raise ValueError(
            f"The safety checker withheld {tried - len(passed)} of {tried} pictures of {prompt!r}: reword it."
        )
    return passed


def _require_class(count):
    """Without class images half the photos would be taken for them by `dreambooth_loss`."""
    if count < 1:
        raise ValueError(
            "There are no class images: keep one or more, and to learn without them set the prior weight to 0."
        )


def paired_batches(instances, class_count, batch_size, seed):
    """A function of the step number to (instance indices, class indices), `batch_size` of each, shuffled by themselves.

    Without class images the second list is empty.
    """
    instance_batch = training.shuffled(instances, batch_size, seed)
    class_batch = training.shuffled(class_count, batch_size, seed + 1) if class_count else lambda step: []
    return lambda step: (instance_batch(step), class_batch(step))


def dreambooth_loss(prediction, noise, prior_weight):
    """Subject loss + prior_weight * class loss, each a mean squared error (equation 2 there).

    prediction, noise: (2n, 4, h, w), the n subject examples first, then n class examples.
    """
    subject, prior = map(F.mse_loss, prediction.float().chunk(2), noise.float().chunk(2))
    return subject + prior_weight * prior


def denoising_loss(unet, scheduler, encode_text, photos, class_images, prior_weight=1.0, weights="equal"):
    """A function of (photo indices, class image indices) to the loss of one batch: notebook 04 writes it out.

    encode_text: a PromptEncoder. photos, class_images: (latents (n, 4, h, w), n prompts). weights: as for `loss_scale`.
    Raises ValueError without class images.
    """
    _require_class(len(class_images[1]))

    def draw(pair):
        chosen = list(zip((photos, class_images), pair, strict=True))
        latents = torch.cat([latents[indices] for (latents, _), indices in chosen])
        return latents, encode_text([prompts[i] for (_, prompts), indices in chosen for i in indices])

    error = functools.partial(dreambooth_loss, prior_weight=prior_weight)
    return training.denoising_loss(unet, scheduler, draw, error, weights)


def learn(pipe, text_encoder=False, checkpointing=False):
    """Makes the U-Net ready to learn, and the text encoder if asked for; returns their parameters, float32.

    checkpointing: of all that learns, as `training.checkpoint_gradients` does it.
    """
    parts = [pipe.unet, pipe.text_encoder] if text_encoder else [pipe.unet]
    pipe.text_encoder.requires_grad_(False)
    for part in parts:
        part.float().requires_grad_(True).train()
    if checkpointing:
        training.checkpoint_gradients(*parts)
    return [parameter for part in parts for parameter in part.parameters()]


def idle(pipe, text_encoder=False):
    """The networks that a training does not need, for `training.offloaded`: VAE, safety checker if there is one, and
    the text encoder unless it learns. Previews need them all.
    """
    parts = [pipe.vae, None if text_encoder else pipe.text_encoder, getattr(pipe, "safety_checker", None)]
    return [part for part in parts if part is not None]


class PromptEncoder:
    """A function of prompts to prompt_embeds (n, 77, width): encoded once, beforehand, or each time if it learns.

    prompts: all there will be, encoded now, while the text encoder is on the device and in full precision.
    learns: whether the text encoder is being trained; then gradients flow into it.
    """

    def __init__(self, pipe, prompts, learns=False):
        self.pipe = pipe if learns else None  # not kept alive for nothing
        self._embeds = {} if learns else {p: diffusion.encode_prompts(pipe, [p])[0] for p in dict.fromkeys(prompts)}

    def __call__(self, prompts):
        if self.pipe is not None:
            return diffusion.encode_prompts.__wrapped__(self.pipe, prompts)  # the same, with gradients
        return torch.stack([self._embeds[prompt] for prompt in prompts])


def save(folder, pipe):
    """Writes the whole pipeline in 16 bits (about 2 GB for SD 1.x), replacing `folder` in one move.

    The pipeline in memory is rounded to the same 16 bits, so what it makes from now on is what the folder makes.
    Raises ValueError, before anything is written, if a LoRA is on it.
    """
    diffusion.checkpoint.check_bare(pipe)
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    precisions = {part: part.dtype for part in pipe.components.values() if isinstance(part, torch.nn.Module)}
    for part in precisions:
        torch.nn.Module.to(part, dtype=torch.float16)  # diffusers' own `to` warns of layers that are not there
    pipe.save_pretrained(partial)
    for path in [partial / "model_index.json", *partial.glob("*/config.json")]:  # not where the base lay on this disk
        write_json(path, {name: value for name, value in read_json(path).items() if name != "_name_or_path"})
    for part, precision in precisions.items():
        torch.nn.Module.to(part, dtype=precision)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def check_disk(folder, pipe, learning, optimizer=torch.optim.AdamW, settings=None):
    """The bytes a DreamBooth run may still need in `folder`. Raises OSError if there is less room.

    learning: how many weights learn. optimizer, settings: as training.train's: a run of these goes on from its bytes.
    """
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    whole = 2 * sum(p.numel() for part in networks for p in part.parameters())  # the model in 16 bits
    sample = torch.nn.Parameter(torch.zeros(2**20))
    (averages,) = memory.fill(optimizer([sample]), [sample])
    training.optimizers.remove_hook(sample)
    checkpoint = learning * (4 + averages / sample.numel())
    # the next checkpoint, or the next best weights, before the old ones go
    meanwhile = max(2 * checkpoint + 4 * learning, checkpoint + 2 * 4 * learning)
    # last and best weights, the model, once more while it is replaced, two files for the web UI
    done = 2 * 4 * learning + 4 * whole
    needed = max(0, max(meanwhile, done) - _already_there(Path(folder), settings or {}))
    free = shutil.disk_usage(next(p for p in [Path(folder), *Path(folder).parents] if p.exists())).free
    if free < needed:
        raise OSError(
            f"{folder} has room for {free / memory.GB:.1f} GB, and this training may need {needed / memory.GB:.1f} GB "
            f"more: make room, set RUNS_DIR to a larger disk, or {memory.LIGHT}."
        )
    return needed


def _already_there(folder, settings):
    """The bytes that a run with these settings finds in its folder; another's is set aside, and stays."""
    path = folder / "settings.json"
    before = read_json(path) if path.exists() else {}
    if any(before.get(name) != value for name, value in json.loads(json.dumps(settings)).items()):
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
