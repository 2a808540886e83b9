"""DreamBooth (Ruiz et al. 2023): a rare identifier for one subject, class images so the class stays itself."""

import functools
import hashlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
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
    of settings; without the checker what it withheld is made after all. Processes that were launched together share the work.
    Raises ValueError if the checker withholds more than it lets pass, or for a count of 0.
    """
    _require_class(count)
    settings = {"prompt": prompt, "seed": seed, "weights": machine.weights_id(weights)} | sampler
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(folder) / f"{kept.slug(prompt)}-{name}"
    if device.state().is_main_process:
        kept.drop_outdated(folder, settings | {"safety_checker": kept.is_checked(pipe)})
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


CHECKER = ("safety_checker", "feature_extractor")


def save(folder, pipe):
    """Writes the pipeline but for its safety checker in 16 bits (about 2 GB for SD 1.x), replacing `folder` in one move.

    The pipeline in memory is rounded to the same 16 bits, so what it makes from now on is what the folder makes.
    Raises ValueError, before anything is written, if a LoRA is on it, OSError on a full disk; the folder is as it was, then.
    """
    diffusion.checkpoint.check_bare(pipe)
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.part")
    bare = type(pipe)(**pipe.components | dict.fromkeys(CHECKER), requires_safety_checker=False)
    networks = {part: part.dtype for part in bare.components.values() if isinstance(part, torch.nn.Module)}
    try:
        with machine.room_for(folder):
            training.run.discard(partial)
            for part in networks:
                torch.nn.Module.to(part, dtype=torch.float16)  # diffusers' own `to` warns of layers that are not there
            bare.save_pretrained(partial)
            for path in [partial / "model_index.json", *partial.glob("*/config.json")]:  # not where the base lay here
                write_json(path, {name: value for name, value in read_json(path).items() if name != "_name_or_path"})
        _replace(folder, partial)
    finally:
        for part, precision in networks.items():
            torch.nn.Module.to(part, dtype=precision)
        training.run.discard(partial)


def _replace(folder, new):
    """Gives the name of a folder to another one; a kill leaves one of them whole."""
    old = folder.with_name(f".{folder.name}.old")
    training.run.discard(old)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    training.run.discard(old)


def load(folder, like):
    """The pipeline that `save` wrote, with the safety checker of `like`, a pipeline or its components, if it has one."""
    pipe, components = diffusion.load_pipeline(str(folder)), getattr(like, "components", like)
    pipe.register_modules(**{name: components.get(name) for name in CHECKER})
    return pipe


def result(folder, pipe, text_encoder=False):
    """The weights that `save` wrote into `folder`, 16 bits, in the order of `learn`; None where it has not yet.

    For training.train: a run on Google Drive is finished, though its checkpoints went with another session's machine.
    """
    if not Path(folder).exists():
        return None
    parts = {"unet": pipe.unet} | ({"text_encoder": pipe.text_encoder} if text_encoder else {})
    saved = [type(part).from_pretrained(Path(folder) / name) for name, part in parts.items()]
    return [weight for part in saved for weight in part.parameters()]


def restore(run, pipe, parameters, which="last"):
    """Puts the last weights of a finished run, or the best, back into `parameters` of `learn`; returns their step.

    which: "last", or "best" for those with the lowest held-out loss. Where the checkpoints went with another session's
    machine, what the run left in its folder `model` stands for both, and a line says so.
    """
    place = machine.local(Path(run) / "checkpoints")
    if place.exists():
        return training.restore(place / "best.pt" if which == "best" else max(place.glob("[0-9]*.pt")), parameters)
    print(f"The checkpoints of {run.name} have gone: what it left stands for the last and the best.")
    text_encoder = len(parameters) > len(list(pipe.unet.parameters()))
    training.run.put_back(parameters, result(run / "model", pipe, text_encoder))
    losses = pd.read_csv(run / "loss.csv", index_col="step")["held_out_loss"].drop(0)
    return int(losses.idxmin() if which == "best" else losses.index[-1])


def keep(run, pipe, parameters, which="last"):
    """Chooses the result of a run as `restore` does and saves the pipeline as run/model; returns the step."""
    number = restore(run, pipe, parameters, which)
    if machine.local(Path(run) / "checkpoints").exists():
        save(run / "model", pipe)
    return number


def check_room(pipe, run, config, setting, steps):
    """Says what a training will take of the GPU, of the computer and of the disk; returns the forecast, None without a GPU.

    config: the ModelConfig. setting: a name of memory.SETTINGS. Raises MemoryError or OSError, now and not in an hour,
    where there is not enough.
    """
    plan, kind, forecast = config.dreambooth, memory.SETTINGS[setting], None
    text_encoder, place = plan["text_encoder"], device.find_device()
    learning = pipe.unet.num_parameters() + text_encoder * pipe.text_encoder.num_parameters()
    print(f"This training multiplies in {str(device.computes_in(place)).removeprefix('torch.')}.")
    if memory.gpu_bytes() is not None:
        others = forecast_settings(pipe, config)
        forecast = memory.forecast(**others, **kind)
        print(f"GPU: {forecast}.")
        host = memory.host(pipe, learning, kind["optimizer"], idle(pipe, text_encoder))
        print(f"The computer itself needs about {host / memory.GB:.1f} GB of memory beside that.")
        memory.check_gpu(forecast, **others)
    settings, checkpoints = {"model": config.name, "steps": steps}, machine.local(run / "checkpoints")
    more = check_disk(run, pipe, learning, kind["optimizer"], settings, checkpoints)
    print(f"The run may need {more / memory.GB:.1f} GB more of disk for a while.")
    return forecast


def forecast_settings(pipe, config):
    """What memory.forecast takes for a training of this model by notebook 04, with its previews and held-out losses."""
    text_encoder = config.dreambooth["text_encoder"]
    text = text_encoder and pipe.text_encoder.config.to_dict()
    preview = memory.preview(pipe.vae.config, pipe.unet.config.sample_size, *idle(pipe, text_encoder))
    settings = {"unet_config": pipe.unet.config, "batch_size": config.dreambooth["batch_size"]}
    return settings | {"text_encoder": text, "preview": preview, "held_out": True}


def check_disk(folder, pipe, learning, optimizer=torch.optim.AdamW, settings=None, checkpoints=None):
    """The bytes a DreamBooth run may still need in `folder`, and in that of its checkpoints, if that is on another disk.

    learning: how many weights learn. optimizer, settings, checkpoints: as training.train's: a run of these goes on from
    its bytes. Raises OSError if there is less room.
    """
    parts = {name: part for name, part in pipe.components.items() if name not in CHECKER}
    networks = [part for part in parts.values() if isinstance(part, torch.nn.Module)]
    whole = 2 * sum(p.numel() for part in networks for p in part.parameters())  # the model in 16 bits
    sample = torch.nn.Parameter(torch.zeros(2**20))
    (averages,) = memory.fill(optimizer([sample]), [sample])
    training.optimizers.remove_hook(sample)
    checkpoint = learning * (4 + averages / sample.numel())
    meanwhile = 2 * checkpoint + 2 * learning  # the next one before the old one goes, and the best in 16 bits
    last, result = 6 * learning, 3 * whole  # last and best; the model, once more while replaced, a file for the web UI
    folder, place = Path(folder), Path(checkpoints or Path(folder) / "checkpoints")
    of_run = _is_of(folder, settings or {})  # another's is set aside, and stays
    if of_run and (folder / "card.md").exists() and (folder / "model").exists():
        meanwhile = last = 0  # finished: no checkpoint is written any more
    if _disk(folder) == _disk(place):
        places = {folder: [max(meanwhile, last + result), {folder, place}]}
    else:
        places = {place: [max(meanwhile, last), {place}], folder: [result, {folder}]}
    needed = {p: max(0, most - of_run * _bytes(where)) for p, (most, where) in places.items()}
    for path, more in needed.items():
        if (free := shutil.disk_usage(_first_there(path)).free) < more:
            raise OSError(
                f"{path} has room for {free / memory.GB:.1f} GB, and this training may need {more / memory.GB:.1f} GB "
                f"more: make room, set RUNS_DIR to a larger disk, or {memory.LIGHT}."
            )
    return sum(needed.values())


def _is_of(folder, settings):
    """Whether the run in a folder has these settings."""
    path = folder / "settings.json"
    before = read_json(path) if path.exists() else {}
    return all(before.get(name) == value for name, value in json.loads(json.dumps(settings)).items())


def _first_there(path):
    return next(folder for folder in [path, *path.parents] if folder.exists())


def _disk(path):
    return _first_there(path).stat().st_dev


def _bytes(folders):
    """The size of all files in some folders, each counted once."""
    paths = {path for folder in folders for path in folder.rglob("*")}
    return sum(path.stat().st_size for path in paths if path.is_file())
