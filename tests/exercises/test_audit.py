"""The exercises of notebooks 13 to 15: an answer is right, or gets the hint that fits it."""

import numpy as np
import pandas as pd
import pytest

from helpers import exercises

BY_HAIR = pd.DataFrame({"man": [0, 5, 3], "woman": [4, 0, 2]}, index=["bun", "bald", "short"])
RESULTS = {"short": {"ratio_low": 1.2}, "captions": {"ratio_low": 0.4}}
NAMES, PIECES = ["Mei", "Kofi"], {"Mei": {"me"}, "Kofi": set(), "flames": {"la", "me"}}.get
AXES = np.eye(3)
COUNTED = pd.DataFrame({"kind": ["woman", "man", "woman"]})
TWO = pd.DataFrame({"first": list("aab"), "second": list("aba")})
ARTIST = "ann lee"


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("one_sided", [2, BY_HAIR], "Right."),
        ("one_sided", [1, BY_HAIR], "more rows"),
        ("one_sided", [3, BY_HAIR], "fewer rows"),
        ("one_sided", [0.5, BY_HAIR], "whole number"),
        ("stronger", [["short"], RESULTS], "Right."),
        ("stronger", [[], RESULTS], "'short' again"),
        ("stronger", [["short", "captions"], RESULTS], "'captions' again"),
        ("stronger", [["long"], RESULTS], "no wording"),
        ("stronger", [[], {}], "no reader"),
        ("suspect", ["Mei", NAMES, PIECES], "Right."),
        ("suspect", ["", NAMES, PIECES], "One of them does"),
        ("suspect", ["", ["Kofi"], PIECES], "Right."),
        ("suspect", ["Kofi", NAMES, PIECES], "no piece"),
        ("apart", [1.0, AXES, np.roll(AXES, 1, axis=0)], "Right."),
        ("apart", [2 / 3, AXES, np.roll(AXES, 1, axis=0)], "compares each picture with all"),
        ("apart", [0, AXES, AXES], "Right."),
        ("women", [2, COUNTED], "Right."),
        ("women", [1, COUNTED], "3 rows"),
        ("women", [0, None], "no reader"),
        ("word_for", [lambda seed: ["man", "person", "woman"][(seed + 1) % 3]], "Right."),
        ("word_for", [lambda seed: ["woman", "man"][seed % 2]], "Seeds 1 to 3"),
        ("word_for", [lambda seed: "child"], "'child'"),
        ("nearer", [1, AXES, AXES[:1], AXES[1:2]], "Right."),
        ("nearer", [2, AXES, AXES[:1], AXES[1:2]], "mean of each row"),
        ("agreed", [1 / 3, TWO], "Right."),
        ("agreed", [1.0, TWO], "row by row"),
        ("control", ["nan eel", ARTIST], "Right."),
        ("control", ["eelnna", ARTIST], "Right."),
        ("control", ["ann eel", ARTIST], "whole word"),
        ("control", ["somebody", ARTIST], "exactly the letters"),
        ("control", [ARTIST, ARTIST], "the name itself"),
    ],
)
def test_an_answer_is_right_or_gets_the_hint_that_fits(capsys, name, answer, words):
    exercises.check(f"audit.{name}", *answer)
    assert words in capsys.readouterr().out
