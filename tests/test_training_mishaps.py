"""What can go wrong in a training: interrupts, full disks, losses that explode, small numbers, several processes."""

import math
import os
import resource
import subprocess
import sys
import textwrap

import pytest
import torch
from test_training import STEPS, rows, toy_run
from torch import nn

from helpers import low_memory, optimizers, processes, runs, runtime, training, updates


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def numbered(folder):
    return [int(path.stem) for path in sorted((folder / "checkpoints").glob("[0-9]*.pt"))]


# Interrupts


def interrupt_at(at):
    def before_step(number):
        if number == at:
            raise KeyboardInterrupt

    return before_step


def test_an_interrupt_leaves_a_checkpoint_of_the_last_finished_step(tmp_path):
    whole, _ = toy_run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "broken", before_step=interrupt_at(16))
    assert numbered(tmp_path / "broken") == [15]
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

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optimizers, "name_of", lambda optimizer: None)  # for the settings, the usual one
        toy_run(tmp_path / "broken", optimizer=Interrupted)
    assert numbered(tmp_path / "broken") == [12]
    broken, steps = toy_run(tmp_path / "broken")
    assert steps[0].number == 13 and same(whole, broken)


def unfinished(folder, last, **changes):
    """A training left at a step, and its net; the generator is still open."""
    net = nn.Linear(3, 1)
    nn.init.ones_(net.weight)
    loss = lambda batch: net(torch.ones(1, 3)).square().sum()
    settings = {"steps": 20, "learning_rate": 0.01, "checkpoint_every": 100} | changes
    steps = training.train(folder, net.parameters(), loss, lambda part: part, **settings)
    for step in steps:
        if step.number == last:
            return net, steps


def test_leaving_the_loop_leaves_a_checkpoint(tmp_path):
    _, steps = unfinished(tmp_path, 5)
    assert numbered(tmp_path) == [0]
    steps.close()
    assert numbered(tmp_path) == [5]


def test_weights_that_were_touched_since_are_not_saved(tmp_path):
    net, steps = unfinished(tmp_path, 5)
    with torch.no_grad():
        net.weight.zero_()
    steps.close()
    assert numbered(tmp_path) == [0]


def test_a_training_left_open_does_not_write_into_the_next_one_of_the_folder(tmp_path):
    _, left = unfinished(tmp_path, 9)
    _, now = unfinished(tmp_path, 3)
    now.close()
    left.close()
    assert numbered(tmp_path) == [3]


# The disk


def test_at_most_so_many_checkpoints_stay(tmp_path):
    toy_run(tmp_path / "two", checkpoint_every=5, keep=2, before_step=lambda n: seen.append(numbered(tmp_path / "two")))
    assert max(len(found) for found in seen) == 2 and seen[-1] == [15, 20]
    assert numbered(tmp_path / "two") == [STEPS], "a finished run needs no earlier ones"


seen = []

