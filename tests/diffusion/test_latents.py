import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler
from PIL import Image

from helpers import diffusion
from helpers.diffusion import device

SCHEDULER = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def pictures(count, size=16):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)]


def test_latents_are_the_scaled_mean_whatever_the_batch_or_a_sample_that_repeats(tiny):
    vae, images = tiny.vae, pictures(3)
    latents = diffusion.encode_images(vae, images, 16, batch_size=2)
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    assert latents.shape == (3, 4, 8, 8)
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)
    drawn = [diffusion.encode_images(vae, images, 16, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_square_is_resized_and_anything_else_refused(tiny):
    assert diffusion.encode_images(tiny.vae, pictures(1, 30), 24).shape == (1, 4, 12, 12)
    with pytest.raises(ValueError, match="300 x 200 is not square"):
        diffusion.encode_images(tiny.vae, [Image.new("RGB", (300, 200))], 128)


def test_prompts_are_encoded_as_the_pipeline_does(tiny):
    prompts = ["a photo of a man", "nesrelah_001 person, " + "very " * 100 + "long"]
    expected, _ = tiny.encode_prompt(prompts, "cpu", 1, False)
    embeds = diffusion.encode_prompts(tiny, prompts)
    assert embeds.shape == (2, 77, 16)
    torch.testing.assert_close(embeds, expected)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_noise_target_and_loss_are_those_of_the_equations(pocket_pipeline, prediction_type):
    """Ho et al. 2020; Salimans & Ho 2022 for the velocity."""
    scheduler = diffusion.training_scheduler(pocket_pipeline)
    scheduler.register_to_config(prediction_type=prediction_type)
    latents, noise, t = *torch.randn(2, 2, 4, 8, 8), torch.tensor([3, 800])
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = torch.cumprod(1 - betas, 0)[t].view(2, 1, 1, 1)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    target = noise if prediction_type == "epsilon" else kept.sqrt() * noise - (1 - kept).sqrt() * latents
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(diffusion.add_noise(scheduler, latents, noise, t), noisy, **close)
    torch.testing.assert_close(diffusion.target(scheduler, latents, noise, t), target, **close)

    class Doubling(torch.nn.Module):
        dtype = torch.float32

        def forward(self, latents, timesteps, prompt_embeds):
            return type("Output", (), {"sample": 2 * latents})

    loss = diffusion.latents.diffusion_loss(Doubling(), scheduler, latents, noise, t, torch.zeros(2, 77, 16))
    torch.testing.assert_close(loss, (2 * noisy - target).square().mean(), **close)


def test_held_out_examples_never_change_and_hear_every_noise_level(tiny):
    latents, embeds = torch.randn(3, 4, 8, 8), torch.randn(3, 77, 16)
    examples = diffusion.latents.held_out_examples(latents, embeds, SCHEDULER, seed=5, copies=4)
    torch.randn(7)  # other random numbers in between change nothing
    again = diffusion.latents.held_out_examples(latents, embeds, SCHEDULER, seed=5, copies=4)
    assert all(torch.equal(examples[name], again[name]) for name in examples)
    assert len(examples["timesteps"]) == 12 and torch.histc(examples["timesteps"].float(), 4, 0, 1000).eq(3).all()
    assert torch.equal(examples["latents"][4], latents[1]) and torch.equal(examples["prompt_embeds"][4], embeds[1])
    one = diffusion.latents.held_out_loss(tiny.unet, SCHEDULER, examples, batch_size=5)
    with torch.no_grad():
        assert one == pytest.approx(diffusion.latents.diffusion_loss(tiny.unet, SCHEDULER, **examples).item(), rel=1e-4)


def test_the_same_seed_gives_the_same_image_in_any_batch(tiny):
    settings = {"guidance_scale": 5, "num_inference_steps": 3}
    prompts, seeds = ["a photo of a man", "a photo of a woman", "a cat"], [1, 2, 1]
    images = diffusion.generate(tiny, prompts, seeds, **settings)
    alone = diffusion.generate(tiny, prompts, seeds, **settings, batch_size=1)
    assert [image.size for image in images] == [(16, 16)] * 3
    for together, single in zip(images, alone):
        assert np.abs(np.asarray(together, int) - np.asarray(single, int)).mean() < 0.1
    first, again, other = (diffusion.initial_noise(tiny, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(diffusion.generate(tiny, "a man", [1, 2, 3], **settings, batch_size=2)) == 3
    with pytest.raises(ValueError, match="2 prompts but 3 seeds"):
        diffusion.generate(tiny, ["a", "b"], [1, 2, 3], **settings)


def test_a_unet_in_training_precision_generates_beside_16_bit_parts(pipe, monkeypatch):
    """As in notebook 04 on a GPU: the U-Net in float32, the rest in half precision."""
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)  # slow where it is not so, but possible
    settings = {"guidance_scale": 3, "num_inference_steps": 2}
    (expected,) = diffusion.generate(pipe, "a man", [1], **settings)
    parts = copy.deepcopy(pipe.vae).to(torch.bfloat16), copy.deepcopy(pipe.text_encoder).to(torch.bfloat16)
    pipe.register_modules(vae=parts[0], text_encoder=parts[1])
    (mixed,) = diffusion.generate(pipe, "a man", [1], **settings)
    assert pipe.unet.dtype == torch.float32
    assert np.abs(np.asarray(mixed, int) - np.asarray(expected, int)).mean() < 3


def test_guided_sampling_equals_a_sampler_written_by_hand(tiny):
    """DDIM with classifier-free guidance from the equations (Song et al. 2021, Ho & Salimans 2022), in float32."""
    settings = {"clip_sample": False, "set_alpha_to_one": False, "timestep_spacing": "leading"}
    tiny.scheduler = DDIMScheduler.from_config(tiny.scheduler.config, **settings)
    (image,) = diffusion.generate(tiny, "a man", [4], guidance_scale=3, num_inference_steps=4)
    scheduler = tiny.scheduler
    scheduler.set_timesteps(4)
    x = diffusion.initial_noise(tiny, 4)[None]
    embeds = diffusion.encode_prompts(tiny, ["", "a man"])
    timesteps = scheduler.timesteps.tolist()
    with torch.no_grad():
        for t, following in zip(timesteps, [*timesteps[1:], None]):
            blind, told = tiny.unet(x.expand(2, -1, -1, -1), t, embeds).sample.chunk(2)
            noise = blind + 3 * (told - blind)
            a = scheduler.alphas_cumprod[t]
            b = scheduler.alphas_cumprod[max(t - 250, 0) if following is None else following]
            clean = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
            x = math.sqrt(b) * clean + math.sqrt(1 - b) * noise
        pixels = tiny.vae.decode(x / tiny.vae.config.scaling_factor).sample
    by_hand = ((pixels[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().numpy()
    assert np.abs(by_hand - np.asarray(image, int)).max() <= 2 and by_hand.std() > 1


@pytest.mark.parametrize("t", [0, 200, 600, 999])
def test_loss_weights_are_min_snr_s_and_stronger_where_there_is_more_noise_than_picture(t):
    kept = SCHEDULER.alphas_cumprod[t].item()  # independent of diffusers' compute_snr
    snr, timesteps = kept / (1 - kept), torch.tensor([t])
    weight = min(snr, 5) / snr
    assert diffusion.latents.snr_weights(SCHEDULER, timesteps, noisy=0).item() == pytest.approx(weight, rel=1e-4)
    assert diffusion.latents.snr_weights(SCHEDULER, timesteps).item() == pytest.approx(
        weight * max(1, snr**-0.5), rel=1e-4
    )


def test_scaled_prediction_and_target_give_the_weighted_loss():
    timesteps, (prediction, noise) = torch.tensor([10, 500, 990]), torch.randn(2, 3, 4, 2, 2)
    scale = diffusion.latents.loss_scale(SCHEDULER, timesteps, "snr")
    weighted = (prediction - noise).square().mean((1, 2, 3)) * diffusion.latents.snr_weights(SCHEDULER, timesteps)
    torch.testing.assert_close(F.mse_loss(prediction * scale, noise * scale), weighted.mean())
    assert torch.equal(diffusion.latents.loss_scale(SCHEDULER, timesteps, "equal"), torch.ones(3, 1, 1, 1))
