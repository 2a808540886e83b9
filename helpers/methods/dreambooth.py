"""DreamBooth (Ruiz et al. 2023): a rare identifier for one subject, class images so the class stays itself."""

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


def check_identifier(tokenizer, identifier):
    """(pieces, known words): how the tokenizer cuts an identifier, and which parts of it are words it knows.

    A good identifier falls into several rare pieces and has no known word: the model can then have no
    opinion of it. "nesrelah_001" is one; "sks" is a rifle.
    """
    pieces = tokenizer.tokenize(identifier)
    words = re.findall(r"[^\W\d_]{2,}", identifier.lower())
    return pieces, [word for word in words if len(tokenizer.tokenize(word)) == 1]


def class_images(pipe, prompt, folder, count, seed, *, weights, **sampler):
    """Paths of `count` pictures of the class, made by the model itself before it learns (section 3.2 there).

    weights: where the model's weights are. sampler: as for `diffusion.generate`. Image i has seed + i.
    Kept in a folder within `folder`, one for each set of settings; what is there already is reused.
    Processes that were launched together share the work.
    For a picture that the safety checker withholds, whose card nobody should learn from, a further seed is taken.
    Raises ValueError if it withholds more than it lets pass.
    """
    told = {"prompt": prompt, "seed": seed, "weights": machine.weights_id(weights)} | sampler
    name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(folder) / f"{kept.slug(prompt)}-{name}"
    if device.state().is_main_process:
        write_json(folder / "settings.json", told)
    passed, tried = [], 0
    while len(passed) < count and tried < 2 * count:
        some = range(tried, tried + count - len(passed))
        paths = {folder / f"{i:05}.png": (prompt, seed + i) for i in some}
        if missing := kept.missing(paths):
            kept.make(pipe, missing, model="base", weights=weights, **sampler)
        passed += [path for path in paths if not kept.withheld(kept.read(path))]
        tried = some.stop
    if len(passed) < count:
        raise ValueError(
            f"the safety checker withheld {tried - len(passed)} of {tried} pictures of {prompt!r}: reword it"
        )
    return passed


def paired_batches(instances, class_count, batch_size, seed):
    """A function of the step number to (instance indices, class indices), `batch_size` of each.

    Both are reshuffled every epoch by themselves, so no photo is bound to the same class image for ever.
    Without class images the second list is empty.
    """
    instance_batch = training.shuffled(instances, batch_size, seed)
    class_batch = training.shuffled(class_count, batch_size, seed + 1) if class_count else lambda step: []
    return lambda step: (instance_batch(step), class_batch(step))


def dreambooth_loss(prediction, noise, prior_weight):
    """Subject loss + prior_weight * class loss, each a mean squared error (equation 2 there).

    prediction, noise: (2n, 4, h, w), the n subject examples first, then n class examples.
    """
    subject, prior = (prediction.float() - noise.float()).chunk(2)
    zero = torch.zeros_like(subject)
    return F.mse_loss(subject, zero) + prior_weight * F.mse_loss(prior, zero)


def denoising_loss(unet, scheduler, encode_text, photos, class_images, prior_weight=1.0, weights="equal"):
    """A function of (photo indices, class image indices) to the loss of one batch: notebook 04 writes it out.

    hear: as PromptEncoder. photos, class_images: (latents (n, 4, h, w), n prompts). weights: as for `diffusion.loss_scale`.
    """
    (photo_latents, photo_prompts), (class_latents, class_prompts) = photos, class_images

    def loss(pair):
        photo_indices, class_indices = pair
        latents = torch.cat([photo_latents[photo_indices], class_latents[class_indices]])
        heard = encode_text([photo_prompts[i] for i in photo_indices] + [class_prompts[i] for i in class_indices])
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),), device=latents.device)
        noisy = diffusion.add_noise(scheduler, latents, noise, timesteps)
        prediction = unet(noisy, timesteps, heard.to(unet.dtype)).sample
        target = diffusion.target(scheduler, latents, noise, timesteps)
        scale = diffusion.latents.loss_scale(scheduler, timesteps, weights)
        return dreambooth_loss(prediction.float() * scale, target * scale, prior_weight)

    return loss


def learn(pipe, text_encoder=False, checkpointing=False):
    """Makes the U-Net ready to learn, and the text encoder if wanted; returns their parameters, float32.

    checkpointing: of all that learns, as `updates.checkpoint_gradients` does it.
    """
    parts = [pipe.unet, pipe.text_encoder] if text_encoder else [pipe.unet]
    pipe.text_encoder.requires_grad_(False)
    for part in parts:
        part.float().requires_grad_(True).train()
    if checkpointing:
        training.checkpoint_gradients(*parts)
    return [parameter for part in parts for parameter in part.parameters()]


def idle(pipe, text_encoder=False):
    """The networks of a pipeline that a training does not need, for examples.offloaded; previews need them all.

    VAE, safety checker if there is one, and the text encoder unless it learns.
    """
    parts = [pipe.vae, None if text_encoder else pipe.text_encoder, getattr(pipe, "safety_checker", None)]
    return [part for part in parts if part is not None]


class PromptEncoder:
    """A function of prompts to prompt_embeds (n, 77, width): heard once, beforehand, or anew each time if it learns.

    prompts: all there will be; they are heard now, as long as the text encoder is at hand and in full precision.
    learns: whether the text encoder is being trained; then gradients flow into it.
    """

    def __init__(self, pipe, prompts, learns=False):
        self.pipe, self.learns = pipe if learns else None, learns  # not kept alive for nothing
        self._heard = {} if learns else {p: diffusion.encode_prompts(pipe, [p])[0] for p in dict.fromkeys(prompts)}

    def __call__(self, prompts):
        if self.learns:
            return diffusion.encode_prompts.__wrapped__(self.pipe, prompts)  # the same, with gradients
        return torch.stack([self._heard[prompt] for prompt in prompts])


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
    for path in [partial / "model_index.json", *partial.glob("*/config.json")]:  # not where the base lay on this disk
        write_json(path, {name: value for name, value in read_json(path).items() if name != "_name_or_path"})
    for part, precision in zip(parts, precisions):
        torch.nn.Module.to(part, dtype=precision)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
