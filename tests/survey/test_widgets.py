"""Rating and coding in the notebook: the widgets without a browser, and with one."""

import errno
import html
import os
import re

import pandas as pd
import pytest
from lab import screenshot

from helpers import survey
from helpers.survey import design, questionnaire, widgets

pytest_plugins = ["lab"]

KEY = design.finished_key()
PLAN = design.make_plan(KEY, 2, prompts=2, pairs=1, duplicates=1, seed=3)
WORDS = questionnaire.interface()


@pytest.fixture
def rater(tmp_path):
    def sit_down(number=1, **settings):
        people = design.references(["amir", "nesrelah"], 1)
        return widgets.Rater(KEY, PLAN, number, tmp_path / "own" / "rater.csv", people, **settings)

    return sit_down


def answer(widget):
    """Choose the last answer of every question and go on; returns what the file must have."""
    item, place = widget.screens[widget.at][1], widget.at + 1
    for name, box in widget.questions.items():
        box.value = design.CLOSED[name][-1]
    rows = [(item, name, box.value, place) for name, box in widget.questions.items()]
    widget.next.click()
    return rows


def test_a_rater_goes_through_the_plan_stops_and_comes_back(rater):
    widget, given = rater(), []
    widget.next.click()  # nothing is answered: the screen is not left
    assert widget.at == 0 and WORDS["en"]["missing"] in widget.alert.value and not widget.path.exists()
    for _ in range(3):
        given += answer(widget)
    respondent = widget.respondent
    widget = rater()  # the kernel was started anew
    assert widget.at == 3 and widget.respondent == respondent
    widget.comment.value = "=1+1"
    given.append((widget.screens[3][1], "comment", "=1+1", 4))
    while widget.questions:
        given += answer(widget)
    assert WORDS["en"]["thanks"] in widget.children[0].value and len(widget.screens) == widget.at
    answers = survey.answers.read_answers([widget.path], KEY, study=questionnaire.study_id(PLAN, KEY))
    assert answers.table["respondent"].unique().tolist() == [respondent]
    found = answers.table[["item", "question", "value", "position"]].itertuples(index=False, name=None)
    assert sorted(found) == sorted(given)


def test_what_a_rater_is_shown_tells_no_method_and_a_pair_is_heard_apart(rater):
    widget, pairs = rater(), 0
    while widget.questions:
        shown = "".join(child.value for child in widget.children if getattr(child, "value", None))
        assert not re.search(r"hypernetwork|dreambooth|amir|\.jpg", shown, re.IGNORECASE)
        alts = re.findall('<img [^>]*alt="([^"]+)"', shown)
        assert shown.count("<img") == len(alts)
        if "pair" in widget.questions:
            assert alts[-2:] == [WORDS["en"]["left_alt"], WORDS["en"]["right_alt"]]
            pairs += 1
        answer(widget)
    assert pairs == 1


def test_answers_to_another_plan_are_left_alone(rater):
    widget = rater()
    answer(widget)
    pd.read_csv(widget.path, dtype=str).assign(study="00000000").to_csv(widget.path, index=False)
    before = widget.path.read_bytes()
    with pytest.raises(ValueError, match="another plan"):
        rater()
    assert widget.path.read_bytes() == before
    with pytest.raises(ValueError, match="choose 1 to 2"):
        rater(9)


def test_a_coder_codes_goes_back_and_finds_all_again(tmp_path):
    rows = [(f"r{i}", KEY["item"][i], "comment", f"<b>words</b> {i}", 1) for i in range(4)]
    table = pd.DataFrame(rows, columns=["respondent", "item", "question", "value", "position"])
    sheet, path = widgets.sheet(table), tmp_path / "codes.csv"
    coder = widgets.coder(sheet, path)
    assert "&lt;b&gt;words" in coder.content.value  # a comment is text, whatever it holds
    for code in ("look", "fault"):
        coder.answer(code)
    coder.back.click()
    assert coder.at == 1 and "fault" in coder.status.value
    coder.answer("other")
    assert widgets.read_codes(path) == {"c001": "look", "c002": "other"}
    again = widgets.coder(sheet, path)
    assert again.at == 2
    again.back.click(), again.back.click()
    assert again.at == 0 and widgets.read_codes(path) == {"c001": "look", "c002": "other"}


