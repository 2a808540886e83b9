"""Run notebooks from top to bottom, as `make run` and the tests do."""

import os
import sys
import time
from pathlib import Path

import nbclient
import nbformat
from nbconvert import HTMLExporter

from helpers import files, runtime

FOLDER = runtime.REPO / "notebooks"


def paths():
    """The notebooks in the order in which they build on one another."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def execute(path, **environment):
    """Run a notebook in a fresh kernel and return it with its outputs.

    environment: variables added to those of this process.
    Raises nbclient.exceptions.CellExecutionError, with the cell and its error, at the first that fails.
    """
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(Path(path).parent)}}
    quiet = ["--IPKernelApp.log_level=40"]  # errors only
    client = nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources=place, extra_arguments=quiet
    )
    # the kernel of this very Python, whatever else Jupyter knows on this machine
    settings = {"JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    client.execute(env={**os.environ, **settings, **environment})
    return notebook


def render(notebook, path):
    """Write an executed notebook as a web page."""
    body, _ = HTMLExporter(template_name="lab", embed_images=True).from_notebook_node(notebook)
    with files.atomic_write(path) as partial:
        partial.write_text(body, encoding="utf-8")


def run_all(folder):
    """Run every notebook and render it into a folder; return [(path of the page, minutes)].

    Leaves Python with the cell's error at the first notebook that fails.
    """
    done = []
    for path in paths():
        print(f"{path.stem} ...", end=" ", flush=True)
        began = time.perf_counter()
        try:
            notebook = execute(path)
        except nbclient.exceptions.CellExecutionError as error:
            sys.exit(f"\n{path.stem} stopped here:\n{error}")
        done.append((folder / f"{path.stem}.html", (time.perf_counter() - began) / 60))
        render(notebook, done[-1][0])
        print(f"{done[-1][1]:.1f} minutes", flush=True)
    return done
