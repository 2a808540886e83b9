import csv
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from helpers import runtime, training

ROWS, STEPS = 11, 23


def toy_run(folder, steps=STEPS, before_step=lambda number: None, **changes):
    """Trains a small net with dropout; returns it and the steps. Everything in it needs its random numbers."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
    inputs = torch.randn(ROWS, 5)
    targets = inputs.sum(1, keepdim=True).sin()
    order = training.shuffled(ROWS, 4, seed=3)

    def batch(step):
        before_step(step + 1)
        return order(step)

    def loss(indices):
        noisy = inputs[indices] + 0.1 * torch.randn(len(indices), 5)
        return (net(noisy) - targets[indices]).square().mean()

    def held_out():
        value = (net.eval()(inputs) - targets).square().mean().item()
        net.train()
        return value

    def preview():
        torch.randn(3)  # previews and held-out losses must not disturb the training
        return Image.new("RGB", (4, 4))

    settings = {"learning_rate": 1e-2, "seed": 5, "watch_every": 4, "checkpoint_every": 6} | changes
    steps = training.train(
        folder, net.parameters(), loss, batch, steps=steps, held_out_loss=held_out, preview=preview, **settings
    )
    return net, list(steps)


def rows(folder):
    with (Path(folder) / "loss.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


CHILD = """
    import os, signal, sys
    import torch
    sys.path[:0] = [{repo!r}, {repo!r} + "/tests"]
    from helpers import runs
    from test_training import toy_run

    where, folder, at = sys.argv[1], sys.argv[2], int(sys.argv[3])

    def die(number):
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def half_a_checkpoint(data, path, save=torch.save):
        save(data, path)
        if data["number"] == at and f"{{at:06}}" in path.name:
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def half_a_row(self, step, log=runs.Run.log):
        if step.number == at:
            with (self.folder / "loss.csv").open("a") as file:
                file.write(str(step.number)[:1])
            os.kill(os.getpid(), signal.SIGKILL)
        log(self, step)

    if where == "checkpoint":
        torch.save = half_a_checkpoint
    if where == "row":
        runs.Run.log = half_a_row
    toy_run(folder, before_step=die if where == "step" else lambda number: None)
"""


def run_and_be_killed(folder, where, at):
    """A training in another process that kills itself without warning at this step; how it ended."""
    code = textwrap.dedent(CHILD.format(repo=str(runtime.REPO)))
    command = [sys.executable, "-c", code, where, str(folder), str(at)]
    return subprocess.run(command, cwd=runtime.REPO, check=False, capture_output=True).returncode


@pytest.mark.slow
def test_killed_again_and_again_it_ends_bit_for_bit_as_if_it_had_never_been(tmp_path):
    whole, _ = toy_run(tmp_path / "whole")
    for where, at in [("step", 3), ("checkpoint", 12), ("row", 15), ("step", 22)]:
        assert run_and_be_killed(tmp_path / "broken", where, at) == -signal.SIGKILL
    broken, steps = toy_run(tmp_path / "broken")
    assert steps[0].number == 19, "the last checkpoint before step 22 is that of step 18"
    for ours, theirs in zip(whole.parameters(), broken.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")
    best = [
        training.restore_best(tmp_path / name, net.parameters()) for name, net in (("whole", whole), ("broken", broken))
    ]
    assert best[0] == best[1] and torch.equal(whole[0].weight, broken[0].weight)
    names = [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in sorted(tmp_path.iterdir())
    ]
    assert names[0] == names[1], "no half-written file stays behind"


def test_it_learns_and_leaves_a_folder_that_can_be_understood(tmp_path):
    _, steps = toy_run(tmp_path / "run", steps=60)
    assert [step.number for step in steps] == list(range(61))
    assert steps[0].loss is None and steps[0].held_out_loss > 2 * steps[-1].held_out_loss
    assert [step.number for step in steps if step.preview] == [*range(0, 61, 4)]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "card.md",
        "checkpoints",
        "loss.csv",
        "memory.json",
        "previews",
        "settings.json",
    ]
    table = rows(tmp_path / "run")
    assert [float(row["loss"]) for row in table[1:]] == [step.loss for step in steps[1:]]
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["learning_rate"] == 1e-2 and settings["versions"]["torch"] == torch.__version__
    assert "60 steps" in (tmp_path / "run" / "card.md").read_text()
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2  # the last one and the best


def test_a_finished_run_only_gets_its_weights_back(tmp_path):
    net, _ = toy_run(tmp_path)
    again, steps = toy_run(tmp_path)
    assert steps == [] and torch.equal(net[0].weight, again[0].weight)


def test_another_run_in_the_same_folder_is_kept_under_another_name(tmp_path):
    folder = tmp_path / "amir"
    toy_run(folder)
    before = (folder / "loss.csv").read_bytes()
    with pytest.warns(UserWarning, match=r"learning_rate was 0\.01\): it is kept as amir-1"):
        _, steps = toy_run(folder, learning_rate=1e-3)
    assert len(steps) == STEPS + 1 and (tmp_path / "amir-1" / "loss.csv").read_bytes() == before
    with pytest.warns(UserWarning, match="photos was None"):
        toy_run(folder, learning_rate=1e-3, settings={"photos": ("a.png",)})
    assert (tmp_path / "amir-2").is_dir()
    assert toy_run(folder, learning_rate=1e-3, settings={"photos": ("a.png",)})[1] == []


def test_the_first_update_is_adamw_by_hand(tmp_path):
    """Loshchilov & Hutter 2019, after clipping the gradient's norm to 1."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    target = torch.tensor([30.0, 40.0])
    loss = lambda batch: (weight - target).square().sum() / 2
    list(training.train(tmp_path, [weight], loss, lambda step: None, steps=1, learning_rate=0.1))
    gradient = torch.tensor([1.0, -2.0]) - target
    gradient = gradient / gradient.norm()
    expected = torch.tensor([1.0, -2.0]) * (1 - 0.1 * 0.01) - 0.1 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(weight.detach(), expected, atol=1e-5, rtol=1e-5)


