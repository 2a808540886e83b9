"""The VAE's decoder taught further, on whole pictures: to draw what its latents hold as nearly as it can.

Latents stay what they are, so that nothing else has to learn. Here they have a little noise, as generated ones do.

    python -m pocket.train decoder 60        writes runs/pocket/decoder, not data/pocket: compare first
"""

import numpy as np
import torch
import torch.nn.functional as F

from pocket.assemble import load_part
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.scenes import CACHE, pictures
from pocket.scenes import scene as numbered_scene
from pocket.train_face import share_right, sheet_of
from pocket.train_vae import decoded, psnr

SCENES = {"faces": 8_000, "everyone": 8_000}
NOISE = 0.1  # the most noise, as a share of the latents' own spread


def again(vae, pixels, generator):
    """Pixels there and back, with noise in their latents, a different amount in each; only the decoder has gradients."""
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mode()
        strength = NOISE * torch.rand((len(latents), 1, 1, 1), generator=generator) ** 2
        noise = torch.randn(latents.shape, generator=generator) / vae.config.scaling_factor
    return vae.decode(latents + strength * noise).sample.float()


def train(minutes, further=False, batch=2):
    torch.manual_seed(0)
    vae, reader = load_part("vae"), load_part("reader").requires_grad_(False)
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)
    drawn = np.concatenate([pictures(split, count) for split, count in SCENES.items()])
    unseen = [i for i in range(200) if numbered_scene("test_everyone", i).style == "photo"][:64]
    images = pictures("test_everyone", 500)[unseen]
    sheet = sheet_of("test_everyone", unseen, reader)

    def batch_loss(step):
        pixels = to_pixels(drawn[np.random.default_rng(step).integers(len(drawn), size=batch)])
        return F.l1_loss(again(vae, pixels, torch.Generator().manual_seed(step)), pixels)

    @torch.no_grad()
    def held_out(model):
        right = share_right(reader, to_pixels(decoded(model.eval(), images)), sheet)
        return {"psnr_photo": float(psnr(model, images).mean())} | right

    fit("decoder", vae, batch_loss, held_out, minutes, rate=1e-4).save_pretrained(CACHE / "decoder")
