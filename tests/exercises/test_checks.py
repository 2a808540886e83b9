import nbformat
import numpy as np
import pytest
import torch

from helpers import exercises
from helpers.exercises import checks
from tools import exercises as questions
from tools import notebooks

EVERY = questions.everything()
SNR = 10.5 / torch.arange(1, 31)  # 1 or less from index 10 on
CELLS = [
    cell.source
    for path in notebooks.paths()
    for cell in nbformat.read(path, as_version=4).cells
    if cell.cell_type == "code" and questions.names(cell.source)
]


def test_every_exercise_stands_in_one_cell_and_leaves_the_answer_to_the_learner():
    assert sorted(name for source in CELLS for name in questions.names(source)) == sorted(EVERY)
    for source in CELLS:
        (name,) = questions.names(source)
        assert "..." in source.split("exercises.check(")[0], name
        assert "..." not in questions.answered(source, EVERY[name].solution), name
        assert EVERY[name].__doc__ and EVERY[name].wrong != EVERY[name].solution, name


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("even", [..., SNR], checks.UNANSWERED),
        ("even", [torch.tensor(10), SNR], "Right."),
        ("even", [(SNR < 1).nonzero()[0], SNR], "Right."),
        ("even", [np.int64(9), SNR], "Go further"),
        ("even", [11, SNR], "comes earlier"),
        ("even", ["ten", SNR], "whole number"),
        ("guide", [lambda empty, prompted, scale: ...], checks.UNANSWERED),
        ("guide", [lambda: 3], "TypeError"),
        ("guide", [lambda empty, prompted, scale: None], "Not yet."),
    ],
)
def test_an_answer_is_right_or_gets_a_hint_and_never_stops_the_notebook(capsys, name, answer, words):
    exercises.check(f"diffusion.{name}", *answer)
    assert words in capsys.readouterr().out


def test_an_unknown_exercise_is_named():
    for name in ("diffusion.nothing", "nothing.even"):
        with pytest.raises(KeyError, match=name):
            checks.find(name)
