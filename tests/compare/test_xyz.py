import json
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from helpers import diffusion, machine
from helpers.compare import applications, trained, xyz

# as much of a pipeline as samplers and noise ask for
PIPE = SimpleNamespace(
    scheduler=DPMSolverMultistepScheduler(),
    unet=SimpleNamespace(config=SimpleNamespace(sample_size=16, in_channels=4)),
)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Runs in a temporary place, and pictures that are a colour each; returns the calls of diffusion.generate."""
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    calls = []

    def generate(pipe, prompts, seeds, **settings):
        calls.append({"prompts": list(prompts), "seeds": list(seeds)} | settings)
        shade = lambda seed: (seed, settings["num_inference_steps"], int(10 * settings["guidance_scale"]))
        return [Image.new("RGB", (128, 128), shade(seed)) for seed in seeds]

    monkeypatch.setattr(diffusion, "generate", generate)
    monkeypatch.setattr(xyz, "sampler", lambda pipe, name: name)
    monkeypatch.setattr(trained, "load", lambda model, base: (base, {model.name: 1} if "hyper" in model.name else {}))
    return calls


@pytest.fixture
def folder(tmp_path):
    """A finished run, hypernetwork_amir, with copies of three steps."""
    run = tmp_path / "hypernetwork_amir"
    (run / "copies").mkdir(parents=True)
    for name in ("card.md", "hypernetwork.pt", *[f"copies/amir-{step}.pt" for step in (100, 20, 0)]):
        (run / name).write_bytes(b"first")
    (run / "settings.json").write_text('{"model": "pocket"}')
    return run


def centre(grid, column, row, columns, rows):
    """The colour of a cell of a labelled grid, counted from the lower right corner."""
    return grid.getpixel((grid.width - 6 - (columns - column) * 134 + 70, grid.height - 6 - (rows - row) * 134 + 70))


def test_every_combination_stands_in_its_place(drawn, tmp_path):
    axes = {"x": ("seed", [1, 2, 3]), "y": ("steps", [10, 20]), "z": ("guidance", [1.0, 5.0])}
    grid = xyz.plot("pocket", "base pipe", tmp_path / "plot", **axes, prompt="a man")
    for i, seed in enumerate([1, 2, 3]):
        for j, steps in enumerate([10, 20]):
            for k, guidance in enumerate([1.0, 5.0]):
                assert centre(grid, i, 2 * j + k, 3, 4) == (seed, steps, int(10 * guidance))
    assert len(drawn) == 4 and all(call["seeds"] == [1, 2, 3] for call in drawn), "what can, goes in one batch"


def test_the_json_remakes_the_picture_and_a_second_call_reads_it(drawn, tmp_path):
    plot = lambda: xyz.plot("pocket", None, tmp_path / "plot", ("seed", [4, 9]), ("prompt", ["a man", "a dog"]))
    grid, made = plot(), len(drawn)
    assert plot().tobytes() == grid.tobytes() and len(drawn) == made
    remade = xyz.remake(tmp_path / "plot.json", None)
    assert len(drawn) == 2 * made and remade.tobytes() == grid.tobytes()
    told = json.loads((tmp_path / "plot.json").read_text())
    assert told["x"] == ["seed", [4, 9]] and told["z"] is None and told["settings"]["guidance"] == 5.0
    told["weights"]["base"] = "another"
    (tmp_path / "plot.json").write_text(json.dumps(told))
    with pytest.warns(UserWarning, match="base has been trained again"):
        xyz.remake(tmp_path / "plot.json", None)


def test_prompt_words_strength_and_samplers_reach_the_sampling(drawn, folder, tmp_path):
    xyz.plot("pocket", None, tmp_path / "plot", ("prompt", ["red", "blue"]), prompt="a man in red", seed=2)
    xyz.plot("pocket", None, tmp_path / "other", ("prompt", ["a cat", "a dog"]), prompt="a man")
    assert [call["prompts"] for call in drawn] == [["a man in red", "a man in blue"], ["a cat", "a dog"]]
    drawn.clear()
    axes = {"x": ("strength", [0, 0.5]), "y": ("sampler", ["Euler a", "DDIM"])}
    xyz.plot("pocket", "base", tmp_path / "plot", **axes, model="hypernetwork_amir", prompt="a man")
    assert {call["scheduler"] for call in drawn} == {"Euler a", "DDIM"}
    assert drawn[0]["prompts"] == ["a man <hypernet:hypernetwork_amir:0>", "a man <hypernet:hypernetwork_amir:0.5>"]
    assert drawn[0]["hypernetworks"] == {"hypernetwork_amir": 1}
    xyz.plot("pocket", "base", tmp_path / "more", ("strength", [0.5]), model="hypernetwork_amir", prompt="a man # who?")
    assert "<hypernet:hypernetwork_amir:0.5>" in diffusion.prompts.without_comments(drawn[-1]["prompts"][0])


def test_models_without_a_strength_ignore_it_and_say_so(drawn, folder, tmp_path, monkeypatch):
    shown, draw = [], xyz.show.image_grid
    keep = lambda images, rows, columns, **how: shown.append(columns) or draw(images, rows, columns, **how)
    monkeypatch.setattr(xyz.show, "image_grid", keep)
    both = ("model", ["base", "hypernetwork_amir"])
    xyz.plot("pocket", None, tmp_path / "plot", both, ("strength", [0.5, 1]), prompt="a man")
    assert [call["prompts"] for call in drawn] == [
        ["a man", "a man"],
        ["a man <hypernet:hypernetwork_amir:0.5>", "a man <hypernet:hypernetwork_amir:1>"],
    ]
    xyz.plot("pocket", None, tmp_path / "other", both, prompt="a man")
    assert shown == [["base (has no strength)", "hypernetwork_amir"], both[1]]


@pytest.mark.parametrize("what", ["base", "training", "copy", "checker"])
def test_a_plot_is_made_again_when_anything_that_makes_it_has_changed(drawn, folder, tmp_path, monkeypatch, what):
    base, pipe, find = tmp_path / "pocket.safetensors", SimpleNamespace(safety_checker=None), trained.find
    base.write_bytes(b"first")
    own = {"base": trained.TrainedModel("base", "base", "", "", str(base), str(base))}
    monkeypatch.setattr(trained, "find", lambda model: find(model) | own)
    axis = ("checkpoint", [100, "finished"])
    plot = lambda: xyz.plot("pocket", pipe, tmp_path / "plot", axis, model="hypernetwork_amir")
    assert plot().tobytes() == plot().tobytes() and len(drawn) == 2, "two checkpoints, made once"
    changed = {"base": base, "training": folder / "hypernetwork.pt", "copy": folder / "copies" / "amir-100.pt"}
    if what == "checker":
        pipe.safety_checker = object()
    else:
        changed[what].write_bytes(b"second")
    plot()
    assert len(drawn) == 4 and list(xyz.copies(folder)) == [0, 20, 100]


@pytest.mark.parametrize(
    ("error", "told", "axes"),
    [
        (ValueError, "'colour'", [("colour", [1])]),
        (ValueError, "same setting", [("seed", [1]), ("seed", [2])]),
        (ValueError, "seed has no values", [("seed", [])]),
        (ValueError, "'lora'", [("model", ["lora"])]),
        (ValueError, "step 50: there are 0, 20, 100", [("model", ["hypernetwork_amir"]), ("checkpoint", [50])]),
        (ValueError, "base has no strength", [("strength", [0.5, 1])]),
        (FileNotFoundError, "No finished run", [("model", ["base", "dreambooth_amir"])]),
    ],
)
def test_clear_words_for_bad_plots(drawn, folder, tmp_path, monkeypatch, error, told, axes):
    monkeypatch.setattr(xyz.trained, "FINISHED", tmp_path / "none came")
    with pytest.raises(error, match=told):
        xyz.plot("pocket", None, tmp_path / "plot", *axes)
    assert not drawn


def test_samplers_by_the_web_uis_names():
    assert xyz.sampler(PIPE, "") is PIPE.scheduler
    for name, kind in xyz.SAMPLERS.items():
        assert type(xyz.sampler(PIPE, name)).__name__ == kind
    assert xyz.sampler(PIPE, "Euler Karras").config["use_karras_sigmas"]
    with pytest.raises(ValueError, match="'Fast': there are DDIM"):
        xyz.sampler(PIPE, "Fast")
    own = SimpleNamespace(scheduler=DPMSolverMultistepScheduler(use_karras_sigmas=True))
    assert not xyz.sampler(own, "Euler").config["use_karras_sigmas"]


@pytest.mark.parametrize(("steps", "calls"), [(1, 1), (2, 3), (3, 4), (20, 21)])
def test_plms_takes_any_number_of_steps_and_a_call_more_as_in_the_web_ui(tiny, steps, calls):
    """Of one step there is no second call, whose place would lie beyond the last."""
    seen = []
    handle = tiny.unet.register_forward_hook(lambda *_: seen.append(1))
    settings = {"guidance_scale": 2, "num_inference_steps": steps, "scheduler": xyz.sampler(tiny, "PLMS")}
    (image,) = diffusion.generate(tiny, "a man", [1], **settings)
    handle.remove()
    assert len(seen) == calls and np.asarray(image).std() > 0


def test_a_walk_returns_to_its_beginning_and_the_way_between_two_noises_keeps_its_loudness(monkeypatch):
    given = {}
    monkeypatch.setattr(diffusion, "generate", lambda pipe, prompts, seeds, **s: given.update(s, prompts=prompts) or [])
    applications.walk(PIPE, "a man", [3, 4], 5, guidance_scale=1, num_inference_steps=1)
    a, b = (diffusion.initial_noise(PIPE, seed) for seed in (3, 4))
    assert len(given["noise"]) == 10 and given["noise"][0].equal(a) and set(given["prompts"]) == {"a man"}
    torch.testing.assert_close(given["noise"][5], b)
    half = applications.slerp(a, b, 0.5)
    assert half.std() == pytest.approx(1, abs=0.05) and ((a + b) / 2).std() < 0.8
    torch.testing.assert_close(applications.slerp(a, a, 0.3), a)
    x, y = torch.eye(2)  # on a circle: the half of a right angle
    torch.testing.assert_close(applications.slerp(x, y, 0.5), torch.tensor([0.5**0.5] * 2))
    with pytest.raises(ValueError, match="at least two"):
        applications.walk(PIPE, "a man", [3], 5)


def test_between_two_scenes_both_are_asked_for_the_nearer_one_more(tiny):
    settings = {"guidance_scale": 2, "num_inference_steps": 2}
    film = applications.walk(tiny, ["a man", "a horse"], [3, 3], 2, **settings)
    scenes = ["a man", "a man :0.5 AND a horse :0.5", "a horse", "a horse :0.5 AND a man :0.5"]
    for frame, scene in zip(film, scenes, strict=True):
        (alone,) = diffusion.generate(tiny, scene, [3], **settings)
        assert np.abs(np.asarray(frame, int) - np.asarray(alone, int)).max() <= 1
    with pytest.raises(ValueError, match="one for each"):
        applications.walk(tiny, ["a man"], [3, 4], 2, **settings)


def test_icons_are_round_and_films_move(tmp_path):
    icon = applications.icon(Image.new("RGB", (100, 80), "red"), 32)
    alpha = np.asarray(icon)[..., 3]
    assert icon.size == (32, 32) and alpha[0, 0] == 0 and alpha[16, 16] == 255
    assert alpha.mean() / 255 == pytest.approx(np.pi / 4, abs=0.02)
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "blue", "green")]
    path = applications.save_film(tmp_path / "walk.gif", frames)
    with Image.open(path) as gif:
        assert gif.n_frames == 3 and gif.info["loop"] == 0 and gif.info["duration"] == 120
    assert 'alt="from &quot;one&quot;"' in applications.show_gif(path, 'from "one"').data
    shown = iio.imread(applications.save_film(tmp_path / "walk.mp4", frames), plugin="FFMPEG")
    assert shown.shape == (3, 32, 32, 3) and list(shown.mean(axis=(1, 2)).argmax(axis=1)) == [0, 2, 1]
    for name, images, told in (("walk.gif", [], "no images"), ("walk.avi", frames, "as .gif or .mp4")):
        with pytest.raises(ValueError, match=told):
            applications.save_film(tmp_path / name, images)
