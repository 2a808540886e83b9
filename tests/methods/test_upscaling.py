"""DreamBooth's second step: diffusers' own upscaler is asked as diffusers asks it, pairs belong together, and it learns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline, UNet2DConditionModel
from pictures import noise_images
from transformers import CLIPTextConfig, CLIPTextModel

from helpers import diffusion, training
from helpers.diffusion import models
from helpers.methods import memory, upscaling

UNET = {  # the hub's upscaler in small
    "act_fn": "gelu", "attention_head_dim": 8, "norm_num_groups": None, "block_out_channels": [32, 32, 64, 64],
    "time_cond_proj_dim": 128 + 32, "conv_in_kernel": 1, "conv_out_kernel": 1, "cross_attention_dim": 32,
    "down_block_types": ("KDownBlock2D", *("KCrossAttnDownBlock2D",) * 3), "in_channels": 8, "mid_block_type": None,
    "only_cross_attention": False, "out_channels": 5, "resnet_time_scale_shift": "scale_shift",
    "time_embedding_type": "fourier", "timestep_post_act": "gelu",
    "up_block_types": (*("KCrossAttnUpBlock2D",) * 3, "KUpBlock2D"),
}  # fmt: skip
TEXT = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4, "num_hidden_layers": 2}


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(0)
    tokenizer = diffusion.load_pipeline("pocket").tokenizer
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = CLIPTextModel(CLIPTextConfig(**TEXT, vocab_size=len(tokenizer), **ends)).eval()
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    vae = AutoencoderKL(block_out_channels=[32, 32, 64, 64], latent_channels=4, **blocks).eval()
    scheduler = EulerDiscreteScheduler(prediction_type="sample")
    parts = {"vae": vae, "text_encoder": text, "tokenizer": tokenizer, "scheduler": scheduler}
    made = StableDiffusionLatentUpscalePipeline(unet=UNet2DConditionModel(**UNET), **parts)
    made.set_progress_bar_config(disable=True)
    return made


def test_its_network_is_asked_as_the_pipeline_of_diffusers_asks_it(pipe):
    small, start = torch.randn(2, 1, 4, 8, 8), torch.randn(1, 4, 16, 16)
    seen, settings = [], {"num_inference_steps": 3, "guidance_scale": 0, "output_type": "latent"}
    pipe("", image=small[0], latents=start.clone(), callback=lambda *step: seen.append(step[2]), **settings)
    embeds, _, pooled, _ = pipe.encode_prompt([""], "cpu", False)
    latents, sigmas = start * pipe.scheduler.init_noise_sigma, pipe.scheduler.sigmas
    for theirs, sigma, following in zip(seen, sigmas, sigmas[1:]):  # Euler's steps
        with torch.no_grad():
            clean = upscaling.denoised(pipe.unet, latents, sigma.reshape(1, 1, 1, 1), small[0], embeds, pooled)
        latents = latents + (latents - clean) / sigma * (following - sigma)
        torch.testing.assert_close(latents, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_latent_upscaler_learns_one_pair_and_nothing_else_moves(pipe, tmp_path):
    net, (soft, sharp) = upscaling.Latent(pipe), (torch.rand(1, 3, 64, 64) - 0.5, torch.rand(1, 3, 128, 128) - 0.5)
    others = {name: value.clone() for name, value in pipe.vae.state_dict().items()}
    loss = lambda chosen: F.mse_loss(*net.attempt(soft[chosen], sharp[chosen]))
    batches = training.shuffled(1, 1, 0)
    steps = training.train(tmp_path / "run", net.parameters(), loss, batches, steps=30, learning_rate=3e-3)
    losses = [step.loss for step in steps][1:]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert all(torch.equal(value, others[name]) for name, value in pipe.vae.state_dict().items())


@pytest.mark.slow
def test_it_enlarges_to_twice_the_side_the_same_way_each_time(pipe):
    net, images = upscaling.Latent(pipe), noise_images(2, size=64)
    once, again = net.enlarge(images), net.enlarge(images)
    assert [image.size for image in once] == [(128, 128)] * 2
    assert list(map(np.array_equal, once, again)) == [True, True] and not np.array_equal(*once)


def test_soft_and_sharp_photos_belong_together():
    vae, images = diffusion.load_pipeline("pocket").vae, noise_images(2, size=256)
    soft, sharp = upscaling.pairs(vae, images, 128, seed=0, copies=3)
    assert soft.shape == (6, 3, 128, 128) and sharp.shape == (6, 3, 256, 256)
    assert soft.abs().max() <= 1 and sharp.abs().max() <= 1
    for number, image in enumerate(images * 3):
        torch.testing.assert_close(sharp[number], diffusion.latents.to_pixels(image, 256))
        near = F.avg_pool2d(sharp[number : number + 1], 2)
        other = F.avg_pool2d(sharp[number - 1 :][:1], 2)
        assert F.mse_loss(soft[number : number + 1], near) < F.mse_loss(soft[number : number + 1], other)
    assert not torch.equal(soft[0], soft[2])  # another amount of noise in each copy
    assert torch.equal(soft, upscaling.pairs(vae, images, 128, seed=0, copies=3)[0])


@pytest.mark.slow
def test_the_forecast_counts_weights_gradients_and_both_averages(pipe):
    found, size = upscaling.forecast(UNET, side=8), 4 * pipe.unet.num_parameters()
    assert found.weights == pytest.approx(size, rel=0.05) and found.gradients == size
    assert found.optimizer == pytest.approx(2 * size, rel=0.01)
    assert upscaling.forecast(UNET, side=16).activations > 2 * found.activations > 0


@pytest.mark.parametrize("free, where, said", [
    (None, "there", "Without a GPU"), (2**20, "there", "GB free"), (2**40, "nowhere", "cannot be had"),
])  # fmt: skip
def test_where_it_cannot_be_one_sentence_says_so(free, where, said, pipe, tmp_path, monkeypatch, capsys):
    pipe.save_pretrained(tmp_path / "there")
    monkeypatch.setattr(memory, "gpu_bytes", lambda: free)
    assert upscaling.load("sd15", tmp_path / where) is None
    assert said in capsys.readouterr().out.splitlines()[-1]


def test_the_one_on_the_hub_is_the_same_for_everybody():
    assert models.at_revision(upscaling.HUB)[1].keys() == {"revision"}


@pytest.mark.slow
def test_with_room_it_is_the_one_of_the_folder(pipe, tmp_path, monkeypatch, capsys):
    pipe.save_pretrained(tmp_path)
    monkeypatch.setattr(memory, "gpu_bytes", lambda: 2**40)
    found = upscaling.load("sd15", tmp_path)
    assert "GB = weights" in capsys.readouterr().out
    weights = pipe.unet.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in found.unet.state_dict().items())
    assert {value.dtype for value in found.parameters()} == {torch.float32}
