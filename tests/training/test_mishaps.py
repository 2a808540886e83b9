"""What can go wrong in a training: interrupts, full disks, losses that explode, small numbers."""

import math
import os
import resource
import textwrap
from types import SimpleNamespace

import pytest
import torch
from launch import two_processes
from torch import nn
from toy import STEPS, numbered, rows, same, toy_run

from helpers import diffusion, machine, training
from helpers.training import optimizers


def learn(folder, weight, loss, **changes):
    settings = {"steps": 20, "learning_rate": 0.01, "checkpoint_every": 10, "keep": 50} | changes
    return training.train(folder, [weight], loss, lambda part: part, **settings)


def train_until(*places, **changes):
    return list(learn(*places, **changes))


def scale(monkeypatch):
    """From now on losses are scaled, as in float16 on an older GPU."""
    monkeypatch.setattr(training.loop, "scaler_for", lambda parameters: torch.amp.GradScaler("cpu"))


# Interrupts


@pytest.mark.parametrize("scaling", [False, True])
def test_an_interrupt_leaves_a_checkpoint_of_the_last_finished_step(tmp_path, monkeypatch, scaling):
    if scaling:
        scale(monkeypatch)
    whole, _ = toy_run(tmp_path / "whole")

    def interrupt(number):
        if number == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "broken", before_step=interrupt)
    assert numbered(tmp_path / "broken") == [15]
    scaler = training.run.read(tmp_path / "broken" / "checkpoints" / "000015.pt")["scaler"]
    assert not scaling or (scaler["scale"], scaler["_growth_tracker"]) == (2.0**16, 15)
    broken, steps = toy_run(tmp_path / "broken")
    assert steps[0].number == 16 and same(whole, broken)
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")


def test_an_interrupt_amid_the_optimizer_saves_nothing_half_done(tmp_path):
    whole, _ = toy_run(tmp_path / "whole")

    class Interrupted(torch.optim.AdamW):
        def step(self):
            super().step()
            if self.state[self.param_groups[0]["params"][0]]["step"] == 16:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "broken", optimizer=Interrupted, settings={"optimizer": None})  # None: the usual one
    assert numbered(tmp_path / "broken") == [12]
    broken, steps = toy_run(tmp_path / "broken")
    assert steps[0].number == 13 and same(whole, broken)


def unfinished(folder, last):
    """A training left at a step, and its weight; the generator is still open."""
    weight = nn.Parameter(torch.ones(3))
    steps = learn(folder, weight, lambda part: weight.square().sum(), checkpoint_every=100, keep=1)
    next(step for step in steps if step.number == last)
    return weight, steps


def test_leaving_the_loop_leaves_a_checkpoint_unless_the_weights_were_touched(tmp_path):
    _, steps = unfinished(tmp_path / "left", 5)
    assert numbered(tmp_path / "left") == []
    steps.close()
    assert numbered(tmp_path / "left") == [5]
    weight, steps = unfinished(tmp_path / "touched", 5)
    with torch.no_grad():
        weight.zero_()
    steps.close()
    assert numbered(tmp_path / "touched") == []


def test_a_training_left_open_does_not_write_into_the_next_one_of_the_folder(tmp_path):
    _, left = unfinished(tmp_path, 9)
    _, now = unfinished(tmp_path, 3)
    now.close()
    left.close()
    assert numbered(tmp_path) == [3]


# The disk


def test_at_most_so_many_checkpoints_stay(tmp_path):
    seen = []
    toy_run(tmp_path, checkpoint_every=5, keep=2, before_step=lambda number: seen.append(numbered(tmp_path)))
    assert max(len(found) for found in seen) == 2 and seen[-1] == [15, 20]
    assert numbered(tmp_path) == [STEPS], "a finished run needs no earlier ones"


