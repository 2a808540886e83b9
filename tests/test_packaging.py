import ast
import re
import sys

import nbformat
import pytest
from packaging.requirements import Requirement

from helpers import notebooks, runtime, setup

REPO = runtime.REPO
MODULES = {"PIL": "pillow", "skimage": "scikit-image", "pillow_heif": "pillow-heif"}  # imported under another name
NOT_IMPORTED = {"accelerate", "ipykernel", "ipywidgets", "safetensors"}  # used by diffusers and Jupyter
DEVELOPERS = {"gallery.py", "notebooks.py"}  # helpers that only `make run` and the tests need
COLAB = {  # googlecolab/backend-info, 2026-08-19
    "torch": "2.11.0",
    "diffusers": "0.39.0",
    "transformers": "5.15.0",
    "accelerate": "1.14.0",
    "numpy": "2.1.3",
    "pandas": "2.2.3",
    "pillow": "11.3.0",
    "matplotlib": "3.10.0",
    "scipy": "1.16.3",
    "scikit-image": "0.25.2",
    "ipykernel": "6.17.1",
    "ipywidgets": "7.7.1",
}


def requirements(name):
    lines = [line.split("#")[0].strip() for line in (REPO / name).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {requirement.name.lower(): requirement.specifier for requirement in found}


def imported(source):
    """The packages from outside that some code imports, under their names on PyPI."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    ours = {"helpers", "pocket", *sys.stdlib_module_names}
    return {MODULES.get(name, name) for name in names - ours}


def test_requirements_are_what_helpers_and_notebooks_import():
    used = set()
    for path in (REPO / "helpers").glob("*.py"):
        if path.name not in DEVELOPERS:
            used |= imported(path.read_text(encoding="utf-8"))
    for path in notebooks.paths():
        for cell in nbformat.read(path, as_version=4).cells:
            used |= imported(cell.source) if cell.cell_type == "code" else set()
    assert used | NOT_IMPORTED == set(requirements("requirements.txt"))


def test_every_range_is_bounded_and_says_who_needs_it():
    lines = [line for line in (REPO / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.search(r">=[\d.]+.*# (all|0\d)", line) for line in lines), lines


@pytest.mark.parametrize("name", COLAB)
def test_ranges_hold_on_colab(name):
    assert COLAB[name] in requirements("requirements.txt")[name]


def test_constraints_are_exact_and_within_the_ranges():
    lines = [line for line in (REPO / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    exact = dict(line.lower().replace("_", "-").split("==") for line in lines)
    assert exact["torch"] == "2.13.0"
    for name, specifier in (requirements("requirements.txt") | requirements("requirements-dev.txt")).items():
        assert exact[name.replace("_", "-")] in specifier, name


def test_nothing_brings_torchvision():
    assert "torchvision" not in (REPO / "constraints.txt").read_text()


def test_environment_reads_the_one_list():
    assert "-r requirements.txt" in (REPO / "environment.yml").read_text()
    assert "-r requirements.txt" in (REPO / "requirements-dev.txt").read_text()
    assert setup.missing(REPO / "requirements.txt") == []


def test_ci_does_what_the_readme_says():
    assert "make test" in (REPO / ".ci" / "run").read_text()
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert all(command in readme for command in ("make run", "make test", "make lab"))
