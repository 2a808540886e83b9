"""Stable Diffusion, step by step: to latents and prompt embeddings, and the training loss."""

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from PIL import Image

from helpers.diffusion.prompts import tokenize_plain


@torch.no_grad()
def encode_images(vae, images, size, generator=None, batch_size=8):
    """Latents (n, 4, size/8, size/8) of square PIL images, scaled as the U-Net expects them.

    generator: draws a sample of the VAE's posterior; without one, its mean.
    Raises ValueError for an image that is not square: notebook 01 makes squares.
    """
    latents = []
    for start in range(0, len(images), batch_size):
        pixels = torch.stack([to_pixels(image, size) for image in images[start : start + batch_size]])
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        chosen = posterior.mode() if generator is None else _sample(posterior, generator)
        latents.append(chosen.float() * vae.config.scaling_factor)
    return torch.cat(latents)


def to_pixels(image, size):
    """float (3, size, size) in -1..1 of a square PIL image."""
    if image.width != image.height:
        raise ValueError(f"A picture of {image.width} x {image.height} is not square: prepare it with notebook 01.")
    if image.width != size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def _sample(posterior, generator):
    noise = torch.randn(posterior.mean.shape, generator=generator)  # on the CPU: the same on every device
    return posterior.mean + posterior.std * noise.to(posterior.mean)


@torch.no_grad()
def encode_prompts(pipe, prompts):
    """prompt_embeds (n, 77, width): what the U-Net reads of each prompt. Words past 77 tokens are cut off."""
    tokens = tokenize_plain(pipe.tokenizer, prompts)
    return pipe.text_encoder(tokens.to(pipe.text_encoder.device))[0]


def training_scheduler(pipe):
    """The noise schedule the pipeline was trained with, all 1,000 steps of it (Ho et al. 2020).

    Its add_noise is the forward process in one jump: sqrt(a) latents + sqrt(1 - a) noise, a = alphas_cumprod[t].
    """
    return DDPMScheduler.from_config(pipe.scheduler.config)


def target(scheduler, latents, noise, timesteps):
    """What the U-Net should predict: the noise, or its velocity for models trained so (SD 2.x at 768)."""
    if scheduler.config.prediction_type == "v_prediction":
        return scheduler.get_velocity(latents, noise, timesteps)
    return noise


def diffusion_loss(unet, scheduler, latents, noise, timesteps, prompt_embeds, weights="equal", error=F.mse_loss):
    """Mean squared error of the predicted noise: the loss of Stable Diffusion (Rombach et al. 2022, eq. 3).

    weights: of timesteps, as for `loss_scale`. error: of (prediction, target), both float32, instead of the mean.
    """
    noisy = scheduler.add_noise(latents, noise, timesteps)
    prediction = unet(noisy.to(unet.dtype), timesteps, prompt_embeds.to(unet.dtype)).sample
    scale = loss_scale(scheduler, timesteps, weights)
    return error(prediction.float() * scale, target(scheduler, latents, noise, timesteps).float() * scale)


def snr_weights(scheduler, timesteps, gamma=5.0, noisy=0.5):
    """Loss weights (n,) of timesteps by their signal-to-noise ratio: for bases that were trained so, as pocket was.

    Little noise counts less: min(SNR, gamma) / SNR (min-SNR, Hang et al. 2023, arXiv 2303.09556). Below SNR 1, where
    colours and shapes are decided, it counts SNR ** -noisy times more; noisy=0 is min-SNR alone.
    """
    snr = compute_snr(scheduler, timesteps)
    return snr.clamp(max=gamma) / snr * snr.clamp(max=1) ** -noisy


def loss_scale(scheduler, timesteps, weights):
    """What prediction and target are multiplied by, (n, 1, 1, 1), so that their squared error is weighted.

    weights: "equal" for the plain loss, "snr" for `snr_weights`, whichever the base was trained with.
    """
    if weights == "equal":
        return torch.ones(len(timesteps), 1, 1, 1, device=timesteps.device)
    return snr_weights(scheduler, timesteps).sqrt()[:, None, None, None]


def held_out_examples(latents, prompt_embeds, scheduler, seed, copies=8):
    """Examples whose noise and timesteps never change, so that losses can be compared: arguments of `diffusion_loss`.

    Each of n photos appears `copies` times, at timesteps spread evenly over the whole schedule: n * copies rows.
    """
    count = len(latents) * copies
    generator = torch.Generator().manual_seed(seed)
    latents = latents.repeat(copies, 1, 1, 1)
    spread = (torch.arange(count) + 0.5) * scheduler.config.num_train_timesteps / count
    return {
        "latents": latents,
        "noise": torch.randn(latents.shape, generator=generator).to(latents),
        "timesteps": spread.long().to(latents.device),
        "prompt_embeds": prompt_embeds.repeat(copies, 1, 1),
    }


def held_out_loss(unet, scheduler, examples, batch_size=8, weights="equal"):
    """The mean `diffusion_loss` over `held_out_examples`, a few at a time: a float. weights: as in the training."""
    total, count = 0.0, len(examples["latents"])
    with torch.no_grad():
        for start in range(0, count, batch_size):
            part = {name: values[start : start + batch_size] for name, values in examples.items()}
            total += diffusion_loss(unet, scheduler, **part, weights=weights).item() * len(part["latents"])
    return total / count


def initial_noise(pipe, seed):
    """The noise (4, h, w) an image of this seed starts from: drawn on the CPU, so the same everywhere."""
    side = pipe.unet.config.sample_size
    return torch.randn(pipe.unet.config.in_channels, side, side, generator=torch.Generator().manual_seed(seed))