FULL = """
    import resource, signal, sys
    sys.path[:0] = [{repo!r}, {repo!r} + "/tests"]
    from test_training import toy_run

    def fill(number):
        if number == 9:  # from now on a file may be so long and no longer, as on a full disk
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    toy_run(sys.argv[1], before_step=fill, watch_every=100)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no such limit on this system")
def test_a_full_disk_gives_one_sentence_and_keeps_the_last_checkpoint(tmp_path):
    whole, _ = toy_run(tmp_path / "whole", watch_every=100)
    code = textwrap.dedent(FULL.format(repo=str(runtime.REPO)))
    command = [sys.executable, "-c", code, str(tmp_path / "full")]
    told = subprocess.run(command, cwd=runtime.REPO, check=False, capture_output=True, text=True).stderr
    assert "no room to write" in told.splitlines()[-1] and "it goes on from checkpoint 000006.pt" in told
    assert numbered(tmp_path / "full") == [6] and not list((tmp_path / "full").rglob("*.part"))
    broken, steps = toy_run(tmp_path / "full", watch_every=100)
    assert steps[0].number == 7 and same(whole, broken)


def test_a_damaged_checkpoint_is_named(tmp_path):
    unfinished(tmp_path, 5)[1].close()
    path = tmp_path / "checkpoints" / "000005.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"000005.pt is damaged: delete it"):
        unfinished(tmp_path, 7)


# Losses that explode


def train_until(folder, weight, loss, **changes):
    settings = {"steps": 400, "learning_rate": 0.01, "checkpoint_every": 10, "keep": 50} | changes
    return list(training.train(folder, [weight], loss, lambda part: part, **settings))


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(tmp_path):
    weight = nn.Parameter(torch.ones(1))
    loss = lambda part: (weight * (math.nan if part == 36 else 1)).sum().square()
    with pytest.raises(FloatingPointError, match=r"after step 36 the loss has become nan.*000000.pt") as error:
        train_until(tmp_path, weight, loss, checkpoint_every=1000)
    with pytest.raises(FloatingPointError, match="checkpoints/000030.pt. Run again with a lower learning_rate"):
        train_until(tmp_path / "b", weight, loss)
    assert weight.isfinite().all() and "kept under another name" in str(error.value)
    stood = weight.item()
    assert training.restore(tmp_path / "b" / "checkpoints" / "000030.pt", [weight]) == 30 and weight.item() > stood


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path):
    weight = nn.Parameter(torch.ones(2))
    loss = lambda part: (weight - weight.detach()).sum().sqrt() + weight.sum()  # the root of 0 has no slope
    with pytest.raises(FloatingPointError, match="after step 0 the gradient has become infinite or not a number"):
        train_until(tmp_path, weight, loss)
    assert torch.equal(weight, torch.ones(2))


def test_a_loss_that_leaves_the_ground_is_stopped_before_it_is_no_number(tmp_path):
    weight = nn.Parameter(torch.ones(1))
    loss = lambda part: 0 * weight.sum() + (1 if part < 150 else 1 + (part - 150) / 10)
    with pytest.raises(FloatingPointError, match=r"the training diverges. The last good checkpoint is \S+000140.pt"):
        train_until(tmp_path, weight, loss)
    steady = train_until(tmp_path / "b", weight, lambda part: 0 * weight.sum() + 1 + part % 5)
    assert steady[-1].number == 400


# Small numbers


@pytest.fixture
def scaled(monkeypatch):
    """As on a T4: a GradScaler at work, here on the CPU."""
    monkeypatch.setattr(updates, "_needs_scaling", lambda device: True)


def test_with_a_scaler_the_same_is_learnt_clipped_after_unscaling(tmp_path, monkeypatch):
    monkeypatch.setattr(updates, "MAX_GRAD_NORM", 0.05)  # so that every step is clipped
    plain, _ = toy_run(tmp_path / "plain")
    monkeypatch.setattr(updates, "_needs_scaling", lambda device: True)
    scaled, steps = toy_run(tmp_path / "scaled")
    assert len(steps) == STEPS + 1 and same(plain, scaled), "a power of two scales without rounding"


def test_a_scaler_continues_where_it_was(tmp_path, scaled):
    whole, _ = toy_run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "broken", before_step=interrupt_at(16))
    saved = runs.read(tmp_path / "broken" / "checkpoints" / "000015.pt")
    assert saved["scaler"]["scale"] == 2.0**16 and saved["scaler"]["_growth_tracker"] == 15
    assert same(whole, toy_run(tmp_path / "broken")[0])


def test_a_scaled_gradient_that_overflows_is_skipped_and_tried_smaller(tmp_path, scaled):
    weight = nn.Parameter(torch.ones(1))
    steps = train_until(tmp_path, weight, lambda part: weight.sum() * 1e35, steps=20, learning_rate=0.1)
    values = [step.loss for step in steps[1:]]
    assert values[0] == values[4] and values[-1] < values[0]
    with pytest.raises(FloatingPointError, match="gradient has become infinite"):
        train_until(tmp_path / "b", weight, lambda part: (weight - weight.detach()).sum().sqrt(), steps=40)


def test_weights_that_learn_must_be_whole_and_free(tmp_path):
    with pytest.raises(ValueError, match=r"must be float32, not torch.float16: call .float\(\)"):
        train_until(tmp_path, nn.Parameter(torch.ones(1).half()), lambda part: None)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        train_until(tmp_path, nn.Parameter(torch.ones(1), requires_grad=False), lambda part: None)


# Steps of several parts, optimizers, and what is written down


def plain_run(folder, batch_size, accumulate, **changes):
    """A training without random numbers, so that only how a step is cut up can matter."""
    torch.manual_seed(0)
    net, inputs = nn.Linear(4, 1), torch.randn(24, 4)
    loss = lambda indices: (net(inputs[indices]) - inputs[indices].sum(1, keepdim=True).sin()).square().mean()
    settings = {"steps": 20, "learning_rate": 0.05, "accumulate": accumulate} | changes
    batches = training.shuffled(24, batch_size, seed=1)
    return net, list(training.train(folder, net.parameters(), loss, batches, **settings))


def test_two_small_batches_are_one_large_one(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: False)  # in float32, to see more digits
    large, steps = plain_run(tmp_path / "large", 8, 1)
    small, parts = plain_run(tmp_path / "small", 4, 2)
    torch.testing.assert_close(small.weight, large.weight, atol=1e-6, rtol=1e-5)
    assert parts[7].loss == pytest.approx(steps[7].loss, rel=1e-5)


def test_an_optimizer_that_steps_by_itself_is_left_to_it(tmp_path):
    class Alone(torch.optim.SGD):
        in_backward = True

        def __init__(self, parameters):
            super().__init__(parameters, lr=0.0)
            for parameter in parameters:
                parameter.register_post_accumulate_grad_hook(self.take)

        def take(self, parameter):
            with torch.no_grad():
                parameter -= self.param_groups[0]["lr"] * parameter.grad
            parameter.grad = None

        def step(self):
            raise AssertionError("nobody should ask")

    weight = nn.Parameter(torch.full((1,), 10.0))
    train_until(tmp_path, weight, lambda p: weight.sum(), steps=3, schedule=training.constant, optimizer=Alone)
    assert weight.item() == pytest.approx(10 - 3 * 0.01)
    assert "Alone" in (tmp_path / "settings.json").read_text()


def test_what_moves_in_the_backward_pass_takes_one_part_in_one_process(tmp_path, monkeypatch):
    """Otherwise each part, and each process, would take a step of its own, and nobody would be told."""
    toy_run(tmp_path)
    before = (tmp_path / "loss.csv").read_bytes()
    with pytest.raises(ValueError, match="LeanAdamW moves the weights within the backward pass.*accumulate=1"):
        toy_run(tmp_path, optimizer=low_memory.LeanAdamW, accumulate=2)
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(ValueError, match="in one process"):
        toy_run(tmp_path, optimizer=low_memory.LeanAdamW)
    assert (tmp_path / "loss.csv").read_bytes() == before, "the run that was there is not touched"
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="accumulate=1"):
        updates.update([weight], lambda p: weight.sum(), [0, 0], low_memory.LeanAdamW([weight]), None, 0.1, 2)


def rootless(weight):
    """A loss that is a number, with a gradient that is none: the root of 0 has no slope."""
    return lambda part: (weight - weight.detach()).sum().sqrt() + weight.sum()


def test_a_gradient_that_is_no_number_stops_what_moves_in_the_backward_pass(tmp_path):
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(FloatingPointError, match="after step 0 the gradient has become infinite or not a number"):
        train_until(tmp_path, weight, rootless(weight), optimizer=low_memory.LeanAdamW)
    assert weight.isfinite().all()


def test_float16_may_overflow_now_and_then_but_not_for_ever(tmp_path, scaled):
    weight = nn.Parameter(torch.ones(1))
    once = lambda part: weight.sum() * (1e38 if part == 5 else 1)  # times the optimizer's loss_scale
    steps = train_until(tmp_path / "a", weight, once, steps=20, optimizer=low_memory.LeanAdamW)
    assert steps[-1].number == 20 and weight.isfinite().all()
    with pytest.raises(FloatingPointError, match="after step 15 the gradient has become infinite"):
        train_until(tmp_path / "b", weight, rootless(weight), optimizer=low_memory.LeanAdamW)


def test_an_optimizer_before_this_one_moves_nothing_any_more(tmp_path):
    weight, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    low_memory.LeanAdamW([weight], lr=5.0)  # of a training that was stopped, or refused
    for parameter, name in ((weight, "a"), (other, "b")):
        train_until(tmp_path / name, parameter, lambda p, w=parameter: w.square().sum(), steps=5)
    assert torch.equal(weight, other) and not torch.equal(other, torch.ones(3))


def test_eight_bits_want_bitsandbytes_and_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ImportError, match="pip install bitsandbytes`, or leave the optimizer as it is"):
        optimizers.adamw_8bit([nn.Parameter(torch.ones(1))])


def test_eight_bits_learn_and_resume(tmp_path):
    pytest.importorskip("bitsandbytes", reason="8-bit AdamW is an extra: pip install bitsandbytes")

    def wide(folder, left_at=None):
        torch.manual_seed(0)
        net, inputs = nn.Linear(128, 64, bias=False), torch.randn(32, 128)  # 8192 weights: smaller ones stay 32 bits
        loss = lambda part: (net(inputs) - inputs[:, :64]).square().mean()
        settings = {"steps": 20, "learning_rate": 0.01, "optimizer": optimizers.adamw_8bit, "checkpoint_every": 5}
        steps = training.train(folder, net.parameters(), loss, lambda part: part, **settings)
        losses = [step.loss for step in steps if step.number != left_at or steps.close()]
        return net, losses

    whole, losses = wide(tmp_path / "whole")
    assert losses[-1] < losses[1] / 2
    wide(tmp_path / "broken", left_at=13)
    saved = runs.read(tmp_path / "broken" / "checkpoints" / "000013.pt")
    kept = saved["optimizer"]["state"][0]
    kept = kept.get("__bnb_optimizer_quant_state__", kept)  # where bitsandbytes wraps them
    assert any(value.dtype == torch.uint8 for value in kept.values() if torch.is_tensor(value))
    assert same(whole, wide(tmp_path / "broken")[0])


def test_held_out_losses_by_photo_are_kept_beside_their_mean(tmp_path):
    weight, count = nn.Parameter(torch.ones(1)), iter(range(100))
    held_out = lambda: {"a.png": 1.0 + next(count), "b, c.png": 3.0}
    steps = train_until(tmp_path, weight, lambda p: weight.sum(), steps=20, held_out_loss=held_out, watch_every=10)
    assert [step.held_out_loss for step in steps if step.held_out] == [2.0, 2.5, 3.0]
    expected = 'step,a.png,"b, c.png"\n0,1.0,3.0\n10,2.0,3.0\n20,3.0,3.0\n'
    assert (tmp_path / "held_out.csv").read_text() == expected


# Several processes

TWO = """
    import os
    import sys
    from pathlib import Path
    sys.path[:0] = [{repo!r}, {repo!r} + "/tests"]
    from helpers import processes
    from test_training import toy_run

    processes.start()
    net, steps = toy_run(sys.argv[1], accumulate=3)
    assert processes.count() == 2
    if processes.rank() == 1:
        assert all(step.preview is None for step in steps)
    assert steps[-1].loss is not None
    processes.stop()
    threads = [Path(f"/proc/self/task/{{task}}/comm").read_text() for task in os.listdir("/proc/self/task")]
    assert not any("gloo" in name for name in threads), threads  # one left over may abort the ending process
