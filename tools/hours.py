"""How much of a class hour each notebook takes, as a table.

python -m tools.hours            prints it
python -m tools.hours --write    puts it into docs/teaching.md, between <!-- hours table --> and <!-- /hours -->

An hour has 50 minutes. Minutes are counted from words of Markdown (150 a minute), code cells (40 seconds each), what the
learner writes or decides (3 minutes each), and the time that the notebook itself ran, where build/notebooks has a finished
run. The core ends at the first heading that begins with "## More"; it is given the whole time of the run.
"""

import re
import sys

from benchmarks import marked
from helpers import machine
from tools import exercises, notebooks

TEXT = machine.REPO / "docs" / "teaching.md"
DECISION = "decision"  # tag of a cell in which the learner decides, and the output judges it
MORE = re.compile(r"^## More\b", re.MULTILINE)
PICTURE = re.compile(r"!\[[^]]*\]\([^)]*\)")
COLUMNS = ["notebook", "cells", "code cells", "words", "exercises", "minutes of its run", "minutes"]


def core(cells):
    """The cells before the first heading "## More"; all where there is none."""
    places = (i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and MORE.search(cell.source))
    return cells[: next(places, len(cells))]


def count(cells):
    """{"cells", "code", "words", "exercises": how many} of some cells; a decision counts as an exercise, a sign such as | is no word."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    decisions = sum(DECISION in cell.metadata.get("tags", []) for cell in cells)
    return {
        "cells": len(cells),
        "code": len(code),
        "words": sum(any(map(str.isalnum, word)) for word in PICTURE.sub("", text).split()),
        "exercises": sum(len(exercises.names(cell.source)) for cell in code) + decisions,
    }


def minutes(counted, run):
    """Of what `count` gives, and the minutes of the notebook's own run."""
    return counted["words"] / 150 + counted["code"] * 40 / 60 + counted["exercises"] * 3 + run


def run_minutes(path):
    """How long the finished run of a notebook took, or None."""
    finished = machine.REPO / "build" / "notebooks" / path.name
    return notebooks.read(finished).metadata.get("minutes") if finished.exists() else None


def table(paths):
    """The table in Markdown: "core / whole" where the two differ, a dash where no run is finished."""
    rows = [COLUMNS, ["---"] * len(COLUMNS)]
    for path in paths:
        cells, run = notebooks.read(path).cells, run_minutes(path)
        parts = [count(core(cells)), count(cells)]
        both = [[part[name] for part in parts] for name in ("cells", "code", "words", "exercises")]
        both.append([f"{minutes(part, run or 0):.0f}" for part in parts])
        *counts, total = [" / ".join(dict.fromkeys(map(str, pair))) for pair in both]
        rows.append([path.stem.replace("_", " "), *counts, "–" if run is None else f"{run:.1f}", total])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(arguments):
    """Prints the table, or writes it into TEXT."""
    made = table(notebooks.paths())
    if "--write" in arguments:
        marked.fill(TEXT, "hours", {"table": made})
    else:
        print("Core / whole:", made, sep="\n\n", end="")


if __name__ == "__main__":
    main(sys.argv[1:])
