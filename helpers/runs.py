"""A training's folder: settings.json, loss.csv, previews/, checkpoints/, card.md."""

import csv
import itertools
import json
import os
import warnings
from importlib import metadata
from pathlib import Path

import torch

from helpers.files import atomic_write, read_json, write_json

COLUMNS = ("step", "loss", "held_out_loss", "learning_rate", "seconds")


def put_back(parameters, weights):
    """Copies saved `weights` into `parameters`, wherever those are."""
    with torch.no_grad():
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)


class Run:
    """The folder of one training; a run with other settings found there is renamed, with a warning."""

    def __init__(self, folder, settings, parameters):
        self.folder, self.parameters = Path(folder), parameters
        self.settings = json.loads(json.dumps(settings))  # as it will be read again
        self.settings["parameters"] = sum(parameter.numel() for parameter in parameters)
        self.best = {"number": None, "held_out_loss": float("inf")}
        self._set_another_aside()
        versions = {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}
        write_json(self.folder / "settings.json", self.settings | {"versions": versions})

    def _set_another_aside(self):
        """A training that began here with other settings keeps its files, under another name."""
        path = self.folder / "settings.json"
        if not path.exists() or not self._checkpoints():
            return
        began = read_json(path)
        changed = [name for name, value in self.settings.items() if began.get(name) != value]
        if changed:
            aside = next(
                p for i in itertools.count(1) if not (p := self.folder.with_name(f"{self.folder.name}-{i}")).exists()
            )
            self.folder.rename(aside)
            was = ", ".join(f"{name} was {began.get(name)!r:.60}" for name in changed)
            warnings.warn(
                f"the run in {self.folder.name} had other settings ({was}): it is kept as {aside.name}", stacklevel=4
            )

    def _checkpoints(self):
        return sorted((self.folder / "checkpoints").glob("[0-9]*.pt"))

    def resume(self, optimizer, scaler):
        """Puts the newest checkpoint back; returns (its step number, seconds), (-1, 0.0) where there is none."""
        if not (checkpoints := self._checkpoints()):
            self._keep_rows(0)
            return -1, 0.0
        saved = torch.load(checkpoints[-1], map_location="cpu", weights_only=True)
        put_back(self.parameters, saved["weights"])
        if saved["optimizer"]:  # a finished run needs none
            optimizer.load_state_dict(saved["optimizer"])
            scaler.load_state_dict(saved["scaler"])
        self.best = saved["best"]
        self._keep_rows(saved["number"] + 1)
        return saved["number"], saved["seconds"]

    def _keep_rows(self, count):
        """Drops the rows of loss.csv that come after the checkpoint: they are about to be made again."""
        path = self.folder / "loss.csv"
        lines = path.read_text().splitlines() if path.exists() else []
        with atomic_write(path) as partial:
            partial.write_text("\n".join([",".join(COLUMNS), *lines[1 : count + 1]]) + "\n")

    def log(self, step):
        """Adds a row to loss.csv, saves the preview, and keeps the weights if their held-out loss is the lowest."""
        row = (step.number, step.loss, step.held_out_loss, step.learning_rate, round(step.seconds, 2))
        with (self.folder / "loss.csv").open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)
            file.flush()
            os.fsync(file.fileno())
        if step.preview:
            with atomic_write(self.folder / "previews" / f"{step.number:06}.png") as partial:
                step.preview.save(partial, format="PNG")
        if step.number and step.held_out_loss is not None and step.held_out_loss < self.best["held_out_loss"]:
            self.best = {"number": step.number, "held_out_loss": step.held_out_loss}
            self._save("best.pt", self.best)

    def checkpoint(self, step, optimizer, scaler, finished):
        """Saves all that the next step depends on; when finished, the weights alone, and the card for people."""
        older = self._checkpoints()
        states = {"optimizer": None, "scaler": None}
        if not finished:
            states = {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
        facts = {"number": step.number, "seconds": step.seconds, "best": self.best}
        self._save(f"{step.number:06}.pt", facts | states)
        for path in older:
            if path.name != f"{step.number:06}.pt":
                path.unlink()
        if finished:
            self._write_card(step)

    def _save(self, name, data):
        weights = [parameter.detach() for parameter in self.parameters]
        with atomic_write(self.folder / "checkpoints" / name) as partial:
            torch.save(data | {"weights": weights}, partial)

    def _write_card(self, step):
        lines = [
            f"# {self.folder.name}",
            "",
            f"{step.number} steps in {step.seconds / 60:.1f} minutes of training; last loss {step.loss:.4f}.",
        ]
        if self.best["number"] is not None:
            lines.append(f"Lowest held-out loss {self.best['held_out_loss']:.4f}, at step {self.best['number']}.")
        lines += ["", "| setting | value |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in self.settings.items()]
        with atomic_write(self.folder / "card.md") as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