"""


@pytest.mark.slow
def test_two_processes_do_what_one_does_up_to_the_order_of_sums(tmp_path):
    """Real processes over gloo; three parts a step, so that one process has twice as many as the other."""
    (tmp_path / "two.py").write_text(textwrap.dedent(TWO.format(repo=str(runtime.REPO))))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command += [str(tmp_path / "two.py"), str(tmp_path / "two")]
    done = subprocess.run(command, cwd=runtime.REPO, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, _ = toy_run(tmp_path / "one", accumulate=3)
    saved = runs.read(tmp_path / "two" / "checkpoints" / f"{STEPS:06}.pt")
    torch.testing.assert_close(saved["weights"], [p.detach() for p in one.parameters()], atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert ours["step"] == theirs["step"]
        if ours["loss"]:
            assert float(ours["loss"]) == pytest.approx(float(theirs["loss"]), rel=1e-4)
    assert '"processes": 2' in (tmp_path / "two" / "settings.json").read_text()


def test_a_process_alone_shares_with_nobody():
    tensor = torch.ones(2)
    processes.start()
    processes.add_up([tensor])
    processes.copy_from_first([tensor])
    assert (processes.count(), processes.rank(), processes.from_first("x")) == (1, 0, "x")
    assert torch.equal(tensor, torch.ones(2))
