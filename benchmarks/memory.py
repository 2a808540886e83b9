"""How good the forecasts of helpers.methods.memory are: against eleven published figures, and against a step measured here.

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

from helpers import diffusion
from helpers.methods import memory
from helpers.training import optimizers

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
    for precision, batch_size, accumulate, checkpointing, packed, gigabytes in PUBLISHED:
        forecast = memory.forecast(
            precision=precision, batch_size=batch_size, accumulate=accumulate, checkpointing=checkpointing,
            optimizer=optimizers.adamw_8bit if packed else ADAMW,
        )  # fmt: skip
        predicted = forecast.peak / memory.GB
        settings = (str(precision)[6:], batch_size, accumulate, checkpointing, packed)
        rows.append((*settings, gigabytes, predicted, predicted / gigabytes - 1))
    columns = ["precision", "batch", "accumulate", "checkpointing", "8 bit", "published", "forecast", "difference"]
    return pd.DataFrame(rows, columns=columns)


def measured(side=32):
    """(bytes predicted, bytes measured) of one float32 step of SD 1.x's whole U-Net on this CPU, without CUDA's part.

    side: of the latents; 32 is a picture of 256 pixels. The step is in the backward pass, and by a stand-in for AdamW
    in 8 bits: in 32 bits it would not fit here, and bitsandbytes on a CPU makes 32 bits of its averages for a moment.
    """
    config = memory.SD1_UNET | {"sample_size": side}
    settings = {"prior": False, "precision": FULL, "checkpointing": False, "optimizer": optimizers.in_backward_8bit}
    predicted = memory.forecast(config, **settings).peak - memory.CUDA
    unet = memory.UNet2DConditionModel.from_config(config).train()
    parameters = [*unet.parameters()]
    optimizer = optimizers.in_backward_8bit(parameters, memory.EightBit)
    before = sum(parameter.nbytes for parameter in parameters) + sum(memory.fill(optimizer, parameters))
    latents, noise = torch.randn(2, 1, 4, side, side)
    loss = lambda: diffusion.latents.diffusion_loss(
        unet, memory.DDPMScheduler(), latents, noise, torch.tensor([500]), torch.randn(1, 77, 768)
    )
    return predicted, before + allocated(lambda: loss().backward())


def allocated(step):
    """The most bytes that the CPU's allocator held above what it held at the beginning, while `step` ran."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    events = sorted(
        (event.start_ns(), event.nbytes())
        for event in trace.profiler.kineto_results.events()
        if event.name() == "[memory]"
    )
    return max(pd.Series([size for _, size in events]).cumsum())


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        predicted, most = measured()
        print(f"forecast {predicted / 1e9:.2f} GB, measured {most / 1e9:.2f} GB: {predicted / most - 1:+.1%}")
    else:
        print(published().to_string(index=False, float_format=lambda value: f"{value:.3g}"))
