import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import tiny_pipeline
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler

from helpers import diffusion
from helpers.diffusion import device, sampling
from helpers.methods import hypernetwork

SETTINGS = {"guidance_scale": 4.0, "num_inference_steps": 2}


def test_guidance_of_several_prompts_is_that_of_composable_diffusion():
    calls, latents = [], torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    part = lambda value, length: torch.full((1, length, 2), float(value))

    def unet(latents, timestep, embeds):
        """Answers with the latents times the mean of its prompt_embeds."""
        calls.append(tuple(embeds.shape))
        return SimpleNamespace(sample=latents * embeds.mean(dim=(1, 2))[:, None])

    parts = [[(part(3, 77), 1.0), (part(5, 154), -0.5)], [(part(4, 77), 1.0)]]
    predicted = sampling.guided(unet, latents, 1, parts, part(2, 77), 7.0)
    expected = latents * torch.tensor([[2 + 7 * (1.0 * (3 - 2) - 0.5 * (5 - 2))], [2 + 7 * (4 - 2)]])
    torch.testing.assert_close(predicted, expected)
    assert sorted(calls) == [(1, 154, 2), (4, 77, 2)], "equal lengths share a call"


def pixels(images):
    return np.stack([np.asarray(image, dtype=float) for image in images])


@pytest.mark.parametrize(
    ("bf16", "sampler"), [(False, EulerAncestralDiscreteScheduler), (True, DPMSolverMultistepScheduler)]
)
def test_a_plain_prompt_gives_the_pixels_of_the_pipelines_own_call(bf16, sampler, monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: bf16)  # slow where it is not so, but possible
    pipe = tiny_pipeline()
    pipe.scheduler = sampler.from_config(pipe.scheduler.config)
    prompts, seeds = ["a photo of a man", "a woman on a horse, pixel art", ""], [1, 2, 1]
    ours = diffusion.generate(pipe, prompts, seeds, negative_prompt="blue", **SETTINGS)
    embeds, negative = (diffusion.encode_prompts(pipe, texts) for texts in (prompts, ["blue"]))
    with device.autocast("cpu"):
        theirs = pipe(
            prompt_embeds=embeds,
            negative_prompt_embeds=negative.expand_as(embeds),
            generator=[
                torch.Generator().manual_seed(seed) for seed in seeds
            ],  # of the start and of what is added later
            **SETTINGS,
        ).images
    np.testing.assert_array_equal(pixels(ours), pixels(theirs))


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
            without, within = tiny.unet(x.expand(2, -1, -1, -1), t, embeds).sample.chunk(2)
            noise = without + 3 * (within - without)
            a = scheduler.alphas_cumprod[t]
            b = scheduler.alphas_cumprod[max(t - 250, 0) if following is None else following]
            clean = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
            x = math.sqrt(b) * clean + math.sqrt(1 - b) * noise
        pixels = tiny.vae.decode(x / tiny.vae.config.scaling_factor).sample
    by_hand = ((pixels[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().numpy()
    assert np.abs(by_hand - np.asarray(image, int)).max() <= 2 and by_hand.std() > 1


def test_a_unet_in_training_precision_generates_beside_16_bit_parts(monkeypatch):
    """As in notebook 04 on a GPU: the U-Net in float32, the rest in half precision."""
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    pipe = tiny_pipeline()
    (expected,) = diffusion.generate(pipe, "a man", [1], **SETTINGS)
    pipe.vae.to(torch.bfloat16)
    pipe.text_encoder.to(torch.bfloat16)
    (mixed,) = diffusion.generate(pipe, "a man", [1], **SETTINGS)
    assert pipe.unet.dtype == torch.float32
    assert np.abs(pixels([mixed]) - pixels([expected])).mean() < 3


def test_a_batch_gives_what_each_prompt_gives_alone(tiny):
    prompts = ["a [man:horse:1] AND (red:1.4) :0.5", "a man " * 60, "a man", "a [red|blue] man"]
    together = diffusion.generate(tiny, prompts, [1, 2, 3, 4], **SETTINGS)
    alone = [diffusion.generate(tiny, p, [s], **SETTINGS)[0] for p, s in zip(prompts, [1, 2, 3, 4])]
    assert np.abs(pixels(together) - pixels(alone)).max() <= 1
    assert [image.size for image in together] == [(16, 16)] * 4
    assert len(diffusion.generate(tiny, "a man", [1, 2, 3], **SETTINGS, batch_size=2)) == 3
    first, again, other = (diffusion.initial_noise(tiny, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_comments_and_the_greatest_seeds(tiny):
    sampler = EulerAncestralDiscreteScheduler.from_config(tiny.scheduler.config)
    draw = lambda prompt, negative: diffusion.generate(
        tiny, prompt, [1, 2**64 - 1], negative_prompt=negative, scheduler=sampler, **SETTINGS
    )
    with pytest.warns(UserWarning, match=f"Seed {2**64 - 1} gives the picture of seed {2**32 - 1}"):
        plain, commented = draw("a man", "blue"), draw("# who?\na man # <lora:nobody:1>", "blue #, red")
    assert np.array_equal(pixels(plain), pixels(commented)) and (pixels(plain)[0] != pixels(plain)[1]).any()
    same = diffusion.generate(tiny, "a man", [2**32 - 1], negative_prompt="blue", scheduler=sampler, **SETTINGS)
    assert np.abs(pixels(same) - pixels(plain[1:])).max() <= 1, "a batch rounds otherwise"


def test_editing_alternation_and_networks_reach_the_image(tiny, monkeypatch):
    encoded, encode = set(), sampling.encode_weighted
    monkeypatch.setattr(sampling, "encode_weighted", lambda p, texts: encoded.update(texts) or encode(p, texts))
    before = {name: tensor.clone() for name, tensor in tiny.unet.state_dict().items()}
    net = hypernetwork.Hypernetwork(hypernetwork.widths_of(tiny.unet))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)

    def draw(*prompts):
        nets = {"amir": net}
        return pixels(diffusion.generate(tiny, prompts, [3] * len(prompts), hypernetworks=nets, **SETTINGS))

    plain, bent, faint, edited = draw(
        "a man", "a man<hypernet:amir:1>", "a man<hypernet:amir:0>", "a [man:horse:1] AND [red|blue] :0.5"
    )
    assert encoded == {"", "a man", "red", "a horse", "blue"}
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
    first = diffusion.generate(tiny, "a man", [1, 2], **settings)
    assert ticks == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert first[0].tobytes() == diffusion.generate(tiny, "a man", [1], **settings)[0].tobytes()


def test_given_noise_takes_the_place_of_the_seeds_own(tiny):
    noise = torch.stack([diffusion.initial_noise(tiny, seed) for seed in (5, 6)])
    given = diffusion.generate(tiny, "a man", [0, 0], noise=noise, **SETTINGS)
    np.testing.assert_array_equal(pixels(given), pixels(diffusion.generate(tiny, "a man", [5, 6], **SETTINGS)))
    with pytest.raises(ValueError, match="2 prompts but 1 seeds"):
        diffusion.generate(tiny, ["a", "b"], [1], **SETTINGS)


def test_a_withheld_picture_says_so(tiny, monkeypatch):
    blacken = lambda images, device, dtype: (images * 0 - 1, [False, True])
    monkeypatch.setattr(tiny, "run_safety_checker", blacken)
    seen, withheld = diffusion.generate(tiny, "a man", [1, 2], **SETTINGS)
    assert not np.asarray(seen).any(), "what passes is left as it is"
    assert withheld.size == seen.size and withheld.info["withheld"] and "withheld" not in seen.info, "scores must know"
