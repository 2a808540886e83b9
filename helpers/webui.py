"""Files for the AUTOMATIC1111 web UI: .pt and .ckpt that its safety check lets through, and .safetensors."""

import re
import zipfile

import safetensors.torch
import torch

from helpers.files import atomic_write

ALLOWED = re.compile(r"[^/]+/(data/\d+|version|data\.pkl)")  # what may be inside, in modules/safe.py of March 2023


def save_pt(path, data):
    """Writes what torch.load reads, without the extra files the web UI refuses. The same data gives the same bytes.

    data: CPU tensors and plain values in dicts, lists and tuples; of a view its whole storage is written.
    torch.save adds .format_version and more: the archive's list of contents is written again without them.
    """
    with atomic_write(path) as partial:
        with partial.open("wb") as file:  # given a name, torch would write it into the archive
            torch.save(data, file)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.filelist[:] = [member for member in archive.filelist if ALLOWED.fullmatch(member.filename)]
            archive.comment = b""  # any change of it has the list written


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


def save_safetensors(path, tensors, metadata=None):
    """Writes a dict of tensors as safetensors, atomically.

    metadata: {name: text} for the header, one entry at most, as the library writes several in any order.
    """
    with atomic_write(path) as partial:
        safetensors.torch.save_file(tensors, partial, metadata or {"format": "pt"})
        partial.chmod(partial.parent.stat().st_mode & 0o666)  # not for the owner alone, as the library has it


def load_safetensors(path):
    """{name: tensor} of a .safetensors. Raises ValueError if it is no such file."""
    try:
        return safetensors.torch.load_file(path)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a readable .safetensors: take it again from its source") from error
