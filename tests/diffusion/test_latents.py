import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from pictures import noise_images
from PIL import Image

from helpers import diffusion

SCHEDULER = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def test_latents_are_the_scaled_mean_whatever_the_batch_or_a_sample_that_repeats(tiny):
    vae, images = tiny.vae, noise_images(3, size=16)
    latents = diffusion.encode_images(vae, images, 16, batch_size=2)
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    assert latents.shape == (3, 4, 8, 8)
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)
    drawn = [diffusion.encode_images(vae, images, 16, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_square_is_resized_and_anything_else_refused(tiny):
    assert diffusion.encode_images(tiny.vae, noise_images(1, size=30), 24).shape == (1, 4, 12, 12)
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
    torch.testing.assert_close(scheduler.add_noise(latents, noise, t), noisy, **close)
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
