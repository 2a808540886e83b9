"""Rating and coding in the notebook: the widgets without a browser, and with one."""

import re

import pandas as pd
import pytest
from lab import screenshot

from helpers import (
    questionnaire,
    survey_comments,
    survey_design,
    survey_import,
    survey_pictures,
    survey_planning,
    survey_widgets,
)

pytest_plugins = ["lab"]

KEY = survey_pictures.finished_key()
PLAN = survey_design.make_plan(KEY, 2, prompts=2, pairs=1, duplicates=1, seed=3)
WORDS = questionnaire.interface()


@pytest.fixture
def rater(tmp_path):
    def sit_down(number=1, **settings):
        people = survey_pictures.references(["amir", "nesrelah"], 1)
        return survey_widgets.Rater(KEY, PLAN, number, tmp_path / "own" / "rater.csv", people, **settings)

    return sit_down


def answer(widget):
    """Choose the last answer of every question and go on; returns what the file must have."""
    item, place = widget.screens[widget.at][1], widget.at + 1
    for name, box in widget.questions.items():
        box.value = survey_design.CLOSED[name][-1]
    rows = [(item, name, box.value, place) for name, box in widget.questions.items()]
    widget.next.click()
    return rows


def test_a_rater_goes_through_the_plan_stops_and_comes_back(rater):
    widget, given = rater(), []
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
    answers = survey_import.read_answers([widget.path], KEY, study=questionnaire.study_id(PLAN, KEY))
    assert answers.table["respondent"].unique().tolist() == [respondent]
    found = answers.table[["item", "question", "value", "position"]].itertuples(index=False, name=None)
    assert sorted(found) == sorted(given)


def test_a_screen_with_an_open_question_is_not_left(rater):
    widget = rater(language="ar")
    widget.next.click()
    assert widget.at == 0 and WORDS["ar"]["missing"] in widget.alert.value and not widget.path.exists()


def test_what_a_rater_is_shown_tells_no_method(rater):
    widget, pairs = rater(), 0
    while widget.questions:
        shown = "".join(child.value for child in widget.children if hasattr(child, "value") and child.value)
        text = shown.replace("base64", "").lower()
        assert not any(word in text for word in ("hypernetwork", "dreambooth", "amir", ".jpg"))
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
    table = pd.read_csv(widget.path, dtype=str)
    table.assign(study="00000000").to_csv(widget.path, index=False)
    before = widget.path.read_bytes()
    with pytest.raises(ValueError, match=r"rater\.csv has answers to another plan"):
        rater()
    assert widget.path.read_bytes() == before
    with pytest.raises(ValueError, match="no rater 9: choose 1 to 2"):
        rater(9)


@pytest.fixture
def sheet():
    rows = [(f"r{i}", KEY["item"][i], "comment", f"<b>words</b> {i}", 1) for i in range(4)]
    return survey_comments.sheet(pd.DataFrame(rows, columns=["respondent", "item", "question", "value", "position"]))


def test_a_coder_codes_goes_back_and_finds_all_again(sheet, tmp_path):
    path = tmp_path / "codes.csv"
    coder = survey_widgets.Coder(sheet, path)
    assert "&lt;b&gt;words" in coder.text.value  # a comment is text, whatever it holds
    for code in ("look", "fault"):
        coder.choice.value = code
        coder.next.click()
    coder.back.click()
    assert coder.choice.value == "fault"
    coder.choice.value = "other"
    assert survey_comments.read_codes(path) == {"c001": "look", "c002": "other"}
    again = survey_widgets.Coder(sheet, path)
    assert again.at == 2 and again.choice.value is None
    again.next.click(), again.next.click()
    assert again.at == 3 and survey_comments.read_codes(path) == {"c001": "look", "c002": "other"}


def test_the_sliders_say_what_a_study_can_tell_apart(capsys):
    sliders = survey_widgets.study_size(studies=20)
    assert [child.description for child in sliders.children[:3]] == ["raters", "pictures", "true share"]
    chart = sliders.f(raters=10, pictures=2, share=0.8)
    told = capsys.readouterr().out
    apart = survey_planning.smallest_difference(0.8, 10, 2)
    assert (f"told apart from {0.8 + apart:.0%}" if apart else "No better method") in told
    assert chart.axes[0].get_xlabel() == "study"


CELLS = """
from pathlib import Path
from helpers import places, survey_design, survey_pictures, survey_widgets
key = survey_pictures.finished_key()
plan = survey_design.make_plan(key, 2, prompts=2, pairs=1, duplicates=1, seed=3)
rater = survey_widgets.Rater(key, plan, 1, places.RUNS / "lab" / "rater.csv", survey_pictures.references(["amir"], 1))
rater
"""


@pytest.mark.slow
def test_rating_in_jupyterlab_by_mouse_and_keys(lab):
    notebook = lab.open(CELLS)
    notebook.run()
    shown = notebook.output(0)
    shown.get_by_text(WORDS["en"]["next"], exact=True).click()
    shown.get_by_role("alert").wait_for()
    screenshot(notebook.page, "06_rater")
    for _ in range(len(PLAN[PLAN["rater"] == 1])):
        before = notebook.python("rater.at")
        for group in range(notebook.python("len(rater.questions)")):
            shown.locator(".widget-radio-box").nth(group).locator("input").first.focus()
            notebook.page.keyboard.press("Space")
        shown.get_by_text(WORDS["en"]["next"], exact=True).click()
        notebook.page.wait_for_timeout(300)
        assert notebook.python("rater.at") == before + 1
    shown.get_by_text(WORDS["en"]["thanks"]).wait_for()
    assert notebook.python("len(rater.path.read_text().splitlines())") == notebook.python("len(rater.answers)") + 1


@pytest.mark.slow
def test_coding_and_sliding_in_jupyterlab(lab):
    coder = "survey_widgets.Coder(survey_comments.sheet(table), places.RUNS / 'lab' / 'codes.csv')"
    made = "from helpers import survey_simulation, survey_comments\ntable = survey_simulation.simulate(key, plan)"
    notebook = lab.open(CELLS, f"{made}\ncoder = {coder}\ncoder", "survey_widgets.study_size(20)")
    notebook.run()
    notebook.output(1).get_by_text("look: style, colours").click()
    notebook.output(1).get_by_role("button", name="Next").click()
    notebook.output(1).get_by_text("1 coded").wait_for()
    assert notebook.python("list(coder.codes.values())") == ["look"]
    notebook.output(2).locator("img").wait_for()
    assert "raters x 6 pictures" in notebook.output(2).inner_text()
