"""A GPU that is not there: tensors on "cuda" have a shape, a type and a place but no content; those on the CPU are real.

It refuses what CUDA refuses, types or devices that do not belong together, and counts kernels, synchronisations, bytes
and memory. Small tensors (tokens, schedules, indices) keep their values; whatever else is read back is made up. It has
no kernels, no numbers, and no threads: what another thread puts on "cuda" fails.
"""

import contextlib
import ctypes
import functools
import json
import runpy
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

from fake_gpu import CARDS, TORCH, build

for library in (TORCH / "lib" / "libc10.so", TORCH / "lib" / "libtorch_cpu.so", build()):
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

A = torch.ops.aten
BLOCK, SMALL = 512, 5000  # bytes: CUDA's allocator hands out no less; numbers: so small tensors keep their values
PRODUCTS = {A.mm, A.addmm, A.bmm, A.baddbmm, A.convolution, A.mv, A.dot}
EMPTY = {A.empty, A.empty_like, A.empty_strided, A.new_empty}
FREE = EMPTY | {A._unsafe_view, A.lift_fresh}  # and all views
SCALER = {A._amp_foreach_non_finite_check_and_unscale_, A._amp_update_scale_}  # nothing overflows
BY_VALUE = {A.nonzero, A._unique2, A.masked_select}  # their shapes depend on numbers
HALF, ATTENTION, FULL, BANDWIDTH, LAUNCH = 16e12, 8e12, 4e12, 220e9, 5e-6  # what a T4 reaches: FLOP/s, bytes/s, s
FakeTensorMode.avoid_device_init = property(lambda self: True)
FakeTensor.__format__ = lambda x, spec: object.__format__(x, spec) if x.dim() else format(x.item(), spec)
FakeTensor.tolist = lambda x: torch.Tensor.tolist(x.cpu())  # one copy, as CUDA's: not number by number


