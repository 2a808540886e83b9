"""What teachers and tests ask of the exercises; `python -m tools.exercises` prints every question with its solution."""

import importlib
import re

from helpers import machine

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


if __name__ == "__main__":
    for name, question in everything().items():
        print(f"{name}: {question.__doc__}\n\n{question.solution}\n")