def test_a_full_disk_gives_one_sentence_and_keeps_the_last_checkpoint(tmp_path):
    whole, _ = toy_run(tmp_path / "whole", watch_every=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(number):
        if number == 9:  # from now on a file may be so long and no longer, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))

    try:
        with pytest.raises(OSError, match="(?i)no room to write .*000006.pt"):
            toy_run(tmp_path / "full", before_step=fill, watch_every=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert numbered(tmp_path / "full") == [6] and not list((tmp_path / "full").rglob("*.part"))
    broken, steps = toy_run(tmp_path / "full", watch_every=100)
    assert steps[0].number == 7 and same(whole, broken)


def test_a_damaged_checkpoint_is_named(tmp_path):
    unfinished(tmp_path, 5)[1].close()
    path = tmp_path / "checkpoints" / "000005.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"000005.pt is damaged"):
        unfinished(tmp_path, 7)


# Losses that explode


def rootless(weight):
    """A loss that is a number, with a gradient that is none: the root of 0 has no slope."""
    return lambda part: (weight - weight.detach()).sum().sqrt() + weight.sum()


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(tmp_path):
    weight = nn.Parameter(torch.ones(1))
    loss = lambda part: (weight * (math.nan if part == 16 else 1)).sum().square()
    for every, last in ((1000, "No checkpoint was saved"), (10, "000010.pt")):
        with pytest.raises(FloatingPointError, match=f"After step 16 the loss has become nan.*{last}.*learning_rate"):
            train_until(tmp_path / last, weight, loss, checkpoint_every=every)
    stood = weight.item()
    assert training.restore(tmp_path / last / "checkpoints" / last, [weight]) == 10 and weight.item() > stood


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, optimizers.in_backward])
def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path, optimizer):
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(FloatingPointError, match="After step 0 the gradient has become infinite"):
        train_until(tmp_path, weight, rootless(weight), optimizer=optimizer)
    assert weight.isfinite().all()
    assert optimizer is optimizers.in_backward or torch.equal(weight, torch.ones(2))


def test_a_loss_that_leaves_the_ground_is_stopped_before_it_is_no_number(tmp_path):
    weight = nn.Parameter(torch.ones(1))
    loss = lambda part: 0 * weight.sum() + 1 + max(0, part - 60) / 5
    with pytest.raises(FloatingPointError, match=r"the training diverges.*000050.pt"):
        train_until(tmp_path / "a", weight, loss, steps=200)
    loss = lambda part: 0 * weight.sum() + 1 + part % 5
    assert train_until(tmp_path / "b", weight, loss, steps=110, checkpoint_every=100)[-1].number == 110


# Small numbers


def test_with_a_scaler_the_same_is_learnt_clipped_after_unscaling(tmp_path, monkeypatch):
    monkeypatch.setattr(training.steps, "MAX_GRAD_NORM", 0.05)  # so that every step is clipped
    plain, _ = toy_run(tmp_path / "plain")
    scale(monkeypatch)
    scaled, _ = toy_run(tmp_path / "scaled")
    assert same(plain, scaled), "a power of two scales without rounding"


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, optimizers.in_backward])
def test_a_scaled_gradient_may_overflow_now_and_then_but_not_for_ever(tmp_path, monkeypatch, optimizer):
    scale(monkeypatch)
    weight = nn.Parameter(torch.ones(1))
    steps = train_until(tmp_path / "a", weight, lambda part: weight.sum() * 1e35, optimizer=optimizer)
    assert steps[-1].loss < steps[1].loss and weight.isfinite().all()
    with pytest.raises(FloatingPointError, match="gradient has become infinite"):
        train_until(tmp_path / "b", weight, rootless(weight), steps=40, optimizer=optimizer)


def test_weights_that_learn_must_be_whole_and_free(tmp_path):
    with pytest.raises(ValueError, match="must be float32, not torch.float16"):
        train_until(tmp_path, nn.Parameter(torch.ones(1).half()), lambda part: None)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        train_until(tmp_path, nn.Parameter(torch.ones(1), requires_grad=False), lambda part: None)


# Steps of several parts, optimizers


