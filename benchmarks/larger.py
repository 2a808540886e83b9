"""A base model of 256 pixels, with latents of 32 x 32: how much longer would eight pictures take than today?

    python -m benchmarks.larger

Today's U-Net and one with a level more around it, of 64 or 32 channels, without attention. Its weights are random: they
take the same time. Seconds of one core's work, the least of some rounds in which all take turns; the ratio is what counts.
What a VAE keeps of a face at 256 pixels is a row of `python -m benchmarks.sharper`.
"""

import argparse
import time

import torch
from diffusers import UNet2DConditionModel

from helpers import diffusion
from pocket.assemble import load_part

PICTURES, LEVELS = 8, {"with a level of 64 channels": 64, "with a level of 32 channels": 32}


def larger(config, channels):
    """A U-Net as `config` says, with one more level of one layer around it, for latents twice as large."""
    own = {name: value for name, value in config.items() if not name.startswith("_")}
    widths, downs, ups = (own[name] for name in ("block_out_channels", "down_block_types", "up_block_types"))
    own |= {"sample_size": 2 * own["sample_size"], "block_out_channels": (channels, *widths)}
    own |= {"down_block_types": ("DownBlock2D", *downs), "up_block_types": (*ups, "UpBlock2D")}
    return UNet2DConditionModel(**own).eval()


def seconds(work):
    """Seconds of processor time that a call takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


@torch.inference_mode()
def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    today, vae = load_part("unet"), load_part("vae")
    nets = {"today": today} | {name: larger(today.config, channels) for name, channels in LEVELS.items()}
    prompt_embeds = torch.randn(2 * PICTURES, 77, today.config.cross_attention_dim)  # with guidance: twice each step
    best = {name: [float("inf"), float("inf")] for name in nets}
    for _ in range(rounds):
        for name, net in nets.items():
            latents = torch.randn(2 * PICTURES, 4, net.config.sample_size, net.config.sample_size)
            step = lambda net=net, latents=latents: net(latents, 500, prompt_embeds)
            decode = lambda latents=latents: vae.decode(latents[:PICTURES])
            best[name] = [min(pair) for pair in zip(best[name], (seconds(step), seconds(decode)), strict=True)]
    steps, whole = diffusion.model_config("pocket").num_inference_steps, {}
    print("| U-Net | a step | decoding | eight pictures | times today's |\n|---|---|---|---|---|")
    for name, (step, decoding) in best.items():
        whole[name] = steps * step + decoding
        ratio = whole[name] / whole["today"]
        print(f"| {name} | {step:.2f} s | {decoding:.2f} s | {whole[name]:.1f} s | {ratio:.2f} |")


if __name__ == "__main__":
    main()
