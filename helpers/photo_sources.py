"""Where photos come from and where squares go to: folders, lists of files, zip archives."""

import os
import shutil
import tempfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from helpers.files import atomic_write

LARGEST = 200 * 2**20  # bytes of one file in an archive
TOGETHER = 8 * 2**30  # bytes of all its files
MOST = 10_000  # files


@contextmanager
def originals(source):
    """Gives {name: path} of the photos in a folder, a list of files, or one .zip, which is unpacked for the while.

    Hidden files are passed over. Files of one name from different folders get the folder's name in front.
    Raises FileNotFoundError if there are none, ValueError if a zip is broken or too large.
    """
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() == ".zip" and Path(source).is_file():
        with tempfile.TemporaryDirectory() as folder:
            unpack(source, folder)
            yield _listed(sorted(Path(folder).iterdir()), source)
    elif isinstance(source, (str, os.PathLike)):
        yield _listed(sorted(Path(source).glob("*")), source)
    else:
        yield _listed(map(Path, source), "the list")


def _listed(paths, source):
    found = {}
    for path in paths:
        if not path.name.startswith("."):
            found[path.name if path.name not in found else f"{path.parent.name}_{path.name}"] = path
    if not found:
        raise FileNotFoundError(f"There are no photos in {source}: copy some there.")
    return found


def unpack(archive, folder):
    """Copy the files of a zip straight into a folder, whatever folders they lie in there; returns their paths.

    Nothing is written outside the folder, and nothing that is there is replaced by other content: a second file of
    a name gets a number. Hidden files and macOS's copies of them are passed over. A member that is encrypted or
    damaged is left empty, so that preparing names it.
    Raises ValueError if this is no zip, or if it holds too many files or too much (8 GB, 200 MB a file).
    """
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            named = [member for member in opened.infolist() if member.filename]  # is_dir fails without a name
            members = [member for member in named if not member.is_dir() and not _hidden(member)]
            _check_size(members, archive)
            for member in members:
                written.append(_extract(opened, member, folder, {path.name.lower() for path in written}))
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ValueError(f"{Path(archive).name} is not a whole zip ({error}): pack or copy it again.") from error
    return written


def _hidden(member):
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    return any(part == "__MACOSX" or part.startswith(".") and part.strip(".") for part in parts)


def _check_size(members, archive):
    name = Path(archive).name
    if len(members) > MOST:
        raise ValueError(f"{name} holds {len(members)} files: pack at most {MOST}.")
    for member in members:
        if member.file_size > LARGEST:
            raise ValueError(f"{name} holds {member.filename!r} of {member.file_size / 2**20:.0f} MB: leave it out.")
    if sum(member.file_size for member in members) > TOGETHER:
        raise ValueError(f"{name} holds more than {TOGETHER // 2**30} GB: pack fewer photos.")


def _extract(opened, member, folder, taken):
    """Write one member under its bare name, never more bytes than it declared."""
    bare = PurePosixPath(member.filename.replace("\\", "/")).name.replace("\0", "").replace(":", "_")
    bare = bare if bare.strip(".") else "unnamed"
    stem, suffix, number = Path(bare).stem[:100], Path(bare).suffix[:20], 1
    name = f"{stem}{suffix}"
    while name.lower() in taken:
        number += 1
        name = f"{stem}_{number}{suffix}"
    path = folder / name
    with atomic_write(path) as partial, partial.open("wb") as target:
        try:
            with opened.open(member) as content:
                shutil.copyfileobj(content, target)  # zipfile stops at the declared size and checks the sum
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError):
            target.truncate(0)  # encrypted or damaged: an empty file, which preparing reports by name
    when = time.mktime((*member.date_time, 0, 0, -1)) if member.date_time[1] else 0
    os.utime(path, (when, when))  # so that preparing knows it again
    return path


def pack(folder, archive):
    """Zip the squares and captions of a prepared folder; returns the path. The same files give the same zip.

    Hidden files stay out, and so do report.csv and crops.json, which tell of the originals.
    """
    folder, archive = Path(folder), Path(archive)
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    with atomic_write(archive) as partial, zipfile.ZipFile(partial, "w") as opened:
        for path in paths:
            if path.name not in ("report.csv", "crops.json") and path.resolve() != archive.resolve():
                opened.writestr(zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0)), path.read_bytes())
    return archive
