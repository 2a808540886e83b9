"""Where and how the notebooks compute: device, precision, seeds, the QUICK dial, versions."""

import contextlib
import functools
import os
import platform
import random
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from helpers.places import QUICK, REPO, RUNS  # noqa: F401  (offered here too, for notebooks that use torch)

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow", "pandas", "matplotlib", "ipywidgets")


def device():
    """The device to compute on: "cuda" where there is one, else "cpu"."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_everything(seed):
    """Seeds Python's, NumPy's and PyTorch's random numbers on every device; `seed` is any whole number."""
    seed %= 2**32  # NumPy takes no more
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def versions():
    """One printable table of what this machine computes with."""
    rows = [("python", platform.python_version()), *((name, _version(name)) for name in LIBRARIES)]
    return "\n".join(f"{name:14}{value}" for name, value in [*rows, *_machine()])


def _version(library):
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


def _machine():
    rows = [("device", "cpu"), ("cores", os.cpu_count()), ("bf16 on CPU", "yes" if cpu_has_bf16() else "no")]
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        rows[0] = ("device", f"{torch.cuda.get_device_name(0)}, {memory:.1f} GiB")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        rows.append(("RAM", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"))
    return rows


class AttentionInFloat32(TorchFunctionMode):
    """Runs attention in float32 inside CPU autocast.

    CPU flash attention takes several times as long in bfloat16 as in float32, forward and back (torch 2.13, no AMX:
    2.4 times, by `python -m benchmarks.attention`), which would eat what bfloat16 convolutions gain.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            query, key, value, *rest = args
            with torch.autocast("cpu", enabled=False):
                attended = func(query.float(), key.float(), value.float(), *rest, **(kwargs or {}))
            return attended.to(query.dtype)
        return func(*args, **(kwargs or {}))


@functools.cache
def cpu_has_bf16():
    """True where the processor multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    flags = ""
    if Path("/proc/cpuinfo").exists():
        flags = Path("/proc/cpuinfo").read_text()
    elif platform.system() == "Darwin":
        flags = subprocess.run(["sysctl", "-a", "hw.optional.arm"], check=False, capture_output=True, text=True).stdout
        return "FEAT_BF16: 1" in flags
    return "amx_bf16" in flags or "avx512_bf16" in flags


@contextlib.contextmanager
def autocast(device):
    """Mixed precision for training on `device`: bf16 or fp16 on a GPU, bf16 on a CPU that has it."""
    device = torch.device(device)
    if device.type == "cpu":
        if not cpu_has_bf16():
            yield
            return
        with torch.autocast("cpu", torch.bfloat16), AttentionInFloat32():
            yield
        return
    with torch.autocast(device.type, half_precision(device)):
        yield


def half_precision(device):
    """The 16-bit type a GPU computes in: bfloat16 from compute capability 8, else float16.

    torch.cuda.is_bf16_supported() also says True on a T4, which only emulates it.
    """
    if torch.device(device).type == "cuda" and torch.cuda.get_device_capability(device)[0] < 8:
        return torch.float16
    return torch.bfloat16
