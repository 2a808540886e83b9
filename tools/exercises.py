"""What teachers and tests ask of the exercises.

python -m tools.exercises                  prints every question with its solution
python -m tools.exercises solutions.ipynb  writes them as a notebook, by notebook and cell
python -m tools.exercises handed_in/       one table of the results that a class handed in: the tries of each right answer
"""

import importlib
import re
import sys
from pathlib import Path

import nbformat
import pandas as pd

from helpers import machine
from tools import notebooks

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


def main(target=None):
    """Print or write what the arguments ask for."""
    if target and Path(target).is_dir():
        print(results(target).to_string(na_rep="-", float_format="%.0f"))
    elif target:
        nbformat.write(solutions(), target)
    else:
        for name, question in everything().items():
            print(f"{name}: {question.__doc__}\n\n{question.solution}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
