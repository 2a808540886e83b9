"""How fast the survey is read and analysed, and how often its headline interval holds the truth.

python -m benchmarks.survey            10,000 simulated raters: written, imported, analysed, reported; seconds on the
                                         clock, which must stay under 30, and of the CPU
python -m benchmarks.survey coverage   coverage over a grid of shares, sizes and raters' spread; about a minute;
                                         writes docs/survey_coverage.csv and docs/survey_coverage.png
"""

import itertools
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from helpers import machine, show, survey
from helpers.show import figures
from helpers.survey import design, report, simulation
from tools import survey_data

RATERS, LIMIT = 10_000, 30  # seconds, of the issue
SHARES, SIZES, SPREADS = (0.50, 0.71, 0.80, 0.87, 0.95), ((10, 6), (20, 6), (20, 8), (20, 12), (40, 6)), (0.5, 1.0, 1.5)
STUDIES = 1000
FOLDER = machine.REPO / "docs"


def now():
    """Seconds on the clock and of the CPU, since some moment."""
    return time.perf_counter(), time.process_time()


def spent(start, end):
    """The time between two moments of now() in words."""
    return f"{end[0] - start[0]:5.1f} s ({end[1] - start[1]:.1f} s of CPU)"


def speed():
    """Prints the seconds that import and analysis of 10,000 raters take; exits with an error above the limit."""
    key = design.paper_key()
    plan = design.make_plan(key, RATERS, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.csv"
        survey.answers.write_table(path, survey_data.simulate(key, plan))
        print(f"{RATERS} raters, {path.stat().st_size / 1e6:.0f} MB of answers")
        began = now()
        answers = survey.answers.read_answers([path], key)
        read = now()
        print(f"import   {spent(began, read)}, {len(answers.table)} answers, {len(answers.odd)} odd rows")
        report.write(Path(folder) / "report.html", answers, design.RULES)
    done = now()
    print(f"analysis {spent(read, done)}, with every figure of the report\ntogether {spent(began, done)}, of {LIMIT} s")
    if done[0] - began[0] > LIMIT:
        sys.exit("too slow")


def coverage():
    """The share of studies whose interval holds the truth, in every cell of the grid; written and drawn."""
    rows = []
    for share, (raters, items), spread in itertools.product(SHARES, SIZES, SPREADS):
        precision = simulation.precision(share, raters, items, spread, STUDIES, seed=len(rows))
        rows.append({"share": share, "raters": raters, "items": items, "rater_sd": spread} | precision)
    table = pd.DataFrame(rows).round(4)
    machine.write_csv(FOLDER / "survey_coverage.csv", table)
    return table


def draw(table):
    """The figure of coverage(): a dot a cell, filled for the interval that respects the rater, hollow for the pooled."""
    chart, axes = figures.figure(7, 3.6)
    axes.axhspan(0.93, 0.97, color=show.COLORS[3], alpha=0.15, label="93 to 97 %")
    axes.axhline(0.95, color=show.INK, linewidth=0.8)
    for i, (spread, rows) in enumerate(table.groupby("rater_sd")):
        x = rows["share"] + (i - 1) * 0.012
        color = show.COLORS[(2, 1, 4)[i % 3]]
        axes.plot(x, rows["coverage"], "o", color=color, markersize=5, label=f"raters differ by {spread} logits")
        axes.plot(x, rows["pooled_coverage"], "o", color=color, markersize=5, fillstyle="none")
    axes.set(xlabel="true share", ylabel="intervals that hold the truth", ylim=(0.5, 1))
    axes.legend(frameon=False, fontsize=8, loc="lower left", title="filled: by rater; hollow: pooled answers")
    with machine.atomic_write(FOLDER / "survey_coverage.png") as partial:
        chart.savefig(partial, format="png", dpi=120)


if __name__ == "__main__":
    if sys.argv[1:] == ["coverage"]:
        table = coverage()
        draw(table)
        inside = table["coverage"].between(0.93, 0.97)
        print(f"{inside.sum()} of {len(table)} cells hold the truth in 93 to 97 % of {STUDIES} studies")
        print(table.loc[~inside, ["share", "raters", "items", "rater_sd", "coverage"]].to_string(index=False))
    else:
        speed()
