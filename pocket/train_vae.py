"""The VAE: pictures to latents and back. It lacks steps, not pixels, so it learns from 64-pixel crops."""

import numpy as np
import torch
import torch.nn.functional as F

from pocket import parts
from pocket.assemble import load_part, save_pretrained
from pocket.fit import fit
from pocket.pixels import to_images, to_pixels
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene


def crops(images, generator, batch, size=64):
    """Random square crops; half of them from the middle, where the face is."""
    chosen = []
    for _ in range(batch):
        index, face = generator.integers(len(images)), generator.random() < 0.5
        low, high = ((16, 49), (0, 41)) if face else ((0, 65), (0, 65))
        x, y = generator.integers(*low), generator.integers(*high)
        picture = images[index, y : y + size, x : x + size]
        chosen.append(picture)
    return to_pixels(np.stack(chosen))


@torch.no_grad()
def decoded(vae, images, batch=32):
    """Pictures there and back through a VAE, without noise: uint8 (n, height, width, 3) to the same."""
    parts = [to_pixels(images[start : start + batch]) for start in range(0, len(images), batch)]
    return np.concatenate([to_images(vae.decode(vae.encode(part).latent_dist.mode()).sample) for part in parts])


def psnr(vae, images):
    """Peak signal-to-noise ratio of each reconstructed picture, in decibels."""
    values = []
    with torch.no_grad():
        for start in range(0, len(images), 32):
            pixels = to_pixels(images[start : start + 32])
            again = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
            values.append(10 * torch.log10(4 / (again - pixels).square().mean((1, 2, 3))))
    return torch.cat(values)


def train(minutes, further=False, batch=8):
    vae = load_part("vae") if further else parts.vae()
    if further:
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(False)
    images = pictures("everyone", 10_000)
    unseen = pictures("test_everyone", 500)[:96]
    photos = np.array([numbered_scene("test_everyone", i).style == "photo" for i in range(96)])

    def batch_loss(step):
        pixels = crops(images, np.random.default_rng(step), batch)
        posterior = vae.encode(pixels).latent_dist
        again = vae.decode(posterior.sample()).sample.float()
        return F.l1_loss(again, pixels) + 3 * F.mse_loss(again, pixels) + 1e-6 * posterior.kl().mean()

    def held_out(model):
        decibels = psnr(model.eval(), unseen).numpy()
        return {"psnr": float(decibels.mean()), "psnr_photo": float(decibels[photos].mean())}

    trained = fit("vae", vae, batch_loss, held_out, minutes, rate=1.5e-3)
    if not further:
        trained.register_to_config(scaling_factor=scaling_factor(trained, images[:1000]))
    save_pretrained("vae", trained)


@torch.no_grad()
def scaling_factor(vae, images):
    """What makes latents of unit variance (Rombach et al. 2022, appendix G), rounded to 5 digits."""
    latents = [vae.encode(to_pixels(images[i : i + 50])).latent_dist.mode() for i in range(0, len(images), 50)]
    return round(1 / torch.cat(latents).std().item(), 5)
