"""The U-Net: predicts the noise in latents, told by a caption. The text encoder learns with it."""

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import nn

from helpers.runtime import autocast
from pocket import parts
from pocket.assemble import load_part, save_pipeline, save_pretrained, save_text_encoder
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.scenes import CACHE, pictures
from pocket.tokenizers import clip_tokenizer
from pocket.train_clip import captioned

SCENES = 20_000
SNR_GAMMA = 5.0  # min-SNR weighting, Hang et al. 2023 (arXiv 2303.09556)
UNCONDITIONAL = 0.1  # share of empty captions, for classifier-free guidance


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


class Conditioned(nn.Module):
    """The two nets that learn together: text encoder and U-Net."""

    def __init__(self, text_encoder, unet):
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, latents, timesteps, tokens):
        return self.unet(latents, timesteps, self.text_encoder(tokens).last_hidden_state).sample


def train(minutes, batch=20):
    """`minutes` of training; the text encoder starts as CLIP's, the U-Net from nothing."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    vae = load_part("vae")
    latents = latents_of("train", SCENES, vae)
    unseen = latents_of("test", 500, vae)[:256]
    text_encoder = parts.text_encoder(tokenizer)
    text_encoder.load_state_dict(load_part("clip").text_model.state_dict())
    nets = Conditioned(text_encoder, parts.unet())
    scheduler = DDPMScheduler.from_config(parts.scheduler().config)

    def tokens_of(captions):
        return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids

    def weighted_loss(model, clean, captions):
        clean = torch.from_numpy(clean).float() * vae.config.scaling_factor
        noise = torch.randn_like(clean)
        timesteps = torch.randint(0, 1000, (len(clean),))
        predicted = model(scheduler.add_noise(clean, noise, timesteps), timesteps, tokens_of(captions)).float()
        snr = compute_snr(scheduler, timesteps)
        weight = snr.clamp(max=SNR_GAMMA) / snr
        return ((predicted - noise).square().mean((1, 2, 3)) * weight).mean()

    def batch_loss(step):
        generator = np.random.default_rng(step)
        indices = generator.choice(len(latents), batch, replace=False)
        captions = captioned("train", indices, step)
        captions = ["" if generator.random() < UNCONDITIONAL else caption for caption in captions]
        return weighted_loss(nets, latents[indices], captions)

    @torch.no_grad()
    def held_out(model):
        torch.manual_seed(0)
        with autocast("cpu"):
            return {"held_out_loss": weighted_loss(model.eval(), unseen, captioned("test", range(256), "test")).item()}

    trained = fit("unet", nets, batch_loss, held_out, minutes, rate=6e-4, ema=0.9995, report_every=240)
    save_pretrained("unet", trained.unet)
    save_text_encoder(trained.text_encoder)
    save_pipeline(tokenizer)