class GPU(TorchDispatchMode):
    """The device, while it is entered. `now` and `peak` are bytes; all else is counted since `reset`."""

    def __init__(self, name, capability, total):
        super().__init__()
        self.name, self.capability, self.total, self.now = name, capability, total, 0
        self.shapes, self._counted = FakeTensorMode(allow_non_fake_inputs=True), WeakIdKeyDictionary()
        self.reset()

    def reset(self, device=None):
        """Counts anew. `moved`: bytes in its own memory; `waits`: the lines at which the CPU waited for it."""
        self.peak, self.kernels, self.moved, self.seconds, self.waits = self.now, 0, 0, 0.0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "prim":  # where a tensor is, and the like
            with self.shapes:
                return func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        wanted = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda"
        forecast = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None
        if forecast or not (wanted or any(isinstance(tensor, FakeTensor) for tensor in tensors)):
            return func(*args, **kwargs)
        if func is A._local_scalar_dense.default:
            return self._item(args[0])
        if func is A.equal.default:
            self._wait()
            return True
        if func.overloadpacket in BY_VALUE:
            return self._by_value(func, args, kwargs)
        if func is A.copy_.default and not isinstance(args[0], FakeTensor):  # to the CPU
            return args[0].copy_(self._read(args[1]))
        if func.overloadpacket in PRODUCTS and len({tensor.dtype for tensor in tensors}) > 1:
            raise RuntimeError(f"{func} of {', '.join(str(t.dtype) for t in tensors)}: CUDA would refuse it.")
        values = self._values(func, args, kwargs, tensors)
        with self.shapes:
            result = func(*args, **kwargs)
        self._count(func, args, kwargs, tensors, result)
        self._remember(func, args, result, values)
        keep = {id(tensor) for tensor in tensors}
        return tree_map(lambda x: self._placed(x, keep) if isinstance(x, FakeTensor) else x, result)

    def _placed(self, x, keep):
        """A result: real on the CPU, counted on the GPU."""
        if x.device.type == "cpu":
            return x if id(x) in keep else self._read(x)
        storage = x.untyped_storage()
        if storage not in self._counted:
            size = self._counted[storage] = -(-storage.nbytes() // BLOCK) * BLOCK
            weakref.finalize(storage, self._add, -size)
            self._add(size)
        return x

    def _add(self, size):
        self.now += size
        self.peak = max(self.peak, self.now)

    def _wait(self):
        """Notes who waits: the first caller that is neither PyTorch nor this file."""
        frame = sys._getframe(1)
        while frame.f_back and (str(TORCH) in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
            frame = frame.f_back
        self.waits.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")

    def _read(self, x):
        self._wait()
        return x._value.clone() if hasattr(x, "_value") else made_up(x)

    def _item(self, x):
        self._wait()
        if hasattr(x, "_value"):
            return x._value.item()
        return True if x.dtype == torch.bool else 0.1 if x.is_floating_point() else 1

    def _by_value(self, func, args, kwargs):
        read = lambda x: self._read(x) if isinstance(x, FakeTensor) else x
        return tree_map(self._put, func(*tree_map(read, args), **tree_map(read, kwargs)))

    def _put(self, value):
        with self.shapes:
            x = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
        x._value = value
        return self._placed(x, ())

    def _values(self, func, args, kwargs, tensors):
        """What the result really is, where all it is made of is small and known; else None."""
        random = torch.Tag.nondeterministic_seeded in func.tags or func.overloadpacket in EMPTY
        unknown = any(isinstance(tensor, FakeTensor) and not hasattr(tensor, "_value") for tensor in tensors)
        if random or unknown or sum(tensor.numel() for tensor in tensors) > SMALL:
            return None
        args, kwargs = tree_map(lambda x: x._value if isinstance(x, FakeTensor) else x, (args, kwargs))
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("cpu")
        with contextlib.suppress(Exception):
            return func(*args, **kwargs)

    def _remember(self, func, args, result, values):
        for x, value in zip(tree_leaves(result), tree_leaves(values)):
            if isinstance(x, FakeTensor) and isinstance(value, torch.Tensor) and x.shape == value.shape:
                x._value = value
        if values is None and func._schema.is_mutable and func.overloadpacket not in SCALER:
            for x in self._written(func, args):
                x.__dict__.pop("_value", None)

    @staticmethod
    def _written(func, args):
        pairs = zip(func._schema.arguments, args)
        return [x for a, x in pairs if a.alias_info and a.alias_info.is_write for x in tree_leaves(x) if x is not None]

    def _count(self, func, args, kwargs, tensors, result):
        """A kernel, its bytes read and written, and how long it takes by the slowest of memory, arithmetic and launch."""
        if func.is_view or func.overloadpacket in FREE:
            return
        known = {id(tensor) for tensor in tensors}
        new = [x for x in tree_leaves(result) if isinstance(x, FakeTensor) and id(x) not in known]
        moved = sum(x.nbytes for x in [*tensors, *new, *self._written(func, args)] if x.device.type == "cuda")
        flops = flop_registry[func](*args, **kwargs, out_val=result) if func in flop_registry else 0
        rate = ATTENTION if "attention" in str(func) else HALF if any(x.itemsize == 2 for x in tensors) else FULL
        self.kernels, self.moved = self.kernels + 1, self.moved + moved
        self.seconds += max(moved / BANDWIDTH, flops / rate, LAUNCH)

    def answers(self):
        """What torch.cuda says and does in its stead, by name."""
        major, minor = self.capability
        properties = {"name": self.name, "total_memory": self.total, "multi_processor_count": 40}
        said = dict.fromkeys(("is_available", "is_bf16_supported"), True) | {"is_current_stream_capturing": False}
        said |= {"device_count": 1, "current_device": 0, "get_device_name": self.name}
        said |= {"get_device_capability": self.capability, "get_rng_state": torch.zeros(16, dtype=torch.uint8)}
        said |= {"get_device_properties": SimpleNamespace(**properties, major=major, minor=minor)}
        said |= dict.fromkeys(("_lazy_init", "empty_cache", "set_device", "manual_seed"))
        said |= dict.fromkeys(("manual_seed_all", "set_rng_state")) | {"get_arch_list": ["sm_75"]}
        answers = {name: lambda *_, answer=answer, **__: answer for name, answer in said.items()}
        answers |= {name: lambda device=None: self.now for name in ("memory_reserved", "memory_allocated")}
        answers |= {"max_memory_allocated": lambda _=None: self.peak, "synchronize": lambda _=None: self._wait()}
        answers["mem_get_info"] = lambda device=None: (self.total - self.now - 10**9, self.total)
        return answers | {"reset_peak_memory_stats": lambda device=None: setattr(self, "peak", self.now)}

    def __enter__(self):
        for name, answer in self.answers().items():
            setattr(torch.cuda, name, answer)
        torch.nn.Module._apply = apply
        F.scaled_dot_product_attention = functools.partial(attention, F.scaled_dot_product_attention)
        torch.save = functools.partial(save, torch.save)
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()  # for good: the process ends with it


def made_up(x):
    """Numbers of a tensor's shape and type, from 0 to 1, on the CPU; whole ones are 0."""
    with torch._subclasses.fake_tensor.unset_fake_temporarily(), _disable_current_modes():
        real = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype)
        return real.uniform_() if x.is_floating_point() and x.numel() < 2_000_000 else real.zero_()


def apply(module, fn, recurse=True):
    """nn.Module._apply, across the border between real tensors and those without content."""
    for child in module.children() if recurse else ():
        child._apply(fn)
    for table in (module._parameters, module._buffers):
        for name, old in [(name, old) for name, old in table.items() if old is not None]:
            with torch.no_grad():
                new = fn(old)
            if not isinstance(old, torch.nn.Parameter):
                table[name] = new
            elif not isinstance(old, FakeTensor) and not isinstance(new, FakeTensor):
                old.data = new
            elif new is not old:
                replacement = torch.nn.Parameter(new.detach(), old.requires_grad)
                replacement.__dict__ |= {k: v for k, v in old.__dict__.items() if k not in replacement.__dict__}
                both = isinstance(old, FakeTensor) and isinstance(new, FakeTensor)
                table[name] = exchange(old, replacement) if both else replacement
    return module


def exchange(old, new):
    """Gives `old`, which others hold, what `new` is."""
    old.__dict__, new.__dict__ = new.__dict__, old.__dict__
    torch._C._swap_tensor_impl(old, new)
    old.grad = None
    return old


def attention(plain, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """The memory-efficient kernel, which a T4 takes; PyTorch would ask a driver which one to take."""
    forecast = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None
    if query.device.type != "cuda" or forecast:
        return plain(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if torch.is_autocast_enabled("cuda"):
        query, key, value = (x.to(torch.get_autocast_dtype("cuda")) for x in (query, key, value))
    if len({(x.dtype, x.device) for x in (query, key, value)}) > 1 or attn_mask is not None and not attn_mask.is_cuda:
        raise RuntimeError("Attention of several types or devices: CUDA would refuse it.")
    if attn_mask is not None:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).expand(*query.shape[:3], key.shape[2])
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    kernel = A._scaled_dot_product_efficient_attention
    return kernel(query, key, value, attn_mask, grad, dropout_p, is_causal, scale=scale)[0]


def save(plain, data, *args, **kwargs):
    """torch.save of made-up numbers for what has none."""
    return plain(tree_map(lambda x: x.cpu() if isinstance(x, FakeTensor) else x, data), *args, **kwargs)


if __name__ == "__main__":
    card, answer, path, name, arguments = sys.argv[1:]
    function = runpy.run_path(path)[name]
    gpu = GPU(*CARDS[card])
    with gpu:
        found = function(gpu, *json.loads(arguments))
    Path(answer).write_text(json.dumps(found))
