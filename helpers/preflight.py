"""What would stop a training halfway, told before its first step: room on the disk, room on the GPU, the model."""

import shutil
from pathlib import Path

import torch

from helpers import dreambooth, low_memory, memory

GB = 1e9
LIGHT = 'train a LoRA, "The light variant" of notebook 04'


def check_disk(folder, weights, optimizer=dreambooth.adamw):
    """The bytes a DreamBooth run of so many weights may still need in `folder`. Raises OSError if there is less room.

    optimizer: as for training.train. What the folder holds already is taken for this run's own, which goes on; one
    with other settings is set aside, and stays.
    """
    held = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    needed = max(0, weights * most_bytes(optimizer) - held)
    place = next(p for p in [Path(folder), *Path(folder).parents] if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OSError(
            f"{folder} has room for {free / GB:.1f} GB, this training may need {needed / GB:.1f} GB more: make room, "
            f"set RUNS_DIR to a larger disk, or {LIGHT}"
        )
    return needed


def most_bytes(optimizer):
    """The bytes on disk for each weight of a DreamBooth run, at the moment when they are most.

    While it trains: a checkpoint, which holds each weight in 32 bits and what the optimizer keeps, and another before
    the first is removed, beside the best weights; or one checkpoint beside two of the best. When it is done: the last
    and the best weights, the model in 16 bits, once more while it is replaced, and two files for the web UI.
    """
    count = 2**16
    tried = optimizer([torch.nn.Parameter(torch.zeros(count))])
    memory.fill(tried, tried.param_groups[0]["params"])
    checkpoint = 4 + low_memory.state_bytes(tried) / count
    training = max(2 * checkpoint + 4, checkpoint + 2 * 4)
    return max(training, 4 + 4 + 4 * 2)


def check_gpu(forecast, available=None, **others):
    """Raises MemoryError if a training's forecast, with a margin, is more than the GPU has free; says what would fit.

    available: bytes; else those of the GPU here. Without a GPU everything passes: main memory is the limit.
    others: what memory.foretell was told of this training (U-Net, batch size, text encoder), but for its setting.
    """
    available = memory.gpu_bytes() if available is None else available
    if available is None or forecast.safe <= available:
        return
    fitting = memory.choose(available, **others)
    mend = f"choose {fitting!r}" if fitting else f"{LIGHT}, or a hypernetwork"
    raise MemoryError(
        f"this training needs about {forecast.peak / GB:.1f} GB, {forecast.safe / GB:.1f} GB to be safe, and the GPU "
        f"has {available / GB:.1f} GB free: {mend}"
    )
