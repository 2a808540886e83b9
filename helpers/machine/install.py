"""What a notebook's set-up cell needs before anything else is installed."""

import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from helpers import machine
from helpers.machine import colab, files

# Colab has imported these; replacing one breaks the running kernel.
KEPT = ("torch", "numpy", "pillow", "ipywidgets", "ipython", "ipykernel")


def ready(drive=False):
    """The last line of every set-up cell: install what Colab lacks and, if asked, keep runs on Google Drive.

    Idempotent. Raises ModuleNotFoundError as `install_missing` does; a refused Drive stops nothing.
    """
    install_missing()
    if not drive or not colab.mount_drive():
        return
    runs = files.find_runs()
    if runs != machine.RUNS and any(re.match(r"helpers\.(?!machine)", name) for name in sys.modules):
        print("Runs made so far stay where they are: choose Runtime, Restart session, then run from the top.")
    else:
        machine.RUNS = runs


def missing(requirements=files.REPO / "requirements.txt"):
    """The lines of a requirements file whose package is not installed at all, comments removed."""
    lines = (line.split("#")[0].strip() for line in Path(requirements).read_text().splitlines())
    return [line for line in lines if line and _applies(line) and not _installed(_name(line))]


def install_missing(requirements=files.REPO / "requirements.txt"):
    """On Colab and Kaggle install what is missing, touch nothing that is there; elsewhere raise ModuleNotFoundError.

    Raises ConnectionError where pip finds no network.
    """
    absent = missing(requirements)
    if not absent:
        return
    names = ", ".join(_name(line) for line in absent)
    if not (colab.on_colab() or files.on_kaggle()):
        raise ModuleNotFoundError(f"Not installed: {names}. Run `make lab`, or `pip install -r requirements.txt`.")
    if kept := sorted({*map(_name, absent)} & {*KEPT}):
        raise ModuleNotFoundError(
            f"This runtime lacks {', '.join(kept)}: on Colab choose Runtime, Change runtime type."
        )
    print(f"Installing {names} ...")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.writelines(f"{name}=={metadata.version(name)}\n" for name in KEPT if _installed(name))
        constraints.flush()
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", constraints.name, *absent]
        try:
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as error:
            raise ConnectionError(
                f"pip could not install {names}: run this cell again; on Kaggle, switch Internet on in the notebook's settings."
            ) from error


def _name(line):
    return re.match(r"[\w.-]+", line)[0].lower()


def _applies(line):
    """Whether what follows a semicolon, such as platform_system != "Darwin", holds on this machine."""
    condition = line.partition(";")[2]
    try:
        from packaging.markers import Marker
    except ImportError:  # nothing is installed yet: other lines will be missing, too
        return True
    return not condition or Marker(condition).evaluate()


def _installed(name):
    return next(metadata.distributions(name=name), None) is not None
