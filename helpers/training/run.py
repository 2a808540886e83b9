"""A training's folder: settings.json, loss.csv, held_out.csv, previews/, checkpoints/, card.md, memory.json."""

import csv
import itertools
import json
import os
import sys
import warnings
import weakref
from importlib import metadata
from pathlib import Path

import torch
from accelerate.utils import broadcast

from helpers import diffusion
from helpers.machine import atomic_write, discard, read_json, room_for, write_json

COLUMNS = ("step", "loss", "held_out_loss", "learning_rate", "seconds")
TABLES = ("loss.csv", "held_out.csv")
_OPEN = weakref.WeakValueDictionary()  # folder -> the Run that writes there; an older one must not any more


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


def _own(optimizer):
    """Copies what of an optimizer's averages still lies in the file that was read: it is cut when the next is there."""
    for one in getattr(optimizer, "each", {None: optimizer}).values():
        for state in one.state.values():
            state.update({n: v.clone() for n, v in state.items() if torch.is_tensor(v) and v.device.type == "cpu"})


def reset_peak_memory():
    """Starts `peak_memory` anew, on a GPU; main memory has one highest mark for all of a process."""
    device = torch.get_device_module(diffusion.device.find_device())
    if hasattr(device, "reset_peak_memory_stats"):  # CUDA's and Intel's
        device.reset_peak_memory_stats()


def peak_memory():
    """{"peak_bytes", "how"}: the most memory held since `reset_peak_memory`, the GPU's where there is one.

    None bytes where it cannot be measured: on Windows, and on Apple's GPU.
    """
    device = torch.get_device_module(diffusion.device.find_device())
    if hasattr(device, "max_memory_allocated"):
        return {"peak_bytes": device.max_memory_allocated(), "how": f"measured on {device.get_device_name()}"}
    if sys.platform == "win32" or diffusion.device.find_device().type != "cpu":
        return {"peak_bytes": None, "how": "not measured on this system"}
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
    return {"peak_bytes": most, "how": "measured on the CPU: main memory of the whole process"}


