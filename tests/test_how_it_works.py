"""Notebook 00: its hand-written sampler, taken from its very cell, and its map of the U-Net."""

import nbformat
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import diffusion, runtime
from helpers.unet_map import blocks, unet_map

NOTEBOOK = runtime.REPO / "notebooks" / "00_how_stable_diffusion_works.ipynb"


def cell(beginning):
    """The code cell of the notebook that has a line beginning so."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (source,) = (c.source for c in cells if c.cell_type == "code" and f"\n{beginning}" in f"\n{c.source}")
    return source


@pytest.fixture(scope="module")
def lesson(pocket_pipeline):
    """The names that the notebook's cells define, on the pocket model."""
    schedule = diffusion.training_scheduler(pocket_pipeline)
    names = {"torch": torch, "pipe": pocket_pipeline, "schedule": schedule, "alphas": schedule.alphas_cumprod}
    names["empty_embeds"] = diffusion.encode_prompts(pocket_pipeline, [""])
    for beginning in ("def promise(", "def sample(", "def guided("):
        exec(cell(beginning), names)  # noqa: S102
    return names


@pytest.mark.parametrize("guidance_scale", [None, 5.0])
def test_the_sampler_written_by_hand_is_the_librarys(lesson, pocket_pipeline, guidance_scale):
    library = DDIMScheduler.from_config(
        pocket_pipeline.scheduler.config, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
    )
    library.set_timesteps(4)
    predict = lesson["predict"] if guidance_scale is None else lesson["guided"](guidance_scale)
    embeds = diffusion.encode_prompts(pocket_pipeline, ["a photo of a man"])
    ours = theirs = diffusion.initial_noise(pocket_pipeline, 3)[None]
    for t in library.timesteps:
        theirs = library.step(predict(theirs, t, embeds), t, theirs).prev_sample
    torch.testing.assert_close(lesson["last"](lesson["sample"](ours, embeds, 4, predict)), theirs)


@settings(max_examples=30, deadline=None)
@given(steps=st.sampled_from([1, 2, 4, 5, 8, 10, 20, 25, 50]), seed=st.integers(0, 2**31))
def test_it_is_the_librarys_for_any_number_of_steps_and_any_answers(lesson, pocket_pipeline, steps, seed):
    library = DDIMScheduler.from_config(
        pocket_pipeline.scheduler.config, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
    )
    library.set_timesteps(steps)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    answer = lambda noisy, t, _: torch.sin(noisy * (1 + t / 500))  # any function of what it is asked
    theirs = noise
    for t in library.timesteps:
        theirs = library.step(answer(theirs, t, None), t, theirs).prev_sample
    walk = list(lesson["sample"](noise, None, steps, answer))
    assert len(walk) == steps
    torch.testing.assert_close(walk[-1][0], theirs)
    torch.testing.assert_close(walk[-1][0], walk[-1][1])  # at the end there is no noise left


def test_the_sampler_is_about_fifteen_lines():
    assert len(cell("def sample(").splitlines()) <= 15


def test_perfect_answers_bring_the_photo_back(lesson):
    """With the true noise as the answer one step is enough: what fails is the guess, not the sampler."""
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([999])
    noisy = diffusion.add_noise(lesson["schedule"], clean, noise, t)
    found = lesson["last"](lesson["sample"](noisy, None, 1, lambda *_: noise))
    torch.testing.assert_close(found, clean, atol=1e-3, rtol=1e-3)


def test_guidance_zero_is_deaf_and_one_is_the_prompt_itself(lesson, pocket_pipeline):
    noise = diffusion.initial_noise(pocket_pipeline, 1)[None]
    embeds = diffusion.encode_prompts(pocket_pipeline, ["a photo of a man"])
    ask = lambda scale: lesson["guided"](scale)(noise, 600, embeds)
    torch.testing.assert_close(ask(0), lesson["predict"](noise, 600, lesson["empty_embeds"]))
    torch.testing.assert_close(ask(1), lesson["predict"](noise, 600, embeds))
    torch.testing.assert_close(ask(3) - ask(2), ask(1) - ask(0), atol=1e-4, rtol=1e-4)


def test_the_map_counts_every_block(pocket_pipeline):
    unet = pocket_pipeline.unet
    parts = blocks(unet)
    assert [part["name"] for part in parts] == ["down"] * 3 + ["middle"] + ["up"] * 3
    assert [part["side"] for part in parts] == [16, 8, 4, 4, 4, 8, 16]
    asked = sum(module.to_k.in_features == unet.config.cross_attention_dim for module in attentions(unet))
    assert sum(part["attentions"] for part in parts) == asked
    assert sum(part["parameters"] for part in parts) < unet.num_parameters()
    words = {text.get_text() for text in unet_map(unet).axes[0].texts}
    assert {"16 x 16, 96 wide", "8 x 8, 192 wide", "4 x 4, 256 wide"} <= words
    assert any("03" in text for text in words) and any("04" in text for text in words)


def attentions(unet):
    return [module for module in unet.modules() if hasattr(module, "to_k")]
