"""Pictures from prompts in the web UI's language, many at once, with any sampler, hypernetwork or noise."""

import contextlib
import copy
import functools
import inspect
import itertools
import math
import warnings

import torch

from helpers import show
from helpers.diffusion import device
from helpers.diffusion.latents import initial_noise
from helpers.diffusion.prompts import encode_weighted, prompt_at, split_and, take_networks, without_comments

WITHHELD = "Withheld by the safety checker. It errs at times: another seed may pass."


@torch.no_grad()
def generate(
    pipe,
    prompts,
    seeds,
    *,
    guidance_scale,
    num_inference_steps,
    negative_prompt="",
    hypernetworks=None,
    scheduler=None,
    noise=None,
    batch_size=8,
    progress=None,
):
    """One PIL image for each (prompt, seed) pair; a single prompt goes with every seed.

    Prompts may use the web UI's weights, editing, AND, BREAK and # comments, at any length. A plain one gives the pixels of
    diffusers' own call (which ignores a guidance_scale below 1): text in the text encoder's precision, all else in
    autocast's. The same seed starts from the same noise whatever the prompt, device or batch; of
    a seed from 2**32 on only the last 32 bits count, of which a warning tells.
    hypernetworks: {name: Hypernetwork} for <hypernet:name:0.8>; nothing stays on the U-Net afterwards.
    scheduler: another sampler than the pipeline's. noise: (n, 4, h, w) to begin with, instead of the seeds' own.
    progress: called with (steps done, steps in all). What the safety checker withholds is a card with "withheld" in
    its info. Raises ValueError for a network that is not there, or for another number of prompts than of seeds.
    """
    prompts = [prompts] * len(seeds) if isinstance(prompts, str) else list(prompts)
    _check_seeds(prompts, seeds)
    parsed = [_take_networks(prompt, hypernetworks or {}) for prompt in prompts]
    batches = _batches([networks for _, networks in parsed], batch_size)
    tick = _ticker(progress, num_inference_steps * len(batches))
    noise = [initial_noise(pipe, seed) for seed in seeds] if noise is None else noise
    images = {}
    for numbers in batches:
        texts, networks = [parsed[i][0] for i in numbers], parsed[numbers[0]][1]
        start, chosen = torch.stack([noise[i] for i in numbers]), [seeds[i] for i in numbers]
        conditions = _conditions(pipe, texts, negative_prompt, num_inference_steps)  # before autocast begins
        with device.autocast_of(pipe.unet, pipe.vae), _with_networks(pipe.unet, networks, hypernetworks):
            latents = _sample(pipe, scheduler or pipe.scheduler, start, conditions, guidance_scale, chosen, tick)
            images |= zip(numbers, _decode(pipe, latents))
    return [images[i] for i in range(len(prompts))]


def _check_seeds(prompts, seeds):
    """Raises ValueError unless there is a seed for each prompt; warns of one that PyTorch does not take whole."""
    if len(prompts) != len(seeds):
        raise ValueError(f"There are {len(prompts)} prompts but {len(seeds)} seeds: give one seed for each prompt.")
    if large := [seed for seed in seeds if seed >= 2**32]:
        same = large[0] % 2**32
        warnings.warn(f"Seed {large[0]} gives the picture of seed {same}: PyTorch takes 32 bits of it.", stacklevel=3)


def _take_networks(prompt, hypernetworks):
    """(prompt without its network tags, the networks it asks for)."""
    prompt, networks = take_networks(without_comments(prompt))
    if strange := [net for net in networks if net.kind != "hypernet" or net.name not in hypernetworks]:
        names = ", ".join(hypernetworks) or "none"
        raise ValueError(f"No {strange[0].kind} named {strange[0].name!r} here: there are {names}.")
    return prompt, tuple(networks)


def _batches(networks, batch_size):
    """Tuples of picture numbers, at most `batch_size` each, all of one tuple under the same networks."""
    order = sorted(range(len(networks)), key=lambda i: (str(networks[i]), i))
    groups = [list(group) for _, group in itertools.groupby(order, key=lambda i: networks[i])]
    return [tuple(g[start : start + batch_size]) for g in groups for start in range(0, len(g), batch_size)]