class Run:
    """The folder of one training, and where in it the training stands; the first process alone writes there.

    A run with other settings found in the folder is renamed, with a warning. keep: so many checkpoints
    stay on disk, besides best.pt.
    """

    def __init__(self, folder, settings, parameters, optimizer, scaler, keep=1):
        self.folder, self.parameters, self.optimizer, self.scaler = Path(folder), parameters, optimizer, scaler
        self.settings = json.loads(json.dumps(settings))  # as it will be read again
        self.settings |= {name: diffusion.models.last_part(at) for name, at in self.settings.items() if name == "model"}
        self.settings["parameters"] = sum(parameter.numel() for parameter in parameters)
        self.keep, self.writes = keep, diffusion.device.state().is_main_process
        self.number, self.seconds, self.losses = -1, 0.0, []  # the last finished step; -1: before step 0
        self.best, self.state = {"number": None, "held_out_loss": float("inf")}, None  # state: see `_touched`
        _OPEN[str(self.folder.resolve())] = self
        if self.writes:
            self._set_another_aside()
            versions = {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}
            versions |= {"processes": diffusion.device.state().num_processes, "device": str(parameters[0].device)}
            write_json(self.folder / "settings.json", self.settings | {"versions": versions})

    def _set_another_aside(self):
        path = self.folder / "settings.json"
        if not path.exists() or not self.checkpoints():
            return
        before = read_json(path)
        names = (self.settings.keys() | before.keys()) - {"versions"}
        changed = sorted(name for name in names if before.get(name) != self.settings.get(name))
        if changed:
            candidates = (self.folder.with_name(f"{self.folder.name}-{i}") for i in itertools.count(1))
            aside = self.folder.rename(next(path for path in candidates if not path.exists()))
            was = ", ".join(f"{name} was {before.get(name)!r:.60}" for name in changed)
            warnings.warn(
                f"The run in {self.folder.name} had other settings ({was}): it is kept as {aside.name}.", stacklevel=4
            )

    def checkpoints(self):
        """The numbered checkpoints, the oldest first."""
        return sorted((self.folder / "checkpoints").glob("[0-9]*.pt"))

    def resume(self):
        """Puts the newest checkpoint back, where there is one: weights, optimizer, number, seconds, best."""
        for parameter in self.parameters:
            parameter.grad = None  # of an interrupted step
        newest = diffusion.device.from_first(lambda: self.checkpoints()[-1:])
        if newest:
            saved = read(newest[0])  # by each process: sent to a GPU, it might not fit there
            put_back(self.parameters, saved["weights"])
            for name in ("optimizer", "scaler"):
                if saved[name]:  # a finished run needs none
                    getattr(self, name).load_state_dict(saved[name])
            _own(self.optimizer)
            self.number, self.seconds, self.best = (saved[name] for name in ("number", "seconds", "best"))
        broadcast([parameter.detach() for parameter in self.parameters])  # the first one's weights, in place
        self._forget_later_rows()

    def _forget_later_rows(self):
        """Drops the rows that come after the checkpoint, or are cut off: they are about to be made again."""
        if not self.writes:
            return
        tables = {name: _table(self.folder / name, self.number) for name in TABLES}
        self.losses = [float(row[1]) for row in tables["loss.csv"][1:] if row[1]]
        tables["loss.csv"] = tables["loss.csv"] or [COLUMNS]
        for name, rows in tables.items():
            if rows:
                with atomic_write(self.folder / name) as partial, partial.open("w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows(rows)

    def log(self, step):
        """Adds a row to loss.csv, saves the preview, and keeps the weights if their held-out loss is the lowest."""
        self.number, self.state = step.number, self._touched()
        if not self.writes:
            return
        self.losses += [step.loss] if step.number else []
        row = (step.number, step.loss, step.held_out_loss, step.learning_rate, round(step.seconds, 2))
        self._append("loss.csv", row)
        if step.held_out:
            if not (self.folder / "held_out.csv").exists():
                self._append("held_out.csv", ["step", *step.held_out])
            self._append("held_out.csv", [step.number, *step.held_out.values()])
        if step.preview:
            with atomic_write(self.folder / "previews" / f"{step.number:06}.png") as partial:
                step.preview.save(partial, format="PNG")
        if step.number and step.held_out_loss is not None and step.held_out_loss < self.best["held_out_loss"]:
            self.best = {"number": step.number, "held_out_loss": step.held_out_loss}
            self._save("best.pt", self.best)

    def _append(self, name, row):
        with room_for(self.folder / name, self.checkpoints()), (self.folder / name).open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)

    def checkpoint(self, finished=False):
        """Saves all that the next step depends on; when finished, the weights alone, and the card for people."""
        if not self.writes:
            return
        for name in TABLES:  # on disk before the checkpoint that counts on them
            if (self.folder / name).exists():
                with (self.folder / name).open("rb+") as file:
                    os.fsync(file.fileno())
        data = {"number": self.number, "seconds": self.seconds, "best": self.best}
        for name in ("optimizer", "scaler"):
            data[name] = None if finished else getattr(self, name).state_dict()
        self._save(f"{self.number:06}.pt", data)
        for path in self.checkpoints()[: -1 if finished else -self.keep]:
            discard(path)
        if finished:
            write_json(self.folder / "memory.json", peak_memory())
            self._write_card()

    def checkpoint_if_whole(self):
        """Saves the last finished step after an interrupt, unless the weights have been touched since."""
        new = self.number > max((int(path.stem) for path in self.checkpoints()), default=0)
        ours = _OPEN.get(str(self.folder.resolve())) is self and not sys.is_finalizing()
        whole = not getattr(self.optimizer, "midway", False) and self.state == self._touched()
        if self.writes and new and ours and whole:
            self.checkpoint()

    def _touched(self):
        """The state of the weights, a number that grows whenever somebody writes into them."""
        return sum(parameter._version for parameter in self.parameters)

    def good_until(self, number):
        """A sentence on how to go on after a training that has gone wrong since step `number`."""
        best = [self.folder / "checkpoints" / "best.pt"] if self.best["number"] is not None else []
        good = best + [path for path in self.checkpoints() if int(path.stem) <= number]
        last = f"The last good checkpoint is {good[-1]}" if good else "No checkpoint was saved before it went wrong"
        return f"{last}. Run again with a lower learning_rate: this run is kept under another name."

    def _save(self, name, data):
        weights = [parameter.detach() for parameter in self.parameters]
        path = self.folder / "checkpoints" / name
        with room_for(path, self.checkpoints()), atomic_write(path) as partial:
            torch.save(data | {"weights": weights}, partial)

    def _write_card(self):
        took = f"{self.number} steps in {self.seconds / 60:.1f} minutes of training; last loss {self.losses[-1]:.4f}."
        lines = [f"# {self.folder.name}", "", took]
        if self.best["number"] is not None:
            lines.append(f"Lowest held-out loss {self.best['held_out_loss']:.4f}, at step {self.best['number']}.")
        lines += ["", "| setting | value |", "|---|---|", *(f"| {n} | {value} |" for n, value in self.settings.items())]
        with atomic_write(self.folder / "card.md") as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(path, last):
    """The rows of a table of ours up to step `last`, header first; rows cut off in writing are left out."""
    if last < 0 or not path.exists():
        path.unlink(missing_ok=True)
        return []
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return [header, *(row for row in rows if len(row) == len(header) and int(row[0]) <= last)]
