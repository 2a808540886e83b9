"""Where and how the notebooks compute: devices, processes, precision.

Processes and devices are accelerate's PartialState, which costs a notebook nothing. Its Accelerator would wrap the
U-Net, whose layers we hook, and own the backward pass, in which an optimizer may move weights.
"""

import contextlib
import functools
import importlib
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env
from torch.overrides import TorchFunctionMode

AMD_BF16 = re.compile("gfx(908|90a|94|95|11|12)")  # MI100 and later, Radeon RX 7000 and later; not RDNA2, gfx103


@functools.cache
def state():
    """accelerate's PartialState: the device of this process, its number, and how many work together.

    A notebook is one process and starts nothing. What `accelerate launch` or torchrun started joins at the first call.
    ACCELERATE_USE_CPU=1 leaves a GPU alone. Raises RuntimeError where the processes would each work for themselves.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1:
        # An optimizer's first step imports it. Imported inside a group it keeps the group's threads alive past its
        # end, and one that frees a tensor while the interpreter ends aborts the process: one time in twenty.
        importlib.import_module("torch._dynamo")
    joined = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())
    if joined.num_processes != started:
        raise RuntimeError(f"{started} processes cannot share one {joined.device}: start one, without a launcher.")
    if joined.device.type == "cuda":
        check_built_for(joined.device)
    return joined


def check_built_for(device):
    """Raises RuntimeError for an NVIDIA GPU older than all that this PyTorch has kernels for, as Pascal in new builds."""
    built = [name for name in torch.cuda.get_arch_list() if name.startswith("sm_")]  # none for AMD's
    major, minor = torch.cuda.get_device_capability(device)
    if built and 10 * major + minor < min(int(re.match(r"sm_(\d+)", name)[1]) for name in built):
        raise RuntimeError(
            f"This PyTorch has no kernels for {torch.cuda.get_device_name(device)} ({major}.{minor}), which is too old "
            "for it: on Kaggle choose GPU T4 x2, elsewhere install a build for CUDA 12.6, or set ACCELERATE_USE_CPU=1."
        )


def find_device():
    """The device to compute on, as accelerate finds it: "cuda", Apple's "mps", Intel's "xpu", else "cpu"."""
    return state().device


def from_first(make):
    """What `make()` returns in the first process, in all of them; the others do not call it."""
    return broadcast_object_list([make() if state().is_main_process else None])[0]


class AttentionInFloat32(TorchFunctionMode):
    """Runs attention in float32 inside CPU autocast: in bfloat16 it takes longer there (benchmarks/precision.py)."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            query, key, value, *rest = args
            with torch.autocast("cpu", enabled=False):
                attended = func(query.float(), key.float(), value.float(), *rest, **(kwargs or {}))
            return attended.to(query.dtype)
        return func(*args, **(kwargs or {}))


@functools.cache
def cpu_has_bf16():
    """True where the processor multiplies bfloat16 faster than float32: by its flags, and then by a measurement.

    Flags alone do not say: with AVX512-BF16 the U-Net took 0.5 to 0.75 of float32's time on one virtual machine, 1.2
    to 1.5 times on another (benchmarks/precision.py).
    """
    if platform.system() == "Darwin":
        flags = subprocess.run(["sysctl", "-a", "hw.optional.arm"], check=False, capture_output=True, text=True).stdout
        return "FEAT_BF16: 1" in flags
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return ("amx_bf16" in flags or "avx512_bf16" in flags) and convolution_ratio() < 0.9


def convolution_ratio(repeats=15):
    """How long a convolution of the pocket U-Net's takes in bfloat16, as a share of its time in float32.

    The least of each, which other work on the machine changes least: else a run could resume in another precision.
    """
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
    full, half = map(min, taken.values())
    return half / full


@contextlib.contextmanager
def bf16_on_cpu():
    """bfloat16 for whatever gains by it on a processor: all of autocast but attention."""
    with torch.autocast("cpu", torch.bfloat16), AttentionInFloat32():
        yield


def autocast(device, copies=True, precision=None):
    """Mixed precision on `device`, a context, in what it `computes_in`; none where that is float32.

    copies: whether a GPU keeps 16-bit copies of the weights until the end, as a training step wants. precision: another
    type, if the weights have that.
    """
    device, precision = torch.device(device), precision or computes_in(device)
    if precision == torch.float32:
        return contextlib.nullcontext()
    if device.type == "cpu":
        return bf16_on_cpu()
    return torch.autocast(device.type, precision, cache_enabled=copies)


def autocast_of(*networks):
    """Mixed precision for pictures by `networks`, a context, in the 16-bit type that some of their weights have.

    None on a GPU whose weights all have that type: its kernels take them as they are, and autocast would widen every
    norm. In another type than theirs they would be converted anew at each use.
    """
    weights = [parameter for network in networks for parameter in network.parameters()]
    device, halves = weights[0].device, {p.dtype for p in weights} & {torch.float16, torch.bfloat16}
    if device.type == "cpu" or len(halves) != 1 or computes_in(device) == torch.float32:
        return autocast(device, copies=False)
    (half,) = halves
    if all(p.dtype == half for p in weights):
        return contextlib.nullcontext()
    return torch.autocast(device.type, half, cache_enabled=False)


def computes_in(device):
    """The type that `autocast` multiplies in: bfloat16 where it is fast, else float16 on NVIDIA's and AMD's GPUs.

    torch.cuda.is_bf16_supported() is True on a T4, too, which only emulates it. float32 on NVIDIA's GTX 16 cards, whose
    float16 makes black pictures, and on Apple's GPU, as in diffusers' own training scripts.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return torch.bfloat16 if cpu_has_bf16() else torch.float32
    if device.type == "mps" or device.type == "cuda" and "GTX 16" in torch.cuda.get_device_name(device):
        return torch.float32
    return torch.float16 if device.type == "cuda" and not _gpu_has_bf16(device) else torch.bfloat16


def _gpu_has_bf16(device):
    """NVIDIA's from Ampere on; AMD's that have matrix units for it, for AMD's numbers are not NVIDIA's capabilities."""
    if torch.version.hip:
        return AMD_BF16.match(torch.cuda.get_device_properties(device).gcnArchName) is not None
    return torch.cuda.get_device_capability(device)[0] >= 8


def reset_peak_memory():
    """Starts `peak_memory` anew, on a GPU; main memory has one highest mark for all of a process."""
    device = torch.get_device_module(find_device())
    if hasattr(device, "reset_peak_memory_stats"):  # CUDA's and Intel's
        device.reset_peak_memory_stats()


def peak_memory():
    """{"peak_bytes", "how"}: the most memory held since `reset_peak_memory`, the GPU's where there is one.

    None bytes where it cannot be measured: on Windows, and on Apple's GPU.
    """
    device = torch.get_device_module(find_device())
    if hasattr(device, "max_memory_allocated"):
        return {"peak_bytes": device.max_memory_allocated(), "how": f"measured on {device.get_device_name()}"}
    if sys.platform == "win32" or find_device().type != "cpu":
        return {"peak_bytes": None, "how": "not measured on this system"}
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
    return {"peak_bytes": most, "how": "measured on the CPU: main memory of the whole process"}
