"""What a training changed in a model, in a file a third as large: its weights less those of the base, in eight bits.

Each row of a matrix is counted in steps of an eighth of its standard deviation; numpy's own .npz holds the counts.
"""

import zipfile

import numpy as np
import torch

from helpers import machine

NAME = "difference.npz"  # of the file in the folder of a run
PARTS = ("text_encoder", "unet")  # what DreamBooth may change
SHARE = 8  # steps in a standard deviation. 4, 8, 16: 13.7, 15.9, 18.1 MB, and pixels 0.4, 0.15, 0.1 of 255 off


def save(path, pipe, base, name):
    """Writes the weights of a pipeline less those of `base`, a pipeline of the same networks called `name`."""
    arrays = {"base": np.array(name)}
    for part in PARTS:
        before = getattr(base, part).state_dict()
        for key, tensor in getattr(pipe, part).state_dict().items():
            rows = (tensor.float() - before[key].float()).reshape(len(tensor) if tensor.ndim > 1 else 1, -1)
            step = torch.maximum(rows.std(1, correction=0) / SHARE, rows.abs().amax(1) / 127).clamp_min(1e-12)
            arrays[f"{part}/{key}/step"] = step.numpy()
            arrays[f"{part}/{key}"] = (rows / step[:, None]).round().to(torch.int8).reshape(tensor.shape).numpy()
    with machine.atomic_write(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


def add(path, pipe, name):
    """Adds what `save` wrote to the weights of a pipeline called `name`, in place, wherever and in whatever type they are.

    Raises ValueError, and changes nothing, if that is not the base that the file was written for, or if it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: torch.from_numpy(file[key]) for key in file.files if key != "base"}
            base = str(file["base"])
        moved = {part: _moved(getattr(pipe, part).state_dict(), arrays, part) for part in PARTS}
    except (EOFError, KeyError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}): take it from the repository again.") from error
    if base != name:
        raise ValueError(f"{path} is the difference from the weights {base}, not from {name}: take that base.")
    with torch.no_grad():
        for part, differences in moved.items():
            for key, tensor in getattr(pipe, part).state_dict().items():
                tensor += differences[key].to(tensor.device)


def _moved(weights, arrays, part):
    """{key: float32 difference} of all weights of a part."""
    steps = {key: arrays[f"{part}/{key}/step"].reshape(-1, *[1] * (weight.ndim - 1)) for key, weight in weights.items()}
    return {key: (arrays[f"{part}/{key}"] * steps[key]).reshape(weight.shape) for key, weight in weights.items()}
