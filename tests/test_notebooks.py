import os
import re
import statistics
import subprocess
import sys
import textwrap

import jupytext
import nbformat
import pytest

from helpers import notebooks, runtime

PATHS = notebooks.paths()
NAMES = ["01_prepare_photos", "02_caption_with_blip", "03_train_hypernetwork", "04_train_dreambooth", "05_compare"]
BADGE = (
    r"\[!\[Open In Colab\]\(https://colab\.research\.google\.com/assets/colab-badge\.svg\)\]"
    r"\(https://colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob/main/notebooks/{name}\.ipynb\)"
)
FORBIDDEN = {
    "an absolute path": r"""["'(](/home/|/Users/|/root/|/work/|/tmp/|/content/|[A-Z]:\\)""",
    "a token": r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9]{20,})",
    "a star import": r"^\s*from .* import \*",
    "a pip command": r"^\s*[!%]\s*pip",
}

each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def set_up(notebook):
    """The set-up cell, without the name of the repository that `make colab` writes into it."""
    return re.sub(r"https://github\.com/[\w.-]+/[\w.-]+", "https://github.com/OWNER/REPO", notebook.cells[3].source)


def test_every_stretch_of_the_road_has_its_notebook():
    assert [path.stem for path in PATHS if path.stem in NAMES] == NAMES


@each
def test_opening_is_the_same_five_cells(path):
    notebook = read(path)
    badge, title, you_will, _, settings = notebook.cells[:5]
    assert [cell.cell_type for cell in notebook.cells[:5]] == ["markdown", "markdown", "markdown", "code", "code"]
    assert re.fullmatch(BADGE.format(name=path.stem), badge.source.strip())
    assert re.match(r"# \S[^\n]*\n+\S", title.source), "a title and one paragraph"
    assert re.search(r"\byou will\b", you_will.source, re.IGNORECASE)
    assert re.search(r"\bminutes?\b", you_will.source) and "sd15" in you_will.source
    assert 'os.environ.get("MODEL", "pocket")' in settings.source


def test_set_up_cells_are_identical_and_short():
    cells = {set_up(read(path)) for path in PATHS}
    assert len(cells) == 1
    assert len([line for line in cells.pop().splitlines() if line.strip()]) <= 8


@each
def test_cells_are_small(path):
    lengths = sorted(len(source.splitlines()) for source in code_of(read(path))[1:])
    assert lengths[-1] <= 30
    assert statistics.median(lengths) <= 6
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 15


@each
def test_prose_and_code_take_turns(path):
    notebook = read(path)
    prose = sum(cell.cell_type == "markdown" for cell in notebook.cells)
    assert 0.6 <= prose / len(code_of(notebook)) <= 1.8


@each
def test_notebook_is_valid_and_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.nbformat_minor >= 5
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert all(cell.source.strip() for cell in notebook.cells), "an empty cell"


@each
def test_metadata_opens_with_a_gpu_on_colab(path):
    metadata = read(path).metadata
    assert metadata.kernelspec.name == "python3"
    assert metadata.accelerator == "GPU"
    assert metadata.colab == {"gpuType": "T4", "provenance": []}
    assert "widgets" not in metadata


@each
@pytest.mark.parametrize("what", FORBIDDEN)
def test_notebook_is_free_of(path, what):
    for cell in read(path).cells:
        assert not re.search(FORBIDDEN[what], cell.source, re.MULTILINE), f"{what} in cell {cell.id}"


@each
def test_jupytext_round_trip_keeps_every_cell(path):
    notebook = read(path)
    back = jupytext.reads(jupytext.writes(notebook, fmt="py:percent"), fmt="py:percent")
    assert [(c.cell_type, c.source.strip()) for c in back.cells] == [
        (c.cell_type, c.source.strip()) for c in notebook.cells
    ]


@pytest.fixture
def empty_folder(tmp_path):
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


def test_set_up_on_colab_clones_once_and_runs_twice(empty_folder):
    script = f"""
        import os, shutil, subprocess, sys, types
        sys.modules["google.colab"] = types.ModuleType("google.colab")
        asked = []
        def clone(command, check):
            asked.append(command)
            shutil.copytree({str(runtime.REPO / "helpers")!r}, os.path.join(command[-1], "helpers"))
            shutil.copy({str(runtime.REPO / "requirements.txt")!r}, command[-1])
        subprocess.run = clone
        cell = {set_up(read(PATHS[0]))!r}
        for _ in range(2):
            exec(cell, {{}})
            assert os.getcwd() == {str(empty_folder / "personalize")!r}, os.getcwd()
        assert len(asked) == 1 and asked[0][:2] == ["git", "clone"], asked
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(command, cwd=empty_folder, env=clean, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One folder for all: each notebook reads what the ones before it left."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.slow
@each
def test_notebook_runs(path, runs):
    executed = notebooks.execute(path, QUICK="1", RUNS_DIR=str(runs), MODEL="pocket")
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_the_road_ends_in_a_grid_and_a_table(runs):
    for name in ("grid.png", "shares.csv", "finding.txt"):
        assert (runs / "compare" / name).stat().st_size > 0
