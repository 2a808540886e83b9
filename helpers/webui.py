"""Files for the AUTOMATIC1111 web UI: .pt and .ckpt that its safety check lets through, and .safetensors.

Both are written one tensor at a time, so saving a model never holds a second copy of it in memory.
"""

import io
import json
import pickle
import re
import struct
import zipfile
from collections import OrderedDict

import torch

from helpers.files import atomic_write

ALIGNMENT = 64  # bytes: where torch.save, too, lets tensors begin, so that a file can be mapped into memory
STORAGES = {
    torch.float64: torch.DoubleStorage,
    torch.float32: torch.FloatStorage,
    torch.float16: torch.HalfStorage,
    torch.bfloat16: torch.BFloat16Storage,  # the web UI of March 2023 refuses this one
    torch.int64: torch.LongStorage,
    torch.int32: torch.IntStorage,
    torch.uint8: torch.ByteStorage,
}
SAFETENSORS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


class _Storage:
    """Stands for the bytes of one tensor, which lie in the archive already."""

    def __init__(self, *identity):
        self.identity = identity


class _TensorPickler(pickle.Pickler):
    """Describes tensors as torch.save does, and puts their bytes straight into the archive as data/0, data/1, ..."""

    def __init__(self, file, archive, dtype):
        super().__init__(file, protocol=2)
        self.archive, self.dtype, self.count = archive, dtype, 0

    def persistent_id(self, value):
        return value.identity if isinstance(value, _Storage) else None

    def reducer_override(self, value):
        if not isinstance(value, torch.Tensor):
            return NotImplemented
        tensor = _stored(value, self.dtype)
        name, self.count = str(self.count), self.count + 1
        _put(self.archive, f"archive/data/{name}", _bytes(tensor))
        storage = _Storage("storage", STORAGES[tensor.dtype], name, "cpu", tensor.numel())
        arguments = (storage, 0, tuple(tensor.shape), tensor.stride(), False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


def _stored(tensor, dtype):
    """The tensor as it goes to disk: contiguous on the CPU, in `dtype` if that is given and it holds fractions."""
    wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", wanted).contiguous()


def _bytes(tensor):
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _put(archive, name, content):
    """Stores a file whose content begins at a multiple of ALIGNMENT; its date is fixed: 1980."""
    info = zipfile.ZipInfo(name)
    begins = archive.fp.tell() + zipfile.sizeFileHeader + len(name) + 4
    padding = -begins % ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
    archive.writestr(info, content)


def save_pt(path, data, dtype=None):
    """Writes what torch.load reads, without the extra files the web UI refuses. The same data gives the same bytes.

    data: tensors and plain values in dicts, lists and tuples; each tensor is stored whole, views too.
    dtype: what floating-point tensors are stored as; None keeps theirs.
    The web UI refuses any file inside but data.pkl, version and data/N; torch.save adds .format_version and more.
    """
    description = io.BytesIO()
    with atomic_write(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        _TensorPickler(description, archive, dtype).dump(data)
        _put(archive, "archive/data.pkl", description.getvalue())
        _put(archive, "archive/version", b"3\n")


def load_pt(path, mmap=False):
    """Reads a .pt of tensors and plain values; nothing in it is ever executed.

    mmap: leaves the tensors on disk until they are used.
    Raises ValueError if it is no such file, or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # bytes that are no .pt lead torch into any error at all
        called = re.search(r"GLOBAL (\S+)", str(error))
        code = f" (it wants to call {called[1]}, which was not done)" if called else ""
        raise ValueError(
            f"{path} is not a readable .pt of plain tensors{code}: take it again from a source you trust"
        ) from error


def save_safetensors(path, tensors, dtype=None, metadata=None):
    """Writes a dict of tensors as safetensors (eight bytes of length, a JSON header, the bytes).

    dtype: as for `save_pt`. metadata: a dict of strings that goes into the header.
    The safetensors library would want every converted tensor at once.
    """
    stored = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    stored = {
        name: tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor for name, tensor in stored.items()
    }
    names = sorted(stored, key=lambda name: (-stored[name].itemsize, name))  # wide ones first: all lie aligned
    header, end = {"__metadata__": {"format": "pt"} | (metadata or {})}, 0
    for name in names:
        begin, end = end, end + stored[name].nbytes
        kind, shape = SAFETENSORS[stored[name].dtype], list(stored[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as partial, partial.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(_bytes(_stored(tensors[name], dtype)))
