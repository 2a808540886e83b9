"""The set-up cell of the notebooks, as Colab runs it: an empty folder, google.colab at hand, and `git clone`."""

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from helpers import notebooks, runtime

STAND_IN = Path(__file__).parent / "stand_in"
CELL = nbformat.read(notebooks.paths()[0], as_version=4).cells[3].source
URL = re.search(r"https://github\.com/[\w.-]+/[\w.-]+", CELL)[0]


def git(*command, cwd):
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *command], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A git repository with what the set-up cell needs of ours."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(runtime.REPO / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(runtime.REPO / "requirements.txt", folder)
    git("init", "-q", cwd=folder)
    git("add", ".", cwd=folder)
    git("commit", "-q", "-m", "all", cwd=folder)
    return folder


@pytest.fixture
def run(published, tmp_path):
    """Runs code in a fresh Python in an empty folder; GitHub is our folder there. Returns what it printed."""
    content = tmp_path / "content"
    content.mkdir()
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RUNS_DIR", "QUICK")}
    clean |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{published}.insteadOf", "GIT_CONFIG_VALUE_0": URL}

    def run(code, cwd=content, colab=True, **environment):
        paths = {"PYTHONPATH": str(STAND_IN)} if colab else {}
        start = "import google.colab\n" if colab else ""
        command = [sys.executable, "-c", start + textwrap.dedent(code)]
        done = subprocess.run(
            command, cwd=cwd, env=clean | paths | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.content = content
    return run


def test_on_colab_it_clones_once_and_runs_twice(run):
    told = run(f"""
        cell = {CELL!r}
        for _ in range(2):
            exec(cell, {{}})
            import os
            print(os.getcwd())
        open("mark", "w").close()
    """)
    assert told.splitlines() == [str(run.content / "personalize")] * 2
    run(f"exec({CELL!r}, {{}})")  # another notebook of the same session
    assert (run.content / "personalize" / "mark").exists(), "the clone was not made anew"


@pytest.mark.parametrize("path", notebooks.paths(), ids=lambda path: path.stem)
def test_it_takes_no_name_that_a_notebook_gives_to_something_else(path):
    """The set-up cell may be run again at any time: whatever the imports brought is still there."""
    cells = [ast.parse(cell.source) for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    bound = {node.id for node in ast.walk(cells[0]) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for cell in cells[1:]
        for node in ast.walk(cell)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert "repo" in bound and not bound & imported


@pytest.mark.slow
def test_run_again_after_the_imports_it_leaves_them_alone(run):
    (path,) = [path for path in notebooks.paths() if path.name.startswith("06")]
    set_up, imports = (cell.source for cell in notebooks.read(path).cells[3:5])
    code = f"""
        names = {{}}
        for cell in {[set_up, imports, set_up]!r}:
            exec(cell, names)
        print(names["places"].RUNS.name)
        """
    assert run(code, cwd=path.parent, colab=False, RUNS_DIR="elsewhere").strip() == "elsewhere"


def test_in_the_repository_nothing_is_cloned(run, published):
    inner = published / "helpers"
    assert run(f"exec({CELL!r})\nprint(repo)", cwd=inner, colab=False).strip() == str(published)


def test_a_learner_may_keep_runs_on_drive(run, tmp_path):
    drive = tmp_path / "content" / "drive"
    cell = CELL.replace("drive=False", "drive=True")
    assert cell != CELL
    cell = cell.replace("setup.ready", f"setup.colab.DRIVE = Path({str(drive)!r}); setup.ready")
    where = "from helpers import places\nprint(places.RUNS)"
    told = run(f"exec({cell!r})\n{where}")
    assert "Mounted" in told and (drive / "MyDrive").is_dir()
    assert told.splitlines()[-1] == str(drive / "MyDrive" / "personalize" / "runs")
    told = run(f"exec({CELL!r})\n{where}\nexec({cell!r})\nprint(places.RUNS)")  # Drive thought of later
    before, *_, advice, after = told.splitlines()
    assert before == after == str(run.content / "personalize" / "runs") and "Restart session" in advice
    told = run(f"exec({cell!r})\nprint('the notebook goes on')", COLAB_DRIVE="policy")
    assert "domain policy" in told and "take it home" in told and told.endswith("goes on\n")
