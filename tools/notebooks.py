"""Run notebooks from top to bottom, as `make run` and the tests do, and keep them with their outputs.

python -m tools.notebooks 03 08      runs these two and writes them into build/notebooks; with SUBJECT=nesrelah
                                       in the environment for her, into build/nesrelah/notebooks

The picture each notebook opens with is the one it ends with. Each run keeps them in build/pictures, one small JPEG a
notebook; after a change of notebooks or weights they are copied by hand: cp build/pictures/*.jpg docs/pictures/
"""

import base64
import io
import os
import queue
import sys
import time
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

from helpers import machine

FOLDER = machine.REPO / "notebooks"
OPENING = "opening-picture"  # tag of the cell whose picture a notebook opens with
LONGEST = 1000  # pixels a side of that picture


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
    client = _Client(notebook, timeout=None, kernel_name="python3", resources=place, extra_arguments=quiet)
    # the kernel of this very Python, whatever else Jupyter knows on this machine
    settings = {"JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    client.execute(env={**os.environ, **settings, **environment})
    return notebook


class _Client(nbclient.NotebookClient):
    """A client that looks for the kernel's reply again each second.

    About once in a hundred runs of a notebook with many short cells we waited for ever, while the kernel sat idle and
    answered anybody else: it seems that in one long wait zmq's socket for asyncio can miss a reply that is there
    (jupyter_client 8.10, pyzmq 27.3).
    """

    async def async_start_new_kernel_client(self):
        client = await super().async_start_new_kernel_client()
        get_msg = client.shell_channel.get_msg

        async def look_again(timeout=None):
            began = time.monotonic()
            while True:
                try:
                    return await get_msg(timeout=1)
                except queue.Empty:
                    if timeout is not None and time.monotonic() - began > timeout:
                        raise

        client.shell_channel.get_msg = look_again
        return client


def on_white(encoded):
    """The picture of an output, RGB; figures with a transparent ground would be unreadable on a dark page."""
    image = Image.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def tagged(notebook):
    """The cells of a notebook with the tag OPENING."""
    return [cell for cell in notebook.cells if OPENING in cell.metadata.get("tags", [])]


def keep_picture(notebook, path):
    """Write the last picture that the tagged cell of an executed notebook shows as a JPEG, where there is one."""
    outputs = [output.get("data", {}) for cell in tagged(notebook) for output in cell.get("outputs", [])]
    found = [data["image/png"] for data in outputs if "image/png" in data]
    if found:
        image = on_white(found[-1])
        image.thumbnail((LONGEST, LONGEST))
        with machine.atomic_write(path) as partial:
            image.save(partial, format="JPEG", quality=85, optimize=True)


def run_all(folder, numbers=()):
    """Run every notebook, or those numbered so ("03"), and write them, executed, into a folder.

    Each has the minutes it took in its metadata. Their opening pictures go to `pictures` beside that folder. Leaves Python
    with the cell's error at the first notebook that fails.
    """
    for path in paths():
        if numbers and path.name[:2] not in numbers:
            continue
        print(f"{path.stem} ...", end=" ", flush=True)
        began = time.perf_counter()
        try:
            notebook = execute(path)
        except nbclient.exceptions.CellExecutionError as error:
            sys.exit(f"\n{path.stem} stopped here:\n{error}")
        notebook.metadata["minutes"] = round((time.perf_counter() - began) / 60, 1)
        with machine.atomic_write(folder / path.name) as unfinished:
            nbformat.write(notebook, unfinished)
        keep_picture(notebook, folder.parent / "pictures" / f"{path.stem}.jpg")
        print(f"{notebook.metadata['minutes']:.1f} minutes", flush=True)


if __name__ == "__main__":
    run_all(machine.REPO / "build" / os.environ.get("SUBJECT", "") / "notebooks", sys.argv[1:])
