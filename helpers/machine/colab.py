"""What is different on Colab: Drive that may be refused, photos to upload, runs to take home before the session ends."""

import itertools
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from helpers.machine import files

LATE = "Everything in this session is gone when it ends: take it home with machine.take_home(folder)."


def on_colab():
    """True inside a Colab runtime."""
    return "google.colab" in sys.modules and not files.on_kaggle()


def mount_drive():
    """Ask for Google Drive, so that runs outlive the session; returns whether it is there. Does nothing elsewhere.

    Where it is forbidden, declined or missing one sentence says so, and the notebook goes on without.
    """
    if files.on_kaggle():
        print(f"Google Drive is for Colab. Runs are kept in {files.find_runs()}: Save Version keeps them for you.")
    if not on_colab():
        return False
    from google.colab import drive

    try:
        drive.mount(str(files.DRIVE))
    except Exception as error:  # noqa: BLE001  (Colab raises ValueError, NotImplementedError and types of its own)
        print(f"Google Drive cannot be used here ({error}). {LATE}")
        return False
    return True


def upload(folder):
    """Let a person choose files in the browser and put them into a folder; returns their paths.

    One zip is quicker than many photos. Raises RuntimeError outside Colab, where files can simply be copied.
    """
    if not on_colab():
        here = "on Kaggle choose Upload beside Input, then" if files.on_kaggle() else "on this computer"
        raise RuntimeError(f"Uploading is for Colab: {here} copy the files into {folder}.")
    from google.colab import files as browser

    paths = []
    for name, content in browser.upload().items():
        paths.append(Path(folder, Path(name).name))
        with files.atomic_write(paths[-1]) as partial:
            partial.write_bytes(content)
        Path(name).unlink(missing_ok=True)  # Colab keeps a copy in the current folder
    return paths


def copy_token(name="HF_TOKEN"):
    """Put a token from Colab's secrets, for models behind a licence, into the environment; returns if there is one."""
    if on_colab() and name not in os.environ:
        from google.colab import userdata

        try:
            os.environ[name] = userdata.get(name)
        except (userdata.SecretNotFoundError, userdata.NotebookAccessError, userdata.TimeoutException):
            return False
    return bool(os.environ.get(name))


def take_home(folder, archive=None):
    """Zip a run or any folder, without its checkpoints, and on Colab hand it to the browser. Returns the zip's path.

    archive: where to put it, by default beside the folder. Raises FileNotFoundError if there is nothing to take.
    """
    folder = Path(folder)
    archive = Path(archive or folder.with_name(f"{folder.name}.zip"))
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and _goes_home(path.relative_to(folder))]
    if not paths:
        raise FileNotFoundError(f"There is nothing in {folder} to take home: run the cells above first.")
    with files.atomic_write(archive) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as opened:
        for path in paths:
            opened.write(path, Path(folder.name, path.relative_to(folder)))
    if on_colab():
        from google.colab import files as browser

        browser.download(str(archive))
    return archive


def bring_back(folder):
    """Let a person choose zips that `take_home` made and unpack them into `folder`; returns the runs that came.

    A run of the same name that is there and not the same is kept under another name. Raises RuntimeError outside Colab,
    where a zip can simply be unpacked, and ValueError, with nothing changed, for another kind of zip, one that is
    broken, and one that does not fit on the disk.
    """
    folder, came = Path(folder).resolve(), set()
    for path in upload(folder):
        try:
            with zipfile.ZipFile(path) as opened:
                came |= _runs_of(opened, folder, path.name)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
            raise ValueError(f"{path.name} is not a whole zip ({error}): take the run home once more.") from error
        path.unlink()
    return sorted(came)


def _runs_of(opened, folder, name):
    """Unpacks each run of a zip whole, beside its place, before it takes that place; returns their folders."""
    members = [member for member in opened.infolist() if not member.is_dir()]
    targets = {member: (folder / member.filename).resolve() for member in members}
    if strange := [member for member, target in targets.items() if folder not in target.parent.parents]:
        where = f"{strange[0].filename!r} lies in no folder"
        raise ValueError(f"{name} is no run that was taken home: {where}. Choose another zip.")
    size, free = (n / 2**30 for n in (sum(m.file_size for m in members), shutil.disk_usage(folder).free))
    if size > free:
        raise ValueError(f"{name} holds {size:.1f} GB, and {free:.1f} are free: make room, then choose it again.")
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as place:
        for member, target in targets.items():
            copy = Path(place, target.relative_to(folder))
            copy.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as content, copy.open("wb") as file:
                shutil.copyfileobj(content, file)  # zipfile stops at the declared size and checks the sum
        return {_put(run, folder / run.name) for run in sorted(Path(place).iterdir())}


def _put(run, target):
    """Moves an unpacked run to its place, unless the same is there; what else is there gets another name."""
    paths = [path for path in sorted(run.rglob("*")) if path.is_file()]
    there = [target / path.relative_to(run) for path in paths]
    if all(path.is_file() for path in there) and files.fingerprint(paths) == files.fingerprint(there):
        return target
    if target.exists():
        aside = next(path for i in itertools.count(1) if not (path := target.with_name(f"{target.name}-{i}")).exists())
        target.rename(aside)
        print(f"Another run {target.name} was here: it is kept as {aside.name}.")
    return run.rename(target)


def _goes_home(path):
    """False for checkpoints, which are large and only of use to go on training, and for unfinished files."""
    return "checkpoints" not in path.parts and not any(part.startswith(".") for part in path.parts)
