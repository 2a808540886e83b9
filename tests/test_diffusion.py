import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler
from PIL import Image

from helpers import diffusion, runtime


def pictures(count, size=128):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)]


class Constant(torch.nn.Module):
    """A U-Net that always answers the same."""

    dtype = torch.float32

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, latents, timesteps, prompt_embeds):
        return type("Output", (), {"sample": self.answer.expand_as(latents)})


def test_latents_are_the_scaled_mean_whatever_the_batch(pocket_pipeline):
    vae, images = pocket_pipeline.vae, pictures(3)
    latents = diffusion.encode_images(vae, images, 128, batch_size=2)
    assert latents.shape == (3, 4, 16, 16)
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)


def test_a_generator_samples_the_posterior_and_repeats(pocket_pipeline):
    vae, images = pocket_pipeline.vae, pictures(1)
    first, again, other = (
        diffusion.encode_images(vae, images, 128, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_square_is_resized_and_anything_else_refused(pocket_pipeline):
    assert diffusion.encode_images(pocket_pipeline.vae, pictures(1, 200), 64).shape == (1, 4, 8, 8)
    with pytest.raises(ValueError, match="300 x 200 is not square"):
        diffusion.encode_images(pocket_pipeline.vae, [Image.new("RGB", (300, 200))], 128)


def test_prompts_are_encoded_as_the_pipeline_does(pocket_pipeline):
    prompts = ["a photo of a man", "nesrelah_001 person, " + "very " * 100 + "long"]
    expected, _ = pocket_pipeline.encode_prompt(prompts, "cpu", 1, False)
    embeds = diffusion.encode_prompts(pocket_pipeline, prompts)
    assert embeds.shape == (2, 77, 160)
    torch.testing.assert_close(embeds, expected)


def test_noise_is_added_by_the_formula_of_the_forward_process(pocket_pipeline):
    scheduler = diffusion.training_scheduler(pocket_pipeline)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    latents, noise, t = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([3, 800])
    kept = torch.cumprod(1 - betas, 0)[t].view(2, 1, 1, 1)
    expected = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    torch.testing.assert_close(diffusion.add_noise(scheduler, latents, noise, t), expected, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_squared_error_of_the_noise(pocket_pipeline):
    scheduler = diffusion.training_scheduler(pocket_pipeline)
    latents, noise, t = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([3, 800])
    answer = torch.full((1,), 0.5)
    loss = diffusion.diffusion_loss(Constant(answer), scheduler, latents, noise, t, torch.zeros(2, 77, 160))
    assert loss.item() == pytest.approx(((0.5 - noise) ** 2).mean().item(), rel=1e-5)


def test_a_velocity_model_learns_the_velocity(pocket_pipeline):
    scheduler = diffusion.training_scheduler(pocket_pipeline)
    scheduler.register_to_config(prediction_type="v_prediction")
    latents, noise, t = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8), torch.tensor([400])
    kept = scheduler.alphas_cumprod[400]
    expected = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    torch.testing.assert_close(diffusion.target(scheduler, latents, noise, t), expected)


def test_held_out_examples_never_change_and_hear_every_noise_level(pocket_pipeline):
    scheduler = diffusion.training_scheduler(pocket_pipeline)
    latents, embeds = torch.randn(3, 4, 16, 16), torch.randn(3, 77, 160)
    examples = diffusion.held_out_examples(latents, embeds, scheduler, seed=5, copies=4)
    torch.randn(7)  # other random numbers in between change nothing
    again = diffusion.held_out_examples(latents, embeds, scheduler, seed=5, copies=4)
    assert all(torch.equal(examples[name], again[name]) for name in examples)
    assert len(examples["timesteps"]) == 12 and torch.histc(examples["timesteps"].float(), 4, 0, 1000).eq(3).all()
    assert torch.equal(examples["latents"][4], latents[1]) and torch.equal(examples["prompt_embeds"][4], embeds[1])
    unet = pocket_pipeline.unet
    one = diffusion.held_out_loss(unet, scheduler, examples, batch_size=5)
    with torch.no_grad():
        assert one == pytest.approx(diffusion.diffusion_loss(unet, scheduler, **examples).item(), rel=1e-4)


def test_the_same_seed_gives_the_same_image_in_any_batch(pocket_pipeline, monkeypatch):
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: False)  # bfloat16 rounds otherwise in another batch
    settings = {"guidance_scale": 5, "num_inference_steps": 3}
    prompts, seeds = ["a photo of a man", "a photo of a woman", "a cat"], [1, 2, 1]
    images = diffusion.generate(pocket_pipeline, prompts, seeds, **settings)
    alone = diffusion.generate(pocket_pipeline, prompts, seeds, **settings, batch_size=1)
    assert [image.size for image in images] == [(128, 128)] * 3
    for together, single in zip(images, alone):
        assert np.abs(np.asarray(together, int) - np.asarray(single, int)).mean() < 0.1
    assert torch.equal(diffusion.initial_noise(pocket_pipeline, 1), diffusion.initial_noise(pocket_pipeline, 1))
    assert not torch.equal(diffusion.initial_noise(pocket_pipeline, 1), diffusion.initial_noise(pocket_pipeline, 2))


def test_a_unet_in_training_precision_generates_beside_16_bit_parts(pipe, monkeypatch):
    """As in notebook 04 on a GPU: the U-Net in float32, the rest in half precision."""
    monkeypatch.setattr(diffusion.runtime, "cpu_has_bf16", lambda: True)  # slow where it is not so, but possible
    settings = {"guidance_scale": 3, "num_inference_steps": 2}
    (expected,) = diffusion.generate(pipe, "a man", [1], **settings)
    parts = copy.deepcopy(pipe.vae).to(torch.bfloat16), copy.deepcopy(pipe.text_encoder).to(torch.bfloat16)
    pipe.register_modules(vae=parts[0], text_encoder=parts[1])
    (mixed,) = diffusion.generate(pipe, "a man", [1], **settings)
    assert pipe.unet.dtype == torch.float32
    assert np.abs(np.asarray(mixed, int) - np.asarray(expected, int)).mean() < 3


def test_one_prompt_goes_with_every_seed_and_counts_must_match(pocket_pipeline):
    settings = {"guidance_scale": 1, "num_inference_steps": 1}
    assert len(diffusion.generate(pocket_pipeline, "a man", [1, 2, 3], **settings, batch_size=2)) == 3
    with pytest.raises(ValueError, match="2 prompts but 3 seeds"):
        diffusion.generate(pocket_pipeline, ["a", "b"], [1, 2, 3], **settings)


def test_guided_sampling_equals_a_sampler_written_by_hand(pocket_pipeline, monkeypatch):
    """DDIM with classifier-free guidance from the equations (Song et al. 2021, Ho & Salimans 2022), in float32."""
    monkeypatch.setattr(diffusion.runtime, "autocast", lambda device, copies: torch.no_grad())
    settings = {"clip_sample": False, "set_alpha_to_one": False, "timestep_spacing": "leading"}
    scheduler = DDIMScheduler.from_config(pocket_pipeline.scheduler.config, **settings)
    monkeypatch.setattr(pocket_pipeline, "scheduler", scheduler)
    (image,) = diffusion.generate(pocket_pipeline, "a man", [4], guidance_scale=3, num_inference_steps=4)
    scheduler.set_timesteps(4)
    x = diffusion.initial_noise(pocket_pipeline, 4)[None]
    embeds = diffusion.encode_prompts(pocket_pipeline, ["", "a man"])
    times = scheduler.timesteps.tolist()
    with torch.no_grad():
        for t, following in zip(times, [*times[1:], None]):
            blind, told = pocket_pipeline.unet(x.expand(2, -1, -1, -1), t, embeds).sample.chunk(2)
            noise = blind + 3 * (told - blind)
            a = scheduler.alphas_cumprod[t]
            b = scheduler.alphas_cumprod[max(t - 250, 0) if following is None else following]
            clean = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
            x = math.sqrt(b) * clean + math.sqrt(1 - b) * noise
        pixels = pocket_pipeline.vae.decode(x / pocket_pipeline.vae.config.scaling_factor).sample
    by_hand = ((pixels[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().numpy()
    assert np.abs(by_hand - np.asarray(image, int)).max() <= 2


@pytest.mark.parametrize("t", [0, 200, 600, 999])
def test_loss_weights_are_min_snr_s_and_stronger_where_there_is_more_noise_than_picture(t):
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    kept = scheduler.alphas_cumprod[t].item()  # independent of diffusers' compute_snr
    snr = kept / (1 - kept)
    timesteps = torch.tensor([t])
    assert diffusion.snr_weights(scheduler, timesteps, noisy=0).item() == pytest.approx(min(snr, 5) / snr, rel=1e-4)
    expected = min(snr, 5) / snr * max(1, snr**-0.5)
    assert diffusion.snr_weights(scheduler, timesteps).item() == pytest.approx(expected, rel=1e-4)


def test_scaled_prediction_and_target_give_the_weighted_loss():
    scheduler, timesteps = DDPMScheduler(beta_schedule="scaled_linear"), torch.tensor([10, 500, 990])
    prediction, noise = torch.randn(2, 3, 4, 2, 2)
    scale = diffusion.loss_scale(scheduler, timesteps, "snr")
    weighted = (prediction - noise).square().mean((1, 2, 3)) * diffusion.snr_weights(scheduler, timesteps)
    torch.testing.assert_close(F.mse_loss(prediction * scale, noise * scale), weighted.mean())
    assert torch.equal(diffusion.loss_scale(scheduler, timesteps, "equal"), torch.ones(3, 1, 1, 1))
