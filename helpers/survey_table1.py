"""The paper's Table 1 beside ours, and what three rounded percentages of twenty students can mean."""

import pandas as pd

from helpers import bootstrap, files, survey_design, survey_planning
from helpers.survey_simulation import PAPER, RATER_SD

STUDENTS = 20  # in the paper; how many pictures each judged it does not say
READINGS = {  # short name: the same in full
    "one answer each": "one answer from each of {n} students, the count exact",
    "rounded": "one answer from each of {n} students, rounded to the nearest ten per cent",
    "pooled": "{k} pictures a student, every answer taken for another person",
    "by student": "{k} pictures a student, one student's answers alike",
}


def readings(students=STUDENTS, items=10, rater_sd=RATER_SD, studies=400, seed=0):
    """95 % intervals of the paper's three shares under READINGS: DataFrame reading, method, share, low, high.

    one answer each: Wilson on the nearest count. rounded: from the lowest to the highest interval of all counts that round
    to it (half a step is shared: 15 and 17 of 20 are both called 80 %). pooled: Wilson on students x items answers.
    by student: the average interval of simulated studies whose raters differ by `rater_sd` logits.
    """
    rows = []
    for method, share in PAPER.items():
        rows.append(("one answer each", method, share, *bootstrap.wilson(round(share * students) / students, students)))
        rows.append(("rounded", method, share, *_rounded(share, students)))
        rows.append(("pooled", method, share, *bootstrap.wilson(share, students * items)))
        drawn = survey_planning.intervals(share, students, items, rater_sd, studies, seed)
        rows.append(("by student", method, share, drawn["low"].mean(), drawn["high"].mean()))
    return pd.DataFrame(rows, columns=["reading", "method", "share", "low", "high"])


def _rounded(share, students, step=0.10):
    """The union of Wilson's intervals of all counts that may be called `share`, give or take half a step."""
    counts = [k for k in range(students + 1) if abs(k / students - share) <= step / 2 + 1e-9]
    edges = [bootstrap.wilson(k / students, students) for k in counts]
    return min(low for low, _ in edges), max(high for _, high in edges)


def in_words(reading, students=STUDENTS, items=10):
    """A reading as a sentence part."""
    return READINGS[reading].format(n=students, k=items)


def table1(satisfaction, read, simulated=False):
    """Table 1: DataFrame by method with the paper's column, its interval under every reading, and ours.

    satisfaction: as survey_statistics.satisfaction returns it; read: as readings() returns it. A method that one of
    the two does not have gets a dash. simulated: whether our column is, which its name then says.
    """
    ours = ("here", "SIMULATED" if simulated else "95 % interval")
    cells = {}
    for row in read.itertuples():
        cells.setdefault(row.method, {})[("the paper", "says")] = "approx. " + bootstrap.percent(row.share)
        cells[row.method]["the paper, if", row.reading] = f"{row.low * 100:.0f} to {row.high * 100:.0f} %"
    for name, row in satisfaction.iterrows():
        cells.setdefault(name, {})[ours] = bootstrap.percent(row["share"], row["low"], row["high"])
    return pd.DataFrame(cells).T.loc[survey_design.in_order(cells)].fillna("-")


def write(path, table):
    """Keep Table 1 as CSV with one line of column names."""
    flat = table.set_axis([" ".join(names) for names in table.columns], axis=1).rename_axis("method")
    with files.atomic_write(path) as partial:
        flat.to_csv(partial)
