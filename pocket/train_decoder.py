"""The VAE's decoder taught further: to draw what its latents hold as sharply as the world does.

Latents stay what they are, so that nothing else has to learn. Beside the distance in pixels two losses look at
features: the reader's, and those of a critic. Crops are mostly faces, their latents a little noisy.

    python -m pocket.train decoder 60        writes runs/pocket/decoder, not data/pocket: compare first
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pocket.assemble import load_part
from pocket.critic import Critic
from pocket.draw import face_box
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.scenes import CACHE, pictures
from pocket.scenes import scene as numbered_scene
from pocket.train_face import share_right, sheet_of
from pocket.train_upscaler import crops
from pocket.train_vae import psnr

SCENES = {"faces": 8_000, "everyone": 8_000}
LOOKS, NOISE = 0.1, 0.3  # weight of the perceptual loss; the most noise, as a share of the latents' own spread


class Pair(nn.Module):
    """A VAE, of which the decoder learns, and its critic: how drawn does each patch look?"""

    def __init__(self, vae):
        super().__init__()
        self.vae, self.critic = vae, Critic()
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(False)

    def again(self, pixels, generator):
        """Pixels there and back, with noise in their latents, a different amount in each."""
        with torch.no_grad():
            latents = self.vae.encode(pixels).latent_dist.mode()
            strength = NOISE * torch.rand((len(latents), 1, 1, 1), generator=generator) ** 2
            noise = torch.randn(latents.shape, generator=generator) / self.vae.config.scaling_factor
        return self.vae.decode(latents + strength * noise).sample.float()


def perceptual(reader, pixels, target):
    """How differently the reader's first two blocks see two pictures: the mean distance of their features."""
    distance = 0
    for block in reader.body[:2]:
        pixels, target = block(pixels), block(target)
        distance = distance + F.l1_loss(pixels.float(), target.float())
    return distance / 2


def loss_of(pair, reader, pixels, generator):
    again = pair.again(pixels, generator)
    near = F.l1_loss(again, pixels) + LOOKS * perceptual(reader, again, pixels)
    return near + pair.critic.rivalry(again, pixels)


def train(minutes, further=False, batch=8):
    torch.manual_seed(0)
    pair, reader = Pair(load_part("vae")), load_part("reader").requires_grad_(False)
    drawn = np.concatenate([pictures(split, count) for split, count in SCENES.items()])
    boxes = np.array([face_box(numbered_scene(split, i)) for split, count in SCENES.items() for i in range(count)])
    unseen = [i for i in range(200) if numbered_scene("test_everyone", i).style == "photo"][:64]
    images = pictures("test_everyone", 500)[unseen]
    sheet = sheet_of("test_everyone", unseen, reader)

    def batch_loss(step):
        pixels, _ = crops(drawn, drawn, boxes, np.random.default_rng(step), batch)
        return loss_of(pair, reader, pixels, torch.Generator().manual_seed(step))

    @torch.no_grad()
    def held_out(model):
        vae = model.eval().vae
        again = torch.cat(
            [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in to_pixels(images).split(16)]
        )
        return {"psnr_photo": float(psnr(vae, images).mean())} | share_right(reader, again, sheet)

    trained = fit("decoder", pair, batch_loss, held_out, minutes, rate=3e-4)
    trained.vae.save_pretrained(CACHE / "decoder")
