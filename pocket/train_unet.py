"""The U-Net: predicts the noise in latents, conditioned on a caption. The text encoder learns with it."""

import math

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import nn

from helpers import diffusion
from helpers.diffusion import device
from pocket import parts
from pocket.assemble import load_part, save_pipeline, save_pretrained, save_text_encoder
from pocket.draw import face_box
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.scenes import CACHE, pictures
from pocket.scenes import scene as numbered_scene
from pocket.tokenizers import clip_tokenizer
from pocket.train_clip import captioned

SCENES = 40_000
UNCONDITIONAL = 0.1  # share of empty captions, for classifier-free guidance
FACE = 3.0  # an error in a face counts so many times: eyes and glasses are one or two latents wide


@torch.no_grad()
def latents_of(split, count, vae):
    """Unscaled latents of numbered scenes, float16 (count, 4, 16, 16), encoded once and kept."""
    path = CACHE / f"latents_{split}_{count}.npy"
    if not path.exists():
        images = pictures(split, count)
        with torch.autocast("cpu", torch.bfloat16):
            batches = [vae.encode(to_pixels(images[i : i + 50])).latent_dist.mode() for i in range(0, count, 50)]
        partial = path.with_suffix(".part.npy")
        np.save(partial, torch.cat(batches).half().numpy())
        partial.rename(path)
    return np.load(path)


def face_weights(scenes, size=16):
    """How much each latent counts, (n, 1, size, size): FACE in the square of the face, 1 elsewhere, then 1 on average."""
    weights = torch.ones(len(scenes), 1, size, size)
    for weight, scene in zip(weights, scenes):
        left, top, side = (share * size for share in face_box(scene))
        weight[:, int(top) : math.ceil(top + side), int(left) : math.ceil(left + side)] = FACE
    return weights / weights.mean((1, 2, 3), keepdim=True)


def faces_of(split, indices):
    """The `face_weights` of numbered scenes."""
    return face_weights([numbered_scene(split, int(i)) for i in indices])


class Conditioned(nn.Module):
    """The two nets that learn together: text encoder and U-Net."""

    def __init__(self, text_encoder, unet):
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, latents, timesteps, tokens):
        return self.unet(latents, timesteps, self.text_encoder(tokens).last_hidden_state).sample


def clip_ears(tokenizer):
    """A text encoder that starts with what CLIP's has learnt."""
    text_encoder = parts.text_encoder(tokenizer)
    text_encoder.load_state_dict(load_part("clip").text_model.state_dict())
    return text_encoder


def nets_to_train(tokenizer, further):
    """The two nets: with CLIP's text encoder and a U-Net that knows nothing, or as they were saved, if `further`."""
    if further:
        return Conditioned(load_part("text_encoder"), load_part("unet")).train()
    return Conditioned(clip_ears(tokenizer), parts.unet())


def train(minutes, further=False, batch=16):
    """Two batches a step, one a core; the text encoder starts as CLIP's, the U-Net from nothing, unless `further`."""
    torch.manual_seed(0)
    tokenizer, vae = clip_tokenizer(), load_part("vae")
    latents, unseen = latents_of("train", SCENES, vae), latents_of("test", 500, vae)[:256]
    nets = nets_to_train(tokenizer, further)
    scheduler = DDPMScheduler.from_config(parts.scheduler().config)

    def tokens_of(captions):
        return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids

    def weighted_loss(model, clean, captions, faces, seed):
        generator = torch.Generator().manual_seed(seed)
        clean = torch.from_numpy(clean).float() * vae.config.scaling_factor
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(0, 1000, (len(clean),), generator=generator)
        predicted = model(scheduler.add_noise(clean, noise, timesteps), timesteps, tokens_of(captions)).float()
        error = ((predicted - noise).square() * faces).mean((1, 2, 3))
        return (error * diffusion.latents.snr_weights(scheduler, timesteps)).mean()

    def batch_loss(number):
        generator = np.random.default_rng(number)
        indices = generator.choice(len(latents), batch, replace=False)
        captions = captioned("train", indices, number)
        captions = ["" if generator.random() < UNCONDITIONAL else caption for caption in captions]
        return weighted_loss(nets, latents[indices], captions, faces_of("train", indices), number)

    @torch.no_grad()
    def held_out(model):
        captions = captioned("test", range(256), "test")
        with device.autocast("cpu"):
            loss = weighted_loss(model.eval(), unseen, captions, faces_of("test", range(256)), 0)
        return {"held_out_loss": loss.item()}

    rate = 4e-4 if further else 6e-4
    trained = fit("unet", nets, batch_loss, held_out, minutes, rate, ema=0.9995, report_every=240, shards=2)
    save_pretrained("unet", trained.unet)
    save_text_encoder(trained.text_encoder)
    save_pipeline(tokenizer)
