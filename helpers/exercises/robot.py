"""The exercises of 16_does_a_robot_see_better: two scores, a trap, a fair table and a verdict."""

import math

import numpy as np
import pandas as pd

from helpers.compare import recogniser
from helpers.exercises.checks import exercise


@exercise(
    solution="def balanced(known, truth):\n    return (known[truth].mean() + (~known[~truth]).mean()) / 2",
    wrong="def balanced(known, truth):\n    return (known == truth).mean()",
)
def balanced(function):
    """Write the balanced accuracy: the mean of the share of the person's pictures that are known and of others refused."""
    truth = np.arange(10) < 2  # of ten pictures two show the person
    for known, words in ((np.zeros(10, bool), "says no to everybody"), (np.ones(10, bool), "says yes to everybody")):
        if not math.isclose(found := float(function(known, truth)), 0.5, abs_tol=1e-6):
            return (
                f"A recogniser that {words} gets {found:.2f}. It has learnt nothing: give each side half of the weight."
            )
    if not math.isclose(float(function(truth, truth)), 1, abs_tol=1e-6):
        return "One that is always right must get 1."
    if not math.isclose(float(function(np.arange(10) < 1, truth)), 0.75, abs_tol=1e-6):
        return "One that knows half of the person's pictures and refuses all others gets 0.75: (0.5 + 1) / 2."


@exercise(
    solution="def pairs(own, others):\n    return (own[:, None] > others).mean()",
    wrong="def pairs(own, others):\n    return (own > others.mean()).mean()",
)
def pairs(function):
    """Write the AUC: in which share of all pairs, one picture of the person and one of another, is the person's score higher?"""
    rng = np.random.default_rng(0)
    for own, others in ((rng.normal(1, 1, 7), rng.normal(0, 1, 5)), (rng.normal(0, 1, 6), rng.exponential(2, 9))):
        right = recogniser.auc(np.concatenate([own, others]), np.arange(len(own) + len(others)) < len(own))
        if not math.isclose(found := float(function(own, others)), right, abs_tol=1e-6):
            count = len(own) * len(others)
            return (
                f"Of {count} pairs you say {found:.2f}: compare each of the {len(own)} with each of the {len(others)}."
            )


@exercise(solution="called = (scores > 0).mean()", wrong="called = scores.mean()")
def called(called, scores):
    """Which share of the drawn strangers does the recogniser take for the person? From their scores."""
    right = float((np.asarray(scores) > 0).mean())
    if not math.isclose(float(called), right, abs_tol=0.005):
        return "A score above 0 means that it takes the picture to show the person: count how often that is so."


@exercise(
    solution='def fair(table):\n    counts = table.groupby("origin")["person"].mean()\n    return (counts == 0.5).all()',
    wrong='def fair(table):\n    return table["person"].mean() == 0.5',
)
def fair(function):
    """Write whether a table of training pictures is fair: does each origin have as many of the person as of others?"""
    row = lambda origin, person, count: [(origin, person)] * count
    cases = [  # (rows, whether it is fair, what it is)
        (row("drawn", True, 4) + row("drawn", False, 4), True, "four of each, all drawn"),
        (row("drawn", True, 4) + row("generated", False, 4), False, "the person drawn and the others generated"),
        (row("drawn", True, 4) + row("drawn", False, 2) + row("generated", False, 2), False, "two origins for others"),
        (
            row("drawn", True, 3) + row("drawn", False, 3) + row("made", True, 5) + row("made", False, 5),
            True,
            "two kinds",
        ),
    ]
    for rows, right, words in cases:
        found = function(pd.DataFrame(rows, columns=["origin", "person"]))
        if bool(found) != right:
            return f"For {words} it says {bool(found)}. Could the origin alone tell who is in the picture?"


@exercise(
    solution='def verdict(low, high):\n    return "gain" if low > 0 else "loss" if high < 0 else "open"',
    wrong='def verdict(low, high):\n    return "gain" if low + high > 0 else "loss"',
)
def verdict(function):
    """Write what an interval of a gain says: "gain", "loss", or "open" where it does not settle the question."""
    for low, high in ((0.01, 0.2), (-0.2, -0.01), (-0.02, 0.3), (-0.3, 0.02)):
        if (found := function(low, high)) != (right := recogniser.verdict(low, high)):
            hint = "it holds 0, so both are possible" if right == "open" else "all of it lies on one side of 0"
            return f"From {low} to {high} you say {found!r}: {hint}."
