"""Run notebooks from top to bottom, as `make run` and the tests do.

python -m tools.notebooks 03 05      runs these two and renders them into build/notebooks; with SUBJECT=nesrelah
                                       in the environment for her, into build/nesrelah/notebooks
"""

import os
import sys
import time
from pathlib import Path

import nbclient
import nbformat

from helpers import machine
from tools import gallery_notebook, opening_pictures

FOLDER = machine.REPO / "notebooks"


def paths():
    """The notebooks in the order in which they build on one another."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def read(path):
    """A notebook from its file, as nbformat's own object."""
    return nbformat.read(path, as_version=4)


def execute(path, notebook=None, **environment):
    """Run a notebook in a fresh kernel and return it with its outputs.

    notebook: cells to run instead of the file's own, in the file's folder. environment: variables added to those of
    this process. Raises nbclient.exceptions.CellExecutionError, with the cell and its error, at the first that fails.
    """
    notebook = notebook or read(path)
    place = {"metadata": {"path": str(Path(path).parent)}}
    quiet = ["--IPKernelApp.log_level=40"]  # errors only
    client = nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources=place, extra_arguments=quiet
    )
    # the kernel of this very Python, whatever else Jupyter knows on this machine
    settings = {"JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    client.execute(env={**os.environ, **settings, **environment})
    return notebook


def run_all(folder, numbers=()):
    """Run every notebook, or those numbered so ("03"), and render them into a folder; return [(page, minutes)].

    Their opening pictures go to `pictures` beside that folder. Leaves Python with the cell's error at the first
    notebook that fails.
    """
    done = []
    for path in paths():
        if numbers and path.name[:2] not in numbers:
            continue
        print(f"{path.stem} ...", end=" ", flush=True)
        began = time.perf_counter()
        try:
            notebook = execute(path)
        except nbclient.exceptions.CellExecutionError as error:
            sys.exit(f"\n{path.stem} stopped here:\n{error}")
        done.append((folder / f"{path.stem}.html", (time.perf_counter() - began) / 60))
        gallery_notebook.render(notebook, done[-1][0], [each.stem for each in paths()])
        opening_pictures.keep(notebook, path.stem, folder.parent / "pictures")
        print(f"{done[-1][1]:.1f} minutes", flush=True)
    gallery_notebook.render_documents(folder.parent / "docs")
    return done


if __name__ == "__main__":
    run_all(machine.REPO / "build" / os.environ.get("SUBJECT", "") / "notebooks", sys.argv[1:])
