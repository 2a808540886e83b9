"""What a training learns from: photos as latents and prompts as embeddings, computed once and drawn from.

Templates and mirrored photos make many examples of few photos. All of them are computed before the
training, which then needs neither VAE nor text encoder.
"""

import contextlib
from dataclasses import dataclass

import torch
from accelerate.utils.memory import clear_device_cache
from PIL import ImageOps

from helpers import diffusion


def fill_template(template, name, caption):
    """A prompt from a template of the web UI: [name] is the subject's name, [filewords] the photo's caption.

    Raises ValueError for any other word in brackets.
    """
    prompt = template.replace("[name]", name).replace("[filewords]", caption)
    if "[" in template.replace("[name]", "").replace("[filewords]", ""):
        raise ValueError(f"the template {template!r} may have [name] and [filewords] in brackets, nothing else")
    return prompt


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
        raise ValueError(f"{len(images)} images need as many lists of prompts, none empty; there are {len(prompts)}")
    sides = [images, [ImageOps.mirror(image) for image in images]] if flip else [images]
    latents = [diffusion.encode_images(pipe.vae, side, size, batch_size=batch_size) for side in sides]
    different = list(dict.fromkeys(prompt for group in prompts for prompt in group))
    starts = range(0, len(different), batch_size)
    embeds = [diffusion.encode_prompts(pipe, different[start : start + batch_size]) for start in starts]
    row = {prompt: i for i, prompt in enumerate(different)}
    which = tuple(tuple(row[prompt] for prompt in group) for group in prompts)
    return Examples(torch.stack(latents, dim=1), torch.cat(embeds), which)


def denoising_loss(unet, scheduler, examples):
    """A function of photo indices to the loss of one batch: notebook 03 writes it out and explains it."""

    def loss(indices):
        latents, prompt_embeds = examples.draw(indices)
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(indices),), device=latents.device)
        return diffusion.latents.diffusion_loss(unet, scheduler, latents, noise, timesteps, prompt_embeds)

    return loss


@contextlib.contextmanager
def offloaded(*modules):
    """Within it these modules (VAE, text encoder) are in main memory, not the GPU's; then they come back.

    On a CPU nothing moves. `fetched` brings them back for a moment, to make a preview.
    """
    places = [next(module.parameters()).device for module in modules]
    _move(modules, ["cpu"] * len(modules))
    try:
        yield
    finally:
        _move(modules, places)


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


def held_out_by_photo(unet, scheduler, examples, names, batch_size=8):
    """{name: mean `diffusion_loss`} of `diffusion.held_out_examples`, one name a photo, in their order.

    The mean of these is `diffusion.held_out_loss`: every photo comes as often.
    """
    losses = []
    with torch.no_grad():
        for start in range(0, len(examples["latents"]), batch_size):
            part = {name: values[start : start + batch_size] for name, values in examples.items()}
            noisy = diffusion.add_noise(scheduler, part["latents"], part["noise"], part["timesteps"])
            prediction = unet(noisy.to(unet.dtype), part["timesteps"], part["prompt_embeds"].to(unet.dtype)).sample
            wanted = diffusion.target(scheduler, part["latents"], part["noise"], part["timesteps"])
            losses += (prediction.float() - wanted.float()).square().mean(dim=(1, 2, 3)).tolist()
    return {name: sum(losses[i :: len(names)]) / len(losses[i :: len(names)]) for i, name in enumerate(names)}
