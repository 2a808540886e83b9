"""The upscaler: a super-resolution network that draws the pocket model's pictures anew at twice the size.

What a VAE's decoder gives is soft, and what a U-Net made is softer: the network has learnt from decoded pictures, with
noise in their latents, what the world draws there at 256 pixels. Few layers work at the picture's own size and more at a
quarter of it (pixel shuffle, Shi et al. 2016, arXiv 1609.05158), so that it takes a small part of the time of a picture.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from pocket.pixels import to_images, to_pixels


class Upscaler(nn.Module):
    """Pixels (n, 3, side, side) in -1..1 to (n, 3, 2 * side, 2 * side), side a multiple of 4.

    fine, edges: width and blocks of the layers at full size, which draw edges; width, blocks: of those at a quarter of the
    side, which see what is around.
    """

    def __init__(self, fine=32, width=64, blocks=4, edges=2):
        super().__init__()
        self.config = {"fine": fine, "width": width, "blocks": blocks, "edges": edges}
        self.first = nn.Conv2d(3, fine, 3, padding=1)
        self.down = nn.Sequential(
            nn.Conv2d(fine, width, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, stride=2, padding=1)
        )
        self.body = nn.Sequential(*(_Residual(width) for _ in range(blocks)))
        self.up = nn.Conv2d(width, 16 * fine, 1)
        self.fine = nn.Sequential(*(_Residual(fine) for _ in range(edges)))
        self.last = nn.Conv2d(fine, 3 * 4, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # begins as plain enlarging
        nn.init.zeros_(self.last.bias)

    def forward(self, pixels):
        seen = F.relu(self.first(pixels))
        around = F.pixel_shuffle(self.up(self.body(self.down(seen))), 4)
        details = F.pixel_shuffle(self.last(self.fine(seen + around)), 2)
        return F.interpolate(pixels, scale_factor=2, mode="bicubic") + details

    def grown(self, **more):
        """A deeper Upscaler that does the same: whatever blocks it has more add nothing yet. more: blocks or edges."""
        larger = Upscaler(**self.config | more)
        larger.load_state_dict(self.state_dict(), strict=False)
        return larger

    def attempt(self, soft, sharp):
        """(what it makes of soft pixels, what it should have made of them), on its own device."""
        device = next(self.parameters()).device
        return self(soft.to(device)), sharp.to(device)

    @torch.no_grad()
    def enlarge(self, images, batch_size=8):
        """PIL images of twice the side of each, in the same order; all of them are equally large."""
        device, enlarged = next(self.parameters()).device, []
        for start in range(0, len(images), batch_size):
            some = np.stack([np.asarray(image.convert("RGB")) for image in images[start : start + batch_size]])
            enlarged += [Image.fromarray(array) for array in to_images(self(to_pixels(some).to(device)).cpu())]
        return enlarged

    def save(self, folder):
        """Writes config.json and model.safetensors in 16 bits."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n")
        weights = {name: weight.half().cpu().contiguous() for name, weight in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")


class _Residual(nn.Module):
    """Two convolutions whose result is added; at first it is zero."""

    def __init__(self, width):
        super().__init__()
        self.look, self.add = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.add.weight)
        nn.init.zeros_(self.add.bias)

    def forward(self, seen):
        return seen + self.add(F.relu(self.look(seen)))


def load_upscaler(folder):
    """The Upscaler in a folder such as data/pocket/upscaler, float32. Raises FileNotFoundError that names the file."""
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} is missing: run `python -m pocket.train upscaler`.")
    upscaler = Upscaler(**json.loads((folder / "config.json").read_text()))
    weights = load_file(folder / "model.safetensors")
    upscaler.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return upscaler.to(memory_format=torch.channels_last).eval()
