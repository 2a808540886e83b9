"""The hints of the survey's exercises: right answers in another form pass, near misses are told what is amiss."""

import numpy as np
import pandas as pd
import pytest

from helpers import exercises
from helpers.survey import design

COUNTS = np.random.default_rng(0).binomial(20, 0.8, 2000)
KEY = design.paper_key()
APART = [0.1, 0.2, 0.3, 0.4]
PAIRS = pd.DataFrame(
    [("base", "hypernetwork", 0.1, 0.2), ("base", "DreamBooth", -0.2, 0.01)],
    columns=["first", "second", "difference", "holm_raters"],
)
FORKS = pd.DataFrame({"method": "base", "variant": ["as planned", "a", "b"], "share": [0.8, 0.79, 0.85]})


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("middle", (13, 19, COUNTS), "Right."),
        ("middle", (14, 18, COUNTS), "lie only"),
        ("middle", (8, 20, COUNTS), "narrower"),
        ("spend", (40, 3), "Right."),
        ("spend", (120, 1), "2 to 40 raters"),
        ("spend", (24, 5), "narrower way"),
        ("balanced", (5, KEY), "Right."),
        ("balanced", (10, KEY), "smaller"),
        ("balanced", (4, KEY), "more often than"),
        ("p_value", (0.75, APART, 0.2), "Right."),
        ("p_value", (0.5, APART, 0.2), "as far apart"),
        ("p_value", (0.5, [], np.nan), "nothing to count"),
        ("distinguished", ("base", "DreamBooth", PAIRS), "Right."),
        ("distinguished", ("DreamBooth", "base", PAIRS), "Not yet."),
        ("distinguished", (None, None, PAIRS), "Not yet."),
        ("distinguished", (None, None, PAIRS[:1]), "Right."),
        ("distinguished", (None, None, PAIRS[:0]), "Right."),
        ("chance_to_win", (lambda one, other: np.exp(one) / (np.exp(one) + np.exp(other)),), "Right."),
        ("chance_to_win", (lambda one, other: 0.5 + (one - other) / 4,), "73 %"),
        ("design_effect", (lambda study: 1.0,), "ddof=1"),
        ("coverage", (lambda low, high, truth: ((low < truth) & (high > truth)).mean(),), "Right."),
        ("coverage", (lambda low, high, truth: 1.0,), "two hold 0.8"),
        ("careless", (0.52, 0.23), "Right."),
        ("careless", (0.1, 0.23), "0.81"),
        ("careless", (1, -0.1), "Right."),
        ("furthest", ("b", FORKS, "base"), "Right."),
        ("furthest", ("a", FORKS, "base"), "1.0 points"),
        ("furthest", ("c", FORKS, "base"), "Write one of these"),
        ("odds_ratio", (lambda one, other: one * (1 - other) / (other * (1 - one)),), "Right."),
        ("odds_ratio", (lambda one, other: one / other,), "19"),
    ],
)
def test_an_answer_is_right_or_told_what_is_amiss(capsys, name, answer, words):
    exercises.check(f"survey.{name}", *answer)
    assert words in capsys.readouterr().out
