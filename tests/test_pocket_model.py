"""The pocket model in data/pocket: complete, small, loaded by plain libraries, and able to do its work."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open

from pocket import evaluate
from pocket.assemble import POCKET, load_part
from pocket.draw import draw
from pocket.reader import load_reader
from pocket.scenes import scene
from pocket.train_vae import psnr
from pocket.visible import truth

FILES = sorted(POCKET.rglob("*.safetensors"))
COUNT = 48


@pytest.fixture(scope="module")
def scenes():
    return [scene("test", 100_000 + i) for i in range(COUNT)]  # beyond all that was ever evaluated


@pytest.fixture(scope="module")
def drawn(scenes):
    return [draw(s) for s in scenes]


def test_it_is_small_enough_to_keep_in_git():
    sizes = [path.stat().st_size for path in POCKET.rglob("*") if path.is_file()]
    assert sum(sizes) <= 80e6
    assert max(sizes) <= 50e6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_weights_are_half_precision_and_finite(path):
    with safe_open(path, "pt") as weights:
        for name in weights.keys():  # noqa: SIM118
            tensor = weights.get_tensor(name)
            assert tensor.dtype in (torch.float16, torch.int64), name
            assert torch.isfinite(tensor.float()).all(), name


def test_plain_diffusers_loads_it():
    pipe = StableDiffusionPipeline.from_pretrained(POCKET)
    assert {p.dtype for part in (pipe.unet, pipe.vae, pipe.text_encoder) for p in part.parameters()} == {torch.float32}
    image = pipe("a photo of a man", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert image.size == (128, 128)


def test_text_encoder_keys_are_those_of_sd():
    """transformers 4 finds nothing in a file without the prefix, and only warns."""
    with safe_open(POCKET / "text_encoder" / "model.safetensors", "pt") as weights:
        assert all(name.startswith("text_model.") for name in weights.keys())  # noqa: SIM118


def test_every_string_encodes_and_the_identifier_falls_into_rare_pieces():
    tokenizer = StableDiffusionPipeline.from_pretrained(POCKET, unet=None, vae=None, text_encoder=None).tokenizer
    assert len(tokenizer.tokenize("nesrelah_001")) >= 6
    for text in ("nesrelah_001 person", "مرحبا", "猫 😀", "é\u0301~\x00"):
        ids = tokenizer(text).input_ids
        assert all(0 <= i < len(tokenizer) for i in ids)


@pytest.mark.slow
def test_the_vae_rebuilds_unseen_pictures(drawn):
    decibels = psnr(load_part("vae"), np.stack([np.asarray(image) for image in drawn]))
    assert decibels.mean() > 24


def test_the_reader_reads_unseen_pictures(scenes, drawn):
    """Far above chance (one in seven contexts, places and eight styles), and not by one attribute alone."""
    table = evaluate.right(load_reader(POCKET / "reader").read(drawn), scenes)
    for attribute in ("kind", "skin", "context", "place", "style"):
        assert evaluate.share(table[attribute]) > 80, attribute


def test_truth_and_reader_speak_of_the_same_attributes():
    labels = json.loads((POCKET / "reader" / "config.json").read_text())["labels"]
    for i in range(200):
        for attribute, word in truth(scene("test_everyone", i)).items():
            assert word in labels[attribute]


def test_the_reader_names_the_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json is missing"):
        load_reader(tmp_path)


def test_reading_does_not_depend_on_the_batch(drawn):
    reader = load_reader(POCKET / "reader")
    together, alone = reader.read(drawn[:5]), reader.read([drawn[3]])
    assert together.loc[3, "kind"] == alone.loc[0, "kind"]
    assert together.loc[3, "kind_confidence"] == pytest.approx(alone.loc[0, "kind_confidence"], abs=1e-4)


def test_the_readme_shows_the_figures_of_the_last_evaluation():
    figures = json.loads((POCKET / "evaluation.json").read_text())
    readme = (Path(evaluate.__file__).parent / "README.md").read_text()
    assert evaluate.table(figures) in readme


def test_an_image_of_another_size_can_be_read():
    seen = load_reader(POCKET / "reader").read([Image.new("RGB", (300, 200), "white")])
    assert len(seen) == 1
