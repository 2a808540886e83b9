"""The benchmarks walk their whole way, once and at the smallest size; how fast is for them to say."""

import re

import pytest
import torch

from benchmarks import class_guidance
from benchmarks import dreambooth as dreambooth_speed
from benchmarks import hypernetwork as hypernetwork_speed
from helpers import hypernetwork, models, photos, places

pytestmark = pytest.mark.slow


def shares(told, words):
    """What each line says of the share of time outside of the training itself, in per cent."""
    return [float(share) for share in re.findall(rf"([-\d.]+)% {words}", told)]


def test_dreambooth_beside_the_script_of_diffusers(capsys):
    pipe = models.load_pipeline("pocket")  # its own, for it learns
    pipe.vae.requires_grad_(False)
    parts = [pipe.unet.conv_in.weight, pipe.text_encoder.get_input_embeddings().weight]
    before = [part.detach().clone() for part in parts]
    squares = photos.squares_in(photos.prepared_folder("nesrelah"))[:2]
    ratio = dreambooth_speed.compare(pipe, squares, squares, models.model("pocket"), 1, steps=1, rounds=1)
    told = capsys.readouterr().out
    assert re.findall(r"\+ 1  (.*?)  +[\d.]+ steps/s", told) == ["theirs", "ours, 32 bits", "ours", "ours, text too"]
    overheads = shares(told, "overhead")
    assert ratio > 0 and len(overheads) == 3 and all(0 < share < 50 for share in overheads)
    assert not any(torch.equal(part, old) for part, old in zip(parts, before))


def test_a_hypernetwork_beside_the_web_ui_s_loop(pipe, capsys, monkeypatch):
    monkeypatch.setattr(models, "load_pipeline", lambda row: pipe)
    hypernetwork_speed.compare("pocket", rounds=1, block=2, batch_size=1)
    told = capsys.readouterr().out
    outside = shares(told, "outside")
    assert len(outside) == len(told.splitlines()) == 3 and all(0 < share < 50 for share in outside)
    assert "x 1.00 " in told.splitlines()[0]
    assert hypernetwork.attached(pipe.unet) == [] and not pipe.unet.conv_in._forward_pre_hooks


def test_the_guidance_of_class_images_reaches_the_notebook_and_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(places, "RUNS", tmp_path)
    monkeypatch.setenv("QUICK", "1")
    monkeypatch.setattr("sys.argv", ["class_guidance", "1.5", "--images", "2"])
    class_guidance.main()
    told = capsys.readouterr().out
    assert "guidance 1.5\n" in told and all(prompt in told for prompt in class_guidance.SUBJECT + class_guidance.CLASS)
    (settings,) = tmp_path.glob("class_guidance_1.5/class_images/*/settings.json")
    assert '"guidance_scale": 1.5' in settings.read_text()
