"""A run is broken where a soak has found that it was not taken up again as if nothing had been."""

import errno
import itertools
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from toy import STEPS, numbered, rows, same, toy_run

from helpers import diffusion, machine, training
from helpers.machine import files
from helpers.training import optimizers, owner


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def break_once(monkeypatch, owner, name, error, when=lambda *given: True, after=False):
    """The first call of owner.name for which `when` holds raises `error`, before it does anything or after."""
    original, left = getattr(owner, name), [1]

    def call(*given, **settings):
        broken = when(*given) and left and left.pop()
        result = None if broken and not after else original(*given, **settings)
        if broken:
            raise error
        return result

    monkeypatch.setattr(owner, name, call)


def same_runs(one, other):
    names = [{path.relative_to(run) for path in run.rglob("*")} for run in (one, other)]
    best = [training.run.read(run / "checkpoints" / "best.pt") for run in (one, other)]
    weights = all(map(torch.equal, best[0]["weights"], best[1]["weights"])) and best[0]["number"] == best[1]["number"]
    return names[0] == names[1] and rows(one) == rows(other) and weights


def weight_and_steps(folder, **changes):
    """A weight and the steps of its training, not yet taken."""
    weight = nn.Parameter(torch.ones(3))
    settings = {"steps": 20, "learning_rate": 0.01} | changes
    return weight, training.train(folder, [weight], lambda part: weight.square().sum(), lambda part: part, **settings)