class Full:
    """A disk that is full until there is room again."""

    def __init__(self, monkeypatch):
        self.full, write = True, os.fsync
        monkeypatch.setattr(os, "fsync", lambda file: self.refuse() if self.full else write(file))

    def refuse(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("language", WORDS)
def test_a_full_disk_is_told_and_doubles_no_answer(rater, monkeypatch, language):
    widget = rater(language=language)
    given = answer(widget)
    disk, before = Full(monkeypatch), widget.path.read_bytes()
    for _ in range(2):
        answer(widget)
        told = html.unescape(widget.alert.value)
        assert WORDS[language]["not_written"].partition("{")[0] in told and str(widget.path) in told
        assert widget.at == 1 and widget.path.read_bytes() == before
    disk.full = False
    widget.questions["satisfied"].value = "yes"  # corrected meanwhile
    rows = [(item, name, box.value, 2) for item in [widget.screens[1][1]] for name, box in widget.questions.items()]
    widget.next.click()
    kept = pd.read_csv(widget.path, dtype={"value": str})
    assert list(kept[["item", "question", "value", "position"]].itertuples(index=False, name=None)) == given + rows


def test_a_formula_in_a_comment_stays_itself_over_restarts(rater):
    widget = rater()
    widget.comment.value = "=1+1"
    answer(widget)
    for _ in range(2):
        widget = rater()
        answer(widget)
    assert (survey.answers.read_answers([widget.path], KEY).table["value"] == "=1+1").sum() == 1


def test_a_full_disk_is_told_to_a_coder_and_nothing_is_lost(tmp_path, monkeypatch):
    table = pd.DataFrame(
        {"respondent": "r", "item": KEY["item"][:3], "question": "comment", "value": "x", "position": 1}
    )
    coder = widgets.coder(widgets.sheet(table), tmp_path / "codes.csv")
    coder.answer("look")
    disk = Full(monkeypatch)
    coder.answer("fault")
    assert "codes.csv" in coder.status.value and "make room" in coder.status.value and coder.at == 1
    disk.full = False
    coder.answer("other")
    assert widgets.read_codes(tmp_path / "codes.csv") == {"c001": "look", "c002": "other"} and coder.at == 2


CELLS = """
import os
from helpers import machine, survey
from helpers.survey import design, simulation, widgets
key = design.finished_key()
plan = design.make_plan(key, 2, prompts=2, pairs=1, duplicates=1, seed=3)
rater = widgets.Rater(key, plan, 1, machine.RUNS / "lab" / "rater.csv", design.references(["amir"], 1))
sheet = widgets.sheet(survey.answers.read_answers([simulation.FILE], key).table)
coder = widgets.coder(sheet, machine.RUNS / "lab" / "codes.csv")
rater
"""


@pytest.mark.slow
def test_rating_by_keys_coding_by_mouse_and_sliding_in_jupyterlab(lab):
    notebook = lab.open(CELLS, "coder", "widgets.study_size(5)")
    notebook.run()
    shown = notebook.output(0)
    shown.get_by_text(WORDS["en"]["next"], exact=True).click()
    shown.get_by_role("alert").wait_for()
    shown.locator("img").first.evaluate("picture => picture.scrollIntoView({block: 'start'})")
    screenshot(notebook.page, "10_rater")
    for group in range(notebook.python("len(rater.questions)")):
        shown.locator(".widget-radio-box").nth(group).locator("input").first.focus()
        notebook.page.keyboard.press("Space")
    shown.get_by_text(WORDS["en"]["next"], exact=True).click()
    shown.get_by_text(WORDS["en"]["progress"].format(2, (PLAN["rater"] == 1).sum())).wait_for()
    assert notebook.python("rater.at") == 1
    full = "lambda file: (_ for _ in ()).throw(OSError(28, 'No space left on device'))"
    assert notebook.python(f"[setattr(os, 'sync_', os.fsync), setattr(os, 'fsync', {full})]")
    for group in range(notebook.python("len(rater.questions)")):
        shown.locator(".widget-radio-box").nth(group).locator("input").first.check()
    shown.get_by_text(WORDS["en"]["next"], exact=True).click()
    shown.get_by_role("alert").filter(has_text="Make room on the disk").wait_for()
    assert notebook.python("rater.at, setattr(os, 'fsync', os.sync_)")[0] == 1
    shown.get_by_text(WORDS["en"]["next"], exact=True).click()
    shown.get_by_text(WORDS["en"]["progress"].format(3, (PLAN["rater"] == 1).sum())).wait_for()
    places = "[(row['question'], row['position']) for row in rater.answers]"
    assert notebook.python(f"len({places}) == len(set({places}))")  # nothing is doubled
    notebook.output(1).get_by_text("look: style, colours").click()
    notebook.output(1).get_by_text("Comment 2 of").wait_for()
    assert notebook.python("list(coder.given.values())") == ["look"]
    notebook.output(2).locator("img").wait_for()
