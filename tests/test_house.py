"""The house rules of CONTRIBUTING, read from the code itself: who imports whom, how wide a face is, how long things are."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
LEVELS = ["machine", "stats show", "diffusion photos survey", "training", "methods", "compare", "audit", "exercises"]
LEVEL = {wing: number for number, wings in enumerate(LEVELS) for wing in wings.split()}
WINGS = sorted(path.parent.name for path in (REPO / "helpers").glob("*/__init__.py"))
FILES = sorted((REPO / "helpers").rglob("*.py"))


def wing_of(path):
    return path.parent.name if path.parent.name != "helpers" else path.stem


def imported(source):
    """[(module, name)] of all imports from helpers, pocket and tools, those inside of functions too."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
    return [(n.module, a.name) for n in nodes if n.module.split(".")[0] in ("helpers", "tools") for a in n.names]


def names_of(wing):
    """What a face hands on."""
    tree = ast.parse((REPO / "helpers" / wing / "__init__.py").read_text())
    return [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]


def cells(path):
    return ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


def code():
    """{path: source} of whatever imports helpers from outside of a wing, and of the wings themselves."""
    others = [path for folder in ("pocket", "benchmarks", "tools") for path in (REPO / folder).rglob("*.py")]
    notebooks = {path: "\n".join(cells(path)) for path in (REPO / "notebooks").glob("*.ipynb")}
    return {path: path.read_text() for path in [*FILES, *others]} | notebooks


def used_wings(path, source):
    return {m.split(".")[1] if "." in m else name for m, name in imported(source) if m.startswith("helpers")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPO)))
def test_a_module_imports_only_wings_to_its_left(path):
    here = wing_of(path)
    left = [wing for wing in LEVEL if LEVEL[wing] < LEVEL.get(here, 0)]
    allowed = ["machine", "stats", "show"] if here == "survey" else left
    assert used_wings(path, path.read_text()) - {here} <= set(allowed)
    assert not [module for module, _ in imported(path.read_text()) if module.startswith("tools")]


def test_from_outside_a_wing_only_its_face_is_imported():
    for path, source in code().items():
        here = wing_of(path) if path in FILES else None
        for module, name in imported(source):
            wing = module.split(".")[1:2]
            if wing and wing[0] in WINGS and wing[0] != here:
                assert module.count(".") == 1 and name in names_of(wing[0]), f"{path}: {module} import {name}"


@pytest.mark.parametrize("wing", WINGS)
def test_a_face_is_narrow_and_has_no_logic(wing):
    source = (REPO / "helpers" / wing / "__init__.py").read_text()
    doc, *rest = ast.parse(source).body
    assert isinstance(doc, ast.Expr) and all(isinstance(node, ast.ImportFrom) for node in rest)
    assert len(source.splitlines()) <= 15 and len(names_of(wing)) <= 20


def test_no_modules_import_one_another_in_a_circle():
    arrows = defaultdict(set)
    for path in FILES:
        here = ".".join(path.relative_to(REPO).with_suffix("").parts)
        for module, name in imported(path.read_text()):
            arrows[here].add(f"{module}.{name}" if (REPO / Path(*module.split("."), f"{name}.py")).exists() else module)

    def reach(module, seen):
        for other in arrows[module] - seen:
            seen.add(other)
            reach(other, seen)
        return seen

    faces = {f"helpers.{wing}" for wing in WINGS}
    assert not [module for module in list(arrows) if module not in faces and module in reach(module, set())]


def test_the_house_is_small():
    assert len(FILES) <= 80 and sum(len(path.read_text().splitlines()) for path in FILES) <= 9_750
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{path}: {node.name}"
    for path in (REPO / "notebooks").glob("*.ipynb"):
        assert sum(len(imported(source)) for source in cells(path)[1:]) <= 15, path.name


def test_wings_for_a_machine_without_torch_do_not_import_it():
    """Nor does photos, whose processes would each wait seconds for it."""
    check = "from helpers import machine, stats, show, survey, photos; import sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=REPO)


def test_the_machine_needs_the_standard_library_alone():
    for path in (REPO / "helpers" / "machine").glob("*.py"):
        nodes = ast.parse(path.read_text()).body
        modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert {module.split(".")[0] for module in modules} <= {*sys.stdlib_module_names, "helpers"}
