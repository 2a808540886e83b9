"""A training's folder: settings.json, loss.csv, held_out.csv, previews/, checkpoints/, card.md, memory.json."""

import csv
import functools
import itertools
import json
import os
import time
import warnings
from importlib import metadata
from pathlib import Path

import torch
from accelerate.utils import broadcast

from helpers import diffusion
from helpers.machine import read_json, room_for, write_json
from helpers.training import optimizers, steps
from helpers.training.owner import MARK, Owner, discard

COLUMNS = ("step", "loss", "held_out_loss", "learning_rate", "seconds")
TABLES = ("loss.csv", "held_out.csv")
RESUMED = ("number", "taken", "seconds", "best")
LEAST_MINUTES = 2


def put_back(parameters, weights):
    """Copies saved `weights` into `parameters`, wherever those are."""
    with torch.no_grad():
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)


def read(checkpoint):
    """What a checkpoint file holds, left there until used. Raises ValueError if damaged, FileNotFoundError if gone."""
    try:
        return diffusion.checkpoint.load_pt(checkpoint, mmap=True)
    except ValueError as error:
        raise ValueError(f"{checkpoint} is damaged: delete it, and the run goes on from the one before.") from error


def minutes_between(size):
    """Between two checkpoints of weights of so many bytes: one for each GB that AdamW makes of them, two at least."""
    return max(LEAST_MINUTES, 3 * size / 1e9)