# After the last checkpoint


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [Killed(), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("name", ["000023.pt", "memory.json", "card.md"])
def test_what_is_broken_at_its_end_is_finished_by_the_next_run(tmp_path, monkeypatch, name, error, after):
    whole, _ = toy_run(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(type(error)):
        break_once(patch, os, "replace", error, lambda _, target: target.name == name, after)
        toy_run(tmp_path / "broken")
    if not after:
        (tmp_path / "broken" / "checkpoints" / ".000023.pt.part").write_bytes(b"half")
        (tmp_path / "broken" / "checkpoints" / "000018.pt").touch()  # half removed
    broken, _ = toy_run(tmp_path / "broken")
    assert same(whole, broken) and same_runs(tmp_path / "whole", tmp_path / "broken")
    assert toy_run(tmp_path / "broken")[1] == [], "and then it is read"


# Within a step


PLACES = {
    "the row": (owner.Owner, "append", lambda who, path, row: row[0] == 16),
    "the preview": (Image.Image, "save", lambda image, path, *_: "000016" in str(path)),
    "the end of the log": (training.run.Run, "log", lambda run, step: step.number == 16),
    "a checkpoint": (os, "replace", lambda _, target: target.name == "000018.pt"),
    "the best": (os, "replace", lambda _, target: target.name == "best.pt"),
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_loses_no_row_no_preview_and_no_best(tmp_path, monkeypatch, place, after):
    whole, _ = toy_run(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kind, name, when = PLACES[place]
        break_once(patch, kind, name, KeyboardInterrupt(), when, after)
        toy_run(tmp_path / "broken")
    broken, _ = toy_run(tmp_path / "broken")
    assert same(whole, broken) and same_runs(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, optimizers.adamw])  # a fused one raises no `_version`
def test_an_interrupt_between_a_step_and_its_row_does_not_take_one_for_the_other(tmp_path, monkeypatch, optimizer):
    whole, _ = toy_run(tmp_path / "whole", optimizer=optimizer)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        counted = itertools.count(1)
        break_once(patch, training.loop, "update", KeyboardInterrupt(), lambda *_: next(counted) == 16, after=True)
        toy_run(tmp_path / "broken", optimizer=optimizer)
    assert numbered(tmp_path / "broken") == [12]
    broken, _ = toy_run(tmp_path / "broken", optimizer=optimizer)
    assert same(whole, broken) and same_runs(tmp_path / "whole", tmp_path / "broken")


def test_weights_that_have_learnt_do_not_begin_anew(tmp_path):
    weight, steps = weight_and_steps(tmp_path)
    next(step for step in steps if step.number == 1)
    with torch.no_grad():
        weight.zero_()  # so that leaving saves nothing
    steps.close()
    again = training.train(tmp_path, [weight], lambda p: weight.sum(), lambda p: p, steps=20, learning_rate=0.01)
    with pytest.raises(ValueError, match="load the model again"):
        next(again)


# Who owns a folder


def test_whoever_began_last_owns_the_folder(tmp_path):
    _, left = weight_and_steps(tmp_path / "run")
    next(step for step in left if step.number == 3)
    left.close()
    _, first = weight_and_steps(tmp_path / "run")
    next(step for step in first if step.number == 5)
    _, now = weight_and_steps(tmp_path / "run", steps=30)
    with pytest.warns(UserWarning, match="steps was"):
        next(now)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(RuntimeError, match="Another process trains in"):
        list(first)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert machine.read_json(tmp_path / "run" / "settings.json")["steps"] == 30
    assert [step.number for step in now][-1] == 30 and numbered(tmp_path / "run") == [30]


def test_one_that_saves_while_another_begins_does_not_take_its_place(tmp_path, monkeypatch):
    _, first = weight_and_steps(tmp_path, checkpoint_every=5)
    save, others = torch.save, []

    def save_meanwhile(data, path):
        save(data, path)
        if not others:
            others.append(weight_and_steps(tmp_path, checkpoint_every=5)[1])
            next(others[0])

    monkeypatch.setattr(torch, "save", save_meanwhile)
    with pytest.raises(RuntimeError, match="Another process trains in"):
        list(first)
    assert numbered(tmp_path) == [] and list(others[0])[-1].number == 20


def test_a_run_of_other_settings_is_kept_though_it_has_no_checkpoint_yet(tmp_path):
    _, steps = weight_and_steps(tmp_path / "run")
    next(step for step in steps if step.number == 3)
    (tmp_path / "run" / owner.MARK).unlink()  # so that leaving saves nothing, as after a kill
    steps.close()
    with pytest.warns(UserWarning, match="kept as run-1"):
        next(weight_and_steps(tmp_path / "run", steps=30)[1])
    assert (tmp_path / "run-1" / "loss.csv").exists()


def test_a_finished_run_is_read_without_a_byte_written(tmp_path):
    toy_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    toy_run(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


# Disks


@pytest.mark.parametrize(
    "name", ["settings.json", "000008.png", "best.pt", "000006.pt", "memory.json", "loss.csv", "card.md"]
)
def test_every_file_that_does_not_fit_is_told_in_one_sentence(tmp_path, monkeypatch, name):
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch, pytest.raises(OSError, match=f"No room to write .*{name}.* Make room") as told:
        break_once(patch, os, "replace", full, lambda _, target: target.name == name)
        toy_run(tmp_path)
    assert "\n" not in str(told.value) and not list(tmp_path.rglob("*.part"))


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """A Google Drive of its own, mounted."""
    monkeypatch.setattr(files, "DRIVE", tmp_path / "drive")
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    return tmp_path / "drive"


def test_a_drive_that_is_gone_is_told_and_nothing_begins_anew_in_its_place(drive):
    folder = drive / "MyDrive" / "run"
    _, steps = weight_and_steps(folder)
    next(step for step in steps if step.number == 3)
    shutil.rmtree(drive / "MyDrive")
    with pytest.raises(RuntimeError, match="run is gone .*Google Drive"):
        list(steps)
    with pytest.raises(FileNotFoundError, match="Google Drive is gone"):
        next(weight_and_steps(folder)[1])
    with pytest.raises(FileNotFoundError, match="Google Drive is gone"):
        machine.write_json(folder / "a.json", {})
    assert not (drive / "MyDrive").exists()


def test_of_a_run_on_drive_the_checkpoints_may_lie_on_the_disk_here(drive, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "REPO", tmp_path / "repo")
    folder = drive / "MyDrive" / "runs" / "model"
    place = machine.local(folder / "checkpoints")
    assert machine.local(tmp_path / "run") == tmp_path / "run" and tmp_path / "repo" in place.parents
    whole, _ = toy_run(tmp_path / "whole")

    def stop(number):
        if number == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy_run(folder, checkpoints=place, before_step=stop)
    broken, steps = toy_run(folder, checkpoints=place)
    assert steps[0].number == 9 and same(whole, broken) and not (folder / "checkpoints").exists()
    assert {path.name for path in place.iterdir()} == {"000023.pt", "best.pt"}
    with pytest.warns(UserWarning, match="kept as model-1"):
        toy_run(folder, checkpoints=place, learning_rate=1e-3)
    assert (folder.with_name("model-1") / "card.md").exists() and len(list(place.parent.iterdir())) == 2
    shutil.rmtree(place)  # with the session
    with pytest.warns(UserWarning, match="on a machine that has gone: it begins anew. To keep what it left"):
        assert len(toy_run(folder, checkpoints=place, learning_rate=1e-3)[1]) == STEPS + 1


def test_a_finished_run_whose_checkpoints_have_gone_is_read_from_its_result(drive, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(files, "REPO", tmp_path / "repo")
    folder, kept = drive / "MyDrive" / "runs" / "model", []
    place = machine.local(folder / "checkpoints")
    result = lambda: kept or None
    stop = lambda number: number == 9 and (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        toy_run(folder, checkpoints=place, result=result, before_step=stop)
    shutil.rmtree(place)  # with the session
    with pytest.warns(UserWarning, match="model's checkpoints were on a machine that has gone: it begins anew.$"):
        whole, _ = toy_run(folder, checkpoints=place, result=result)
    kept += [parameter.detach().half() for parameter in whole.parameters()]
    shutil.rmtree(place)
    recwarn.clear()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again, steps = toy_run(folder, checkpoints=place, result=result)
    assert steps == [] and not recwarn and before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert all(torch.equal(ours, weight.float()) for ours, weight in zip(again.parameters(), kept, strict=True))
    with pytest.warns(UserWarning, match="kept as model-1"):  # another training's result is not its own
        assert len(toy_run(folder, checkpoints=place, result=result, learning_rate=1e-3)[1]) == STEPS + 1


def test_checkpoints_come_by_the_clock_none_at_step_0_and_the_best_with_them(tmp_path, monkeypatch):
    """A minute for each GB that one has, but two at least; weights that are the best wait for the next."""
    now, written = itertools.count(0, 50), []  # two looks at the clock a step
    replace = os.replace
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    monkeypatch.setattr(os, "replace", lambda *paths: (written.append(paths[1].name), replace(*paths))[1])
    toy_run(tmp_path, checkpoint_every=None, watch_every=1)
    saved = [name for name in written if name.endswith(".pt")]
    numbers = [name for name in saved if name != "best.pt"]
    assert "000000.pt" not in numbers and 6 < len(numbers) < 12 and numbers[-1] == "000023.pt"
    assert saved.count("best.pt") <= len(numbers) and "best.pt" in saved
    monkeypatch.setattr(training.run, "LEAST_MINUTES", 10**6)
    written.clear()
    toy_run(tmp_path / "b", checkpoint_every=None)
    assert [name for name in written if name.endswith(".pt")] == ["best.pt", "000023.pt"]


def test_the_best_weights_are_kept_in_16_bits(tmp_path):
    toy_run(tmp_path)
    assert {w.dtype for w in training.run.read(tmp_path / "checkpoints" / "best.pt")["weights"]} == {torch.float16}


def test_an_old_checkpoint_is_empty_when_it_is_removed_for_drive_keeps_it_in_its_bin(tmp_path, monkeypatch):
    sizes, remove = [], Path.unlink
    look = lambda path, **settings: (
        path.suffix == ".pt" and sizes.append(path.stat().st_size),
        remove(path, **settings),
    )
    monkeypatch.setattr(Path, "unlink", look)
    toy_run(tmp_path)
    assert sizes == [0, 0, 0] and numbered(tmp_path) == [STEPS]


# What holds on another machine


def test_a_run_that_goes_on_in_another_precision_says_so(tmp_path, monkeypatch):
    _, steps = weight_and_steps(tmp_path)
    next(step for step in steps if step.number == 3)
    steps.close()
    monkeypatch.setattr(diffusion.device, "computes_in", lambda place: torch.float64)
    with pytest.warns(UserWarning, match=r"precision was \w+, is float64"):
        list(weight_and_steps(tmp_path)[1])


def test_a_resume_reads_from_disk_what_it_copies(tmp_path, monkeypatch):
    """Else both the file and the networks would be in memory: 10 GB more of SD 1.5."""
    _, steps = weight_and_steps(tmp_path)
    next(step for step in steps if step.number == 3)
    steps.close()
    load, mapped = torch.load, []
    monkeypatch.setattr(
        torch, "load", lambda *a, mmap=None, **more: (mapped.append(mmap), load(*a, mmap=mmap, **more))[1]
    )
    weight, steps = weight_and_steps(tmp_path)
    next(steps)
    os.truncate(tmp_path / "checkpoints" / "000003.pt", 0)  # whatever was still mapped would end the process
    assert mapped == [True] and list(steps)[-1].number == 20 and weight.isfinite().all()
