"""Pictures a second, beside the floor: the bare U-Net's forwards, 2 x steps for each picture; and diffusers' own call.

Exits with an error if diffusion.generate takes more than a tenth above the floor.

python -m benchmarks.sampling --batch 8 --steps 20 --repeats 3
"""

import argparse
import functools
import sys
import time

import torch

from helpers import diffusion
from helpers.diffusion import device

LIMIT = 0.10  # above the floor, of the issue


def floor(pipe, batch, steps):
    """As `seconds`, of the forwards alone: both halves of guidance in one call a step, no sampler, no decoding."""
    side, width = pipe.unet.config.sample_size, pipe.unet.config.cross_attention_dim
    latents = torch.randn(2 * batch, 4, side, side, device=pipe.device, dtype=pipe.unet.dtype)
    prompt_embeds = torch.randn(2 * batch, 77, width, device=pipe.device, dtype=pipe.unet.dtype)
    with torch.no_grad(), device.autocast_of(pipe.unet):
        return seconds(lambda: [pipe.unet(latents, step, prompt_embeds) for step in range(steps)])


def by_diffusers(pipe, prompts, **sampler):
    """The pipeline's own call, in the same precision."""
    with device.autocast_of(pipe.unet, pipe.vae):
        return pipe(prompts, **sampler).images


def seconds(work):
    """(CPU seconds of this process, or of the GPU's clock where there is one; seconds on the wall)."""
    on_gpu = torch.accelerator.is_available()
    if on_gpu:
        torch.accelerator.synchronize()
    wall, busy = time.perf_counter(), time.process_time()
    work()
    if on_gpu:
        torch.accelerator.synchronize()
        return (time.perf_counter() - wall,) * 2
    return time.process_time() - busy, time.perf_counter() - wall


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    pipe, batch, steps = diffusion.load_pipeline(options.model), options.batch, options.steps
    sampler = {"guidance_scale": 5.0, "num_inference_steps": steps}
    seeds, prompts = list(range(batch)), [f"a photo of a man, {i}" for i in range(batch)]
    ours = functools.partial(diffusion.generate, pipe, batch_size=batch)
    kinds = {
        "the floor": lambda: floor(pipe, batch, steps),
        "diffusion.generate": lambda: seconds(lambda: ours(prompts, seeds, **sampler)),
        "diffusers": lambda: seconds(lambda: by_diffusers(pipe, prompts, **sampler)),
    }
    for work in kinds.values():  # once for warmth
        work()
    # in turn; the best of each counts, by CPU seconds, so that other programs on the machine do not
    rounds = [[work() for work in kinds.values()] for _ in range(options.repeats)]
    best = {name: min(times) for name, times in zip(kinds, zip(*rounds))}
    print(f"{options.model} on {pipe.device}, {torch.get_num_threads()} threads, batch {batch}, {steps} steps")
    for name, (busy, wall) in best.items():
        print(f"{name:20} {batch / wall:6.2f} pictures/s   {busy:7.2f} s busy   {above(best, name):+.1%} of the floor")
    if (more := above(best, "diffusion.generate")) > LIMIT:
        sys.exit(f"too slow: {more:.1%} above the floor, {LIMIT:.0%} is the limit")


def above(best, name):
    """How far a kind lies above the floor, as a share of it. best: {kind: (seconds busy, seconds on the wall)}."""
    return best[name][0] / best["the floor"][0] - 1


if __name__ == "__main__":
    main()
