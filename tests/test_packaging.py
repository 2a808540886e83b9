"""What a stranger's installation rests on: requirements.txt, its ranges, and the versions that were tried."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement

from helpers import machine
from tools import notebooks

REPO = machine.REPO
OPTIONAL = {"cv2"}  # used where they are found, done without elsewhere


def requirements(name):
    lines = [line.split("#")[0].strip() for line in (REPO / name).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {requirement.name.lower().replace("_", "-"): requirement.specifier for requirement in found}


def exact(name):
    found = re.findall(r"^([\w-]+)==(\S+)", (REPO / name).read_text(), re.MULTILINE)
    return {package.lower().replace("_", "-"): version for package, version in found}


def imported(source):
    """The modules from outside that some code imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names - {"helpers", "pocket", "google", *sys.stdlib_module_names}  # google.colab is there on Colab alone


def test_what_helpers_and_notebooks_import_is_required():
    code = [path.read_text(encoding="utf-8") for path in (REPO / "helpers").rglob("*.py")]
    for path in notebooks.paths():
        code += [cell.source for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    come_along = {"ipython", "traitlets"}  # with ipykernel and ipywidgets
    packages = metadata.packages_distributions()
    for module in set().union(*map(imported, code)) - OPTIONAL:
        names = {name.lower().replace("_", "-") for name in packages[module]}
        assert names & (requirements("requirements.txt").keys() | come_along), module


@pytest.mark.parametrize(("name", "specifier"), requirements("requirements.txt").items())
def test_a_range_is_bounded_and_holds_on_colab_and_here(name, specifier):
    assert {each.operator for each in specifier} == {">=", "<"}
    colab, here = exact("tests/colab_versions.txt"), exact("constraints.txt")
    assert here[name] in specifier
    assert name not in colab or colab[name] in specifier


def test_what_developers_need_is_within_its_range_too_and_torchvision_is_not_needed():
    here = exact("constraints.txt")
    assert all(here[name] in specifier for name, specifier in requirements("requirements-dev.txt").items())
    assert "torchvision" not in here and "opencv-python" not in here


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    "version, machine, said",
    [
        ((3, 10), "arm64", "too old or too new"),
        ((3, 11), "arm64", None),
        ((3, 14), "arm64", None),
        ((3, 15), "arm64", "too old or too new"),
        ((3, 13), "x86_64", "Macs with Intel"),
    ],
)
def test_make_refuses_a_python_without_wheels_in_one_sentence(version, machine, said, tmp_path):
    """On a Mac, or what says that it is one."""
    pretend = (
        f"import os, sys; sys.version_info = {(*version, 0)}; os.uname = lambda: ('Darwin', '', '', '', '{machine}')"
    )
    python, place = tmp_path / "python", tmp_path / "venv"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}; exec(sys.argv[1])" "$2"\n')
    python.chmod(0o755)
    call = ["make", f"VENV={place}", f"PYTHON3={python}", f"{place}/.ready"]
    made = subprocess.run(call, cwd=REPO, capture_output=True, text=True, check=False)
    assert said is None or said in made.stderr
    assert ("Setting up" in made.stdout) == (said is None) and not place.exists()


def test_conda_and_developers_read_the_one_list():
    conda = yaml.safe_load((REPO / "environment.yml").read_text())
    assert {"pip": ["-r requirements.txt"]} in conda["dependencies"]
    assert "-r requirements.txt" in (REPO / "requirements-dev.txt").read_text()


def test_the_citation_is_of_this_version():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((REPO / "CITATION.cff").read_text())["version"] == project["version"]
