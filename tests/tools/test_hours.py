import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import hours

CELLS = [
    new_markdown_cell("# Three words [here](../docs/glossary.md)\n\n![a picture](walk.jpg)"),
    new_code_cell('answer = ...\nexercises.check("diffusion.even", answer, snr)'),
    new_code_cell("choice = 3", metadata={"tags": ["decision"]}),
    new_markdown_cell("Read on.\n\n## Moreover\n\nMore."),
    new_markdown_cell("## More: a walk\n\none two"),
    new_code_cell("walk()"),
]


def test_the_core_ends_at_the_first_heading_that_begins_with_more():
    assert hours.core(CELLS) == CELLS[:4] and hours.core(CELLS[:4]) == CELLS[:4]


def test_words_code_exercises_and_decisions_are_counted():
    assert hours.count(CELLS) == {"cells": 6, "code": 3, "words": 12, "exercises": 2}
    counted = {"cells": 9, "code": 6, "words": 300, "exercises": 4}
    assert hours.minutes(counted, run=1.5) == pytest.approx(2 + 4 + 12 + 1.5)


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    monkeypatch.setattr(hours.machine, "REPO", tmp_path)
    nbformat.write(new_notebook(cells=CELLS), tmp_path / "00_walk.ipynb")
    return tmp_path / "00_walk.ipynb"


def test_a_row_says_core_and_whole_and_takes_the_run_from_the_finished_notebook(lesson, tmp_path):
    assert hours.table([lesson]).splitlines()[2] == "| 00 walk | 4 / 6 | 2 / 3 | 7 / 12 | 2 | – | 7 / 8 |"
    finished = tmp_path / "build" / "notebooks" / lesson.name
    finished.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=CELLS, metadata={"minutes": 10.04}), finished)
    assert hours.table([lesson]).splitlines()[2].endswith("| 10.0 | 17 / 18 |")


def test_the_table_is_written_between_its_marks_and_nowhere_else(lesson, tmp_path, monkeypatch):
    text = tmp_path / "teaching.md"
    monkeypatch.setattr(hours, "TEXT", text)
    monkeypatch.setattr(hours.notebooks, "paths", lambda: [lesson])
    text.write_text("before\n<!-- hours table -->\nold\n<!-- /hours -->\nafter\n")
    for _ in range(2):
        hours.main(["--write"])
        assert text.read_text() == f"before\n<!-- hours table -->\n{hours.table([lesson])}<!-- /hours -->\nafter\n"
    text.write_text("no marks")
    with pytest.raises(ValueError, match="has no <!-- hours"):
        hours.main(["--write"])
