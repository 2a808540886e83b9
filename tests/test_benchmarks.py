"""The benchmarks walk their whole way, once and at the smallest size; how fast is for them to say."""

import os
import re
import subprocess
import sys

import pytest
import torch

from benchmarks import dreambooth as dreambooth_speed
from benchmarks import hypernetwork as hypernetwork_speed
from helpers import diffusion, machine, photos

pytestmark = pytest.mark.slow


def shares(output):
    """What the lines say of the share of time outside of the training itself, in per cent."""
    return [float(share) for share in re.findall(r"([-\d.]+)% (?:overhead|outside)", output)]


def test_dreambooth_beside_the_script_of_diffusers(capsys, monkeypatch):
    monkeypatch.delitem(dreambooth_speed.OURS, "ours")  # the two others go every way there is
    pipe = diffusion.load_pipeline("pocket")  # its own, for it learns
    pipe.vae.requires_grad_(False)
    before = pipe.unet.conv_in.weight.detach().clone()
    squares = photos.squares_in(photos.prepared_folder("nesrelah"))[:1]
    ratio = dreambooth_speed.compare(pipe, squares, squares, diffusion.model_config("pocket"), 1, steps=1, rounds=1)
    found = shares(capsys.readouterr().out)
    assert ratio > 0 and len(found) == 2 and all(0 < share < 100 for share in found)
    assert not torch.equal(pipe.unet.conv_in.weight, before)


def test_a_hypernetwork_beside_the_web_ui_s_loop(pipe, capsys, monkeypatch):
    monkeypatch.setattr(diffusion, "load_pipeline", lambda row: pipe)
    hypernetwork_speed.compare("pocket", rounds=1, block=1, batch_size=1)
    found = shares(capsys.readouterr().out)
    assert len(found) == 3 and all(0 < share < 100 for share in found)
    assert not any(module._forward_pre_hooks for module in pipe.unet.modules())


def test_a_soak_in_miniature():
    """In a process of its own, which forks: every fortieth write of a toy run, and some files."""
    command = [sys.executable, "-m", "benchmarks.soak", "--every", "40", "--real", "0", "--hostile", "60"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=machine.REPO, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    counts = {line[:-14].strip(): line.split()[-2:] for line in done.stdout.splitlines()[3:]}
    assert {"kill", "interrupt", "full", "hostile file"} <= set(counts)
    assert all(int(tried) >= 4 and wrong == "0" for tried, wrong in counts.values())
