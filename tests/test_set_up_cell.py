"""The set-up cell of the notebooks, as Colab and Kaggle run it: an empty folder and `git clone`."""

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from helpers import machine
from tools import notebooks

STAND_IN = Path(__file__).parent / "stand_in"
CELL = notebooks.read(notebooks.paths()[0]).cells[3].source
URL = re.search(r"https://github\.com/[\w.-]+/[\w.-]+", CELL)[0]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A git repository with what the set-up cell needs of ours."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(machine.REPO / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(machine.REPO / "requirements.txt", folder)
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def run(published, tmp_path):
    """Runs code in a fresh Python in an empty folder; GitHub is our folder there. Returns what it printed."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RUNS_DIR", "QUICK")}
    clean |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{published}.insteadOf", "GIT_CONFIG_VALUE_0": URL}

    def run(code, cwd=tmp_path, colab=True, **environment):
        start, paths = ("import google.colab\n", {"PYTHONPATH": str(STAND_IN)}) if colab else ("", {})
        command = [sys.executable, "-c", start + textwrap.dedent(code)]
        environment = clean | paths | environment
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_on_colab_it_clones_once_and_runs_twice(run, tmp_path):
    told = run(f"""
        import os
        for _ in range(2):
            exec({CELL!r}, {{}})
            print(os.getcwd())
        open("mark", "w").close()
    """)
    assert told.splitlines() == [str(tmp_path / "personalize")] * 2
    run(f"exec({CELL!r}, {{}})")  # another notebook of the same session
    assert (tmp_path / "personalize" / "mark").exists(), "the clone was not made anew"


@pytest.mark.parametrize("colab", [False, True], ids=["plain", "with google.colab installed"])
def test_on_kaggle_it_clones_and_runs_are_kept(run, tmp_path, colab):
    told = run(
        f"""
        import os
        for _ in range(2):
            exec({CELL.replace("drive=False", "drive=True")!r}, {{}})
            print(os.getcwd())
        from helpers import machine
        print(machine.RUNS)
        """,
        colab=colab, KAGGLE_KERNEL_RUN_TYPE="Interactive",
    )  # fmt: skip
    advice, where, *again, runs = told.splitlines()
    assert where == str(tmp_path / "personalize") and again == [advice, where]
    assert runs == "/kaggle/working/runs" and runs in advice and "Save Version" in advice


def test_without_network_it_is_a_sentence(run):
    told = run(
        f"""
        try:
            exec({CELL!r}, {{}})
        except AssertionError as error:
            print(error)
        """,
        colab=False, KAGGLE_KERNEL_RUN_TYPE="Batch", GIT_CONFIG_KEY_0="url./nowhere.insteadOf",
    )  # fmt: skip
    assert "is it public" in told and "switch Internet on" in told


def test_in_the_repository_nothing_is_cloned(run, published):
    told = run(f"exec({CELL!r})\nprint(repo)", cwd=published / "helpers", colab=False)
    assert told.strip() == str(published)


@pytest.mark.parametrize("path", notebooks.paths(), ids=lambda path: path.stem)
def test_run_again_it_takes_no_name_that_a_notebook_gives_to_something_else(path):
    cells = [ast.parse(cell.source) for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    bound = {node.id for node in ast.walk(cells[0]) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [n for cell in cells[1:] for n in ast.walk(cell) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not bound & {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}


def test_a_learner_may_keep_runs_on_drive(run, tmp_path):
    drive = tmp_path / "content" / "drive"
    cell = CELL.replace("drive=False", "drive=True")
    assert cell != CELL
    place = f"from helpers.machine import files; files.DRIVE = Path({str(drive)!r}); machine.ready"
    cell = cell.replace("machine.ready", place)
    where = "from helpers import machine\nprint(machine.RUNS)"
    told = run(f"exec({cell!r})\n{where}")
    assert told.splitlines()[-1] == str(drive / "MyDrive" / "personalize" / "runs")
    # thought of later
    told = run(f"exec({CELL!r})\nimport helpers.exercises\n{where}\nexec({cell!r})\nprint(machine.RUNS)")
    before, *_, advice, after = told.splitlines()
    assert before == after == str(tmp_path / "personalize" / "runs") and "Restart session" in advice
    told = run(f"exec({cell!r})\nprint('the notebook goes on')", COLAB_DRIVE="policy")
    assert "domain policy" in told and told.endswith("goes on\n")
