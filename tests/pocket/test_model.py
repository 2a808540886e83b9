"""The pocket model in data/pocket: complete, small, loaded by plain libraries, able to do its work and to learn on."""

import csv
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open

from helpers import machine
from pocket import evaluate, fit, train_vae
from pocket.assemble import POCKET, load_part
from pocket.draw import draw
from pocket.reader import load_reader, parts_of
from pocket.scenes import scene
from pocket.visible import LABELS


@pytest.fixture(scope="module")
def scenes():
    return [scene("test", 100_000 + i) for i in range(32)]  # beyond all that was ever evaluated


@pytest.fixture(scope="module")
def drawn(scenes):
    return [draw(s) for s in scenes]


def test_weights_are_half_precision_finite_named_as_in_sd_and_small_enough_for_git():
    sizes = [path.stat().st_size for path in POCKET.rglob("*") if path.is_file()]
    assert sum(sizes) <= 90e6 and max(sizes) <= 50e6
    for path in POCKET.rglob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                tensor = weights.get_tensor(name)
                assert tensor.dtype in (torch.float16, torch.int64), name
                assert torch.isfinite(tensor.float()).all(), name
                if path.parent.name == "text_encoder":  # transformers 4 finds nothing without it, and only warns
                    assert name.startswith("text_model.")


def test_plain_diffusers_loads_it_and_every_string_encodes():
    pipe = StableDiffusionPipeline.from_pretrained(POCKET)
    assert {p.dtype for part in (pipe.unet, pipe.vae, pipe.text_encoder) for p in part.parameters()} == {torch.float32}
    image = pipe("a photo of a man", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert image.size == (128, 128)
    assert len(pipe.tokenizer.tokenize("nesrelah_001")) >= 6, "rare pieces"
    for text in ("nesrelah_001 person", "مرحبا", "猫 😀", "é\u0301~\x00"):
        assert all(0 <= i < len(pipe.tokenizer) for i in pipe.tokenizer(text).input_ids)


@pytest.mark.slow
def test_the_vae_rebuilds_unseen_pictures(drawn):
    assert train_vae.psnr(load_part("vae"), np.stack([np.asarray(image) for image in drawn[:8]])).mean() > 24


def test_the_reader_reads_unseen_pictures_whatever_stands_beside_them(scenes, drawn):
    """Far above chance (one in seven contexts, places and eight styles), and not by one attribute alone."""
    reader = load_reader(POCKET / "reader")
    together = reader.read(drawn)
    table = evaluate.right(together, scenes)
    for attribute in ("kind", "skin", "context", "place", "style"):
        assert evaluate.share(table[attribute]) > 80, attribute
    named = json.loads((POCKET / "reader" / "config.json").read_text())["labels"]
    assert named == {name: list(words) for name, words in LABELS.items()}
    alone = reader.read([drawn[3]])
    assert together.loc[3, "kind"] == alone.loc[0, "kind"]
    assert together.loc[3, "kind_confidence"] == pytest.approx(alone.loc[0, "kind_confidence"], abs=1e-4)
    assert len(reader.read([Image.new("RGB", (300, 200), "white")])) == 1


def test_prompt_parts_of_the_papers_prompts():
    prompts = pd.read_csv(machine.REPO / "data" / "prompts.csv").set_index("prompt_id")["prompt"]
    asked = {name: parts_of(prompt) for name, prompt in prompts.items()}
    assert asked["hypernetwork_1"] == {"context": "horse", "kind": "man"}
    assert asked["hypernetwork_3"] == {"style": "fire", "kind": "man"}
    assert asked["dreambooth_1"] == {"context": "horse"}
    assert asked["dreambooth_4"] == {"style": "comic book", "context": "robot"}
    assert parts_of("snowman, blue shirt") == {}


def test_training_the_vae_further_leaves_its_latents_alone_and_resumes(monkeypatch, tmp_path):
    kept, noise = {}, np.random.default_rng(0).integers(0, 255, (8, 128, 128, 3), dtype=np.uint8)
    monkeypatch.setattr(fit, "CACHE", tmp_path)
    # a step takes a quarter of a second by the clock that training goes by, however slow the machine is
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=itertools.count(0, 0.25).__next__))
    monkeypatch.setattr(train_vae, "pictures", lambda split, count: noise)
    monkeypatch.setattr(train_vae, "psnr", lambda vae, images: torch.zeros(96))
    monkeypatch.setattr(train_vae, "save_pretrained", lambda name, model: kept.update({name: model}))
    before = load_part("vae")
    train_vae.train(0.01, further=True, batch=1)
    old, new = before.state_dict(), kept["vae"].state_dict()
    frozen = {name for name in old if name.startswith(("encoder.", "quant_conv."))}
    assert {name for name in old if torch.equal(old[name], new[name])} == frozen
    assert kept["vae"].config.scaling_factor == before.config.scaling_factor
    first = torch.load(tmp_path / "vae.pt", weights_only=True)["step"]
    train_vae.train(0.02, further=True, batch=1)  # goes on from the checkpoint, not from data/pocket
    with (tmp_path / "vae.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(steps) and steps[-1] > first == steps[0]
