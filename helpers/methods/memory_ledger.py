"""An account of all tensors alive: how many bytes they hold now, and how many they held at most.

Under PyTorch's FakeTensorMode tensors are shapes without content: a training step that needs 24 GB on a GPU
runs on a laptop in seconds, operation by operation, and its account is that of the real one.
"""

import contextlib
import weakref

import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from helpers.diffusion import device

BLOCK = 512  # bytes: CUDA's allocator hands out no less


class Ledger(TorchDispatchMode):
    """Counts the memory of every tensor made within it: `now` and `peak`, in bytes."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return args[0].dtype == torch.bool or 1.0  # a shape has no content: every check passes, every number is 1
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._enter(value.untyped_storage())
        return result

    def _enter(self, storage):
        if storage in self._known:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._known[storage] = size
        weakref.finalize(storage, self._leave, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _leave(self, size):
        self.now -= size


class _PlainAttention(TorchFunctionMode):
    """Attention in the precision of its inputs: runtime.autocast turns it to float32 on a CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            with torch._C.DisableTorchFunction():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def norms_as_on_gpu(module):
    """Autocast on CUDA computes norms in float32 and leaves their results so; that of the CPU does not."""
    for part in module.modules():
        if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
            part.register_forward_pre_hook(lambda norm, inputs: (inputs[0].to(norm.weight.dtype),))


@contextlib.contextmanager
def shapes_only():
    """A Ledger within which all tensors are shapes: nothing is computed, and no memory is used."""
    device.cpu_has_bf16()  # timed and remembered now, for shapes take no time
    with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger:
        yield ledger


@contextlib.contextmanager
def as_on_gpu(precision, cache=True):
    """Autocast as on a GPU, for shapes on the CPU; precision: torch.float16, torch.bfloat16 or torch.float32.

    cache: whether it keeps the 16-bit copies of weights until the outermost autocast ends.
    """
    half = precision != torch.float32
    kind = precision if half else torch.bfloat16
    with _PlainAttention(), torch.autocast("cpu", kind, enabled=half, cache_enabled=cache):
        yield
