"""What would stop a training halfway, told before its first step: room on the disk, room on the GPU, the model."""

import shutil
from pathlib import Path

from helpers import memory

GB = 1e9


def check_disk(folder, weights, state_bytes=8):
    """The bytes a DreamBooth run of so many weights may need in `folder`. Raises OSError if there is less room.

    A checkpoint holds each weight in 32 bits and `state_bytes` of the optimizer, and for a moment there are two;
    then come the best weights, twice for a moment, the model in 16 bits, and two files for the web UI.
    """
    needed = weights * (2 * (4 + state_bytes) + 2 * 4 + 3 * 2)
    place = next(p for p in [Path(folder), *Path(folder).parents] if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OSError(
            f"{folder} has room for {free / GB:.1f} GB, this training may need {needed / GB:.1f} GB: make room, set "
            "RUNS_DIR to a larger disk, or train a LoRA"
        )
    return needed


def check_gpu(forecast, available=None, **others):
    """Raises MemoryError if a training's forecast, with a margin, is more than the GPU has free; says what would fit.

    available: bytes; else those of the GPU here. Without a GPU everything passes: main memory is the limit.
    others: what memory.foretell was told of this training (U-Net, batch size, text encoder), but for its setting.
    """
    available = memory.gpu_bytes() if available is None else available
    if available is None or forecast.safe <= available:
        return
    fitting = memory.choose(available, **others)
    mend = f"choose {fitting!r}" if fitting else "train a LoRA or a hypernetwork"
    raise MemoryError(
        f"this training needs about {forecast.peak / GB:.1f} GB, {forecast.safe / GB:.1f} GB to be safe, and the GPU "
        f"has {available / GB:.1f} GB free: {mend}"
    )
