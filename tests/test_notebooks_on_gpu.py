"""The notebooks on a GPU that is not there, every cell: pocket, and SD 1.5 in its own files but for their size."""

import ast
import asyncio
import functools
import inspect
import itertools
import json
import time
import traceback
from collections import Counter

import fake_gpu
import pytest
import torch
from conftest import write_small_sd15
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, GenerationMixin

from helpers import diffusion, machine
from tools import notebooks

NUMBERS = [path.stem for path in notebooks.paths()]  # in this order: each reads what earlier ones left


@pytest.fixture(scope="module")
def sd15(tmp_path_factory, tiny_dino):
    """The environment in which sd15 is thin, in the hub's own layout: PNDM, a safety checker, 64 x 64 latents."""
    folder = tmp_path_factory.mktemp("sd15")
    write_small_sd15(folder, diffusion.model_config("sd15").image_size)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = sizes | {"image_size": 224, "patch_size": 32, "projection_dim": 32}
    torch.manual_seed(0)
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, text_config=sizes, projection_dim=32))
    checker.save_pretrained(folder / "safety_checker")
    pixels = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
    CLIPImageProcessor(**pixels).save_pretrained(folder / "feature_extractor")
    index = machine.read_json(folder / "model_index.json")
    index |= {"feature_extractor": ["transformers", "CLIPImageProcessor"]}
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    machine.write_json(folder / "model_index.json", index)
    parts = {"CAPTIONER": diffusion.POCKET / "blip", "CLIP": diffusion.POCKET / "clip", "DINO": tiny_dino}
    return {f"SD15_{part}": str(path) for part, path in (parts | {"WEIGHTS": folder}).items()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder for each card and model, which its notebooks share."""
    return functools.cache(lambda card, model: str(tmp_path_factory.mktemp(f"{card}-{model}")))


def walk(gpu, number):
    """Runs a notebook's cells; returns [(cell, seconds, kernels, peak in bytes, {line: waits}, the error or "")]."""
    let_all_pass()
    save_from_the_host()
    write_greedily()
    (path,) = (path for path in notebooks.paths() if path.name.startswith(number))
    names, rows = {"display": lambda *_, **__: None, "__name__": "__main__"}, []
    for position, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "code":
            gpu.reset()
            began, error = time.perf_counter(), ""
            try:
                execute("".join(cell["source"]), names)
            except Exception:  # noqa: BLE001  the walk goes on
                error = f"cell {position} of {path.stem}: {traceback.format_exc()[-2500:]}"
            seconds = round(time.perf_counter() - began, 1)
            rows.append((position, seconds, gpu.kernels, gpu.peak, Counter(gpu.waits), error))
    return rows


def execute(source, names):
    """A cell, which may await; in this thread, for the GPU is in no other."""
    awaited = eval(compile(source, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(awaited):
        asyncio.new_event_loop().run_until_complete(awaited)


def let_all_pass():
    """Made-up scores withhold made-up pictures: the safety checker looks, and passes all."""
    looks = StableDiffusionSafetyChecker.forward

    def forward(self, clip_input, images):
        with torch.no_grad():
            looks(self, clip_input, images.clone())
        return images, [False] * len(images)

    StableDiffusionSafetyChecker.forward = forward


def save_from_the_host():
    """safetensors reads the bytes of tensors, and there are none on this GPU."""
    saves = StableDiffusionPipeline.save_pretrained

    def save_pretrained(self, *args, **kwargs):
        parts = [part for part in self.components.values() if isinstance(part, torch.nn.Module)]
        for part in parts:
            torch.nn.Module.to(part, "cpu")
        saves(self, *args, **kwargs)
        for part in parts:
            torch.nn.Module.to(part, "cuda")

    StableDiffusionPipeline.save_pretrained = save_pretrained


def write_greedily():
    """Beam search compares made-up scores, and needs more of them than there are."""
    writes = GenerationMixin.generate

    def generate(self, *args, **kwargs):
        return writes(self, *args, **kwargs | {"num_beams": 1, "do_sample": False, "top_p": None})

    GenerationMixin.generate = generate


def a_step(rows):
    """(steps of training, how often each waits): by the waits in helpers.training, where the loss is read once a step."""
    ours = {path.name for path in (machine.REPO / "helpers" / "training").glob("*.py")}
    waits = sum((Counter(waits) for *_, waits, _ in rows), Counter())
    waits = {line: count for line, count in waits.items() if line.split(":")[0] in ours - {"run.py", "examples.py"}}
    steps = max(waits.values(), default=0)
    return steps, sum(waits.values()) / max(1, steps)


def cases():
    """Two walks always, all others weekly."""
    always = ("T4-sd15-03_train_hypernetwork", "T4-pocket-07_compare")
    for card, model, number in itertools.product(fake_gpu.CARDS, ("sd15", "pocket"), NUMBERS):
        name = f"{card}-{model}-{number}"
        yield pytest.param(card, model, number, marks=[] if name in always else [pytest.mark.weekly], id=name)


@fake_gpu.possible
@pytest.mark.slow
@pytest.mark.parametrize("card, model, number", cases())
def test_every_cell_runs_on_a_gpu(card, model, number, sd15, runs):
    rows = fake_gpu.run(walk, number, card=card, QUICK="1", MODEL=model, RUNS_DIR=runs(card, model), **sd15)
    for *row, waits, _ in rows:
        print(*row, sum(waits.values()), Counter(waits).most_common(4))
    steps, waits = a_step(rows)
    peak = max(row[3] for row in rows) / 1e6
    print(
        f"{card} {model} {number}: {len(rows)} cells, {peak:.0f} MB at most, {waits:.1f} waits in each of {steps} steps"
    )
    assert waits <= 3, "one for the loss, one for the gradient, one for a scaler beside an optimizer that is not fused"
    assert not [error for *_, error in rows if error]
    computes = not number.startswith(("01", "10", "11", "12"))
    assert (sum(row[2] for row in rows) > 1000) is computes, "it computed on the GPU, where it has something to compute"
