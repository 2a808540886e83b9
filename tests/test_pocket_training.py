"""Training the pocket model's parts further: what may change, what must not, and that it resumes."""

import csv
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pocket import fit, train, train_vae
from pocket.assemble import load_part


@pytest.fixture
def few_pictures(monkeypatch, tmp_path):
    """Eight pictures of noise in place of all scenes, and a cache of the test's own; what is saved comes back.

    A step takes a quarter of a second by the clock that training goes by, however slow the machine is.
    """
    kept = {}
    noise = np.random.default_rng(0).integers(0, 255, (8, 128, 128, 3), dtype=np.uint8)
    monkeypatch.setattr(fit, "CACHE", tmp_path)
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=itertools.count(0, 0.25).__next__))
    monkeypatch.setattr(train_vae, "pictures", lambda split, count: noise)
    monkeypatch.setattr(train_vae, "psnr", lambda vae, images: torch.zeros(96))
    monkeypatch.setattr(train_vae, "save_pretrained", lambda name, model: kept.update({name: model}))
    return kept, tmp_path


def test_training_the_vae_further_leaves_its_latents_alone(few_pictures):
    kept, cache = few_pictures
    before = load_part("vae")
    train_vae.train(0.01, further=True)
    after = kept["vae"]
    for part in ("encoder", "quant_conv"):
        for old, new in zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True):
            assert torch.equal(old, new)
    moved = [
        not torch.equal(old, new)
        for old, new in zip(before.decoder.parameters(), after.decoder.parameters(), strict=True)
    ]
    assert all(moved) and after.config.scaling_factor == before.config.scaling_factor
    first = torch.load(cache / "vae.pt", weights_only=True)["step"]
    train_vae.train(0.02, further=True)  # goes on from the checkpoint, not from data/pocket
    with (cache / "vae.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(steps) and steps[-1] > first == steps[0]


@pytest.mark.parametrize("words, further", [(["vae", "7"], False), (["vae", "7", "--further"], True)])
def test_the_command_says_how_long_and_from_where(words, further, monkeypatch):
    asked = []
    monkeypatch.setattr(sys, "argv", ["train", *words])
    monkeypatch.setattr(train_vae, "train", lambda *given: asked.append(given))
    train.main()
    assert asked == [(7.0, further)]
