"""The notebooks and the tests as Colab would run them: its versions, an empty folder, google.colab, the set-up cell.

python -m tools.colab_like            all notebooks in order, QUICK, then the tests
python -m tools.colab_like 03 07      these two notebooks alone

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
FOLDER = REPO / "build" / "colab-like"
PYTHON = FOLDER / "bin" / "python"
LACKING = ("bitsandbytes", "imageio-ffmpeg", "pillow-heif", "jupyter-ui-poll")  # of what requirements.txt asks for
NOTEBOOK = """
import nbclient, nbformat, sys
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
"""


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
    command = [*map(str, pip), "--no-deps", f"{torch}+cpu", *wheels]
    if subprocess.run(
        command, check=False, stderr=subprocess.DEVNULL
    ).returncode:  # without that index, the other will do
        run(*pip, torch)
    run(*pip, "-r", VERSIONS)
    done.write_text(VERSIONS.read_text())


def publish(folder):
    """A git repository of the working tree as it is now, for the set-up cell to clone; returns git's settings for it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        run(*git, *command, cwd=folder)
    set_up = json.loads(min(folder.glob("notebooks/0*.ipynb")).read_text(encoding="utf-8"))["cells"][3]["source"]
    url = re.search(r"https://github\.com/[\w.-]+/[\w.-]+", "".join(set_up))[0]
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{folder}.insteadOf", "GIT_CONFIG_VALUE_0": url}


def environment(home):
    """The environment of a Colab kernel: a home of its own and google.colab, imported before the first cell."""
    startup = home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-colab.py").write_text("import google.colab\n")
    folders = {"HOME": home, "IPYTHONDIR": home / "ipython", "PYTHONPATH": REPO / "tests" / "stand_in"}
    folders["COLAB_DOWNLOADS"] = home / "downloads.txt"  # where the stand-in writes what a browser would save
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    settings = {"QUICK": "1", "MODEL": "pocket"}
    return os.environ | quiet | settings | {name: str(path) for name, path in folders.items()}


def run_notebooks(numbers):
    """Run the notebooks, or those numbered so, from an empty folder through the set-up cell alone.

    All share one machine and its runs; then 07_compare gets a machine of its own, as each notebook does on Colab.
    """
    run(PYTHON, "-m", "pip", "uninstall", "-q", "-y", *LACKING)
    with tempfile.TemporaryDirectory() as home:
        published, shared, alone = (Path(home, name) for name in ("published", "content", "alone"))
        settings = environment(Path(home)) | publish(published)
        paths = sorted((published / "notebooks").glob("[0-9]*.ipynb"))
        chosen = [(path, shared) for path in paths if not numbers or path.name[:2] in numbers]
        for path, content in chosen + [(path, alone) for path in paths if path.stem == "07_compare" and not numbers]:
            content.mkdir(exist_ok=True)
            began = time.perf_counter()
            run(PYTHON, "-c", NOTEBOOK, path, cwd=content, env=settings | {"RUNS_DIR": str(content / "runs")})
            print(f"{path.stem}: {time.perf_counter() - began:.0f} s on Colab's versions", flush=True)


def run_tests():
    """All that Colab's versions may break: no browser there, the notebooks have run, but not on a GPU."""
    run(PYTHON, "-m", "pip", "install", "-q", *LACKING)
    leave = [
        "-m",
        "not browser and not weekly",
        "--ignore=tests/test_notebooks.py",
        "--ignore=tests/test_notebooks_on_gpu.py",
    ]
    on_gpu = ["tests/test_notebooks_on_gpu.py"]
    for chosen in (leave, on_gpu):
        run(PYTHON, "-m", "pytest", "-p", "no:cacheprovider", *chosen, cwd=REPO)


if __name__ == "__main__":
    build()
    run_notebooks(sys.argv[1:])
    if not sys.argv[1:]:
        run_tests()
