"""What a training changed in a model, in a file a third as large: its weights less those of the base, in eight bits.

Each row of a matrix is counted in steps of an eighth of its standard deviation; numpy's own .npz holds the counts.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from helpers import diffusion, machine
from helpers.methods import dreambooth

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
    """Adds what `save` wrote to the weights of a pipeline called `name`, in place.

    Raises ValueError, and changes nothing, if that is not the base that the file was written for.
    """
    with np.load(path, allow_pickle=False) as arrays, torch.no_grad():
        if (base := str(arrays["base"])) != name:
            raise ValueError(f"{path} is the difference from the weights {base}, not from {name}: take that base.")
        for part in PARTS:
            for key, tensor in getattr(pipe, part).state_dict().items():
                counts, step = (torch.from_numpy(arrays[f"{part}/{key}{end}"]) for end in ("", "/step"))
                tensor += counts.float() * step.reshape(-1, *[1] * (tensor.ndim - 1))


def unpacked(path, base):
    """The folder of the whole model, in diffusers' layout: written at first need, on this machine's own disk.

    base: the weights that `path` is the difference from. Raises ValueError as `add`, OSError on a full disk.
    """
    folder = machine.local(machine.RUNS / "unpacked" / f"{path.parent.name}-{machine.weights_id(path)}")
    if not folder.exists():
        pipe = diffusion.load_pipeline(str(base))
        add(path, pipe, machine.weights_id(base))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as own:  # two processes may be here at once
            dreambooth.save(Path(own, "model"), pipe)
            try:
                Path(own, "model").rename(folder)
            except OSError:
                if not folder.exists():  # else the other one was sooner
                    raise
    return folder