def test_the_rate_falls_along_a_cosine(tmp_path):
    _, steps = toy_run(tmp_path / "a")
    rates = [step.learning_rate for step in steps[1:]]
    assert rates[0] == 1e-2 and rates == sorted(rates, reverse=True) and rates[-1] < 1e-4
    _, steps = toy_run(tmp_path / "b", schedule=training.constant)
    assert {step.learning_rate for step in steps[1:]} == {1e-2}


def test_a_loss_that_explodes_stops_the_run_before_the_weights_are_lost(tmp_path):
    weight = nn.Parameter(torch.ones(1))
    bad = training.train(
        tmp_path, [weight], lambda b: weight.sum() * float("nan"), lambda s: s, steps=5, learning_rate=1
    )
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        list(bad)
    assert weight.item() == 1


def test_the_best_weights_are_those_of_the_lowest_held_out_loss(tmp_path):
    net, steps = toy_run(tmp_path, steps=40, learning_rate=0.3, schedule=training.constant)
    measured = {step.number: step.held_out_loss for step in steps[1:] if step.held_out_loss is not None}
    number, value = training.restore_best(tmp_path, net.parameters())
    assert value == min(measured.values()) and measured[number] == value


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 1000))
def test_every_index_comes_once_an_epoch_in_an_order_of_its_own(count, batch_size, seed):
    order = training.shuffled(count, batch_size, seed)
    drawn = [index for step in range(3 * count) for index in order(step)]
    epochs = [drawn[i : i + count] for i in range(0, 3 * count, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    if count > 15:
        assert epochs[0] != epochs[1] != epochs[2]
    assert order(1) == training.shuffled(count, batch_size, seed)(1)


def test_frozen_parameters_stay(tmp_path):
    free, frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)
    loss = lambda batch: (free * frozen).sum()
    list(training.train(tmp_path, [free, frozen], loss, lambda step: None, steps=2, learning_rate=0.1))
    assert torch.equal(frozen, torch.ones(2)) and not torch.equal(free, torch.ones(2))


def test_a_rate_may_be_written_as_in_the_web_ui(tmp_path):
    _, steps = toy_run(tmp_path / "whole", learning_rate="1e-2:5, 2e-3:9, 1e-3", checkpoint_every=4)
    assert [step.learning_rate for step in steps[1:]] == [1e-2] * 5 + [2e-3] * 4 + [1e-3] * (STEPS - 9)
    constant, _ = toy_run(tmp_path / "constant", learning_rate=1e-2, schedule=training.constant)
    written, _ = toy_run(tmp_path / "written", learning_rate="1e-2")
    assert torch.equal(constant[0].weight, written[0].weight)
    _, steps = toy_run(tmp_path / "short", learning_rate="1e-2:5, 2e-3:9")
    assert steps[-1].number == 9 and toy_run(tmp_path / "short", learning_rate="1e-2:5, 2e-3:9")[1] == []
    with pytest.raises(ValueError, match="is not rate:step"):
        toy_run(tmp_path / "wrong", learning_rate="fast")
