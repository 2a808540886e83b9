"""What would stop a training halfway, said before its first step: room on the disk, room on the GPU, the model."""

import json
import shutil
from pathlib import Path

import torch

from helpers import machine
from helpers.methods import memory
from helpers.methods.memory import GB
from helpers.training import optimizers

LIGHT = 'train a LoRA, "The light variant" of notebook 04'


def check_disk(folder, pipe, learning, optimizer=optimizers.adamw, settings=None):
    """The bytes a DreamBooth run may still need in `folder`. Raises OSError if there is less room.

    learning: how many weights learn. optimizer, settings: as training.train's: a run found there goes on and has its
    bytes already, unless it has other settings; then it is set aside, and stays.
    """
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    whole = 2 * sum(p.numel() for part in networks for p in part.parameters())  # the model in 16 bits
    checkpoint = learning * (4 + state_bytes(optimizer))
    # the next checkpoint, or the next best weights, before the old ones go
    training = max(2 * checkpoint + 4 * learning, checkpoint + 2 * 4 * learning)
    # last and best weights, the model, once more while it is replaced, two files for the web UI
    done = 2 * 4 * learning + 4 * whole
    needed = max(0, max(training, done) - held(folder, settings or {}))
    place = next(p for p in [Path(folder), *Path(folder).parents] if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OSError(
            f"{folder} has room for {free / GB:.1f} GB, and this training may need {needed / GB:.1f} GB more: make room, "
            f"set RUNS_DIR to a larger disk, or {LIGHT}."
        )
    return needed


def held(folder, settings):
    """The bytes that a run with these settings finds in its folder; 0 if another's settings lie there."""
    path = Path(folder) / "settings.json"
    began = machine.read_json(path) if path.exists() else {}
    if any(began.get(name) != value for name, value in json.loads(json.dumps(settings)).items()):
        return 0
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def state_bytes(optimizer):
    """The bytes that an optimizer keeps for each number of a large weight; optimizer: as training.train's."""
    weight = torch.nn.Parameter(torch.zeros(2**20))
    tried = optimizer([weight])
    memory.fill(tried, [weight])
    optimizers.remove_hook(weight)
    return sum(optimizers.state_bytes(tried)) / weight.numel()


def check_gpu(forecast, available=None, **others):
    """Raises MemoryError if a training's forecast, with a margin, is more than the GPU has free; says what would fit.

    available: bytes; else those of the GPU here. Without a GPU everything passes: main memory is the limit.
    others: what memory.forecast was given of this training (U-Net, batch size, text encoder), but for its setting.
    """
    available = memory.gpu_bytes() if available is None else available
    if available is None or forecast.safe <= available:
        return
    fitting = memory.choose(available, **others)
    mend = f"choose {fitting!r}" if fitting else f"{LIGHT}, or a hypernetwork"
    raise MemoryError(
        f"This training needs about {forecast.peak / GB:.1f} GB, {forecast.safe / GB:.1f} GB to be safe, and the GPU "
        f"has {available / GB:.1f} GB free: {mend}."
    )
