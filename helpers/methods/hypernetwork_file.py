"""The file of a hypernetwork: the web UI's .pt, or .safetensors with the same content."""

import json
import re
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from helpers import machine
from helpers.diffusion import checkpoint, models
from helpers.methods.hypernetwork import CONFIG, Hypernetwork

SIDES = ("keys", "values")


def save(path, hypernetwork, **config):
    """Writes the web UI's .pt: config (step, name, ... of CONFIG) and, under each width, (keys, values) weights.

    A .safetensors gets the same content, tensors such as "768.keys.linear.0.weight" and the config as JSON in its
    metadata; the web UI does not read that one. float32, plain Python values, no optimizer state.
    """
    if unknown := config.keys() - CONFIG.keys():
        raise TypeError(f"Unknown config {sorted(unknown)}: use {', '.join(CONFIG)}.")
    if config.get("sd_checkpoint_name"):
        config["sd_checkpoint_name"] = models.last_part(config["sd_checkpoint_name"])
    config = {name: _plain(value) for name, value in (hypernetwork.config | config).items()}
    layers = {int(width): tuple(map(_state, pair)) for width, pair in hypernetwork.layers.items()}
    if Path(path).suffix != ".safetensors":
        return checkpoint.save_pt(path, layers | config)
    tensors = {}
    for width, states in layers.items():
        for side, state in zip(SIDES, states):
            tensors |= {f"{width}.{side}.{name}": tensor for name, tensor in state.items()}
    metadata = {"hypernetwork": json.dumps(config | {"widths": list(layers)})}
    checkpoint.save_safetensors(path, tensors, metadata=metadata)


def keep_copy(run, hypernetwork, name, step, at_most=8):
    """Saves the hypernetwork of a training on its way as run/copies/<name>-<step>.pt, the web UI's name for it.

    Of more than `at_most` copies (8 are 670 MiB for SD 1.x) the one goes that leaves the smallest gap; the first and the newest stay.
    Raises OSError on a full disk; the copies and checkpoints from before are still there.
    """
    path = Path(run) / "copies" / f"{name}-{step}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with machine.room_for(path, sorted((Path(run) / "checkpoints").glob("[0-9]*.pt"))):
        save(path, hypernetwork, name=name, step=step)
    numbers = sorted(int(copy.stem.rsplit("-", 1)[1]) for copy in path.parent.glob(f"{name}-*.pt"))
    while len(numbers) > max(2, at_most):
        goes = min(range(1, len(numbers) - 1), key=lambda i: numbers[i + 1] - numbers[i - 1])
        (path.parent / f"{name}-{numbers.pop(goes)}.pt").unlink()


def _state(module):
    weights = module.state_dict().items()
    return OrderedDict((sys.intern(name), tensor.detach().cpu().float().clone()) for name, tensor in weights)


def _plain(value):
    """Equal strings as one object and lists as copies, so that pickling equal config gives equal bytes."""
    return sys.intern(value) if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else value


def load(path):
    """A Hypernetwork from a web UI .pt, ours or theirs, or from our .safetensors.

    Raises ValueError, with the file's name, if it has code in it, is cut off, is no hypernetwork, has an unknown
    activation, weights of other shapes, or a weight that is not a number.
    """
    layers, config = _read_safetensors(path) if Path(path).suffix == ".safetensors" else _read_pt(path)
    try:
        with torch.device("meta"):  # no memory, no random numbers: the file's tensors become the weights
            hypernetwork = Hypernetwork(layers, **config)
    except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
        reason = str(error).splitlines()[0]  # torch adds where in its code it happened
        raise ValueError(f"{path} describes a hypernetwork that cannot be built: {reason}") from error
    for width, states in layers.items():
        for side, module, state in zip(SIDES, hypernetwork.layers[str(width)], states):
            _fill(module, state, f"{path}, width {width}, {side}")
    return hypernetwork.eval()


def _read_pt(path):
    """({width: (keys, values)}, config) of the web UI's file."""
    data = checkpoint.load_pt(path)
    layers = {key: value for key, value in data.items() if type(key) is int} if isinstance(data, dict) else {}
    if not layers:
        raise ValueError(f"{path} holds no hypernetwork, no layers under whole-number widths: choose another file.")
    for width, pair in layers.items():
        if width < 1 or not isinstance(pair, tuple | list) or [isinstance(state, dict) for state in pair] != [True] * 2:
            raise ValueError(f"{path} has no pair of keys and values under {width}: choose a hypernetwork's file.")
    older = {"activation_func": None, "activate_output": True}  # what the web UI takes where a file does not say
    return layers, older | {name: value for name, value in data.items() if name in CONFIG}


def _read_safetensors(path):
    """The same from our other file."""
    layers = {}
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("hypernetwork", "null"))
            for name in file.keys() if config and isinstance(config, dict) else ():
                width, side, rest = name.split(".", 2)
                layers.setdefault(int(width), ({}, {}))[SIDES.index(side)][rest] = file.get_tensor(name)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is cut off or no .safetensors of a hypernetwork: download it again.") from error
    if not layers:
        raise ValueError(f"{path} holds no hypernetwork, its metadata describes none: choose another file.")
    widths = config.pop("widths", None) or [*layers]
    if not isinstance(widths, list) or {*map(str, widths)} != {*map(str, layers)}:
        raise ValueError(f"{path} has other widths than its metadata says, {widths}: take it again from its source.")
    return {width: layers[width] for width in sorted(layers, key=widths.index)}, config  # in the order they had


def _fill(module, state, where):
    """Makes the file's tensors the module's weights."""
    # NovelAI's linear1 and linear2 are the web UI's linear.0 and linear.1
    state = {re.sub("linear([12])\\.", lambda m: f"linear.{int(m[1]) - 1}.", str(k)): v for k, v in state.items()}
    good = lambda tensor: checkpoint.is_whole(tensor) and tensor.isfinite().all()
    if broken := [name for name, tensor in state.items() if not good(tensor)]:
        raise ValueError(f"{where}: {broken[0]} has values that are not numbers; train again, or choose another file.")
    try:
        module.load_state_dict({name: tensor.float().clone() for name, tensor in state.items()}, assign=True)
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in state.items())
        raise ValueError(f"{where}: these weights do not fit the layers in the file's config: {shapes}.") from error
