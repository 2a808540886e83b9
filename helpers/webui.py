"""What the AUTOMATIC1111 web UI accepts: files its safety check lets through."""

import io
import re
import zipfile

import torch

from helpers.files import atomic_write

# The web UI refuses a .pt with any other file inside; newer PyTorch adds .format_version, byteorder and more.
ALLOWED_INSIDE = re.compile(r"[^/]+/(data/\d+|version|data\.pkl)")


def save_pt(path, data):
    """torch.save without the extra files the web UI's check refuses. The same data gives the same bytes."""
    whole = io.BytesIO()
    torch.save(data, whole)
    with atomic_write(path) as partial, zipfile.ZipFile(partial, "w") as slim, zipfile.ZipFile(whole) as archive:
        for name in archive.namelist():
            if ALLOWED_INSIDE.fullmatch(name):
                slim.writestr(zipfile.ZipInfo(name), archive.read(name))  # ZipInfo's date is fixed: 1980


def load_pt(path):
    """Reads a .pt of tensors and plain values; nothing in it is ever executed.

    Raises ValueError if it is no such file, or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # bytes that are no .pt lead torch into any error at all
        raise ValueError(f"{path} is not a readable .pt of plain tensors: take it again from its source") from error
