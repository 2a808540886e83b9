"""The trainings that come with the repository: those of notebooks 03 and 04 on pocket, in data/finished.

python -m tools.finished_runs      takes them from runs/, after `python -m tools.notebooks 03 04`
"""

import shutil

from helpers import machine
from helpers.compare import trained
from helpers.diffusion import models

KEPT = ("card.md", "settings.json", "loss.csv", "memory.json", "hypernetwork.pt", "model")  # no checkpoints


def keep(run, folder, config, steps):
    """Copies a finished run without its checkpoints, previews and exports into `folder`, replacing what is there.

    Raises ValueError if it is no training of `config` of so many steps: a quick trial has learnt nothing.
    """
    settings = machine.read_json(run / "settings.json")
    if (settings["model"], settings["steps"]) != (config.name, steps) or not (run / "card.md").exists():
        raise ValueError(f"{run} is no finished training of {config.name} of {steps} steps: run its notebook first")
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in (run / name for name in KEPT if (run / name).exists()):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, partial / path.name)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


if __name__ == "__main__":
    pocket = models.MODELS["pocket"]
    for method, subject in machine.subjects.SAMPLES.items():
        name = f"{method}_{subject}"
        keep(machine.RUNS / name, trained.FINISHED / name, pocket, getattr(pocket, method)["steps"])
