"""The training monitor: what it shows, and that its button stops a training, in a kernel that is busy with it."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from jupyter_client.manager import run_kernel
from PIL import Image
from torch import nn
from toy import numbered

from helpers import machine, training
from helpers.training import monitor


def begin(folder):
    weight = nn.Parameter(torch.ones(1))
    look = {"held_out_loss": lambda: weight.item() / 2, "preview": lambda: Image.new("RGB", (8, 8)), "watch_every": 4}
    loss = lambda part: weight.square().sum()
    return training.train(folder, [weight], loss, lambda part: part, steps=12, learning_rate=0.01, **look)


@pytest.fixture
def panels(monkeypatch):
    """The panels that are made, as a list."""
    made, panel = [], monitor.Panel
    monkeypatch.setattr(monitor, "Panel", lambda steps: made.append(panel(steps)) or made[-1])
    return made


def follow(folder, until=None, stop_at=None, panels=()):
    """The numbers of the steps of a watched training, left after step `until`, stopped with the button at another."""

    async def steps():
        numbers = []
        async for step in training.watch(begin(folder), 12):
            numbers.append(step.number)
            if step.number == stop_at:
                panels[-1].stop.click()
            if step.number == until:
                break
        return numbers

    with ThreadPoolExecutor(1) as pool:  # Playwright keeps a loop of its own in this thread
        return pool.submit(asyncio.run, steps()).result()


def test_it_passes_every_step_on_and_shows_the_last(tmp_path, panels):
    assert follow(tmp_path) == list(range(13))
    (panel,) = panels
    assert panel.progress.value == panel.progress.max == 12 and panel.progress.bar_style == "success"
    assert re.search(r"step 12 of 12.*loss 0\.\d+.*held-out loss 0\.\d+", panel.words.value)
    assert 'alt="preview at step 12"' in panel.picture.value and panel.stop.layout.display == "none"


def test_its_button_stops_after_a_whole_step_and_keeps_it(tmp_path, panels):
    assert follow(tmp_path, stop_at=5, panels=panels) == [0, 1, 2, 3, 4, 5]
    assert numbered(tmp_path) == [5] and "Stopped" in panels[0].words.value and panels[0].stop.disabled
    follow(tmp_path, until=7)
    assert numbered(tmp_path) == [7], "a caller that leaves keeps its checkpoint"
    assert follow(tmp_path) == list(range(8, 13))
    assert follow(tmp_path) == [] and "finished before" in panels[-1].words.value


CELL = """
import sys, time
sys.path += [{repo!r}, {repo!r} + "/helpers/training"]
from types import SimpleNamespace
import monitor  # alone, without torch

def training():
    try:
        for number in range(2000):
            time.sleep(0.05)
            yield SimpleNamespace(number=number, loss=0.1, held_out_loss=None, preview=None)
    finally:
        print("closed", flush=True)

panel = monitor.Panel(2000)
monitor.Panel = lambda steps: panel
print("button", panel.stop.model_id, flush=True)
async for step in monitor.watch(training(), 2000):
    if step.number == 3:
        print("at step 3", flush=True)
print("ended at", step.number, flush=True)
"""


def test_a_busy_kernel_hears_the_button():
    """The click is a message to a kernel that is busy with the very cell, as a browser sends it."""
    click = {"data": {"method": "custom", "content": {"event": "click"}}}
    quiet = ["--IPKernelApp.log_level=40"]
    with run_kernel(startup_timeout=300, kernel_name="python3", extra_arguments=quiet) as client:
        client.execute(CELL.format(repo=str(machine.REPO)))
        client.execute("print('the next cell', flush=True)")  # queued, as by Run All: it must wait, and not be lost
        said, deadline = "", time.monotonic() + 300
        while "the next cell" not in said and time.monotonic() < deadline:
            message = client.get_iopub_msg(timeout=300)
            if message["msg_type"] == "stream":
                said += message["content"]["text"]
                if message["content"]["text"].strip().endswith("at step 3"):
                    click["comm_id"] = re.search(r"button (\w+)", said)[1]
                    client.shell_channel.send(client.session.msg("comm_msg", click))
            assert message["msg_type"] != "error", message["content"]
    assert int(re.search(r"closed\nended at (\d+)\n.*the next cell", said, re.DOTALL)[1]) < 1000, said
