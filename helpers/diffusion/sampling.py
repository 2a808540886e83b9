"""Pictures from prompts in the web UI's language, many at once, with any sampler, hypernetwork or noise."""

import contextlib
import copy
import inspect
import itertools
import math

import torch

from helpers import show
from helpers.diffusion import device
from helpers.diffusion.latents import initial_noise
from helpers.diffusion.prompts import encode_weighted, prompt_at, split_and, take_networks

WITHHELD = "Withheld by the safety checker. It errs at times: another seed may pass."


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

    Prompts may use the web UI's weights, editing, AND and BREAK; a plain one gives diffusion.generate's picture.
    hypernetworks: {name: Hypernetwork} for <hypernet:name:0.8>; nothing stays on the U-Net afterwards.
    scheduler: another sampler than the pipeline's. noise: (n, 4, h, w) to begin with, instead of the seeds' own.
    progress: called with (steps done, steps in all). A picture the safety checker withholds is a card that says so,
    and has "withheld" in its info.
    Raises ValueError for a network that is not there, or for another number of prompts than of seeds.
    """
    prompts = [prompts] * len(seeds) if isinstance(prompts, str) else list(prompts)
    if len(prompts) != len(seeds):
        raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds: give one seed for each prompt")
    read = [_read(prompt, hypernetworks or {}) for prompt in prompts]
    batches = _batches([networks for _, networks in read], batch_size)
    tick = _ticker(progress, num_inference_steps * len(batches))
    images = [None] * len(prompts)
    for numbers in batches:
        wanted, networks = [read[i][0] for i in numbers], read[numbers[0]][1]
        begin = _noise(pipe, [seeds[i] for i in numbers]) if noise is None else noise[list(numbers)]
        generators = [torch.Generator().manual_seed(seeds[i] + 2**32) for i in numbers]
        sampler = copy.deepcopy(scheduler or pipe.scheduler)
        with torch.no_grad(), device.autocast(pipe.device, copies=False), _wearing(pipe.unet, networks, hypernetworks):
            settings = (guidance_scale, num_inference_steps, generators, tick)
            made = _decode(pipe, _sample(pipe, sampler, begin, wanted, negative_prompt, *settings))
        for i, image in zip(numbers, made):
            images[i] = image
    return images


def _read(prompt, known):
    """(prompt without its network tags, the networks it asks for)."""
    prompt, networks = take_networks(prompt)
    if strange := [net for net in networks if net.kind != "hypernet" or net.name not in known]:
        raise ValueError(f"no {strange[0].kind} named {strange[0].name!r} here: there are {', '.join(known) or 'none'}")
    return prompt, tuple(networks)


def _batches(networks, batch_size):
    """Tuples of picture numbers, at most `batch_size` each, all of one tuple under the same networks."""
    order = sorted(range(len(networks)), key=lambda i: (str(networks[i]), i))
    batches = []
    for _, group in itertools.groupby(order, key=lambda i: networks[i]):
        group = list(group)
        batches += [tuple(group[start : start + batch_size]) for start in range(0, len(group), batch_size)]
    return batches


def _ticker(progress, total):
    done = itertools.count(1)
    return (lambda: progress(min(next(done), total), total)) if progress else (lambda: None)


@contextlib.contextmanager
def _wearing(unet, networks, known):
    """The U-Net with the networks of a prompt on; a prompt that names none leaves it as it is."""
    with contextlib.ExitStack() as stack:
        for net in networks:
            stack.enter_context(known[net.name].on(unet, net.strength))
        yield


def _noise(pipe, seeds):
    return torch.stack([initial_noise(pipe, seed) for seed in seeds])


def _sample(pipe, scheduler, noise, prompts, negative_prompt, guidance_scale, steps, generators, tick):
    """Latents (n, 4, h, w) after all steps."""
    scheduler.set_timesteps(steps, device=pipe.device)
    latents = noise.to(pipe.device, pipe.unet.dtype) * scheduler.init_noise_sigma
    takes = inspect.signature(scheduler.step).parameters
    extra = {"generator": generators} if "generator" in takes else {}
    heard = {}

    def encode_text(text, step):
        text = prompt_at(text, step, steps)
        if text not in heard:
            heard[text] = encode_weighted(pipe, text).to(pipe.unet.dtype)
        return heard[text]

    done = 0
    for number, timestep in enumerate(scheduler.timesteps, start=1):
        step = math.ceil(number * steps / len(scheduler.timesteps))  # some samplers ask the U-Net twice a step
        parts = [[(encode_text(text, step), weight) for text, weight in split_and(p)] for p in prompts]
        model_input = scheduler.scale_model_input(latents, timestep)
        prediction = guided(pipe.unet, model_input, timestep, parts, encode_text(negative_prompt, step), guidance_scale)
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
    asks = [(row, negative) for row in range(len(parts))]
    asks += [(row, embeds) for row, several in enumerate(parts) for embeds, _ in several]
    answers = [None] * len(asks)
    for length in {embeds.shape[1] for _, embeds in asks}:
        group = [i for i, (_, embeds) in enumerate(asks) if embeds.shape[1] == length]
        rows, heard = [asks[i][0] for i in group], torch.cat([asks[i][1] for i in group])
        for i, answer in zip(group, unet(latents[rows], timestep, heard).sample):
            answers[i] = answer
    conditional, mixed = iter(answers[len(parts) :]), []
    for base, several in zip(answers, parts):
        mixed.append(base + guidance_scale * sum(weight * (next(conditional) - base) for _, weight in several))
    return torch.stack(mixed)


def _decode(pipe, latents):
    """PIL images, past the safety checker where the pipeline has one."""
    latents = latents.to(pipe.vae.dtype) / pipe.vae.config.scaling_factor
    images = pipe.vae.decode(latents).sample
    images, withheld = pipe.run_safety_checker(images, pipe.device, pipe.unet.dtype)
    images = pipe.image_processor.postprocess(images, output_type="pil", do_denormalize=[True] * len(images))
    flags = withheld or [False] * len(images)
    return [_card(image.size) if flag else image for image, flag in zip(images, flags)]


def _card(size):
    """What stands for a picture that was withheld; its info says so, for it must not be scored."""
    card = show.card(WITHHELD, size)
    card.info["withheld"] = True
    return card
