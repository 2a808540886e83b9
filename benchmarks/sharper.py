"""Drawn, decoded and upscaled pictures side by side: how much of a face is left, and how near is it to the drawing?

    python -m benchmarks.sharper --grid sharper.png
    python -m benchmarks.sharper --upscaler runs/pocket/upscaler --decoder runs/pocket/decoder      two trials

Portraits that no training saw, in the style of a photo. Expression, eyes and glasses: read right by the reader, in
percent, of portraits that show them; it looks at 128 pixels. PSNR, in dB, against the drawing of each size; pictures of
the other size are enlarged by bicubic interpolation or averaged.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from helpers import show
from pocket.assemble import POCKET, load_part
from pocket.draw import draw
from pocket.evaluate import right, share
from pocket.pixels import to_pixels
from pocket.reader import load_reader
from pocket.scenes import scene
from pocket.train_upscaler import decibels
from pocket.train_vae import decoded
from pocket.upscaler import load_upscaler

ASKED = ("expression", "eyes", "glasses")


def portraits(count, split="test_everyone"):
    """The first scenes of a split that are portraits in the style of a photo."""
    some = (scene(split, i) for i in range(20 * count))
    return [found for found in some if (found.context, found.style) == ("portrait", "photo")][:count]


def there_and_back(vae, images):
    """PIL images through a VAE and back."""
    return [Image.fromarray(array) for array in decoded(vae, np.stack([np.asarray(image) for image in images]))]


def looks(drawn, large, upscaler, decoder):
    """{how they were made: (PIL images, seconds for eight of them beyond decoding)}.

    drawn, large: at 128 and at 256 pixels, which the same VAE takes, too: `benchmarks.larger` measures those seconds.
    """
    vae = load_part("vae")
    again = there_and_back(vae, drawn)
    made = {"drawn": (drawn, 0), "decoded": (again, 0), "decoded at 256": (there_and_back(vae, large), None)}
    if decoder:
        made["decoded, trial"] = there_and_back(AutoencoderKL.from_pretrained(decoder).eval(), drawn), 0
    if (upscaler / "config.json").exists():
        network = load_upscaler(upscaler)
        began = time.perf_counter()
        network.enlarge(again[:8])
        seconds = time.perf_counter() - began
        made["upscaled"] = network.enlarge(again), seconds
    return made


def near(images, drawn):
    """PSNR of images against drawings of any one size, in dB, all brought to that size."""
    side = drawn[0].width
    way = Image.Resampling.BOX if images[0].width > side else Image.Resampling.BICUBIC
    pixels = [
        to_pixels(np.stack([np.asarray(image.resize((side, side), way)) for image in some])) for some in (images, drawn)
    ]
    return decibels(*pixels)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--upscaler", type=Path, default=POCKET / "upscaler")
    parser.add_argument("--decoder", type=Path, help="a folder that pocket.train_decoder wrote")
    parser.add_argument("--grid", type=Path, help="a .png of eight portraits in each way")
    options = parser.parse_args(arguments)
    scenes = portraits(options.count)
    drawn, large = ([draw(found, size) for found in scenes] for size in (128, 256))
    reader, made = load_reader(POCKET / "reader"), looks(drawn, large, options.upscaler, options.decoder)
    print(f"| | {' | '.join(ASKED)} | PSNR at 128 | at 256 | seconds for eight |\n|---|---|---|---|---|---|---|")
    for name, (images, seconds) in made.items():
        table = right(reader.read(images), scenes)
        cells = [share(table[attribute]) if attribute in table else "not read" for attribute in ASKED]
        cells += [
            "" if name == "drawn" else f"{near(images, drawn):.2f}",
            f"{near(images, large):.2f}",
            "" if seconds is None else f"{seconds:.2f}",
        ]
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)
    if options.grid:
        rows = [images[:8] for images, _ in made.values()] + [large[:8]]
        show.image_grid(rows, [*made, "drawn, 256"], cell=256).save(options.grid)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
