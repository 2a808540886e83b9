"""The reader: the metric of the suite, trained on the whole world, reserved features included.

All of it but the branch for faces, which `train_face.py` trains afterwards.
"""

import numpy as np
import torch
import torch.nn.functional as F

from helpers.diffusion import device
from pocket.assemble import load_part, save_reader
from pocket.fit import fit
from pocket.pixels import to_images, to_pixels
from pocket.reader import FACE, Reader
from pocket.scenes import CHUNK, chunks_of, keep, pictures
from pocket.scenes import scene as numbered_scene
from pocket.visible import LABELS, UNSEEN, answers

SCENES = {"everyone": 60_000, "small": 40_000}  # small: a few pixels must do to know somebody on a horse
ASKED = [attribute for attribute in LABELS if attribute not in FACE]
SOFTENED = {"everyone": 4_000, "small": 6_000}  # of those, so many once more through the VAE


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


@torch.no_grad()
def softened(split, count, vae, power=1):
    """Pictures as soft as generated ones: the first of a split, through the VAE with a little noise in their latents.

    uint8 (count, 128, 128, 3), kept on disk. The noise is 0 to 0.4 of the latents' own spread: a beard that the U-Net
    only hints at must still be read as one. power: above 1 makes little noise more frequent.
    """
    chunks = chunks_of("softened" if power == 1 else f"softened_{power}", split, count)
    for chunk in chunks:
        if chunk.exists():
            continue
        start, made = int(chunk.stem), []
        images, generator = pictures(split, start + CHUNK)[start:], torch.Generator().manual_seed(start)
        for part in np.array_split(images, CHUNK // 20):
            with device.autocast("cpu"):
                latents = vae.encode(to_pixels(part)).latent_dist.mode().float()
                strength = 0.4 * torch.rand((len(latents), 1, 1, 1), generator=generator) ** power
                noise = torch.randn(latents.shape, generator=generator) / vae.config.scaling_factor
                made.append(to_images(vae.decode(latents + strength * noise).sample))
        keep(chunk, np.concatenate(made))
    return np.concatenate([np.load(chunk, mmap_mode="r") for chunk in chunks])[:count]


def train(minutes, further=False, batch=32):
    torch.manual_seed(0)
    reader = load_part("reader").train() if further else Reader({attribute: LABELS[attribute] for attribute in ASKED})
    vae = load_part("vae")
    images = [pictures(split, count) for split, count in SCENES.items()]
    images = np.concatenate(images + [softened(split, count, vae) for split, count in SOFTENED.items()])
    numbers = [(split, i) for counts in (SCENES, SOFTENED) for split, count in counts.items() for i in range(count)]
    sheet = answers([numbered_scene(*number) for number in numbers])
    unseen, unseen_sheet = (
        to_pixels(pictures("test_everyone", 1000)),
        answers([numbered_scene("test_everyone", i) for i in range(1000)]),
    )

    def batch_loss(step):
        generator = np.random.default_rng(step)
        indices = generator.integers(len(images), size=batch)
        soft = generator.random(batch) < 1 / 3  # they are few, and what the reader is for
        indices[soft] = generator.integers(sum(SCENES.values()), len(images), size=soft.sum())
        indices = torch.from_numpy(indices)
        logits = reader(augmented(to_pixels(images[indices.numpy()])))
        losses = [F.cross_entropy(logits[a].float(), sheet[a][indices], ignore_index=UNSEEN) for a in ASKED]
        return torch.stack(losses).nansum() / len(ASKED)

    @torch.no_grad()
    def held_out(model):
        logits = model.eval()(unseen)
        right = {}
        for attribute in ASKED:
            answer = unseen_sheet[attribute]
            shown = answer != UNSEEN
            right[attribute] = (logits[attribute].argmax(1) == answer)[shown].float().mean().item()
        return right

    trained = fit("reader", reader, batch_loss, held_out, minutes, rate=1e-3 if further else 2e-3)
    save_reader(trained)
