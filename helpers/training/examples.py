"""What a training learns from: latents and prompt embeddings, computed once; then VAE and text encoder may leave."""

import contextlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate.utils.memory import clear_device_cache
from PIL import ImageOps

from helpers import diffusion


def fill_template(template, name, caption):
    """A prompt from a template of the web UI: [name] is the subject's name, [filewords] the photo's caption.

    Raises ValueError for any other word in brackets.
    """
    if "[" in template.replace("[name]", "").replace("[filewords]", ""):
        raise ValueError(f"The template {template!r} has other brackets than [name] and [filewords]: take them out.")
    return template.replace("[name]", name).replace("[filewords]", caption)


@dataclass(frozen=True)
class Examples:
    """All that can be drawn, in memory; make it with `encode`."""

    latents: torch.Tensor  # (photos, 1 or 2, 4, h, w): as it is, and mirrored
    prompt_embeds: torch.Tensor  # (different prompts, 77, width)
    which: tuple  # for each photo the rows of prompt_embeds that may go with it

    def draw(self, indices):
        """(latents, prompt_embeds) of these photos; prompt and side by torch's random numbers, as seeded."""
        sides = torch.randint(self.latents.shape[1], (len(indices),))
        turns = torch.rand(len(indices)).tolist()
        prompts = [self.which[i][int(turn * len(self.which[i]))] for i, turn in zip(indices, turns)]
        return self.latents[indices, sides], self.prompt_embeds[prompts]

    def first(self):
        """(latents, prompt_embeds) of each photo unmirrored with its first prompt, for held-out losses."""
        return self.latents[:, 0], self.prompt_embeds[[rows[0] for rows in self.which]]


def encode(pipe, images, prompts, size, flip=False, batch_size=8):
    """The Examples of square PIL images. prompts: for each image a list of the prompts that may go with it.

    Each different prompt is encoded once. flip: mirrored photos too; not for a face that is not symmetrical.
    Raises ValueError if there are not as many lists of prompts as images, or a list is empty.
    """
    if len(prompts) != len(images) or not all(prompts):
        raise ValueError(f"{len(images)} images need as many lists of prompts, none empty: there are {len(prompts)}.")
    sides = [images, [ImageOps.mirror(image) for image in images]] if flip else [images]
    latents = [diffusion.encode_images(pipe.vae, side, size, batch_size=batch_size) for side in sides]
    different = list(dict.fromkeys(prompt for group in prompts for prompt in group))
    starts = range(0, len(different), batch_size)
    embeds = [diffusion.encode_prompts(pipe, different[start : start + batch_size]) for start in starts]
    which = tuple(tuple(map(different.index, group)) for group in prompts)
    return Examples(torch.stack(latents, dim=1), torch.cat(embeds), which)


def denoising_loss(unet, scheduler, draw, error=F.mse_loss, weights="equal"):
    """A function of a batch to its loss, at random noise and timesteps: notebooks 03 and 04 write it out.

    draw: function of a batch to (latents (n, 4, h, w), prompt_embeds). error, weights: as for `diffusion_loss`.
    """

    def loss(batch):
        latents, prompt_embeds = draw(batch)
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),), device=latents.device)
        places = (latents, noise, timesteps, prompt_embeds)
        return diffusion.latents.diffusion_loss(unet, scheduler, *places, weights=weights, error=error)

    return loss


def offloaded(*modules):
    """Within it these modules (VAE, text encoder) are in main memory, not the GPU's; then they come back."""
    return on_device("cpu", *modules)


@contextlib.contextmanager
def on_device(device, *modules):
    """Within it these modules are on `device`; then they go back to where they were."""
    places = [next(module.parameters()).device for module in modules]
    _move(modules, [device] * len(modules))
    try:
        yield
    finally:
        _move(modules, places)


def _move(modules, places):
    for module, place in zip(modules, places):
        torch.nn.Module.to(module, place)  # diffusers' own `to` warns of layers that are not there
    clear_device_cache(garbage_collection=True)


def held_out_by_photo(unet, scheduler, examples, names):
    """{name: mean `diffusion_loss`} of `held_out_examples`, one name a photo, in their order."""
    of = lambda i: {name: values[i :: len(names)] for name, values in examples.items()}
    return {name: diffusion.latents.held_out_loss(unet, scheduler, of(i)) for i, name in enumerate(names)}
