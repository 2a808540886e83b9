"""How well helpers.memory foretells: against eleven published figures, and against a step measured here.

    python -m benchmarks.memory            the figures of ShivamShrirao's fork (two minutes)
    python -m benchmarks.memory measure    a full-size step on this CPU, by PyTorch's own profiler (8 GB, minutes)

The figures are of the README of ShivamShrirao/diffusers, examples/dreambooth (2022): SD 1.x at 512 pixels on a T4,
a photo and a class image a step, xformers' attention, VAE and text encoder freed. Autocast kept its 16-bit copies.
"""

import functools
import sys

import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

from helpers import low_memory, memory
from helpers.diffusion import diffusion_loss

ADAMW = functools.partial(torch.optim.AdamW, foreach=False)  # as it was in PyTorch 1.12
HALF, FULL = torch.float16, torch.float32
PUBLISHED = [  # precision, batch size, accumulation, checkpointing, 8-bit averages, GB
    (HALF, 1, 1, True, True, 9.92),
    (FULL, 1, 1, True, True, 10.08),
    (HALF, 2, 1, True, True, 10.4),
    (HALF, 1, 1, False, True, 11.17),
    (FULL, 1, 1, False, True, 11.17),
    (HALF, 1, 2, True, True, 11.56),
    (HALF, 2, 1, False, True, 13.67),
    (HALF, 1, 2, False, True, 13.7),
    (HALF, 1, 1, True, False, 15.79),
    (HALF, 1, 1, False, False, 17.7),  # more than the 16.1 GB of a T4: measured on another GPU, which is not named
    (FULL, 1, 1, False, False, 17.8),  # as above
]


def published():
    """The published figures beside ours: DataFrame."""
    rows = []
    for precision, batch_size, accumulate, checkpointing, packed, told in PUBLISHED:
        forecast = memory.foretell(
            precision=precision, batch_size=batch_size, accumulate=accumulate, checkpointing=checkpointing,
            optimizer=low_memory.eight_bit if packed else ADAMW, cache=True,
        )  # fmt: skip
        found = forecast.peak / memory.GB
        rows.append((str(precision)[6:], batch_size, accumulate, checkpointing, packed, told, found, found / told - 1))
    columns = ["precision", "batch", "accumulate", "checkpointing", "8 bit", "published", "foretold", "difference"]
    return pd.DataFrame(rows, columns=columns)


def measured(side=32):
    """(bytes foretold, bytes measured) of one float32 step of SD 1.x's whole U-Net on this CPU, without CUDA's part.

    side: of the latents; 32 is a picture of 256 pixels. The averages of AdamW take 8 bits, or it would not fit here.
    """
    config = memory.SD1_UNET | {"sample_size": side}
    told = {"prior": False, "precision": FULL, "checkpointing": False, "optimizer": low_memory.in_backward}
    foretold = memory.foretell(config, **told).peak - memory.CUDA
    unet = memory.UNet2DConditionModel.from_config(config).train()
    weights = sum(parameter.nbytes for parameter in unet.parameters())
    optimizer = low_memory.in_backward(unet.parameters())
    optimizer.prepare()
    before = weights + low_memory.state_bytes(optimizer)
    latents, noise = torch.randn(2, 1, 4, side, side)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        loss = diffusion_loss(
            unet, memory.DDPMScheduler(), latents, noise, torch.tensor([500]), torch.randn(1, 77, 768)
        )
        loss.backward()
    return foretold, before + _highest(trace)


def _highest(trace):
    """The most bytes that the CPU's allocator held above what it held at the beginning."""
    events = sorted(
        (event.start_ns(), event.nbytes())
        for event in trace.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    return max(pd.Series([size for _, size in events]).cumsum())


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        foretold, found = measured()
        print(f"foretold {foretold / 1e9:.2f} GB, measured {found / 1e9:.2f} GB: {foretold / found - 1:+.1%}")
    else:
        print(published().to_string(index=False, float_format=lambda value: f"{value:.3g}"))