class Run:
    """The folder of one training, and where in it the training stands; the first process alone writes there.

    A run with other settings found in the folder is renamed, with a warning. Whoever began last owns the folder: what
    another process writes there raises RuntimeError. keep: so many checkpoints stay on disk, besides best.pt.
    checkpoints: their folder, if it is another one. result: as for `train`.
    """

    def __init__(self, folder, settings, parameters, optimizer, scaler, keep=1, checkpoints=None, result=None):
        self.folder, self.parameters, self.optimizer, self.scaler = Path(folder), parameters, optimizer, scaler
        self.place, self.result = Path(checkpoints or self.folder / "checkpoints"), result
        self.settings = json.loads(json.dumps(settings))  # as it will be read again
        self.settings |= {name: diffusion.models.last_part(at) for name, at in self.settings.items() if name == "model"}
        self.settings["parameters"] = sum(parameter.numel() for parameter in parameters)
        self.keep, self.writes = keep, diffusion.device.state().is_main_process
        self.number, self.taken = -1, None  # the last step, -1: before step 0; its loss and rate until it is logged
        self.seconds, self.losses, self.saved_at = 0.0, [], time.monotonic()
        self.best, self.state = {"number": None, "held_out_loss": float("inf")}, None  # state: see `_touched`
        self.owner = Owner(self.folder, self.checkpoints)
        self.final = False  # whether the newest checkpoint holds the weights alone, as the last one does
        if self.writes:
            self._set_another_aside()
            if not self.finished:
                self.owner.take(self.folder, self.folder / "previews", self.place)
                self._write_settings()

    @property
    def finished(self):
        """Whether a training has left all that it leaves, and its mark is gone: then nothing is written any more."""
        there = {path.name for path in self.folder.glob("*") if path.name in ("card.md", MARK)}
        return there == {"card.md"} and bool(self.checkpoints() or self.left)

    @functools.cached_property
    def left(self):
        """The weights that a finished run has left elsewhere, where its checkpoints have gone; else None."""
        gone = (self.folder / "card.md").exists() and not self.checkpoints()
        return self.result() if self.result and gone else None

    def _set_another_aside(self):
        path = self.folder / "settings.json"
        if not self.checkpoints() and not any((self.folder / name).exists() for name in ("loss.csv", "card.md")):
            return
        before = read_json(path) if path.exists() else {}
        names = (self.settings.keys() | before.keys()) - {"versions"}
        changed = sorted(name for name in names if before.get(name) != self.settings.get(name))
        if changed:
            aside = _free_name(self.folder)
            for place, free in ((self.folder, aside), (self.place, _free_name(self.place))):
                if place.exists():  # of one within the other only that
                    place.rename(free)
            was = ", ".join(f"{name} was {before.get(name)!r:.60}" for name in changed)
            warnings.warn(
                f"The run in {self.folder.name} had other settings ({was}): it is kept as {aside.name}.", stacklevel=4
            )
        elif not self.checkpoints() and not self.left:
            gone = self.folder not in self.place.parents  # with the machine of another session
            why = "'s checkpoints were on a machine that has gone" if gone else " has no checkpoint"
            keep = " To keep what it left, stop here and go on with the next notebook."
            keep *= (self.folder / "card.md").exists()
            warnings.warn(f"{self.folder.name}{why}: it begins anew.{keep}", stacklevel=4)

    def _write_settings(self):
        """settings.json, with the versions that the run goes on with; says where those are others than it began with."""
        device = self.parameters[0].device
        now = {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}
        now |= {"processes": diffusion.device.state().num_processes, "device": str(device)}
        now["precision"] = str(steps.precision_of(self.parameters)).removeprefix("torch.")
        path = self.folder / "settings.json"
        before = read_json(path).get("versions", {}) if path.exists() and self.checkpoints() else now
        if changed := [
            f"{name} was {before[name]}, is {now[name]}" for name in now if before.get(name, now[name]) != now[name]
        ]:
            warnings.warn(
                f"{self.folder.name} goes on otherwise than it began ({'; '.join(changed)}): its weights will not be, "
                "digit for digit, those of a run that was never stopped.", stacklevel=5,
            )  # fmt: skip
        with self.owner.write(path) as partial:
            partial.write_text(
                json.dumps(self.settings | {"versions": now}, indent=2, ensure_ascii=False) + "\n", "utf-8"
            )

    def checkpoints(self):
        """The numbered checkpoints, the oldest first."""
        numbered = sorted(self.place.glob("[0-9]*.pt"))
        return [path for path in numbered if path.stat().st_size]  # an empty one is half gone

    def resume(self, last):
        """Puts the newest checkpoint back, where there is one: weights, optimizer, number, seconds, best.

        Or else what a finished run, whose steps end with number `last`, has left elsewhere.
        Raises ValueError if there is none and these weights have learnt in this folder already.
        """
        for parameter in self.parameters:
            parameter.grad = None  # of an interrupted step
        newest = diffusion.device.from_first(lambda: self.checkpoints()[-1:])
        if newest:
            saved = read(newest[0])  # by each process: sent to a GPU, it might not fit there
            put_back(self.parameters, saved["weights"])
            for name in ("optimizer", "scaler"):
                if saved[name]:  # a finished run needs none
                    getattr(self, name).load_state_dict(saved[name])
            optimizers.off_disk(self.optimizer)
            self.number, self.taken, self.seconds, self.best = (saved.get(n) for n in RESUMED)
            self.final = saved["optimizer"] is None
        elif self.left:
            put_back(self.parameters, self.left)
            self.number, self.final, self.left = last, True, None
        elif getattr(self.parameters[0], "_learnt_in", None) == self.folder.resolve():
            raise ValueError(f"These weights have learnt, and {self.folder} has no checkpoint: load the model again.")
        broadcast([parameter.detach() for parameter in self.parameters])  # the first one's weights, in place
        self.state = self._touched()
        self._forget_later_rows(self.number - (self.taken is not None))

    def _forget_later_rows(self, last):
        """Drops the rows that come after step `last`, or are cut off: they are about to be made again."""
        if not self.writes:
            return
        tables = {name: _table(self.folder / name, last) for name in TABLES}
        self.losses = [float(row[1]) for row in tables["loss.csv"][1:] if row[1]]
        if not self.owner.holds:
            return
        if last < 0:
            (self.folder / "card.md").unlink(missing_ok=True)
        tables["loss.csv"] = tables["loss.csv"] or [COLUMNS]
        for name, rows in tables.items():
            if rows:
                with self.owner.write(self.folder / name) as partial, partial.open("w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows(rows)
            else:
                (self.folder / name).unlink(missing_ok=True)

    def take(self, number, loss, rate):
        """Notes that step `number` is taken: from here on it can be saved, though it is not logged."""
        self.number, self.taken, self.state = number, (loss, rate), self._touched()
        self.optimizer.midway = False  # at last: until now an interrupt would have met half a step

    def log(self, step):
        """Adds a row to loss.csv, saves the preview, and notes the weights if their held-out loss is the lowest."""
        if self.writes:
            row = (step.number, step.loss, step.held_out_loss, step.learning_rate, round(step.seconds, 2))
            self.owner.append(self.folder / "loss.csv", row)
            if step.held_out:
                if not (self.folder / "held_out.csv").exists():
                    self.owner.append(self.folder / "held_out.csv", ["step", *step.held_out])
                self.owner.append(self.folder / "held_out.csv", [step.number, *step.held_out.values()])
            if step.preview:
                with self.owner.write(self.folder / "previews" / f"{step.number:06}.png") as partial:
                    step.preview.save(partial, format="PNG")
            if step.number and step.held_out_loss is not None and step.held_out_loss < self.best["held_out_loss"]:
                weights = [p.detach().to("cpu", torch.float16, copy=True) for p in self.parameters]
                self.best = {"number": step.number, "held_out_loss": step.held_out_loss, "weights": weights}
            self.losses += [step.loss] if step.number else []
        self.state = self._touched()
        self.taken = None  # last: after an interrupt before this the step is logged once more

    def is_due(self, every=None):
        """Whether to save a checkpoint: after `every` steps, else by the clock."""
        if every:
            return self.number > 0 and self.number % every == 0
        minutes = minutes_between(sum(parameter.nbytes for parameter in self.parameters))
        return self.number > 0 and time.monotonic() - self.saved_at >= 60 * minutes

    def checkpoint(self, finished=False):
        """Saves all that the next step depends on; when finished, the weights alone."""
        if not self.writes:
            return
        for name in TABLES:  # on disk before the checkpoint that counts on them
            path = self.folder / name
            if path.exists():
                with room_for(path, self.checkpoints()), path.open("rb+") as file:
                    os.fsync(file.fileno())
        self._save_best()
        data = {name: getattr(self, name) for name in RESUMED}
        for name in ("optimizer", "scaler"):
            data[name] = None if finished else getattr(self, name).state_dict()
        self._save(f"{self.number:06}.pt", data | {"weights": [parameter.detach() for parameter in self.parameters]})
        self.final, self.saved_at = finished, time.monotonic()
        self._discard_all_but(1 if finished else self.keep)

    def _discard_all_but(self, keep):
        numbered = sorted(self.place.glob("[0-9]*.pt"))
        self.owner.check()
        for path in numbered[:-keep]:
            discard(path)

    def _save_best(self):
        """best.pt, the best weights so far in 16 bits, which wait in memory until a checkpoint names them."""
        if "weights" in self.best:
            self._save("best.pt", self.best)
            self.best = {name: self.best[name] for name in ("number", "held_out_loss")}

    def finish(self, took_steps):
        """Leaves the last weights and the card for people, and nothing else: all, or what was missing after a kill."""
        if not self.owner.holds:
            return
        path = self.folder / "memory.json"
        unknown = {"peak_bytes": None, "how": "not measured: the training was stopped at its end"}
        if took_steps or not path.exists():
            self.owner.check()
            with room_for(path, self.checkpoints()):
                write_json(path, diffusion.device.peak_memory() if took_steps else unknown)
        if not self.final:
            self.checkpoint(finished=True)
        self._discard_all_but(1)
        self._write_card()

    def checkpoint_if_whole(self):
        """Saves the last step after an interrupt, unless weights have moved since."""
        new = self.number > max((int(path.stem) for path in self.checkpoints()), default=0)
        whole = not getattr(self.optimizer, "midway", False) and self.state == self._touched()
        if self.writes and new and whole and self.owner.is_ours():
            self.checkpoint()

    def _touched(self):
        """The state of the weights, a number that grows when others write into them; fused optimizers do not raise it."""
        return sum(parameter._version for parameter in self.parameters)

    def good_until(self, number):
        """A sentence on how to go on after a training that has gone wrong since step `number`; saves best.pt."""
        if self.writes:
            self._save_best()
        best = [self.place / "best.pt"] if self.best["number"] is not None else []
        good = best + [path for path in self.checkpoints() if int(path.stem) <= number]
        last = f"The last good checkpoint is {good[-1]}" if good else "No checkpoint was saved before it went wrong"
        return f"{last}. Run again with a lower learning_rate: this run is kept under another name."

    def _save(self, name, data):
        with self.owner.write(self.place / name) as partial:
            torch.save(data, partial)

    def _write_card(self):
        took = f"{self.number} steps in {self.seconds / 60:.1f} minutes of training; last loss {self.losses[-1]:.4f}."
        lines = [f"# {self.folder.name}", "", took]
        if self.best["number"] is not None:
            lines.append(f"Lowest held-out loss {self.best['held_out_loss']:.4f}, at step {self.best['number']}.")
        lines += ["", "| setting | value |", "|---|---|", *(f"| {n} | {value} |" for n, value in self.settings.items())]
        with self.owner.write(self.folder / "card.md") as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _free_name(folder):
    """The first of folder-1, folder-2 ... that is free."""
    candidates = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(1))
    return next(path for path in candidates if not path.exists())


def _table(path, last):
    """The rows of a table of ours up to step `last`, header first; rows cut off in writing are left out."""
    if last < 0 or not path.exists():
        return []
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return [header, *(row for row in rows if len(row) == len(header) and int(row[0]) <= last)]
