"""The exercises of notebook 16: other right ways pass, and a mistake gets the hint that fits it."""

import numpy as np
import pytest

from helpers import exercises

SCORES = np.array([0.5, -0.2, 0.1, 0.9])


def by_groups(table):
    return all(group["person"].sum() * 2 == len(group) for _, group in table.groupby("origin"))


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("robot.balanced", [lambda known, truth: known[truth].mean() / 2 + 0.5 - known[~truth].mean() / 2], "Right."),
        ("robot.balanced", [lambda known, truth: (known == truth).mean()], "says no to everybody gets 0.80"),
        ("robot.balanced", [lambda known, truth: known[truth].mean()], "gets 0.00"),
        ("robot.pairs", [lambda own, others: np.mean([a > b for a in own for b in others])], "Right."),
        ("robot.pairs", [lambda own, others: (own[:5] > others[:5]).mean()], "each of the 5"),
        ("robot.called", [0.75, SCORES], "Right."),
        ("robot.called", [3, SCORES], "above 0"),
        ("robot.fair", [by_groups], "Right."),
        ("robot.fair", [lambda table: table["person"].mean() == 0.5], "the person drawn and the others generated"),
        ("robot.fair", [lambda table: table["origin"].nunique() == 1], "two kinds"),
        ("robot.verdict", [lambda low, high: "open" if low <= 0 <= high else ["loss", "gain"][low > 0]], "Right."),
        ("robot.verdict", [lambda low, high: "gain" if low + high > 0 else "loss"], "it holds 0"),
        ("robot.verdict", [lambda low, high: "open"], "one side of 0"),
    ],
)
def test_an_answer_is_right_or_gets_its_hint(capsys, name, answer, words):
    exercises.check(name, *answer)
    assert words in capsys.readouterr().out
