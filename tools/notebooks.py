"""Run notebooks from top to bottom, as `make run` and the tests do, and make pages of them.

python -m tools.notebooks 03 05      runs these two and renders them into build/notebooks; with SUBJECT=nesrelah
                                       in the environment for her, into build/nesrelah/notebooks

The picture each notebook opens with is the one it ends with. Each run keeps them in build/pictures, one small JPEG a
notebook; after a change of notebooks or weights they are copied by hand: cp build/pictures/*.jpg docs/pictures/
"""

import base64
import io
import itertools
import os
import re
import shutil
import sys
import time
from pathlib import Path

import nbclient
import nbformat
from nbconvert import HTMLExporter
from PIL import Image
from pygments.formatters import HtmlFormatter

from helpers import machine
from helpers.show import data_url

FOLDER = machine.REPO / "notebooks"
DOCUMENTS = ("glossary.md", "survey_teacher.md", "survey_coverage.png")  # of docs/, at which notebooks point
SHOWN = machine.REPO / "docs" / "pictures"
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
    # a trial's cell takes seconds: where no answer comes, one was lost between the kernel and us, and we would wait for ever
    timeout = 1200 if environment.get("QUICK", os.environ.get("QUICK")) == "1" else None
    client = nbclient.NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources=place, extra_arguments=quiet
    )
    # the kernel of this very Python, whatever else Jupyter knows on this machine
    settings = {"JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    client.execute(env={**os.environ, **settings, **environment})
    return notebook


def render(notebook, path, others=()):
    """Write an executed notebook as a page that needs no other file and no network.

    others: stems of all pages beside it, in order, for the links. A picture's alternative text is the last line of its
    code, a widget becomes a sentence that says so, formulas stay as they were typed.
    """
    path, others = Path(path), list(others)
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("friendly", "github-dark"))
    resources = {
        "metadata": {"name": path.stem},
        "before": {after: before for before, after in itertools.pairwise(others)}.get(path.stem),
        "after": dict(itertools.pairwise(others)).get(path.stem),
        "style": f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none; }}",
    }
    hidden = ("exclude_input_prompt", "exclude_output_prompt", "exclude_anchor_links")
    template = str(Path(__file__).with_suffix(".html"))
    exporter = HTMLExporter(template_name="basic", template_file=template, **dict.fromkeys(hidden, True))
    exporter.register_filter("smaller", lambda png: data_url(_on_white(png), 2400, "WEBP", 88))
    text, _ = exporter.from_notebook_node(notebook, resources)
    text = re.sub(r'(<a href="(?!\w+:)[^"]+)\.(?:md|ipynb)"', r'\1.html"', text)
    # the address of a picture may have been stamped for Colab
    text = re.sub(r'(<img [^>]*?src=")(?:\.\.|https://raw[^"]*)(/docs/pictures/[^"]+)"', _inside, text)
    with machine.atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _on_white(encoded):
    """The picture of an output, RGB; figures with a transparent ground would be unreadable on a dark page."""
    image = Image.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _inside(found):
    """A picture of the repository within the page; one that is not there keeps its words only."""
    path = machine.REPO / found[2].lstrip("/")
    return (
        f'{found[1]}{data_url(Image.open(path, formats=["PNG", "JPEG", "WEBP"]), 1600, "WEBP", 88)}"'
        if path.is_file()
        else found[0]
    )


def render_documents(folder):
    """Write the documents that notebooks point at into a folder, which stands beside that of the notebooks' pages."""
    for path in (machine.REPO / "docs" / name for name in DOCUMENTS):
        if path.suffix == ".md":
            cell = nbformat.v4.new_markdown_cell(path.read_text(encoding="utf-8"))
            render(nbformat.v4.new_notebook(cells=[cell]), Path(folder) / f"{path.stem}.html")
        else:
            with machine.atomic_write(Path(folder) / path.name) as partial:
                shutil.copy(path, partial)


def tagged(notebook):
    """The cells of a notebook with the tag OPENING."""
    return [cell for cell in notebook.cells if OPENING in cell.metadata.get("tags", [])]


def keep_picture(notebook, path):
    """Write the last picture that the tagged cell of an executed notebook shows as a JPEG, where there is one."""
    outputs = [output.get("data", {}) for cell in tagged(notebook) for output in cell.get("outputs", [])]
    found = [data["image/png"] for data in outputs if "image/png" in data]
    if found:
        image = _on_white(found[-1])
        image.thumbnail((LONGEST, LONGEST))
        with machine.atomic_write(path) as partial:
            image.save(partial, format="JPEG", quality=85, optimize=True)


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
        render(notebook, done[-1][0], [each.stem for each in paths()])
        keep_picture(notebook, folder.parent / "pictures" / f"{path.stem}.jpg")
        print(f"{done[-1][1]:.1f} minutes", flush=True)
    render_documents(folder.parent / "docs")
    return done


if __name__ == "__main__":
    run_all(machine.REPO / "build" / os.environ.get("SUBJECT", "") / "notebooks", sys.argv[1:])
