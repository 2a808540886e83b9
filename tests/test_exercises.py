import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch

from helpers import exercises, notebooks, runtime

EVERY = exercises.everything()
CELLS = {
    path.stem: [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for path in notebooks.paths()
}


def test_every_exercise_stands_in_one_notebook_and_every_check_is_known():
    asked = [name for cells in CELLS.values() for source in cells for name in exercises.names(source)]
    assert sorted(asked) == sorted(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_the_notebook_leaves_the_answer_to_the_learner(name):
    (source,) = (source for cells in CELLS.values() for source in cells if name in exercises.names(source))
    assert exercises.names(source) == [name], "one exercise a cell"
    assert "..." in source.split("exercises.check(")[0]
    solved = exercises.answered(source, EVERY[name].solution)
    assert EVERY[name].solution in solved and "..." not in solved


@pytest.mark.parametrize("name", EVERY)
def test_an_exercise_has_a_question_and_a_mistake(name):
    assert EVERY[name].__doc__.strip()[-1] in ".?" or "?\n" in EVERY[name].__doc__ or ".\n" in EVERY[name].__doc__
    assert EVERY[name].wrong != EVERY[name].solution


def said(capsys, name, *answer):
    exercises.check(name, *answer)
    return capsys.readouterr().out


def test_the_three_answers_to_an_answer(capsys):
    snr = 1 / torch.linspace(0.1, 10, 1000)
    first = int((snr > 1).sum())
    assert said(capsys, "diffusion.even", ..., snr) == exercises.UNANSWERED + "\n"
    for right in (first, torch.tensor(first), (snr < 1).nonzero()[0], np.int64(first)):
        assert said(capsys, "diffusion.even", right, snr) == "Right.\n"
    for wrong, hint in (
        (first - 1, "Go further"),
        (first + 1, "comes earlier"),
        (-1, "whole number"),
        ("ten", "whole"),
    ):
        assert said(capsys, "diffusion.even", wrong, snr).startswith("Not yet.")
        assert hint in said(capsys, "diffusion.even", wrong, snr)


def test_a_function_with_dots_is_unanswered_and_one_that_raises_gets_a_hint(capsys):
    def dots(empty, heard, scale):
        return ...

    assert said(capsys, "diffusion.guide", dots) == exercises.UNANSWERED + "\n"
    assert "TypeError" in said(capsys, "diffusion.guide", lambda: 3)
    assert said(capsys, "diffusion.guide", lambda empty, heard, scale: None).startswith("Not yet.")


def test_an_unknown_exercise_is_named():
    for name in ("diffusion.nothing", "nothing.even"):
        with pytest.raises(KeyError, match=name):
            exercises.find(name)


@pytest.mark.slow
def test_teachers_can_print_all_solutions():
    command = [sys.executable, "-m", "helpers.exercises"]
    told = subprocess.run(command, cwd=runtime.REPO, capture_output=True, text=True, check=True).stdout
    for name, check in EVERY.items():
        assert name in told and check.solution in told