def test_two_small_batches_are_one_large_one(tmp_path, monkeypatch):
    monkeypatch.setattr(diffusion.device, "cpu_has_bf16", lambda: False)  # in float32, to see more digits

    def run(name, batch_size, accumulate):
        torch.manual_seed(0)
        net, inputs = nn.Linear(4, 1), torch.randn(24, 4)
        loss = lambda rows: (net(inputs[rows]) - inputs[rows].sum(1, keepdim=True).sin()).square().mean()
        settings = {"steps": 20, "learning_rate": 0.05, "accumulate": accumulate}
        batches = training.shuffled(24, batch_size, seed=1)
        return net, list(training.train(tmp_path / name, net.parameters(), loss, batches, **settings))

    (large, steps), (small, parts) = run("large", 8, 1), run("small", 4, 2)
    torch.testing.assert_close(small.weight, large.weight, atol=1e-6, rtol=1e-5)
    assert parts[7].loss == pytest.approx(steps[7].loss, rel=1e-5)


def test_what_moves_in_the_backward_pass_takes_one_part_in_one_process(tmp_path, monkeypatch):
    """Otherwise each part, and each process, would take a step of its own, and nobody would be told."""
    toy_run(tmp_path)
    before = (tmp_path / "loss.csv").read_bytes()
    with pytest.raises(ValueError, match="accumulate=1"):
        toy_run(tmp_path, optimizer=optimizers.in_backward, accumulate=2)
    monkeypatch.setattr(diffusion.device, "state", lambda: SimpleNamespace(num_processes=2))
    with pytest.raises(ValueError, match="in one process"):
        toy_run(tmp_path, optimizer=optimizers.in_backward)
    assert (tmp_path / "loss.csv").read_bytes() == before, "the run that was there is not touched"


def test_an_optimizer_before_this_one_moves_nothing_any_more(tmp_path):
    weight, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizers.in_backward([weight])  # of a training that was stopped, or refused
    for parameter, name in ((weight, "a"), (other, "b")):
        train_until(tmp_path / name, parameter, lambda p, w=parameter: w.square().sum(), steps=5)
    assert torch.equal(weight, other) and not torch.equal(other, torch.ones(3))


# Several processes

TWO = """
    import os
    import sys
    from pathlib import Path
    from helpers.diffusion import device
    from toy import toy_run

    def interrupt(part):
        if part >= 40:  # in both processes while they take step 14
            raise KeyboardInterrupt

    device.cpu_has_bf16 = lambda: False  # it measures, and two processes that share a core may not agree
    state = device.state()
    assert state.num_processes == 2
    try:
        toy_run(sys.argv[1], accumulate=3, before_step=interrupt)
    except KeyboardInterrupt:
        pass
    net, steps = toy_run(sys.argv[1], accumulate=3)
    assert steps[0].number == 14 and steps[-1].loss is not None
    if not state.is_main_process:
        assert all(step.preview is None for step in steps)
    state.destroy_process_group()
    threads = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
    assert not any("gloo" in name for name in threads), threads  # one left over may abort the ending process
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does_up_to_the_order_of_sums(tmp_path, monkeypatch):
    """Stopped and taken up again; three parts a step, so that one process has twice as many as the other."""
    monkeypatch.setattr(diffusion.device, "cpu_has_bf16", lambda: False)
    (tmp_path / "two.py").write_text(textwrap.dedent(TWO))
    paths = os.pathsep.join(map(str, (machine.REPO, machine.REPO / "tests")))
    two_processes(tmp_path / "two.py", tmp_path / "two", PYTHONPATH=paths)
    one, _ = toy_run(tmp_path / "one", accumulate=3)
    saved = training.run.read(tmp_path / "two" / "checkpoints" / f"{STEPS:06}.pt")
    torch.testing.assert_close(saved["weights"], [p.detach() for p in one.parameters()], atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert ours["step"] == theirs["step"]
        if ours["loss"]:
            assert float(ours["loss"]) == pytest.approx(float(theirs["loss"]), rel=1e-4)
    assert '"processes": 2' in (tmp_path / "two" / "settings.json").read_text()


def test_a_process_alone_starts_no_group_and_shares_with_nobody():
    weight = nn.Parameter(torch.ones(2))
    weight.grad = gradient = torch.ones(2)
    assert training.steps.add_up([weight], torch.tensor(3.0)) == 3 and weight.grad is gradient
    assert diffusion.device.state().num_processes == 1 and diffusion.device.from_first(lambda: "x") == "x"
    assert not torch.distributed.is_initialized()
