"""Where runs lie, and saving so that a crash never leaves half a file."""

import codecs
import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

DRIVE = Path("/content/drive")  # where Colab mounts Google Drive
KAGGLE = Path("/kaggle/working")  # what Kaggle keeps of a session, at most 20 GB
REPO = Path(__file__).resolve().parents[2]
# the pictures that trainings take, ours and other programs': Pillow's formats, and the endings of each
PICTURES = {"PNG": [".png"], "JPEG": [".jpg", ".jpeg", ".jfif"], "WEBP": [".webp"], "BMP": [".bmp"]}
QUICK = os.environ.get("QUICK", "") not in ("", "0")  # a trial of every cell in seconds, nothing learnt
FORMULA = re.compile(r"'*[=+\-@\t\r]")  # begins what a spreadsheet computes, or what as_text made of it
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SIGNS = ("inline_container", "iostream", "PytorchStreamWriter", "os error 28")  # of writers that know no OSError


def on_kaggle():
    """True in a session of Kaggle's, whose kernel is no Colab runtime though it may bring google.colab."""
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def find_runs():
    """Where runs are kept: RUNS_DIR, else Google Drive where it is mounted, Kaggle's output, else the repo's runs/.

    Quick trials get a folder of their own, so they never meet a real run.
    """
    if os.environ.get("RUNS_DIR"):
        return Path(os.environ["RUNS_DIR"]).expanduser().resolve()
    drive, runs = DRIVE / "MyDrive", KAGGLE / "runs" if on_kaggle() else REPO / "runs"
    try:
        runs = drive / "personalize" / "runs" if stat.S_ISDIR(drive.stat().st_mode) else runs
    except FileNotFoundError:
        pass
    except OSError as error:  # "Transport endpoint is not connected": mounted in a session that has ended
        print(
            f"Google Drive does not answer ({error.strerror}): runs are kept on this machine until it is mounted anew."
        )
    return runs / "quick" if QUICK else runs


RUNS = find_runs()


def local(path):
    """`path`, or in place of one on Google Drive or in Kaggle's output, which are small, one on this machine's own disk.

    That ends with the session.
    """
    if on_kaggle() and KAGGLE in Path(path).parents:
        return Path(tempfile.gettempdir(), "personalize", Path(path).relative_to(KAGGLE))
    return REPO / "runs" / "of_drive" / Path(path).relative_to(DRIVE) if DRIVE in Path(path).parents else Path(path)


def _check_drive(path):
    """Raises FileNotFoundError for a path on Google Drive when that is gone: written there, it would be lost."""
    if DRIVE in Path(path).parents and not os.path.isdir(DRIVE / "MyDrive"):
        raise FileNotFoundError(f"Google Drive is gone, and {path} with it: run the set-up cell again, then this one.")


@contextlib.contextmanager
def atomic_write(path):
    """Gives a temporary path to write to; it takes the place of `path` only when all is on disk.

    The temporary name is fixed, so what a killed process left behind is overwritten by the next try.
    If the block raises, the temporary file is removed and `path` keeps its old content. Raises OSError where it does
    not fit (see `room_for`), FileNotFoundError where Google Drive is gone.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.part")
    with room_for(path):
        new = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
            for folder in (path.parent, *(folder.parent for folder in new)):
                _sync(folder)
        finally:
            partial.unlink(missing_ok=True)


def _sync(folder):
    """Puts the names in a folder on disk, or after a power cut a whole file may be one that nobody finds."""
    with contextlib.suppress(OSError):  # Windows opens no folder, and some disks of a network refuse
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def pictures_in(folder):
    """The picture files in a folder, by name, however their endings are written; [] if there is no such folder."""
    endings = [ending for endings in PICTURES.values() for ending in endings]
    paths = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []
    return [path for path in paths if path.suffix.lower() in endings and not path.name.startswith(".")]


def write_json(path, data):
    """Writes `data` as readable JSON, atomically."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def decode(content):
    """(text, its encoding's name) of bytes that somebody saved: UTF-8, UTF-16 with its mark, or Windows-1252.

    Excel's plain "CSV" and Notepad's "ANSI" are Windows-1252 in western Europe and America. Elsewhere they are another
    of Windows' alphabets, which bytes do not tell: whoever reads such a file says so. Raises UnicodeDecodeError for
    bytes that are none of these, and for UTF-8 that is damaged: more of its letters are whole than are not.
    """
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content.decode("utf-16", errors="replace"), "UTF-16"
    try:
        return content.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        foreign = [letter for letter in content.decode("utf-8", errors="surrogateescape") if letter > "\x7f"]
        if sum("\udc80" <= letter <= "\udcff" for letter in foreign) <= len(foreign) / 2:
            raise
        return content.decode("cp1252"), "Windows-1252"


def read_json(path):
    """Reads a JSON file, also as Windows' Notepad saves it. Raises ValueError naming the file if it is not JSON."""
    try:
        return json.loads(decode(Path(path).read_bytes())[0])
    except ValueError as error:
        if "escape" in str(error):
            raise ValueError(f"{path} has a single backslash ({error}): write / or \\\\ instead of it.") from error
        raise ValueError(f"{path} is not readable JSON ({error}): delete it or restore it from a copy.") from error


def as_text(cell, back=False):
    """A cell for a CSV file that a spreadsheet shows instead of computing it: a formula gets a leading '.

    back: the other way, from such a cell to what it was made of. Cells that are not text stay as they are.
    """
    if not isinstance(cell, str) or not FORMULA.match(cell):
        return cell
    return "'" + cell if not back else cell.removeprefix("'")


def write_csv(path, table, index=False):
    """Writes a pandas table as CSV, atomically; index: whether its row labels are a column, too."""
    with atomic_write(path) as partial:
        table.to_csv(partial, index=index)


def fingerprint(paths):
    """Sixteen hexadecimal digits that change with the content of any of these files, or with their order."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def room_for(path, kept=None):
    """Raises one OSError (ENOSPC) for whatever a library raises when `path` does not fit; other errors pass.

    kept: of a training, the checkpoints that stay, the newest last. Raises FileNotFoundError where Google Drive is gone.
    """
    _check_drive(path)
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in FULL and not any(sign in str(error) for sign in SIGNS):
            raise
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free / 2**30
        on = "" if kept is None else f"; it goes on from {f'checkpoint {kept[-1].name}' if kept else 'the start'}"
        message = f"No room to write {path} ({free:.1f} GiB free). Make room and run again{on}."
        raise OSError(errno.ENOSPC, message) from error


def weights_id(weights):
    """A short name for a model's weights that changes with them; a hub id, which is not on disk, stays as it is.

    weights: a file, or a folder in diffusers' layout: text encoder, U-Net and VAE count, a captioner beside them not.
    """
    weights = Path(weights)
    if not weights.exists():
        return weights.as_posix()
    parts = ("text_encoder", "unet", "vae")
    paths = [path for part in parts for path in sorted((weights / part).glob("*.safetensors"))]
    return _fingerprint(*[(path, path.stat().st_mtime_ns) for path in ([weights] if weights.is_file() else paths)])


@functools.lru_cache
def _fingerprint(*dated):
    """`fingerprint`, computed once as long as the dates of the files stay."""
    return fingerprint([path for path, _ in dated])
