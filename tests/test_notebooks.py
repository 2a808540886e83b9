import ast
import copy
import importlib
import re
import statistics

import jupytext
import nbformat
import pytest
import torch

from helpers import exercises, files, gallery_notebook, models, notebooks
from helpers.notebooks import read
from helpers.opening_pictures import SHOWN, tagged

pytest_plugins = ["lab"]
PATHS = notebooks.paths()
NAMES = [
    "00_how_stable_diffusion_works",
    "01_prepare_photos",
    "02_caption_with_blip",
    "03_train_hypernetwork",
    "04_train_dreambooth",
    "05_compare",
    "06_survey",
    "07_audit_bias_and_diversity",
]
CPU_ONLY = {"06_survey"}  # a GPU would be taken from a class's share for nothing
BADGE = (
    r"\[!\[Open In Colab\]\(https://colab\.research\.google\.com/assets/colab-badge\.svg\)\]"
    r"\(https://colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob/main/notebooks/{name}\.ipynb\)"
)
FORBIDDEN = {
    "an absolute path": r"""["'(](/home/|/Users/|/root/|/work/|/tmp/|/content/|[A-Z]:\\)""",
    "a token": r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9]{20,})",
    "a star import": r"^\s*from .* import \*",
    "a pip command": r"^\s*[!%]\s*pip",
    "a hidden form": r"^#@title|@param",
    "a web UI, which Colab's free runtimes forbid": r"\b(gradio|ngrok|cloudflared|share=True)\b",
}

each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def code_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def set_up(notebook):
    """The set-up cell, without the name of the repository that `make colab` writes into it."""
    return re.sub(r"https://github\.com/[\w.-]+/[\w.-]+", "https://github.com/OWNER/REPO", notebook.cells[3].source)


def test_every_stretch_of_the_road_has_its_notebook():
    assert [path.stem for path in PATHS] == NAMES


@each
def test_opening_is_the_same_five_cells(path):
    notebook = read(path)
    badge, title, you_will, _, settings = notebook.cells[:5]
    assert [cell.cell_type for cell in notebook.cells[:5]] == ["markdown", "markdown", "markdown", "code", "code"]
    assert re.fullmatch(BADGE.format(name=path.stem), badge.source.strip())
    assert re.fullmatch(r"# \S[^\n]*\n+\S[^\n]*\n+!\[\S[^]]*\]\(\S+\)\n*", title.source), (
        "a title, one paragraph, a picture"
    )
    assert title.source.strip().endswith(f"/docs/pictures/{path.stem}.jpg)") and (SHOWN / f"{path.stem}.jpg").exists()
    assert len(tagged(notebook)) == 1, "the cell that the picture comes from"
    assert re.search(r"\byou will\b", you_will.source, re.IGNORECASE)
    assert re.search(r"\bminutes?\b", you_will.source) and "sd15" in you_will.source
    for told in you_will.source.split("`sd15`:"):
        assert re.search(r"\d GB", told), "how much memory either model wants"
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
    assert "widgets" not in metadata, "saved widget state, which GitHub cannot show"
    if path.stem in CPU_ONLY:
        assert "accelerator" not in metadata and metadata.colab == {"provenance": []}
    else:
        assert metadata.accelerator == "GPU" and metadata.colab == {"gpuType": "T4", "provenance": []}


@each
def test_what_is_taken_from_helpers_is_there(path):
    tree = ast.parse("\n".join(code_of(read(path))))
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "helpers":
            for alias in node.names:
                if node.module == "helpers":
                    modules[alias.asname or alias.name] = importlib.import_module(f"helpers.{alias.name}")
                else:
                    assert hasattr(importlib.import_module(node.module), alias.name), f"{node.module}.{alias.name}"
    used = {
        (n.value.id, n.attr) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
    }
    missing = [f"{name}.{what}" for name, what in used if name in modules and not hasattr(modules[name], what)]
    assert not missing, missing


@each
def test_it_ends_with_a_summary_of_three_lines(path):
    last = read(path).cells[-1]
    assert last.cell_type == "markdown"
    summary = re.split(r"^(?:## In this notebook|\*\*Summary\*\*)", last.source, flags=re.MULTILINE)[-1]
    assert len(re.findall(r"^[-*] \S", summary, re.MULTILINE)) == 3


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


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One folder for all: each notebook reads what the ones before it left."""
    return tmp_path_factory.mktemp("runs")


def with_answers(notebook):
    """A copy in which each exercise is followed by its solution and by a mistake, in cells of their own."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        for name in exercises.names(cell.source) if cell.cell_type == "code" else ():
            check = exercises.find(name)
            for kind, answer in (("Right.", check.solution), ("Not yet.", check.wrong)):
                extra = nbformat.v4.new_code_cell(exercises.answered(cell.source, answer))
                extra.metadata["expected"] = kind
                cells.append(extra)
            cell.metadata["expected"] = exercises.UNANSWERED
    longer = copy.copy(notebook)
    longer.cells = cells
    return longer


