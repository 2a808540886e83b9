"""The picture each notebook opens with is the one it ends with: kept from a run, one small JPEG a notebook.

`make run` writes them into build/pictures; after a change of notebooks or weights they are copied by hand:

    cp build/pictures/*.jpg docs/pictures/
"""

import base64
import io

from PIL import Image

from helpers import machine
from tools import gallery_figures

TAG = "opening-picture"  # on the cell whose picture it is
FOLDER, SHOWN = machine.REPO / "build" / "pictures", machine.REPO / "docs" / "pictures"
LONGEST = 1000  # pixels a side


def tagged(notebook):
    """The cells of a notebook with the tag TAG."""
    return [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]


def keep(notebook, stem, folder=FOLDER):
    """Write the last picture that the tagged cell of an executed notebook shows as folder/stem.jpg; returns the path.

    Returns None where no cell has the tag or it shows no picture.
    """
    outputs = [output for cell in tagged(notebook) for output in cell.get("outputs", [])]
    found = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    if not found:
        return None
    image = gallery_figures.on_white(Image.open(io.BytesIO(base64.b64decode(found[-1]))))
    image.thumbnail((LONGEST, LONGEST))
    with machine.atomic_write(folder / f"{stem}.jpg") as unfinished:
        image.save(unfinished, format="JPEG", quality=85, optimize=True)
    return folder / f"{stem}.jpg"
