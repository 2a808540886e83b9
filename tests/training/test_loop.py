import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import STEPS, rows, same, toy_run

from helpers import machine, training


def be_killed(folder, where, at):
    """Trains until the process dies without warning: before a step, half way through a checkpoint or a row."""
    save, log, die = torch.save, training.run.Run.log, lambda: os.kill(os.getpid(), signal.SIGKILL)

    def half_a_checkpoint(data, path):
        save(data, path)
        if f"{at:06}" in path.name:
            os.truncate(path, path.stat().st_size // 2)
            die()

    def half_a_row(run, step):
        if step.number == at:
            with (run.folder / "loss.csv").open("a") as file:
                file.write(str(step.number)[:1])
            die()
        log(run, step)

    torch.save = half_a_checkpoint if where == "checkpoint" else save
    training.run.Run.log = half_a_row if where == "row" else log
    toy_run(folder, before_step=lambda number: die() if (where, at) == ("step", number) else None)


def be_killed_again_and_again(folder):
    """One training in four processes, one after another; forked, so that torch is imported once."""
    for where, at in [("step", 3), ("checkpoint", 12), ("row", 15), ("step", 22)]:
        child = os.fork()
        if child == 0:
            try:
                be_killed(folder, where, at)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, where


def restore_best(folder, net):
    """Puts the best weights back; (step, held-out loss) of them."""
    best = folder / "checkpoints" / "best.pt"
    return training.restore(best, net.parameters()), training.run.read(best)["held_out_loss"]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_bit_for_bit_as_if_it_had_never_been(tmp_path):
    whole, _ = toy_run(tmp_path / "whole")
    code = "import sys, test_loop; test_loop.be_killed_again_and_again(sys.argv[1])"
    paths = os.pathsep.join(map(str, (machine.REPO, Path(__file__).parents[1], Path(__file__).parent)))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "broken"], env=environment, check=True)
    broken, steps = toy_run(tmp_path / "broken")
    assert steps[0].number == 19, "the last checkpoint before step 22 is that of step 18"
    assert same(whole, broken) and rows(tmp_path / "whole") == rows(tmp_path / "broken")
    found = [restore_best(tmp_path / "whole", whole), restore_best(tmp_path / "broken", broken)]
    assert found[0] == found[1] and same(whole, broken)
    names = [{path.relative_to(run) for path in run.rglob("*")} for run in tmp_path.iterdir()]
    assert names[0] == names[1], "no half-written file stays behind"


def test_it_learns_and_leaves_a_folder_that_can_be_understood(tmp_path):
    _, steps = toy_run(tmp_path, steps=60)
    assert [step.number for step in steps] == list(range(61))
    assert steps[0].loss is None and steps[0].held_out_loss > 2 * steps[-1].held_out_loss
    assert [step.number for step in steps if step.preview] == [*range(0, 61, 4)]
    there = {"card.md", "checkpoints", "loss.csv", "memory.json", "previews", "settings.json"}
    assert {path.name for path in tmp_path.iterdir()} == there
    assert [float(row["loss"]) for row in rows(tmp_path)[1:]] == [step.loss for step in steps[1:]]
    settings = json.loads((tmp_path / "settings.json").read_text())
    plain = lambda version: version.partition("+")[0]  # PyPI's wheel for CUDA says +cu130 in one place alone
    assert plain(settings["versions"]["torch"]) == plain(torch.__version__) and settings["learning_rate"] == 1e-2
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2  # the last one and the best


def test_a_finished_run_gives_its_weights_back_and_another_one_is_kept_under_another_name(tmp_path):
    folder = tmp_path / "amir"
    net, _ = toy_run(folder)
    again, steps = toy_run(folder)
    assert steps == [] and same(net, again)
    before = (folder / "loss.csv").read_bytes()
    with pytest.warns(UserWarning, match=r"learning_rate was 0\.01\).*amir-1"):
        _, steps = toy_run(folder, learning_rate=1e-3)
    assert len(steps) == STEPS + 1 and (tmp_path / "amir-1" / "loss.csv").read_bytes() == before
    with pytest.warns(UserWarning, match="photos was None"):
        toy_run(folder, learning_rate=1e-3, settings={"photos": ("a.png",)})
    assert (tmp_path / "amir-2").is_dir()
    assert toy_run(folder, learning_rate=1e-3, settings={"photos": ("a.png",)})[1] == []