SAID = {  # what a notebook must print, even where nothing is learnt
    "04_train_dreambooth": [
        "This training multiplies in torch.",
        "\nThe same picture\n",
        "Largest difference of a pixel: 0\n",
    ],
}


def page_of(path, runs):
    return runs / "pages" / f"{path.stem}.html"


@pytest.mark.slow
@each
def test_notebook_runs_and_its_exercises_know_right_from_wrong(path, runs):
    notebook = with_answers(read(path))
    executed = notebooks.execute(path, notebook, QUICK="1", RUNS_DIR=str(runs), MODEL="pocket")
    gallery_notebook.render(executed, page_of(path, runs), NAMES)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    printed = "\n".join(o.get("text", "") for c in executed.cells if c.cell_type == "code" for o in c.outputs)
    assert [words for words in SAID.get(path.stem, ()) if words not in printed] == []
    for cell in executed.cells:
        if "expected" in cell.metadata:
            told = "".join(output.get("text", "") for output in cell.outputs)
            assert told.startswith(cell.metadata["expected"]), f"{cell.source}\n{told}"


@pytest.mark.slow
@each
@pytest.mark.parametrize("width", [360, 1200])
def test_its_page_fits_a_phone(path, width, runs, browser):
    """The page in the gallery of what has just run, with every table, figure and widget that it made."""
    if not page_of(path, runs).exists():
        pytest.skip("the notebook itself was not run, or failed")
    page = browser.new_page(viewport={"width": width, "height": 740})
    page.goto(page_of(path, runs).as_uri())
    wide = "[...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert page.evaluate("document.documentElement.scrollWidth") <= width, page.evaluate(
        f"{wide}.slice(0, 5).map(e => e.outerHTML.slice(0, 200))"
    )
    page.close()


@pytest.mark.slow
def test_a_course_may_begin_with_the_comparison(tmp_path):
    """Nothing was trained, captioned or prepared before: what lies in data/ will do."""
    (path,) = [path for path in PATHS if path.stem == "05_compare"]
    notebooks.execute(path, QUICK="1", RUNS_DIR=str(tmp_path), MODEL="pocket")
    made = sorted(p.name for p in (tmp_path / "compare" / "images").iterdir())
    assert made == ["base", "dreambooth_nesrelah", "hypernetwork_amir"]


@pytest.mark.slow
@pytest.mark.parametrize("number", ["00", "07"])
def test_where_no_reader_is_the_notebooks_walk_the_other_way(tmp_path, tiny_dino, number):
    """As on sd15, but for the weights: those are pocket's, under another name."""
    (path,) = [path for path in PATHS if path.stem.startswith(number)]
    parts = {"SD15_WEIGHTS": "", "SD15_CAPTIONER": "blip", "SD15_CLIP": "clip"}
    sd15 = {name: str(models.POCKET / part) for name, part in parts.items()} | {"SD15_DINO": str(tiny_dino)}
    executed = notebooks.execute(path, QUICK="1", RUNS_DIR=str(tmp_path), MODEL="sd15", **sd15)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_the_road_ends_in_a_grid_and_a_table(runs):
    for name in ("grid.png", "shares.csv", "finding.txt"):
        assert (runs / "compare" / name).stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("run", ["dreambooth_nesrelah", "dreambooth_nesrelah_without_class"])
def test_a_short_dreambooth_keeps_its_last_weights(runs, run):
    last = torch.load(runs / run / "checkpoints" / "000004.pt", weights_only=True)["weights"]
    pipe = models.load_pipeline(str(runs / run / "model"))
    for weight, saved in zip(last, [*pipe.unet.parameters(), *pipe.text_encoder.parameters()], strict=True):
        assert torch.equal(weight.half(), saved.half())


@pytest.mark.slow
def test_class_images_are_drawn_with_a_guidance_of_their_own(runs):
    (settings,) = (runs / "class_images").glob("a-photo-of-a-person-*/settings.json")
    row = models.model("pocket")
    assert files.read_json(settings)["guidance_scale"] == row.dreambooth["class_guidance"] != row.guidance_scale
