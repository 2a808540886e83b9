"""The exercises of notebooks 07 to 09: looking, measuring, trying; a wrong answer gets the hint that fits it."""

import pandas as pd
import pytest

from helpers import exercises
from helpers.compare.trained import TrainedModel

MIXED = pd.DataFrame({"letter": list("ABCDEFGH"), "model": ["base", "net"] * 4})
DREAM = TrainedModel("dreambooth_mei", "DreamBooth", "mei", "mei_001 woman", "", "")
SHOWN = pd.Series([0.0, 0.25, 0.25, 0.5, 1.0], index=list("abcde"))
MOVED = pd.Series({"a photo of a man": 20.0, "a horse": 5.0})
OF_NET = pd.DataFrame({"measure": ["man", "woman", "person"], "low": [0.4, -0.1, float("nan")]})
ALIKE = {("happy", "sad"): 1.0, ("happy", "calm"): 2.0}


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("compare.blind", ["h, f, d, b", MIXED, "net"], "Right."),
        ("compare.blind", ["BDFG", MIXED, "net"], "Right."),  # one taken for another
        ("compare.blind", ["BDEG", MIXED, "net"], "found 2 of 4"),
        ("compare.blind", ["BDFZ", MIXED, "net"], "no picture Z"),
        ("compare.asked", ["mei_001 woman riding a horse", DREAM], "Right."),
        ("compare.asked", ["mei_001 on a horse", DREAM], "Right."),
        ("compare.asked", ["woman riding a horse", DREAM], "name"),
        ("compare.asked", ["man mei_001 riding a horse", DREAM], "one person"),
        ("compare.asked", ["mei_001", DREAM], "where is the horse"),
        ("compare.hardest", [3, SHOWN], "Right."),
        ("compare.hardest", [4, SHOWN], "Not column 4"),
        ("compare.hardest", ["a", SHOWN], "number of a column"),
        ("compare.least", ["a horse", MOVED], "Right."),
        ("compare.least", ["a photo of a man", MOVED], "changed by 20.0"),
        ("compare.least", ["a cat", MOVED], "Write a prompt"),
        ("measure.shows", [lambda found: found.mean(axis=1) > 0.7], "Right."),
        ("measure.shows", [lambda found: found.sum(axis=1) > 2], "with 3 of 5 gets True"),
        ("measure.shows", [lambda found: found.any(axis=1)], "with 2 of 4 gets True"),
        ("measure.shows", [lambda found: found.sum() >= 3], "one True or False for each row"),
        ("measure.draw", [lambda values, rng: values[rng.integers(len(values), size=len(values))]], "Right."),
        ("measure.draw", [lambda values, rng: rng.choice(values, 5)], "each draw takes 20"),
        ("measure.draw", [lambda values, rng: rng.choice(values, 20, replace=False)], "put each back"),
        ("measure.draw", [lambda values, rng: values[[0, *range(19)]]], "random"),
        ("measure.draw", [lambda values, rng: rng.integers(0, 2, len(values))], "Only values"),
        ("measure.affected", [["man"], OF_NET], "Right."),
        ("measure.affected", [[], OF_NET], "0 of 1"),
        ("measure.affected", [["man", "woman"], OF_NET], "begins at -0.10"),
        ("measure.affected", [["men"], OF_NET], "none of the prompts"),
        ("experiments.likest", [1.0, {0.0: 0.3, 1.0: 0.5}], "Right."),
        ("experiments.likest", [0.0, {0.0: 0.3, 1.0: 0.5}], "another strength"),
        ("experiments.outfits", [3, [True] * 5 + [False]], "Right."),
        ("experiments.outfits", [2, [True] * 5 + [False]], "more than two away"),
        ("experiments.outfits", [2, []], "no reader"),
        ("experiments.alike", [("sad", "happy"), ALIKE], "Right."),
        ("experiments.alike", [("calm", "happy"), ALIKE], "another pair"),
        ("experiments.alike", ["happy", ALIKE], "two moods"),
    ],
)
def test_an_answer_is_right_or_gets_its_hint(capsys, name, answer, words):
    exercises.check(name, *answer)
    assert words in capsys.readouterr().out
