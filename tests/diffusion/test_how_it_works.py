"""Notebook 00: its hand-written sampler, taken from its very cell, and its map of the U-Net."""

from collections import Counter

import nbformat
import pytest
import torch
from conftest import tiny_pipeline
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import diffusion, machine
from helpers.diffusion.maps import blocks, unet_map

NOTEBOOK = machine.REPO / "notebooks" / "00_how_stable_diffusion_works.ipynb"


def cell(beginning):
    """The code cell of the notebook that has a line beginning so."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (source,) = (c.source for c in cells if c.cell_type == "code" and f"\n{beginning}" in f"\n{c.source}")
    return source


@pytest.fixture(scope="module")
def lesson():
    """The names that the notebook's cells define, on a tiny model."""
    pipe = tiny_pipeline()
    schedule = diffusion.training_scheduler(pipe)
    names = {"torch": torch, "pipe": pipe, "schedule": schedule, "alphas": schedule.alphas_cumprod}
    names["empty_embeds"] = diffusion.encode_prompts(pipe, [""])
    for beginning in ("def clean_guess(", "def sample(", "def guided("):
        exec(cell(beginning), names)  # noqa: S102
    return names


def by_the_library(pipe, noise, steps, predict):
    library = DDIMScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
    )
    library.set_timesteps(steps)
    for t in library.timesteps:
        noise = library.step(predict(noise, t, None), t, noise).prev_sample
    return noise


@settings(max_examples=15, deadline=None)
@given(steps=st.sampled_from([1, 2, 4, 5, 8, 10, 20, 25, 50]), seed=st.integers(0, 2**31))
def test_the_sampler_written_by_hand_is_the_librarys_for_any_number_of_steps_and_any_answers(lesson, steps, seed):
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    answer = lambda noisy, t, _: torch.sin(noisy * (1 + t / 500))  # any function of what it is asked
    walk = list(lesson["sample"](noise, None, steps, answer))
    assert len(walk) == steps
    torch.testing.assert_close(walk[-1][0], by_the_library(lesson["pipe"], noise, steps, answer))
    torch.testing.assert_close(walk[-1][0], walk[-1][1])  # at the end there is no noise left


def test_guidance_zero_is_deaf_and_one_is_the_prompt_itself(lesson):
    noise = diffusion.initial_noise(lesson["pipe"], 1)[None]
    embeds = diffusion.encode_prompts(lesson["pipe"], ["a photo of a man"])
    ask = lambda scale: lesson["guided"](scale)(noise, 600, embeds)
    torch.testing.assert_close(ask(0), lesson["predict"](noise, 600, lesson["empty_embeds"]))
    torch.testing.assert_close(ask(1), lesson["predict"](noise, 600, embeds))
    torch.testing.assert_close(ask(3) - ask(2), ask(1) - ask(0), atol=1e-4, rtol=1e-4)


def test_the_maps_count_every_block_and_layer(pocket_pipeline):
    unet, parts = pocket_pipeline.unet, blocks(pocket_pipeline.unet)
    assert [part["side"] for part in parts] == [16, 8, 4, 4, 4, 8, 16]
    widths = [module.to_k.in_features for module in unet.modules() if hasattr(module, "to_k")]
    assert sum(part["attentions"] for part in parts) == widths.count(unet.config.cross_attention_dim)
    assert sum((part["contexts"] for part in blocks(unet)), Counter()) == Counter(widths)
    assert unet_map(unet).axes
