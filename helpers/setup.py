"""What a notebook's set-up cell needs before anything else is installed; standard library only.

python -m helpers.setup owner/name      stamps the repository into badges and set-up cells
"""

import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from helpers import colab

REPO = Path(__file__).resolve().parents[1]
# Colab has these imported already; replacing one breaks the running kernel.
KEPT = ("torch", "numpy", "pillow", "ipywidgets", "ipython", "ipykernel")


def ready(drive=False):
    """The last line of every set-up cell: install what Colab lacks and, if asked, keep runs on Google Drive.

    Idempotent. Raises ModuleNotFoundError as `install_missing` does; a refused Drive is only told.
    """
    install_missing()
    places = sys.modules.get("helpers.places")
    if drive and colab.mount_drive() and places and colab.DRIVE not in places.RUNS.parents:
        print("Runs made so far stay where they are: choose Runtime, Restart session, then run from the top.")


def missing(requirements=REPO / "requirements.txt"):
    """The lines of a requirements file whose package is not installed at all, comments removed."""
    lines = (line.split("#")[0].strip() for line in Path(requirements).read_text().splitlines())
    return [line for line in lines if line and _applies(line) and not _installed(_name(line))]


def install_missing(requirements=REPO / "requirements.txt"):
    """On Colab install what is missing and touch nothing that is there; elsewhere say what is missing.

    Raises ModuleNotFoundError with the mend in one sentence.
    """
    absent = missing(requirements)
    if not absent:
        return
    names = ", ".join(_name(line) for line in absent)
    if not colab.on_colab():
        raise ModuleNotFoundError(f"Not installed: {names}. Run `make lab`, or `pip install -r requirements.txt`.")
    kept = sorted({name for name in map(_name, absent) if name in KEPT})
    if kept:
        raise ModuleNotFoundError(f"This Colab runtime lacks {', '.join(kept)}: choose Runtime, Change runtime type.")
    print(f"Installing {names} ...")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.writelines(f"{name}=={metadata.version(name)}\n" for name in KEPT if _installed(name))
        constraints.flush()
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", constraints.name, *absent], check=True)


def _name(line):
    return re.match(r"[\w.-]+", line)[0].lower()


def _applies(line):
    """Whether what follows a semicolon, such as platform_system != "Darwin", is so on this machine."""
    condition = line.partition(";")[2]
    try:
        from packaging.markers import Marker
    except ImportError:  # nothing is installed yet: this will be told of other lines, too
        return True
    return not condition or Marker(condition).evaluate()


def _installed(name):
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def stamp(repository, files):
    """Write owner/name of a GitHub repository into badges, clone lines and the addresses of pictures and documents.

    Colab knows only whole addresses; until then these are found beside the notebook.
    Raises ValueError if repository does not look like owner/name.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is not of the form owner/name.")
    for file in map(Path, files):
        text = file.read_text(encoding="utf-8")
        text = re.sub(r"(colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+(?=/blob/)", rf"\g<1>{repository}", text)
        text = re.sub(r'(https://github\.com/)[\w.-]+/[\w.-]+(?=\\?", \\?"personalize)', rf"\g<1>{repository}", text)
        raw = rf"\g<1>https://raw.githubusercontent.com/{repository}/main/docs/pictures/"
        text = re.sub(r"(!\[[^]]*\]\()(?:\.\.|https://raw[^)]*?)/docs/pictures/", raw, text)
        web = rf"\g<1>https://github.com/{repository}/blob/main/docs/\g<2>"
        text = re.sub(r"(\]\()(?:\.\.|https://github\.com/[\w.-]+/[\w.-]+/blob/main)/docs/([\w.-]+\))", web, text)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    stamp(sys.argv[1], [REPO / "README.md", *sorted((REPO / "notebooks").glob("*.ipynb"))])
    print("Now commit and push to the branch main of a public repository: Colab reads what is on GitHub.")
