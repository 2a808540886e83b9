"""The notebooks as Colab would run them: its versions of the libraries, an empty folder, google.colab, the set-up cell.

python tests/colab_like.py            all notebooks in order, QUICK
python tests/colab_like.py tests      the fast tests in the same environment, and slow ones that versions may break

The environment is made once in build/colab-like (1 GB, some minutes) from tests/colab_versions.txt. What Colab lacks
the set-up cell installs, as it does there: so those packages are removed again before each run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
VERSIONS = REPO / "tests" / "colab_versions.txt"
FOLDER = Path(os.environ.get("COLAB_LIKE", REPO / "build" / "colab-like"))
PYTHON = FOLDER / "bin" / "python"
SLOW_TOO = (  # tests/test_NAME.py; of the others the slow ones need a browser, full-size models or all notebooks
    "checkpoint dreambooth dreambooth_notebook exercises lora memory pocket_model runtime set_up_cell survey traps "
    "training training_command training_mishaps"
)
LACKING = ("pillow-heif", "jupyter-ui-poll")  # of what requirements.txt asks for
STARTUP = "import google.colab\n"  # Colab's kernels begin so


def run(*command, **settings):
    subprocess.run([str(part) for part in command], check=True, **settings)


def build():
    """Make the virtual environment, or leave it if it is what the list of versions asks for."""
    done = FOLDER / "versions.txt"
    if done.exists() and done.read_text() == VERSIONS.read_text():
        return
    print(f"Making {FOLDER} ...", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    run(sys.executable, "-m", "venv", FOLDER)
    torch = re.search(r"^torch==.*", (REPO / "constraints.txt").read_text(), re.MULTILINE)[0]
    pip = [PYTHON, "-m", "pip", "install", "-q"]
    wheels = ["--retries", "1", "--extra-index-url", "https://download.pytorch.org/whl/cpu"]
    if subprocess.run([*map(str, pip), "--no-deps", f"{torch}+cpu", *wheels], check=False).returncode:
        run(*pip, torch)
    run(*pip, "-r", VERSIONS)
    done.write_text(VERSIONS.read_text())


def publish(folder):
    """A git repository of the working tree as it is now, for the set-up cell to clone; returns git's settings for it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        run(*git, *command, cwd=folder)
    url = re.search(r"https://github\.com/[\w.-]+/[\w.-]+", set_up_cell(folder / "notebooks"))[0]
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{folder}.insteadOf", "GIT_CONFIG_VALUE_0": url}


def set_up_cell(folder):
    cells = json.loads(min(folder.glob("0*.ipynb")).read_text(encoding="utf-8"))["cells"]
    return "".join(cells[3]["source"])


def environment(home):
    """The environment of a Colab kernel: a home of its own and google.colab, imported before the first cell."""
    startup = home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text(STARTUP)
    settings = {"HOME": home, "IPYTHONDIR": home / "ipython", "PYTHONPATH": REPO / "tests" / "stand_in", "CI": ""}
    settings |= {
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "QUICK": "1",
        "MODEL": "pocket",
        "RUNS_DIR": home / "runs",
        "COLAB_DOWNLOADS": home / "downloads.txt",  # where the stand-in writes what a browser would save
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return os.environ | {name: str(value) for name, value in settings.items()}


NOTEBOOK = """
import nbclient, nbformat, sys
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
"""


def notebooks(names=()):
    """Run the notebooks, or those whose names begin so, from an empty folder through the set-up cell alone.

    All share one machine and its runs; then 05 gets a machine of its own, as each notebook does on Colab.
    """
    run(PYTHON, "-m", "pip", "uninstall", "-q", "-y", *LACKING)
    with tempfile.TemporaryDirectory() as home:
        content, published = Path(home, "content"), Path(home, "published")
        settings = environment(Path(home)) | publish(published)
        paths = sorted((published / "notebooks").glob("0*.ipynb"))
        for path in paths:
            if not names or path.name.startswith(tuple(names)):
                notebook(path, content, settings)
        if not names:
            (compared,) = [path for path in paths if path.name.startswith("05")]
            alone = {name: value for name, value in settings.items() if name != "RUNS_DIR"}
            notebook(compared, Path(home, "alone"), alone)


def notebook(path, content, settings):
    """Run one notebook in a folder and say how long it took."""
    content.mkdir(exist_ok=True)
    began = time.perf_counter()
    run(PYTHON, "-c", NOTEBOOK, path, cwd=content, env=settings)
    print(f"{path.stem}: {time.perf_counter() - began:.0f} s on Colab's versions", flush=True)


def tests(paths=()):
    """Run the fast tests with Colab's versions, or those of `paths`; of the slow ones those of SLOW_TOO."""
    run(PYTHON, "-m", "pip", "install", "-q", *LACKING)
    pytest = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run(*pytest, "-m", "not slow", *paths, cwd=REPO)
    if not paths:
        run(*pytest, "-m", "slow", *(f"tests/test_{name}.py" for name in SLOW_TOO.split()), cwd=REPO)


if __name__ == "__main__":
    build()
    what, *rest = sys.argv[1:] or ["notebooks"]
    {"notebooks": notebooks, "tests": tests}[what](rest)
