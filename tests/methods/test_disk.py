"""What a DreamBooth training of SD 1.5's size writes, by count: each checkpoint is measured and not written."""

import itertools
import time
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextConfig, CLIPTextModel

from helpers import training
from helpers.methods import dreambooth, memory

LEARNING, STEP = 859_520_964, 0.8  # weights of SD 1.5's U-Net; seconds of a step on a T4
SETTING = memory.SETTINGS["in backward"]  # what notebook 04 takes for SD 1.5


def bytes_written(folder, monkeypatch):
    """Of all checkpoints of 800 steps as notebook 04 takes them, the held-out loss falling all the time."""
    weight, written, now = nn.Parameter(torch.ones(2**16)), [], [0.0]
    held_out = itertools.count(100, -1)

    def save(data, path):
        written.append(sum(leaf.nbytes for leaf in tree_leaves(data) if torch.is_tensor(leaf)))
        path.write_bytes(b"whole")

    def look():
        now[0] += STEP / 2
        return now[0]

    monkeypatch.setattr(time, "perf_counter", look)  # twice a step
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(torch, "save", save)
    minutes = training.run.minutes_between(4 * LEARNING)
    monkeypatch.setattr(training.run, "minutes_between", lambda size: minutes)
    steps = training.train(
        folder, [weight], lambda batch: weight.square().mean(), lambda number: None, steps=800, learning_rate=1e-6,
        optimizer=SETTING["optimizer"], watch_every=100, held_out_loss=lambda: next(held_out),
    )  # fmt: skip
    assert len(list(steps)) == 801
    return [size / weight.numel() * LEARNING for size in written]


def test_800_steps_write_under_20_gigabytes(tmp_path, monkeypatch):
    assert sum(bytes_written(tmp_path, monkeypatch)) < 20e9


def asked():
    """What notebook 04 asks of the disk for SD 1.5, by the parts that it has in a file of their own."""
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel.from_config(memory.SD1_UNET),
            "vae": AutoencoderKL.from_config(memory.SD1_VAE),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**memory.SD1_TEXT)),
        }
    assert sum(p.numel() for p in parts["unet"].parameters()) == LEARNING
    return SimpleNamespace(components=parts)


@pytest.mark.xfail(strict=True, reason="two checkpoints with averages of 32 bits lie side by side for a while")
def test_a_training_asks_for_under_12_gigabytes(tmp_path, monkeypatch):
    free = SimpleNamespace(free=10**12)
    for module in (dreambooth, memory):  # whichever asks
        if hasattr(module, "shutil"):
            monkeypatch.setattr(module.shutil, "disk_usage", lambda place: free)
    check_disk = getattr(dreambooth, "check_disk", None) or memory.check_disk
    assert check_disk(tmp_path, asked(), LEARNING, SETTING["optimizer"]) < 12e9
