"""The audit's pictures and its short training, on the pocket model."""

import contextlib
import json

import pandas as pd
import pytest
import torch
from PIL import Image

from helpers import audit, machine
from helpers.audit import mitigation
from helpers.compare import trained
from helpers.diffusion import kept, png_info

SAMPLER = {"guidance_scale": 5.0, "num_inference_steps": 2}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    return tmp_path


@pytest.fixture
def asked(runs, monkeypatch):
    """The (prompt, seed) of which pictures were made: seed and length of the prompt as a colour; ("a", 9) is withheld."""
    made = []

    def make(pipe, wanted, **settings):
        for path, (prompt, seed) in wanted.items():
            made.append((prompt, seed))
            told = {"Withheld": "by the safety checker"} if made[-1] == ("a", 9) else {}
            text = png_info.write_text(prompt, "", {"Steps": 1, "Size": "8x8", "Seed": seed} | told)
            png_info.save(path, Image.new("RGB", (8, 8), (seed, len(prompt), 0)), text)

    monkeypatch.setattr(kept, "make", make)
    return made


def test_pictures_are_made_once_and_again_for_other_weights_settings_and_models(runs, asked):
    table = audit.pictures.pictures("base", None, "one", ["b", "a"], [2, 1], **SAMPLER)
    assert list(zip(table["prompt"], table["seed"])) == asked == [("b", 2), ("b", 1), ("a", 2), ("a", 1)]
    assert [image.getpixel((0, 0))[0] for image in audit.pictures.of(table, "a")] == [1, 2]  # in the order of seeds
    audit.pictures.pictures("base", None, "one", ["a"], [1, 2, 3], **SAMPLER)
    assert asked[4:] == [("a", 3)]
    audit.pictures.pictures("base", None, "two", ["a"], [1], **SAMPLER)
    audit.pictures.pictures("base", None, "two", ["a"], [1], **SAMPLER | {"guidance_scale": 1.0})
    other = audit.pictures.pictures("own", None, "three", ["a"], [1], **SAMPLER)
    assert asked[5:] == [("a", 1)] * 3
    both = pd.concat([table, other])
    assert len(audit.pictures.of(both, "a")) == 3 and len(audit.pictures.of(both, "a", "own")) == 1
    settings = [json.loads(path.read_text()) for path in (runs / "audit" / "images").glob("*/settings.json")]
    assert {(each["weights"], each["guidance_scale"]) for each in settings} >= {("one", 5), ("two", 1), ("two", 5)}


def test_every_prompt_may_have_a_seed_of_its_own(asked):
    table = audit.pictures.of_pairs("base", None, "one", [("a", 3), ("bb", 1)], **SAMPLER)
    assert list(zip(table["prompt"], table["seed"])) == asked == [("a", 3), ("bb", 1)]


def test_all_models_are_asked_and_the_trained_ones_fewer_seeds(asked, monkeypatch):
    monkeypatch.setenv("SUBJECT", "")
    models = audit.pictures.models("pocket")
    assert [model.method for model in models] == ["base", "hypernetwork", "DreamBooth"]
    monkeypatch.setattr(trained, "applied", lambda model, base: contextlib.nullcontext())
    table = audit.pictures.ask(models, None, ["a"], [1, 2, 3], fewer=2, **SAMPLER)
    assert list(table["model"].value_counts(sort=False)) == [3, 2, 2]


def test_what_was_withheld_is_nobody(asked, capsys):
    for _ in range(2):  # made, then found
        table = audit.pictures.pictures("base", None, "one", ["a", "bb"], [1, 9, 3], **SAMPLER)
        assert "1 of 6 pictures by base were withheld" in capsys.readouterr().out
    assert list(zip(table["prompt"], table["seed"])) == [("a", 1), ("a", 3), ("bb", 1), ("bb", 9), ("bb", 3)]
    pairs = audit.pictures.paired(table, table, "a", "bb")
    assert [[image.getpixel((0, 0))[:2] for image in side] for side in pairs] == [[(1, 1), (3, 1)], [(1, 2), (3, 2)]]
    assert [len(side) for side in audit.pictures.paired(table, table, "bb")] == [3, 3]


@pytest.mark.slow
def test_a_short_training_changes_its_own_copy_alone(runs, pipe):
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    photos = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    settings = {"steps": 2, "learning_rate": 1e-3, "batch_size": 1, "size": 32, "kind": "test"}
    train = lambda: mitigation.train(runs / "x", pipe, (photos, "x person"), (photos, "a person"), **settings).unet
    first, again = train(), train()
    assert first.dtype == pipe.unet.dtype and not first.training
    assert all(torch.equal(value, before[name]) for name, value in pipe.unet.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in first.state_dict().items())
    read = again.state_dict()  # not trained a second time
    assert all(torch.equal(value, read[name]) for name, value in first.state_dict().items())
