"""Stable Diffusion 1.5 in its true shapes, with random weights: a step of each method and one image."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import diffusion, training
from helpers.methods import dreambooth, hypernetwork

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sd1(sd1_folder):
    """Loaded as a learner would, then in bfloat16 to halve the memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SD15_WEIGHTS", str(sd1_folder))
        pipe = diffusion.load_pipeline("sd15")
    return pipe.to(dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def photo(sd1):
    """Latents (1, 4, 8, 8) of a 64-pixel picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return diffusion.encode_images(sd1.vae, [Image.fromarray(pixels)], 64)


def test_a_hypernetwork_takes_a_step_and_makes_an_image(sd1, photo, tmp_path):
    assert hypernetwork.widths_of(sd1.unet) == [768, 320, 640, 1280]  # as the web UI knows them
    layers = Counter(module.to_k.in_features for module in sd1.unet.modules() if hasattr(module, "to_k"))
    assert layers == {768: 16, 320: 5, 640: 5, 1280: 6}
    net = hypernetwork.Hypernetwork([768, 320, 640, 1280]).train()
    unet, scheduler = sd1.unet.requires_grad_(False), diffusion.training_scheduler(sd1)
    embeds = diffusion.encode_prompts(sd1, ["a photo of a man"])
    hypernetwork.attach(unet, net)
    loss = training.denoising_loss(unet, scheduler, lambda batch: (photo, embeds))
    before = [parameter.clone() for parameter in net.parameters()]
    list(training.train(tmp_path, net.parameters(), loss, lambda step: None, steps=1, learning_rate=1e-3))
    assert all(not torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
    (image,) = diffusion.generate(sd1, "a photo of a man", [1], guidance_scale=7.5, num_inference_steps=1)
    hypernetwork.detach(unet)
    assert image.size == (64, 64)


def test_dreambooth_reaches_every_weight_of_the_unet(sd1, photo):
    unet, scheduler = sd1.unet.requires_grad_(True), diffusion.training_scheduler(sd1)
    unet.enable_gradient_checkpointing()
    embeds = diffusion.encode_prompts(sd1, ["nesrelah_001 person", "a photo of a person"])
    latents = photo.repeat(2, 1, 1, 1)
    noise, timesteps = torch.randn_like(latents), torch.tensor([100, 700])
    noisy = scheduler.add_noise(latents, noise, timesteps)
    prediction = unet.train()(noisy.to(unet.dtype), timesteps, embeds).sample
    dreambooth.dreambooth_loss(prediction, noise, 1.0).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in unet.parameters())
    assert sum(parameter.numel() for parameter in unet.parameters()) == 859_520_964
    unet.zero_grad(set_to_none=True)
