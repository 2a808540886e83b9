"""The notebooks: one lint; one run of all in order, QUICK, each on what the ones before it left; weekly, other ways."""

import ast
import importlib
import os
import re

import nbformat
import pytest
import torch

from helpers import diffusion, machine
from helpers.exercises import checks
from tools import decks, hours, notebooks
from tools import exercises as questions

PATHS = notebooks.paths()
BADGE = r"\[!\[Open In Colab\]\(\S+\)\]\(https://colab\.research\.google\.com/github/[\w.-]+/[\w.-]+/blob/main/{0}\)"
BADGE += r"\n\[!\[Open In Kaggle\]\(\S+\)\]\(https://kaggle\.com/kernels/welcome\?src=https://github\.com/[\w.-]+/[\w.-]+/blob/main/{0}\)"
FORBIDDEN = {
    "an absolute path": r"""["'(](/home/|/Users/|/root/|/work/|/tmp/|/content/|[A-Z]:\\)""",
    "a token": r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9]{20,})",
}
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@each
def test_a_notebook_opens_on_colab_and_holds_nothing_it_should_not(path):
    notebook = notebooks.read(path)
    nbformat.validate(notebook)
    where = re.escape(path.relative_to(machine.REPO).as_posix())
    assert re.fullmatch(BADGE.format(where), notebook.cells[0].source.strip()), "the badge opens this very notebook"
    gpu = path.stem[:2] not in {"10", "11", "12"}  # there it would be taken from a class's share for nothing
    assert notebook.metadata.get("accelerator") == ("GPU" if gpu else None)
    assert "widgets" not in notebook.metadata, "saved widgets, which GitHub cannot show"
    set_up, first = (code_of(notebooks.read(p))[0].source for p in (path, PATHS[0]))
    assert set_up == first, "one set-up cell for all"
    for cell in notebook.cells:
        assert not cell.get("outputs") and not cell.get("execution_count"), f"outputs of cell {cell.id}"
        assert cell.cell_type != "code" or len(cell.source.splitlines()) <= 30, f"cell {cell.id} is long"
        for what, pattern in FORBIDDEN.items():
            assert not re.search(pattern, cell.source), f"{what} in cell {cell.id}"
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", cell.source) * (cell.cell_type == "markdown"):
            assert (path.parent / target).exists(), f"cell {cell.id} links to {target}"


@each
def test_a_notebook_fits_an_hour_and_a_screen(path):
    notebook = notebooks.read(path)
    core, whole = hours.count(hours.core(notebook.cells)), hours.count(notebook.cells)
    assert whole["cells"] <= 60 and hours.minutes(whole, run=0) <= 50, whole
    assert core["cells"] <= 35 and core["words"] <= 1000 and core["exercises"] >= 4, core
    assert not [line for cell in code_of(notebook) for line in cell.source.splitlines() if len(line) > 96]
    assert decks.sections(notebook)[1]["heading"] == "You will", "the printed page takes the goals from there"


@each
def test_what_is_taken_from_helpers_is_there(path):
    """In branches that no test runs, too."""
    tree = ast.parse("\n".join(cell.source for cell in code_of(notebooks.read(path))))
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module.split(".")[0] == "helpers"]
    names = {}
    exec(compile(ast.Module(imports, []), path.name, "exec"), names)  # noqa: S102
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken = names.get(node.value.id)
            assert not isinstance(taken, type(importlib)) or hasattr(taken, node.attr), ast.unparse(node)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, quick_kernels):
    """One folder for all: each notebook reads what the ones before it left."""
    return tmp_path_factory.mktemp("runs")


