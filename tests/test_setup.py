import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import setup

ABSENT = "no-such-package-of-ours>=1,<2  # 05\n"


@pytest.fixture
def requirements(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("# what we need\n\npytest>=1,<999  # tests\n" + ABSENT)
    return path


@pytest.fixture
def on_colab(monkeypatch):
    """Pretends to run on Colab, and returns the list of pip commands asked for."""
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    asked = []

    def run(command, check):
        constraints = Path(command[command.index("-c") + 1]).read_text()
        asked.append((command[command.index("-c") + 2 :], constraints, check))

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_only_packages_that_are_not_installed_are_missing(requirements):
    assert setup.missing(requirements) == ["no-such-package-of-ours>=1,<2"]


def test_colab_gets_only_what_is_missing_and_keeps_its_own(requirements, on_colab):
    setup.install_missing(requirements)
    ((packages, constraints, check),) = on_colab
    assert packages == ["no-such-package-of-ours>=1,<2"] and check
    for name in ("torch", "numpy", "pillow", "ipywidgets", "ipython", "ipykernel"):
        assert f"{name}=={metadata.version(name)}\n" in constraints


def test_nothing_is_run_when_all_is_there(requirements, on_colab):
    requirements.write_text("pytest\n")
    setup.install_missing(requirements)
    assert on_colab == []


def test_colab_never_gets_another_torch(requirements, on_colab, monkeypatch):
    monkeypatch.setattr(setup, "_installed", lambda name: name != "torch")
    requirements.write_text("torch>=2\n")
    with pytest.raises(ModuleNotFoundError, match="lacks torch"):
        setup.install_missing(requirements)
    assert on_colab == []


def test_elsewhere_one_sentence_says_what_to_do(requirements):
    with pytest.raises(ModuleNotFoundError, match=r"no-such-package-of-ours.*pip install -r requirements.txt"):
        setup.install_missing(requirements)


def test_the_suite_itself_is_installed():
    assert setup.missing() == []


def test_stamp_writes_the_repository_once_and_again(tmp_path):
    badge = "[x](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/05_compare.ipynb)"
    clone = 'subprocess.run(["git", "clone", "-q", "https://github.com/OWNER/REPO", "personalize"], check=True)'
    picture = "![the grid](../docs/pictures/05_compare.jpg)"
    glossary = "the [glossary](../docs/glossary.md), and [where it covers](../docs/survey_coverage.png)"
    other = "see https://github.com/huggingface/diffusers and [a page](../pocket/README.md)"
    notebook = tmp_path / "05_compare.ipynb"
    notebook.write_text(json.dumps([badge, clone, picture, glossary, other]))
    for repository in ("someone/first-try", "school.org/personalize_2"):
        setup.stamp(repository, [notebook])
        assert json.loads(notebook.read_text()) == [
            badge.replace("OWNER/REPO", repository),
            clone.replace("OWNER/REPO", repository),
            f"![the grid](https://raw.githubusercontent.com/{repository}/main/docs/pictures/05_compare.jpg)",
            glossary.replace("../docs", f"https://github.com/{repository}/blob/main/docs"),
            other,
        ]
    with pytest.raises(ValueError, match="owner/name"):
        setup.stamp("https://github.com/someone/thing", [notebook])


def test_stamp_reaches_every_notebook_and_the_readme(tmp_path):
    paths = [setup.REPO / "README.md", *sorted((setup.REPO / "notebooks").glob("*.ipynb"))]
    copies = [shutil.copy(path, tmp_path) for path in paths]
    setup.stamp("school.org/course", copies)
    for copy, path in zip(map(Path, copies), paths):
        text = copy.read_text(encoding="utf-8")
        addresses = re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/", text)
        assert set(addresses) == {"school.org/course"}, path.name
        if path.name == "README.md":
            opened = re.findall(r"/blob/main/notebooks/(\w+)\.ipynb\)", text)
            assert opened == [each.stem for each in paths[1:]], "one badge a notebook, in order"
        if path.suffix == ".ipynb":
            assert addresses and "https://github.com/school.org/course" in text
            assert len(json.loads(text)["cells"]) == len(json.loads(path.read_text(encoding="utf-8"))["cells"])
