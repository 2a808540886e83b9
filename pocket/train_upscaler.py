"""The upscaler: decoded pictures, with noise in their latents, against what the world draws at 256 pixels."""

import numpy as np
import torch
import torch.nn.functional as F

from pocket.assemble import POCKET, load_part
from pocket.draw import face_box
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.train_face import share_right, sheet_of
from pocket.train_reader import softened
from pocket.train_vae import decoded
from pocket.upscaler import Upscaler

SCENES = {"faces": 2_500, "everyone": 1_500}
DEPTH = {"blocks": 12, "edges": 4}
CROP, FACES = 64, 0.7  # pixels of a crop before it is enlarged; the share of crops with the face in the middle
BATCH = 8  # crops a core


def examples(vae):
    """(soft pictures, the same drawn at 256 pixels, their face boxes): what there is to learn from."""
    soft = np.concatenate([softened(split, count, vae, power=3) for split, count in SCENES.items()])
    drawn = np.concatenate([pictures(split, count, size=256) for split, count in SCENES.items()])
    boxes = [face_box(numbered_scene(split, i)) for split, count in SCENES.items() for i in range(count)]
    return soft, drawn, np.array(boxes)


def crops(soft, drawn, boxes, generator, batch=BATCH):
    """Pixels of random squares of soft pictures (batch, 3, CROP, CROP), and the same squares of the drawn ones.

    Drawn pictures may be larger by a whole factor. Corners are on the network's own grid of 4 pixels.
    """
    chosen, sharp, scale = [], [], drawn.shape[1] // soft.shape[1]
    for index in generator.integers(len(soft), size=batch):
        corner = generator.integers(0, 128 - CROP + 1, size=2)
        if generator.random() < FACES:
            left, top, side = 128 * boxes[index]
            corner = np.array([left, top]) + side / 2 - CROP / 2 + generator.uniform(-8, 8, size=2)
        x, y = (4 * np.clip(corner / 4, 0, (128 - CROP) / 4).round()).astype(int)
        chosen.append(soft[index, y : y + CROP, x : x + CROP])
        sharp.append(drawn[index, scale * y : scale * (y + CROP), scale * x : scale * (x + CROP)])
    return to_pixels(np.stack(chosen)), to_pixels(np.stack(sharp))


def decibels(pixels, target):
    """PSNR of pixels in -1..1, in dB, the mean over pictures."""
    return float((10 * torch.log10(4 / (pixels.clamp(-1, 1) - target).square().mean((1, 2, 3)))).mean())


def train(minutes, further=False, batch=BATCH):
    torch.manual_seed(0)
    vae, reader = load_part("vae"), load_part("reader").requires_grad_(False)
    upscaler = load_part("upscaler").grown(**DEPTH) if further else Upscaler(**DEPTH)
    upscaler = upscaler.train().to(memory_format=torch.channels_last)
    soft, drawn, boxes = examples(vae)
    unseen = [i for i in range(200) if numbered_scene("test_everyone", i).style == "photo"][:64]
    target = to_pixels(pictures("test_everyone", 500, size=256)[unseen])
    unseen_soft = to_pixels(decoded(vae, pictures("test_everyone", 500)[unseen]))
    sheet = sheet_of("test_everyone", unseen, reader)

    def batch_loss(step):
        given, wanted = crops(soft, drawn, boxes, np.random.default_rng(step), batch)
        again = upscaler(given).float()
        return F.l1_loss(again, wanted) + 3 * F.mse_loss(again, wanted)  # as the VAE's

    @torch.no_grad()
    def held_out(model):
        again = torch.cat([model.eval()(part) for part in unseen_soft.split(8)])
        small = F.avg_pool2d(again, 2)
        near = {"psnr_photo": decibels(again, target), "psnr_small": decibels(small, F.avg_pool2d(target, 2))}
        return near | share_right(reader, small, sheet)

    rate = 1e-3 if further else 2e-3
    fit("upscaler", upscaler, batch_loss, held_out, minutes, rate, shards=2).save(POCKET / "upscaler")
