"""Where and how the notebooks compute: device, precision, seeds, the QUICK dial, versions."""

import contextlib
import functools
import os
import platform
import random
import statistics
import subprocess
import time
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

    CPU flash attention takes longer in bfloat16 than in float32, forward and back (1.5 times, by
    `python -m benchmarks.precision`), which would eat what bfloat16 convolutions gain.
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
    """True where the processor multiplies bfloat16 faster than float32: asked of its flags, then measured.

    Flags alone do not tell: with AVX512-BF16 the U-Net took half to three quarters of float32's time on one virtual
    machine; on another, an earlier measurement found 1.2 to 1.5 times (`python -m benchmarks.precision`).
    """
    if platform.system() == "Darwin":
        flags = subprocess.run(["sysctl", "-a", "hw.optional.arm"], check=False, capture_output=True, text=True).stdout
        return "FEAT_BF16: 1" in flags
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return ("amx_bf16" in flags or "avx512_bf16" in flags) and convolution_ratio() < 0.9


def convolution_ratio(repeats=9):
    """How long a convolution of the pocket U-Net's takes in bfloat16, as a share of its time in float32."""
    generator = torch.Generator().manual_seed(0)  # PyTorch's own stream of random numbers stays where it is
    image, kernel = (torch.randn(shape, generator=generator) for shape in ((8, 192, 16, 16), (192, 192, 3, 3)))
    taken = {torch.float32: [], torch.bfloat16: []}
    for _ in range(repeats):
        for dtype, seconds in taken.items():
            inputs = image.to(dtype), kernel.to(dtype)
            began = time.perf_counter()
            with torch.no_grad():
                F.conv2d(*inputs, padding=1)
            seconds.append(time.perf_counter() - began)
    full, half = (statistics.median(seconds) for seconds in taken.values())
    return half / full


@contextlib.contextmanager
def bf16_on_cpu():
    """bfloat16 for whatever gains by it on a processor: all of autocast but attention."""
    with torch.autocast("cpu", torch.bfloat16), AttentionInFloat32():
        yield


def autocast(device, copies=True):
    """Mixed precision on `device`, a context: bf16 or fp16 on a GPU, bf16 on a CPU that is faster so.

    copies: whether a GPU keeps the 16-bit copies of weights in 32 bits until the end, as a training step wants. For
    pictures made in between there may be no room.
    """
    device, precision = torch.device(device), computes_in(device)
    if device.type == "cpu":
        return bf16_on_cpu() if precision == torch.bfloat16 else contextlib.nullcontext()
    return torch.autocast(device.type, precision, cache_enabled=copies)


def computes_in(device):
    """The type that `autocast` multiplies in on `device`."""
    if torch.device(device).type == "cpu":
        return torch.bfloat16 if cpu_has_bf16() else torch.float32
    return half_precision(device)


def half_precision(device):
    """The 16-bit type a GPU computes in: bfloat16 from compute capability 8, else float16.

    torch.cuda.is_bf16_supported() also says True on a T4, which only emulates it.
    """
    if torch.device(device).type == "cuda" and torch.cuda.get_device_capability(device)[0] < 8:
        return torch.float16
    return torch.bfloat16
