"""The house rules of CONTRIBUTING, read from the code itself: who imports whom, how wide a face is, how long things are."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
LEVELS = ["machine", "stats show", "diffusion photos survey", "training", "methods", "compare", "audit", "exercises"]
LEVEL = {wing: number for number, wings in enumerate(LEVELS) for wing in wings.split()}
FACES = {path.parent.name: path.read_text() for path in (REPO / "helpers").glob("*/__init__.py")}
FILES = {path: path.read_text() for path in sorted((REPO / "helpers").rglob("*.py"))}
OTHERS = {path: path.read_text() for wing in ("pocket", "benchmarks", "tools") for path in (REPO / wing).rglob("*.py")}
CELLS = {
    path: ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    for path in (REPO / "notebooks").glob("*.ipynb")
}


def wing_of(path):
    return path.parent.name if path.parent.name != "helpers" else path.stem


def imported(source):
    """[(module, name)] of all imports from helpers and tools, those inside of functions too."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
    return [(n.module, a.name) for n in nodes if n.module.split(".")[0] in ("helpers", "tools") for a in n.names]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPO)))
def test_a_module_imports_only_wings_to_its_left(path):
    here, modules = wing_of(path), imported(FILES[path])
    allowed = ["machine", "stats", "show"] if here == "survey" else [w for w in LEVEL if LEVEL[w] < LEVEL.get(here, 0)]
    wings = {module.split(".")[1] if "." in module else name for module, name in modules}
    assert wings - {here} <= set(allowed) and all(module.startswith("helpers") for module, _ in modules)


def test_from_outside_a_wing_only_its_face_is_imported():
    for path, source in (FILES | OTHERS | {path: "\n".join(cells) for path, cells in CELLS.items()}).items():
        for module, name in imported(source):
            wing = module.split(".")[1:2]
            if wing and wing[0] in FACES and not (path in FILES and wing[0] == wing_of(path)):
                handed_on = [handed for _, handed in imported(FACES[wing[0]])]
                assert module.count(".") == 1 and name in handed_on, f"{path}: {module} import {name}"


@pytest.mark.parametrize("wing", FACES)
def test_a_face_is_narrow_and_has_no_logic(wing):
    doc, *rest = ast.parse(FACES[wing]).body
    assert isinstance(doc, ast.Expr) and all(isinstance(node, ast.ImportFrom) for node in rest)
    assert len(FACES[wing].splitlines()) <= 15 and len(imported(FACES[wing])) <= 20


def test_no_modules_import_one_another_in_a_circle():
    arrows = {}
    for path, source in FILES.items():
        found = [
            (module, (REPO / Path(*module.split("."), f"{name}.py")).exists(), name)
            for module, name in imported(source)
        ]
        targets = {f"{module}.{name}" if is_module else module for module, is_module, name in found}
        arrows[".".join(path.relative_to(REPO).with_suffix("").parts)] = targets

    def reach(module, seen):
        for other in arrows.get(module, set()) - seen:
            seen.add(other)
            reach(other, seen)
        return seen

    assert not [module for module in arrows if not module.endswith("__init__") and module in reach(module, set())]


def test_the_house_is_small():
    assert len(FILES) <= 90 and sum(len(source.splitlines()) for source in FILES.values()) <= 12_650
    for path, source in FILES.items():
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.FunctionDef) or node.end_lineno - node.lineno < 40, f"{path}: {node.name}"
    for path, cells in CELLS.items():
        assert sum(len(imported(source)) for source in cells[1:]) <= 15, path.name


def test_wings_for_a_machine_without_torch_do_not_import_it():
    """Nor does photos, whose processes would each wait seconds for it."""
    check = "from helpers import machine, stats, show, survey, photos; import sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=REPO)


def test_the_machine_needs_the_standard_library_alone():
    for source in [source for path, source in FILES.items() if wing_of(path) == "machine"]:
        nodes = ast.parse(source).body
        modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert {module.split(".")[0] for module in modules} <= {*sys.stdlib_module_names, "helpers"}
