"""Exercises that check themselves. The question stands in the notebook, its check and solution in helpers/exercises.

In a notebook, in one cell, `...` marks what the learner replaces:

    half = ...
    exercises.check("diffusion.half", half, snr)
"""

import importlib

from helpers import machine

RESULTS = "exercises.json"  # in runs/: what a class hands in; no answers, no times, no names
_LAST = {}  # exercise: whether the last answer in this kernel was right
UNANSWERED = "Not answered yet: replace the dots ... above, then run this cell again."


def exercise(solution, wrong):
    """Decorates the check of one exercise; its docstring is the question in one sentence.

    The function gets what the notebook passes to `check` after the name. It returns None where the answer is right,
    else a hint, one or two sentences that say where to look and do not give the answer away.
    solution, wrong: code in place of everything above the call of `check` in the notebook's cell; the tests run both.
    """

    def mark(check):
        check.solution, check.wrong = solution, wrong
        return check

    return mark


def find(name):
    """The check called "subject.question", from helpers/exercises/subject.py. Raises KeyError for an unknown name."""
    subject, question = name.split(".")
    try:
        return getattr(importlib.import_module(f"helpers.exercises.{subject}"), question)
    except (ImportError, AttributeError) as error:
        raise KeyError(f"There is no exercise {name!r} in helpers/exercises/{subject}.py.") from error


def check(name, *answer):
    """Print whether an answer is right, or a hint; never stops the notebook, whatever was answered."""
    question = find(name)
    _LAST[name] = False
    if any(map(_unanswered, answer)):
        print(UNANSWERED)
        return
    try:
        hint = question(*answer)
    except Exception as error:  # noqa: BLE001  (a learner's own function may raise anything)
        hint = f"Checking your answer raised {type(error).__name__}: {error}."
    _LAST[name] = not hint
    _record(name, right=not hint)
    print(f"Not yet. {hint}" if hint else "Right.")


def is_right(name):
    """Whether the last answer that this kernel checked was right; for nbgrader, which wants a cell that fails."""
    return _LAST.get(name, False)


def hand_in(student):
    """Write a student's number into the results file and return its path; prints how many answers are right.

    student: a whole number from 1 on, which the teacher gave. Raises ValueError for anything else, a name above all.
    """
    if isinstance(student, bool) or not isinstance(student, int) or student < 1:
        raise ValueError(
            f"Give the number that your teacher gave you, such as 7, not {student!r}: no name belongs here."
        )
    path = machine.RUNS / RESULTS
    results = _results(path)
    machine.write_json(path, results | {"student": student})
    right = sum(result["right"] for result in results["exercises"].values())
    print(f"{right} right of {len(results['exercises'])} that were tried. Hand in this file: {path}")
    return path


def _results(path):
    return machine.read_json(path) if path.exists() else {"student": None, "exercises": {}}


def _record(name, right):
    """Count a try, until the first right one; what was once right stays right. A file that cannot be kept is named."""
    path = machine.RUNS / RESULTS
    try:
        results = _results(path)
        result = results["exercises"].setdefault(name, {"right": False, "tries": 0})
        result["tries"] += not result["right"]
        result["right"] |= right
        machine.write_json(path, results)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"This try is not recorded: {error}")


def letters(answer):
    """The letters of a choice such as "ACD" or "a, c, d": a set, in capitals."""
    return {letter for letter in str(answer).upper() if letter.isalpha()}


def _unanswered(answer):
    """True for `...`, and for a function that still has `...` in its body."""
    return answer is ... or ... in getattr(getattr(answer, "__code__", None), "co_consts", ())