def _ticker(progress, total):
    done = itertools.count(1)
    return (lambda: progress(min(next(done), total), total)) if progress else (lambda: None)


@contextlib.contextmanager
def _with_networks(unet, networks, hypernetworks):
    """The U-Net with the networks of a prompt on; a prompt that names none leaves it as it is."""
    with contextlib.ExitStack() as stack:
        for net in networks:
            stack.enter_context(hypernetworks[net.name].on(unet, net.strength))
        yield


def _conditions(pipe, prompts, negative_prompt, steps):
    """For each step (parts, negative) as for `guided`; what holds over several steps is encoded once."""
    encode = functools.cache(lambda *texts: encode_weighted(pipe, texts))
    conditions, negative_prompt = [], without_comments(negative_prompt)
    for step in range(1, steps + 1):
        parts = [split_and(prompt_at(prompt, step, steps)) for prompt in prompts]
        embeds = iter(encode(*(text for several in parts for text, _ in several)))
        parts = [[(next(embeds), weight) for _, weight in several] for several in parts]
        conditions.append((parts, *encode(prompt_at(negative_prompt, step, steps))))
    return conditions


def _sample(pipe, scheduler, noise, conditions, guidance_scale, seeds, tick):
    """Latents (n, 4, h, w) after as many steps as there are `_conditions`; seeds: of noise added on the way."""
    steps, scheduler = len(conditions), copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps, device=pipe.device)
    latents = noise.to(pipe.device, pipe.unet.dtype) * scheduler.init_noise_sigma
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for generator in generators:
        torch.randn(noise.shape[1:], generator=generator)  # the noise of the start: what is added later comes after it
    extra = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    done = 0
    for number, timestep in enumerate(scheduler.timesteps, start=1):
        step = math.ceil(number * steps / len(scheduler.timesteps))  # some samplers ask the U-Net twice a step
        model_input = scheduler.scale_model_input(latents, timestep)
        prediction = guided(pipe.unet, model_input, timestep, *conditions[step - 1], guidance_scale)
        latents = scheduler.step(prediction, timestep, latents, **extra).prev_sample
        while done < step:
            done += 1
            tick()
    return latents


def guided(unet, latents, timestep, parts, negative, guidance_scale):
    """The guided noise prediction of a batch: u + scale * sum of weight * (c - u), for each of its rows.

    parts: for each row [(prompt_embeds (1, tokens, width), weight)], of any lengths; negative: (1, tokens, width).
    Whatever is equally long goes through the U-Net in one call. Source: Liu et al. 2022, Composable Diffusion, eq. 11.
    """
    inputs = [(row, negative) for row in range(len(parts))]
    inputs += [(row, embeds) for row, several in enumerate(parts) for embeds, _ in several]
    predictions = [None] * len(inputs)
    for length in {embeds.shape[1] for _, embeds in inputs}:
        group = [i for i, (_, embeds) in enumerate(inputs) if embeds.shape[1] == length]
        rows, prompt_embeds = [inputs[i][0] for i in group], torch.cat([inputs[i][1] for i in group])
        prompt_embeds = prompt_embeds.to(latents.dtype)  # of a text encoder that has learnt, in 32 bits
        for i, prediction in zip(group, unet(latents[rows], timestep, prompt_embeds).sample):
            predictions[i] = prediction
    conditional, mixed = iter(predictions[len(parts) :]), []
    for base, several in zip(predictions, parts):
        mixed.append(base + guidance_scale * sum(weight * (next(conditional) - base) for _, weight in several))
    return torch.stack(mixed)


def _decode(pipe, latents):
    """PIL images, past the safety checker where the pipeline has one."""
    images = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    images, withheld = pipe.run_safety_checker(images, pipe.device, pipe.text_encoder.dtype)
    images = pipe.image_processor.postprocess(images, output_type="pil", do_denormalize=[True] * len(images))
    for i, hidden in enumerate(withheld or []):
        if hidden:  # a card in its place, whose info says so, for it must not be scored
            images[i] = show.card(WITHHELD, images[i].size)
            images[i].info["withheld"] = True
    return images
