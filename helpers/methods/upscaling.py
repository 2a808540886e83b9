"""DreamBooth's second step: what enlarges pictures learns the small details of the subject, too.

The DreamBooth paper (Ruiz et al. 2023, arXiv 2208.12242) fine-tunes the super-resolution part of Imagen on pairs of a
photo and the same photo made small. `pocket` has a super-resolution network of its own. For Stable Diffusion it is the
hub's latent upscaler, a diffusion model that enlarges latents.
"""

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionLatentUpscalePipeline, UNet2DConditionModel
from torch import nn

from helpers import diffusion
from helpers.diffusion import device, models
from helpers.methods import memory

HUB = "stabilityai/sd-x2-latent-upscaler"
LOG_NOISE = -1.2, 1.2  # mean and spread of the logarithm of noise in training: Karras et al. 2022, table 1
STEPS, SEED = 20, 0  # of a picture; of its first noise


def load(name, source=HUB):
    """The network that draws a model's pictures at twice the size, or None where there is none or no room for it to learn.

    Then one sentence says why. It has `attempt` for training and `enlarge` for PIL images. source: a folder or a hub id
    of a StableDiffusionLatentUpscalePipeline, for all models but pocket.
    """
    if models.model_config(name).name == "pocket":
        from pocket.upscaler import load_upscaler

        return load_upscaler(models.POCKET / "upscaler").to(device.find_device())
    free, (folder, revision) = memory.gpu_bytes(), models.at_revision(str(source))
    if free is None:
        print("Without a GPU the upscaler of Stable Diffusion would take hours: this part is left out.")
        return None
    try:
        needed = forecast(UNet2DConditionModel.load_config(folder, subfolder="unet", **revision))
        print(f"The second step, on the GPU: {needed}.")
        if needed.safe <= free:
            return Latent(read(folder, **revision).to(device.find_device()))
        print(f"The GPU has {free / memory.GB:.1f} GB free: this part is left out.")
    except (OSError, ValueError) as error:
        print(f"{folder} cannot be had ({str(error).splitlines()[0][:160]}): this part is left out.")
    return None


@torch.no_grad()
def pairs(vae, images, size, seed, copies=4):
    """(soft, sharp) to learn from: float (n, 3, size, size) and (n, 3, 2 * size, 2 * size) in -1..1, n = copies * images.

    soft: what the VAE makes of each square PIL image with noise in its latents, as softly as the U-Net draws: 0 to 0.4
    of the latents' own spread, another amount in each copy. sharp: the image itself. Both wait in the computer's memory.
    """
    generator = torch.Generator().manual_seed(seed)
    latents = diffusion.encode_images(vae, images, size).repeat(copies, 1, 1, 1)
    strength = 0.4 * torch.rand((len(latents), 1, 1, 1), generator=generator) ** 2
    noisy = latents + (strength * torch.randn(latents.shape, generator=generator)).to(latents)
    parts = (noisy / vae.config.scaling_factor).to(vae.dtype).split(8)
    soft = torch.cat([vae.decode(part).sample.clamp(-1, 1).float().cpu() for part in parts])
    sharp = torch.stack([diffusion.latents.to_pixels(image, 2 * size) for image in images])
    return soft, sharp.repeat(copies, 1, 1, 1)


def read(folder, **settings):
    """The latent upscaler's pipeline: its U-Net in 32 bits, because it learns, all else in 16 on a GPU."""
    pipe = StableDiffusionLatentUpscalePipeline.from_pretrained(folder, use_safetensors=True, **settings)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.vae, pipe.text_encoder):
        part.to(device.computes_in(device.find_device())).requires_grad_(False)
    return pipe


class Latent(nn.Module):
    """The hub's latent upscaler; what learns is its U-Net."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe, self.unet = pipe, pipe.unet

    def attempt(self, soft, sharp):
        """(what it makes of small pictures, what it should have made): latents, as its U-Net predicts them from noise.

        soft, sharp: float (n, 3, side, side) and (n, 3, 2 * side, 2 * side) in -1..1. Both results are weighted, so that
        every noise level counts the same (Karras et al. 2022, arXiv 2206.00364, table 1).
        """
        with torch.no_grad():
            small, clean = self._latents(soft), self._latents(sharp)
            embeds, _, pooled, _ = self.pipe.encode_prompt([""] * len(soft), clean.device, False)
        mean, spread = LOG_NOISE
        sigma = (mean + spread * torch.randn(len(clean), 1, 1, 1)).exp().to(clean.device)
        noisy = clean + sigma * torch.randn_like(clean)
        predicted = denoised(self.unet, noisy, sigma, small, embeds.float(), pooled.float())
        weight = (sigma**2 + 1).sqrt() / sigma
        return predicted * weight, clean * weight

    def _latents(self, pixels):
        vae = self.pipe.vae
        return vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode().float() * vae.config.scaling_factor

    @torch.no_grad()
    def enlarge(self, images):
        """PIL images of twice the side of each, without guidance and from the same noise each time."""
        settings = {"guidance_scale": 0, "num_inference_steps": STEPS}
        with device.autocast(self.unet.device.type):
            noise = lambda: torch.Generator().manual_seed(SEED)
            return [self.pipe("", image=image, generator=noise(), **settings).images[0] for image in images]


def denoised(unet, noisy, sigma, small, prompt_embeds, pooled):
    """The clean latents that the upscaler's U-Net sees in noisy ones, as diffusers' pipeline asks it.

    noisy: (n, 4, 2h, 2w); sigma: (n, 1, 1, 1); small: (n, 4, h, w), latents of the small pictures.
    """
    given = torch.cat([noisy / (sigma**2 + 1).sqrt(), F.interpolate(small, scale_factor=2, mode="nearest")], 1)
    no_noise = torch.cat([torch.ones(len(pooled), 64), torch.zeros(len(pooled), 64)], 1).to(pooled)  # in `small`
    condition = {"encoder_hidden_states": prompt_embeds, "timestep_cond": torch.cat([no_noise, pooled], 1)}
    found = unet(given, sigma.flatten().log() / 4, **condition).sample[:, :-1].float()  # the last channel is not used
    return noisy / (sigma**2 + 1) + sigma / (sigma**2 + 1).sqrt() * found


def forecast(config, side=64):
    """The memory.Forecast of a step that teaches one picture to a latent upscaler's U-Net. side: of its small latents."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    with memory.shapes_only() as ledger:
        parameters = list(memory.norms_as_on_gpu(unet).to_empty(device="cpu").train().parameters())
        weights = ledger.now
        mover = torch.optim.AdamW(parameters)
        averages, before = sum(memory.fill(mover, parameters)), ledger.now
        ledger.peak = before
        large, small = torch.empty(1, 4, 2 * side, 2 * side), torch.empty(1, 4, side, side)
        width, pooled = unet.config.cross_attention_dim, unet.config.time_cond_proj_dim - 128
        with memory.as_on_gpu(device.computes_in(device.find_device())):
            texts = torch.empty(1, 77, width), torch.empty(1, pooled)
            loss = F.mse_loss(denoised(unet, large, torch.ones(1, 1, 1, 1), small, *texts), large)
        loss.backward()
        gradients = sum(parameter.nbytes for parameter in parameters)
    return memory.Forecast(weights, gradients, averages, ledger.peak - before - gradients)
