"""Float32 beside bfloat16 on this processor: the pocket U-Net there and back, and one call of attention.

python -m benchmarks.precision

Says which of the two `device.autocast` takes here, so that a wrong choice shows.
"""

import contextlib
import statistics
import time

import torch
import torch.nn.functional as F

from helpers import diffusion
from helpers.diffusion import device

SHAPE = (8, 4, 256, 24)  # batch, heads, positions and width of a head: the pocket U-Net at 16 x 16
REPEATS = 8


def milliseconds(work):
    """Median over REPEATS of a piece of work, after two calls that choose their kernels."""
    taken = []
    for _ in range(REPEATS + 2):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[2:])


def attention(dtype):
    """One call with its gradients."""
    query, key, value = (torch.randn(SHAPE, dtype=dtype, requires_grad=True) for _ in range(3))
    return lambda: F.scaled_dot_product_attention(query, key, value).sum().backward()


def predict(unet, batch):
    """The noise of a batch predicted, as in sampling."""
    latents, prompt_embeds = torch.randn(batch, 4, 16, 16), torch.randn(batch, 77, unet.config.cross_attention_dim)

    def work():
        with torch.no_grad():
            unet(latents, 500, prompt_embeds)

    return work


def learn(unet, batch, autocast):
    """Forward and backward through a U-Net that learns; autocast: as for torch.autocast, forward only."""
    latents, prompt_embeds = torch.randn(batch, 4, 16, 16), torch.randn(batch, 77, unet.config.cross_attention_dim)

    def work():
        with autocast():
            loss = unet(latents, 500, prompt_embeds).sample.float().square().mean()
        loss.backward()
        unet.zero_grad()

    return work


def main():
    torch.manual_seed(0)
    unet = diffusion.load_pipeline("pocket").unet.train()
    works = {
        "attention, there and back": (milliseconds(attention(torch.float32)), milliseconds(attention(torch.bfloat16)))
    }
    times = []
    for autocast in (contextlib.nullcontext, device.bf16_on_cpu):
        with autocast():
            sampling = milliseconds(predict(unet, 16))
        times.append((sampling, milliseconds(learn(unet, 8, autocast))))
    works |= dict(zip(("U-Net, 16 latents", "U-Net, 8 latents, there and back"), zip(*times)))
    for name, (full, half) in works.items():
        print(f"{name:34} float32 {full:6.1f} ms   bfloat16 {half:6.1f} ms   {half / full:.2f} times as long")
    print("autocast takes", "bfloat16, but for attention" if device.cpu_has_bf16() else "float32", "on this processor")


if __name__ == "__main__":
    main()
