import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from helpers import notebooks, runtime, setup

REPO = runtime.REPO
MODULES = {
    "PIL": "pillow",
    "skimage": "scikit-image",
    "pillow_heif": "pillow-heif",
    "jupyter_ui_poll": "jupyter-ui-poll",
    "IPython": "ipykernel",
}
COME_ALONG = {"traitlets"}  # with ipywidgets
OPTIONAL = {"bitsandbytes", "cv2"}  # used where they are found, done without elsewhere
NOT_IMPORTED = {"accelerate", "ipykernel", "ipywidgets", "safetensors"}  # used by diffusers and Jupyter
DEVELOPERS = ("gallery", "notebooks")  # helpers that only `make run` and the tests need begin so
COLAB = dict(re.findall(r"^([\w-]+)==(\S+)", Path(__file__).with_name("colab_versions.txt").read_text(), re.MULTILINE))
COLAB["torch"] = "2.11.0"


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
    ours = {"helpers", "pocket", "google", *sys.stdlib_module_names}  # google.colab is there on Colab alone
    return {MODULES.get(name, name) for name in names - ours}


def test_requirements_are_what_helpers_and_notebooks_import():
    used = set()
    for path in (REPO / "helpers").glob("*.py"):
        if not path.name.startswith(DEVELOPERS):
            used |= imported(path.read_text(encoding="utf-8"))
    for path in notebooks.paths():
        for cell in nbformat.read(path, as_version=4).cells:
            used |= imported(cell.source) if cell.cell_type == "code" else set()
    assert (used - OPTIONAL - COME_ALONG) | NOT_IMPORTED == set(requirements("requirements.txt"))


def test_every_range_is_bounded_and_says_who_needs_it():
    lines = [line for line in (REPO / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.search(r">=[\d.]+.*# (all|0\d)", line) for line in lines), lines


@pytest.mark.parametrize("name", sorted(requirements("requirements.txt")))
def test_ranges_hold_on_colab(name):
    assert name not in COLAB or COLAB[name] in requirements("requirements.txt")[name]


def test_colab_versions_name_what_we_need():
    asked = {name.replace("_", "-") for name in requirements("requirements.txt")}
    assert len(asked & set(COLAB)) > len(asked) / 2


def test_constraints_are_exact_and_within_the_ranges():
    lines = [line for line in (REPO / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    exact = dict(line.lower().replace("_", "-").split("==") for line in lines)
    assert exact["torch"] == "2.13.0"
    for name, specifier in (requirements("requirements.txt") | requirements("requirements-dev.txt")).items():
        assert exact[name.replace("_", "-")] in specifier, name


def test_nothing_brings_torchvision():
    assert "torchvision" not in (REPO / "constraints.txt").read_text()


def test_environment_reads_the_one_list():
    conda = yaml.safe_load((REPO / "environment.yml").read_text())
    assert {"pip": ["-r requirements.txt"]} in conda["dependencies"] and conda["name"] == "personalize"
    assert any(str(line).startswith("jupyterlab") for line in conda["dependencies"])  # to open them in
    told = (REPO / "README.md").read_text(encoding="utf-8")
    assert "conda env create -f environment.yml" in told and "conda activate personalize" in told
    assert "-r requirements.txt" in (REPO / "requirements-dev.txt").read_text()
    assert setup.missing(REPO / "requirements.txt") == []


def test_ci_does_what_the_readme_says():
    told = re.findall(r"^make [\w-]+", (REPO / ".ci" / "run").read_text(), re.MULTILINE)
    assert "make test" in told and all(command in (REPO / "README.md").read_text(encoding="utf-8") for command in told)
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert all(command in readme for command in ("make run", "make test", "make lab"))
