"""What teachers and tests ask of the exercises.

python -m tools.exercises                  prints every question with its solution
python -m tools.exercises solutions.ipynb  writes them as a notebook, by notebook and cell
python -m tools.exercises handed_in/       one table of the results that a class handed in: the tries of each right answer
python -m tools.exercises --nbgrader DIR   the notebooks as a course of nbgrader: DIR/source, and its settings
"""

import importlib
import re
import sys
from pathlib import Path

import nbformat
import pandas as pd

from helpers import machine
from tools import notebooks

NBGRADER = """# Written by python -m tools.exercises --nbgrader; the notebooks need the course beside them: see docs/teaching.md
c = get_config()
c.CourseDirectory.course_id = "personalize"
c.ClearSolutions.code_stub = {"python": ""}
"""
CALL = re.compile(r"^exercises\.check\(\s*\"(\w+\.\w+)\"", re.MULTILINE)


def names(source):
    """The names of the exercises that a cell's code checks."""
    return CALL.findall(source)


def answered(source, answer):
    """A cell's code with `answer` in place of all that stands above its first call of `check`."""
    return answer + "\n" + source[CALL.search(source).start() :]


def everything():
    """Every exercise there is: {name: its check}."""
    checks = {}
    for path in sorted((machine.REPO / "helpers" / "exercises").glob("[!_]*.py")):
        found = vars(importlib.import_module(f"helpers.exercises.{path.stem}"))
        checks |= {f"{path.stem}.{name}": value for name, value in found.items() if hasattr(value, "solution")}
    return checks


def solutions():
    """A notebook with the solution of every exercise, under the heading of its notebook and of the cell it stands in."""
    checks, cells = (
        everything(),
        [nbformat.v4.new_markdown_cell("# Solutions\n\nFor teachers; none of these cells runs alone.")],
    )
    for path in notebooks.paths():
        heading = ""
        for cell in notebooks.read(path).cells:
            if cell.cell_type == "markdown":
                heading = next(iter(re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)), heading)
                continue
            for name in names(cell.source):
                text = f"## {path.stem[:2]}, {heading}: `{name}`\n\n{checks[name].__doc__}"
                cells += [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(checks[name].solution)]
    return nbformat.v4.new_notebook(cells=cells)


def graded(notebook):
    """A notebook in which nbgrader finds each exercise: a cell for the answer and, after it, one that tests and gives a point.

    The solution stands in nbgrader's marks, below the dots, and leaves with `nbgrader generate_assignment`. The test shows
    the hint as ever, then fails where the answer is not right. Cells' metadata as nbgrader's schema 3 names them.
    """
    checks, cells = everything(), []
    for cell in notebook.cells:
        found = names(cell.source) if cell.cell_type == "code" else []
        if not found:
            cells.append(cell)
            continue
        (name,), start = found, CALL.search(cell.source).start()
        solution = f"### BEGIN SOLUTION\n{checks[name].solution}\n### END SOLUTION\n"
        verdict = f"### BEGIN HIDDEN TESTS\nassert exercises.is_right({name!r})\n### END HIDDEN TESTS"
        cells.append(nbformat.v4.new_code_cell(cell.source[:start] + solution, id=cell.id))
        cells.append(nbformat.v4.new_code_cell(f"{cell.source[start:]}\n{verdict}", id=f"{cell.id}-test"[-64:]))
        for part, grade in zip(cells[-2:], (False, True)):
            marks = {"grade": grade, "solution": not grade, "locked": grade, "task": False, "schema_version": 3}
            marks |= {"grade_id": name.replace(".", "-") + "-test" * grade} | ({"points": 1} if grade else {})
            part.metadata["nbgrader"] = marks
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def results(folder):
    """A class's files in one table, a row for each student: the tries that a right answer took, 0 for none yet.

    Files that are not results are named on the screen and left out; so is the earlier of two files of one student.
    """
    rows = {}
    for path in sorted(Path(folder).rglob("*.json"), key=lambda path: path.stat().st_mtime):
        try:
            data = machine.read_json(path)
            tries = {name: result["tries"] * result["right"] for name, result in data["exercises"].items()}
            student = int(data["student"])
        except (ValueError, KeyError, TypeError, AttributeError):
            print(f"{path} is left out: it has no student's results with a number; exercises.hand_in(7) writes it.")
            continue
        if student in rows:
            print(f"Student {student} handed in twice: {path} counts, for it is newer.")
        rows[student] = tries
    return pd.DataFrame.from_dict(rows, orient="index").sort_index().rename_axis("student")


def main(target=None, folder="nbgrader"):
    """Print or write what the arguments ask for."""
    if target == "--nbgrader":
        for path in notebooks.paths():
            place = Path(folder) / "source" / path.stem / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(graded(notebooks.read(path)), place)
        (Path(folder) / "nbgrader_config.py").write_text(NBGRADER, encoding="utf-8")
    elif target and Path(target).is_dir():
        print(results(target).to_string(na_rep="-", float_format="%.0f"))
    elif target:
        nbformat.write(solutions(), target)
    else:
        for name, question in everything().items():
            print(f"{name}: {question.__doc__}\n\n{question.solution}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
