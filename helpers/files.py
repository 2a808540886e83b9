"""Saving so that a crash never leaves half a file."""

import contextlib
import hashlib
import json
import os
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path):
    """Gives a temporary path to write to; it takes the place of `path` only when all is on disk.

    The temporary name is fixed, so what a killed process left behind is overwritten by the next try.
    If the block raises, the temporary file is removed and `path` keeps its old content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def discard(path):
    """Removes a file, emptied first: on Google Drive what is removed fills the bin, which counts like the rest."""
    os.truncate(path, 0)
    path.unlink()


def write_json(path, data):
    """Writes `data` as readable JSON, atomically."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path):
    """Reads a JSON file. Raises ValueError naming the file if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}): delete it or restore it from a copy") from error


def fingerprint(paths):
    """Sixteen hexadecimal digits that change with the content of any of these files, or with their order."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
