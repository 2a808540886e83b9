from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler

from helpers import diffusion
from helpers.diffusion import sampling
from helpers.methods import hypernetwork

SETTINGS = {"guidance_scale": 4.0, "num_inference_steps": 2}


def test_guidance_of_several_prompts_is_that_of_composable_diffusion():
    calls, latents = [], torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    part = lambda value, length: torch.full((1, length, 2), float(value))

    def unet(latents, timestep, embeds):
        """Answers with the latents times the mean of what it hears."""
        calls.append(tuple(embeds.shape))
        return SimpleNamespace(sample=latents * embeds.mean(dim=(1, 2))[:, None])

    parts = [[(part(3, 77), 1.0), (part(5, 154), -0.5)], [(part(4, 77), 1.0)]]
    predicted = sampling.guided(unet, latents, 1, parts, part(2, 77), 7.0)
    expected = latents * torch.tensor([[2 + 7 * (1.0 * (3 - 2) - 0.5 * (5 - 2))], [2 + 7 * (4 - 2)]])
    torch.testing.assert_close(predicted, expected)
    assert sorted(calls) == [(1, 154, 2), (4, 77, 2)], "equal lengths share a call"


def pixels(images):
    return np.stack([np.asarray(image, dtype=float) for image in images])


def test_plain_prompts_give_the_images_of_generate(tiny):
    prompts, seeds = ["a photo of a man", "a woman on a horse", "a dog"], [1, 2, 1]
    ours = sampling.generate(tiny, prompts, seeds, negative_prompt="blue", batch_size=2, **SETTINGS)
    theirs = diffusion.generate(tiny, prompts, seeds, negative_prompt="blue", **SETTINGS)
    assert np.abs(pixels(ours) - pixels(theirs)).max() <= 1  # of 255


def test_a_batch_gives_what_each_prompt_gives_alone(tiny):
    prompts = ["a [man:horse:1] AND (red:1.4) :0.5", "a man " * 60, "a man", "a [red|blue] man"]
    together = sampling.generate(tiny, prompts, [1, 2, 3, 4], **SETTINGS)
    alone = [sampling.generate(tiny, p, [s], **SETTINGS)[0] for p, s in zip(prompts, [1, 2, 3, 4])]
    assert np.abs(pixels(together) - pixels(alone)).max() <= 1


def test_editing_alternation_and_networks_reach_the_image(tiny, monkeypatch):
    heard, encode = [], sampling.encode_weighted
    monkeypatch.setattr(sampling, "encode_weighted", lambda p, text: heard.append(text) or encode(p, text))
    before = {name: tensor.clone() for name, tensor in tiny.unet.state_dict().items()}
    net = hypernetwork.Hypernetwork(hypernetwork.widths_of(tiny.unet))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)

    def draw(*prompts):
        nets = {"amir": net}
        return pixels(sampling.generate(tiny, prompts, [3] * len(prompts), hypernetworks=nets, **SETTINGS))

    plain, bent, faint, edited = draw(
        "a man", "a man<hypernet:amir:1>", "a man<hypernet:amir:0>", "a [man:horse:1] AND [red|blue] :0.5"
    )
    assert set(heard) == {"", "a man", "red", "a horse", "blue"}
    assert (edited != plain).any() and (bent != plain).any() and np.abs(faint - plain).max() <= 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.unet.state_dict().items())
    with pytest.raises(ValueError, match="'nesrelah' here: there are amir"):
        draw("a man <hypernet:nesrelah:1>")
    assert np.abs(draw("a man")[0] - plain).max() <= 1, "nothing stays on"


@pytest.mark.parametrize("sampler", [DDIMScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler])
def test_any_sampler_and_progress(tiny, sampler):
    ticks = []
    scheduler = sampler.from_config(tiny.scheduler.config)
    settings = SETTINGS | {"scheduler": scheduler, "batch_size": 1, "progress": lambda *done: ticks.append(done)}
    first = sampling.generate(tiny, "a man", [1, 2], **settings)
    assert ticks == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert first[0].tobytes() == sampling.generate(tiny, "a man", [1], **settings)[0].tobytes()


def test_given_noise_takes_the_place_of_the_seeds_own(tiny):
    noise = torch.stack([diffusion.initial_noise(tiny, seed) for seed in (5, 6)])
    given = sampling.generate(tiny, "a man", [0, 0], noise=noise, **SETTINGS)
    np.testing.assert_array_equal(pixels(given), pixels(sampling.generate(tiny, "a man", [5, 6], **SETTINGS)))
    with pytest.raises(ValueError, match="2 prompts but 1 seeds"):
        sampling.generate(tiny, ["a", "b"], [1], **SETTINGS)


def test_a_withheld_picture_says_so(tiny, monkeypatch):
    blacken = lambda images, device, dtype: (images * 0 - 1, [False, True])
    monkeypatch.setattr(tiny, "run_safety_checker", blacken)
    seen, withheld = sampling.generate(tiny, "a man", [1, 2], **SETTINGS)
    assert not np.asarray(seen).any(), "what passes is left as it is"
    assert withheld.size == seen.size and withheld.info["withheld"] and "withheld" not in seen.info, "scores must know"