def test_the_first_update_is_adamw_by_hand_and_leaves_frozen_parameters(tmp_path):
    """Loshchilov & Hutter 2019, after clipping the gradient's norm to 1."""
    start, target = torch.tensor([1.0, -2.0]), torch.tensor([30.0, 40.0])
    weight, frozen = nn.Parameter(start.clone()), nn.Parameter(torch.ones(2), requires_grad=False)
    loss = lambda batch: (frozen * weight - target).square().sum() / 2
    list(training.train(tmp_path, [weight, frozen], loss, lambda step: None, steps=1, learning_rate=0.1))
    gradient = (start - target) / (start - target).norm()
    expected = start * (1 - 0.1 * 0.01) - 0.1 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(weight.detach(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(frozen, torch.ones(2))


def test_the_rate_falls_along_a_cosine_or_as_written_in_the_web_ui(tmp_path):
    def rates(name, **changes):
        return [step.learning_rate for step in toy_run(tmp_path / name, **changes)[1][1:]]

    falling = rates("cosine")
    assert falling[0] == 1e-2 and falling == sorted(falling, reverse=True) and falling[-1] < 1e-4
    assert rates("constant", schedule=training.constant) == rates("one", learning_rate="1e-2") == [1e-2] * STEPS
    written = rates("written", learning_rate="1e-2:5, 2e-3:9, 1e-3", checkpoint_every=4)
    assert written == [1e-2] * 5 + [2e-3] * 4 + [1e-3] * (STEPS - 9)
    assert len(rates("short", learning_rate="1e-2:5, 2e-3:9")) == 9, "it ends with its last rate"
    assert rates("short", learning_rate="1e-2:5, 2e-3:9") == []
    with pytest.raises(ValueError, match="is not rate:step"):
        rates("wrong", learning_rate="fast")


def test_the_best_weights_are_those_of_the_lowest_held_out_loss(tmp_path):
    net, steps = toy_run(tmp_path, steps=40, learning_rate=0.3, schedule=training.constant)
    measured = {step.number: step.held_out_loss for step in steps[1:] if step.held_out_loss is not None}
    number, value = restore_best(tmp_path, net)
    assert value == min(measured.values()) and measured[number] == value


def test_held_out_losses_by_photo_are_kept_beside_their_mean(tmp_path):
    weight, count = nn.Parameter(torch.ones(1)), iter(range(100))
    held_out = lambda: {"a.png": 1.0 + next(count), "b, c.png": 3.0}
    told = {"steps": 20, "learning_rate": 0.01, "held_out_loss": held_out, "watch_every": 10}
    steps = training.train(tmp_path, [weight], lambda part: weight.sum(), lambda step: step, **told)
    assert [step.held_out_loss for step in steps if step.held_out] == [2.0, 2.5, 3.0]
    expected = 'step,a.png,"b, c.png"\n0,1.0,3.0\n10,2.0,3.0\n20,3.0,3.0\n'
    assert (tmp_path / "held_out.csv").read_text() == expected


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 1000))
def test_every_index_comes_once_an_epoch_in_an_order_of_its_own(count, batch_size, seed):
    order = training.shuffled(count, batch_size, seed)
    drawn = [index for step in range(3 * count) for index in order(step)]
    epochs = [drawn[i : i + count] for i in range(0, 3 * count, count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    if count > 15:
        assert epochs[0] != epochs[1] != epochs[2]
    assert order(1) == training.shuffled(count, batch_size, seed)(1)


def test_of_a_model_s_folder_only_the_last_part_is_written_down(tmp_path):
    toy_run(tmp_path / "run", steps=2, settings={"model": str(tmp_path / "my model")})
    assert '"model": "my model"' in (tmp_path / "run" / "settings.json").read_text()
    assert str(tmp_path) not in (tmp_path / "run" / "settings.json").read_text()
