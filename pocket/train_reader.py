"""The reader: the ruler of the suite, taught on the whole world, reserved features included."""

import numpy as np
import torch
import torch.nn.functional as F

from pocket.assemble import save_reader
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.reader import Reader
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.visible import LABELS, UNSEEN, answers

SCENES = 60_000


def augmented(pixels):
    """Mirrored, shifted, blurred, noisy: more pictures to learn from, and as soft as generated ones.

    No softer than that: at half the size dreadlocks are short hair, and cells of pixel art are gone.
    """
    if torch.rand(()) < 0.5:
        pixels = pixels.flip(3)
    shift = torch.randint(-4, 5, (2,)).tolist()
    pixels = torch.roll(pixels, shift, (2, 3))
    if torch.rand(()) < 0.5:
        small = F.interpolate(pixels, scale_factor=0.7 + 0.3 * torch.rand(()).item(), mode="area")
        pixels = F.interpolate(small, size=128, mode="bilinear")
    return pixels + 0.08 * torch.rand(()) * torch.randn_like(pixels)


def train(minutes, batch=32):
    torch.manual_seed(0)
    reader = Reader(LABELS)
    images, sheet = pictures("everyone", SCENES), answers([numbered_scene("everyone", i) for i in range(SCENES)])
    unseen, unseen_sheet = (
        to_pixels(pictures("test_everyone", 1000)),
        answers([numbered_scene("test_everyone", i) for i in range(1000)]),
    )

    def batch_loss(step):
        indices = torch.from_numpy(np.random.default_rng(step).choice(len(images), batch, replace=False))
        logits = reader(augmented(to_pixels(images[indices.numpy()])))
        losses = [F.cross_entropy(logits[a].float(), sheet[a][indices], ignore_index=UNSEEN) for a in LABELS]
        return torch.stack(losses).nansum() / len(LABELS)

    @torch.no_grad()
    def held_out(model):
        logits = model.eval()(unseen)
        right = {}
        for attribute, answer in unseen_sheet.items():
            shown = answer != UNSEEN
            right[attribute] = (logits[attribute].argmax(1) == answer)[shown].float().mean().item()
        return right

    trained = fit("reader", reader, batch_loss, held_out, minutes, rate=2e-3)
    save_reader(trained)