def test_all_notebooks_share_a_worker(request):
    """Else two processes hold half a folder of runs each, and one looks for what the other made (pytest 9.2, xdist 3.8)."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        assert request.node.nodeid.endswith("@tests/test_notebooks ")


def with_answers(notebook):
    """A notebook in which each exercise is followed by its solution and by a mistake, in cells of their own."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        for name in questions.names(cell.source) if cell.cell_type == "code" else ():
            cell.metadata["expected"] = checks.UNANSWERED
            check = checks.find(name)
            for kind, answer in (("Right.", check.solution), ("Not yet.", check.wrong)):
                cells.append(nbformat.v4.new_code_cell(questions.answered(cell.source, answer)))
                cells[-1].metadata["expected"] = kind
    notebook.cells = cells
    return notebook


@pytest.mark.slow
@each
def test_it_runs_and_its_exercises_know_right_from_wrong(path, runs):
    notebook = with_answers(notebooks.read(path))
    executed = notebooks.execute(path, notebook, QUICK="1", RUNS_DIR=str(runs), MODEL="pocket")
    printed = {cell.id: "".join(output.get("text", "") for output in cell.outputs) for cell in code_of(executed)}
    assert all(cell.execution_count for cell in code_of(executed))
    for cell in code_of(executed):
        if "expected" in cell.metadata:
            assert printed[cell.id].startswith(cell.metadata["expected"]), f"{cell.source}\n{printed[cell.id]}"
    if path.stem == "05_memory_files_lora":
        assert "Largest difference of a pixel: 0\n" in "".join(printed.values()), "the files load as the same model"


@pytest.mark.slow
def test_the_notebooks_leave_what_they_say(runs):
    for name in ("images.csv", "grid.png", "shares.csv", "finding.txt", "table2.csv", "portfolio.csv"):
        assert (runs / "compare" / name).stat().st_size > 0
    (settings,) = (runs / "class_images").glob("a-photo-of-a-person-*/settings.json")
    config = diffusion.model_config("pocket")
    assert machine.read_json(settings)["guidance_scale"] == config.dreambooth["class_guidance"]
    for run in ("dreambooth_nesrelah", "dreambooth_nesrelah_without_class"):
        last = torch.load(runs / run / "checkpoints" / "000004.pt", weights_only=True)["weights"]
        pipe = diffusion.load_pipeline(str(runs / run / "model"))
        for weight, saved in zip(last, [*pipe.unet.parameters(), *pipe.text_encoder.parameters()], strict=True):
            assert torch.equal(weight.half(), saved.half())


@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.usefixtures("quick_kernels")
@pytest.mark.parametrize(("stem", "crossed"), [("07_compare", True), ("08_measure", True), ("09_experiments", False)])
def test_a_course_may_begin_with_the_comparison(tmp_path, stem, crossed):
    """Nothing was trained, captioned or prepared before: what lies in data/ will do; 09 takes the paper's two alone."""
    (path,) = [path for path in PATHS if path.stem == stem]
    notebooks.execute(path, QUICK="1", RUNS_DIR=str(tmp_path), MODEL="pocket")
    made = {p.name for p in (tmp_path / "compare" / "images").iterdir()}
    others = {"dreambooth_amir", "hypernetwork_nesrelah"} if crossed else set()
    assert made - {"base"} == {"dreambooth_nesrelah", "hypernetwork_amir"} | others


@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.usefixtures("quick_kernels")
@pytest.mark.parametrize("number", ["00", "06_one", "13", "14", "15", "16"])
def test_where_no_reader_is_the_notebooks_walk_the_other_way(tmp_path, tiny_dino, number):
    """As on sd15, but for the weights: those are pocket's, under another name."""
    (path,) = [path for path in PATHS if path.stem.startswith(number)]
    parts = {"SD15_WEIGHTS": "", "SD15_CAPTIONER": "blip", "SD15_CLIP": "clip"}
    sd15 = {name: str(diffusion.POCKET / part) for name, part in parts.items()} | {"SD15_DINO": str(tiny_dino)}
    notebooks.execute(path, QUICK="1", RUNS_DIR=str(tmp_path), MODEL="sd15", **sd15)
