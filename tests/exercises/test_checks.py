import contextlib
import json

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
ALPHAS = torch.linspace(0.99, 0.01, 1000)
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
        ("undo", [lambda noisy, noise, t: noisy - (1 - ALPHAS[t]).sqrt() * noise, ALPHAS], "multiplied, too"),
        ("undo", [lambda noisy, noise, t: noisy - noise, ALPHAS], "step by step"),
        ("passes", [20, 20], "compare"),
        ("guide", [lambda empty, prompted, scale: None], "Not yet."),
    ],
)
def test_an_answer_is_right_or_gets_a_hint_and_never_stops_the_notebook(capsys, name, answer, words):
    exercises.check(f"diffusion.{name}", *answer)
    assert words in capsys.readouterr().out


def test_tries_count_until_the_first_right_answer_and_nothing_else_is_kept(kept, capsys):
    for answer in (..., 11, "ten", 10, 11):
        exercises.check("diffusion.even", answer, SNR)
    exercises.check("hypernetwork.weights", lambda width: 0)
    assert exercises.hand_in(7) == kept
    assert json.loads(kept.read_text()) == {
        "student": 7,
        "exercises": {
            "diffusion.even": {"right": True, "tries": 3},
            "hypernetwork.weights": {"right": False, "tries": 1},
        },
    }
    assert "1 right of 2" in capsys.readouterr().out


@pytest.mark.parametrize("student", ["Mei", 0, 1.5, True, None])
def test_a_name_does_not_get_into_the_results(kept, student):
    with pytest.raises(ValueError, match="number"):
        exercises.hand_in(student)
    assert not kept.exists()


def test_a_broken_results_file_is_named_and_stays_as_it_is(kept, capsys):
    kept.write_text("{")
    exercises.check("diffusion.even", 10, SNR)
    out = capsys.readouterr().out
    assert "Right." in out and str(kept) in out and kept.read_text() == "{"


def test_a_class_becomes_one_table(kept, tmp_path, capsys):
    for student, answers in {7: [11, 10], 8: [11]}.items():
        for answer in answers:
            exercises.check("diffusion.even", answer, SNR)
        exercises.hand_in(student).rename(tmp_path / f"from_{student}.json")
    (tmp_path / "holiday.json").write_text("[]")
    assert questions.results(tmp_path)["diffusion.even"].to_dict() == {7: 2, 8: 0}
    assert "holiday.json is left out" in capsys.readouterr().out


def test_the_solutions_are_a_notebook_with_every_exercise_once(tmp_path):
    questions.main(tmp_path / "solutions.ipynb")
    written = nbformat.read(tmp_path / "solutions.ipynb", as_version=4)
    nbformat.validate(written)
    code = [cell.source for cell in written.cells if cell.cell_type == "code"]
    assert sorted(code) == sorted(check.solution for check in EVERY.values())


def test_an_unknown_exercise_is_named():
    for name in ("diffusion.nothing", "nothing.even"):
        with pytest.raises(KeyError, match=name):
            checks.find(name)


def test_nbgrader_finds_an_answer_and_a_test_that_fails_where_the_answer_is_wrong(tmp_path):
    questions.main("--nbgrader", tmp_path)
    marks, verdicts = [], {}
    for path in sorted((tmp_path / "source").glob("*/*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            if mark := cell.metadata.get("nbgrader"):
                marks.append(mark["grade_id"])
                verdicts[mark["grade_id"]] = cell.source if mark["grade"] else None
    assert len(set(marks)) == len(marks) == 2 * len(EVERY)
    for answer, fails in ((11, True), (10, False)):
        names = {"exercises": exercises, "even": answer, "snr": SNR}
        with pytest.raises(AssertionError) if fails else contextlib.nullcontext():
            exec(verdicts["diffusion-even-test"], names)  # noqa: S102
