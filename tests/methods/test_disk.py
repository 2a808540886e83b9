"""What a DreamBooth training of SD 1.5's size writes, by count: each checkpoint is measured and not written."""

import itertools
import json
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


def test_12_gigabytes_of_drive_will_do_where_checkpoints_lie_on_the_machine(tmp_path, monkeypatch):
    """Colab's own disk has room for two checkpoints of 10 GB side by side; a free Drive has not."""
    free = {tmp_path / "drive": 12e9, tmp_path / "machine": 24e9}
    for folder in free:
        folder.mkdir()
    disk_of = lambda path: next(folder for folder in free if folder in [path, *path.parents])
    monkeypatch.setattr(dreambooth, "_disk", disk_of)
    monkeypatch.setattr(dreambooth.shutil, "disk_usage", lambda path: SimpleNamespace(free=free[disk_of(path)]))
    ask = lambda: dreambooth.check_disk(
        tmp_path / "drive/run", asked(), LEARNING, SETTING["optimizer"], checkpoints=tmp_path / "machine/run"
    )
    assert ask() < 36e9
    for small in free:
        with monkeypatch.context() as patch, pytest.raises(OSError, match=f"{small.name}.* has room for 5.0 GB"):
            patch.setitem(free, small, 5e9)
            ask()


def test_a_finished_run_on_drive_needs_no_room_for_checkpoints(tmp_path, monkeypatch):
    """In Colab's next session the checkpoints are gone, and nothing is trained anew."""
    run, place = tmp_path / "drive", tmp_path / "machine"
    (run / "model").mkdir(parents=True)
    place.mkdir()
    monkeypatch.setattr(dreambooth, "_disk", lambda path: place if place in [path, *path.parents] else run)
    room = lambda path: SimpleNamespace(free=5e9 if place in [path, *path.parents] else 12e9)
    monkeypatch.setattr(dreambooth.shutil, "disk_usage", room)
    settings = {"model": "sd15", "steps": 800}
    ask = lambda: dreambooth.check_disk(run, asked(), LEARNING, SETTING["optimizer"], settings, place / "checkpoints")
    (run / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(OSError, match="machine.* has room for 5.0 GB"):
        ask()
    (run / "card.md").touch()
    assert ask() < 12e9
