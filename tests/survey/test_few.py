"""Answers from which little can be told: few tasks a worker, everybody of one opinion, everybody but one."""

import functools
import io
import os
import re

import numpy as np
import pandas as pd
import pytest
from cells import execute, sources

from helpers import survey
from helpers.stats import wilson
from helpers.survey import design, figures, report, simulation, statistics

KEY = design.paper_key()
CODE = KEY.set_index(["prompt_id", "method"])["item"]
PROMPTS = list(KEY["prompt_id"].unique())


def rows_of(answers):
    """A long table of (respondent, item, question, value), as read_answers gives it."""
    table = pd.DataFrame(answers, columns=["respondent", "item", "question", "value"])
    prompts, methods = survey.answers.unblind(KEY, table["item"].unique())
    known = {"prompt_id": table["item"].map(prompts), "method": table["item"].map(methods)}
    position = table.groupby("respondent").cumcount() + 1
    return table.assign(**known, position=position, duration_s=5.0, source="questionnaire")


def whole(value):
    """Ten raters, three prompts, every method: value(rater, question, method) is what each of them says."""
    asked = [(f"r{r}", CODE[p, m], q, value(r, q, m)) for r in range(10) for p in PROMPTS[:3] for m in design.METHODS
             for q in design.RATED]  # fmt: skip
    pairs = [(f"r{r}", f"{CODE[p, a]}+{CODE[p, b]}", "pair", value(r, "pair", f"{a}+{b}")) for r in range(10)
             for p in PROMPTS[:3] for a, b in (("base", "DreamBooth"), ("hypernetwork", "base"))]  # fmt: skip
    return rows_of(asked + pairs)


def everybody(_, question, method):
    """All say 5 and yes, and in pairs always prefer what was trained."""
    return {"satisfied": "yes", "pair": "right" if method.startswith("base") else "left"}.get(question, "5")


def sparse():
    """Twenty workers with one to three tasks each: nobody saw two methods on one prompt, one method has one rater."""
    rng, rows = np.random.default_rng(0), []
    for number in range(20):
        for prompt in rng.choice(PROMPTS, rng.integers(1, 4), replace=False):
            item = CODE[prompt, "DreamBooth" if number == 7 else ["base", "hypernetwork"][number % 2]]
            rows += [(f"w{number}", item, name, str(rng.choice(design.CLOSED[name][:2]))) for name in design.RATED]
    return rows_of(rows)


STUDIES = {"everybody agrees": lambda: whole(everybody), "one to three tasks a worker": sparse}


@pytest.mark.parametrize("study", STUDIES)
def test_no_number_of_the_survey_has_an_interval_of_width_zero(study):
    table = STUDIES[study]()
    tables = [statistics.satisfaction(table), statistics.agreement(table)]
    tables += [statistics.rating_means(table, question) for question in ("likeness", "match")]
    tables.append(survey.rules.sensitivity(table, design.RULES))
    if "agrees" in study:
        tables.append(statistics.bradley_terry(statistics.duels(table)))
    for found in tables:
        width = (found["high"] - found["low"]).astype(float)
        assert (width.isna() | (width > 0.01)).all(), found


def test_everybody_says_5_and_prefers_one_method_is_not_certain():
    table = whole(everybody)
    means = statistics.rating_means(table, "likeness")
    assert (means["mean"] == 5).all() and means["low"].to_numpy() == pytest.approx(1 + 4 * wilson(1, 10)[0])
    strengths = statistics.bradley_terry(statistics.duels(table))
    assert np.isfinite(strengths["strength"]).all() and strengths[["low", "high"]].isna().all(axis=None)
    assert any("never lost a duel" in words for words in statistics.unknown_in_words(table))
    chart = figures.intervals(strengths, "strength")
    texts = [text.get_text() for text in chart.findobj(lambda part: hasattr(part, "get_text"))]
    assert texts.count("interval not known") == 3
    chart.savefig(io.BytesIO(), format="png")  # it can be drawn


def test_strengths_have_an_interval_once_each_method_lost_and_ties_alone_are_not_enough():
    against = {"base+DreamBooth": "left", "hypernetwork+base": "right"}
    lost = statistics.duels(whole(lambda r, q, m: against.get(m, "5") if q == "pair" and r < 2 else everybody(r, q, m)))
    tied = statistics.duels(whole(lambda r, q, m: "tie" if q == "pair" and r < 2 else everybody(r, q, m)))
    strengths = statistics.bradley_terry(lost)
    assert strengths.notna().all(axis=None) and (strengths["high"] - strengths["low"] > 0.5).all()
    assert (
        statistics.bradley_terry(tied)[["low", "high"]].isna().all(axis=None)
    )  # 54 wins, 6 ties: as strong as you like
    assert statistics.bradley_terry(pd.concat([lost, tied])).notna().all(axis=None)


def test_methods_that_nobody_tells_apart_have_odds_without_interval():
    table = whole(lambda r, q, m: ("yes" if r % 2 else "no") if q == "satisfied" else everybody(r, q, m))
    odds = statistics.gee(table)
    assert odds["odds_ratio"].to_numpy() == pytest.approx(1) and odds[["low", "high"]].isna().all(axis=None)


def test_one_no_among_299_yes_is_the_paradox_and_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "readings", functools.partial(report.readings, studies=20))
    rows = [(f"r{r}", item, "satisfied", "no" if (r, i) == (4, 9) else "yes") for r in range(10)
            for i, item in enumerate(KEY["item"])]  # fmt: skip
    table = rows_of(rows)
    found = statistics.agreement(table)
    assert abs(found.loc["satisfied", "alpha"]) < 0.01 and found.loc["satisfied", "same"] > 0.99
    assert found[["low", "high"]].isna().all(axis=None)
    (words,) = statistics.paradox_in_words(found)
    assert "99 %" in words and "near 0 although raters agree" in words
    mixed = whole(lambda r, q, m: "yes" if (r + len(m)) % 2 else "no")
    assert statistics.paradox_in_words(statistics.agreement(mixed)) == []


@pytest.mark.parametrize("study", STUDIES)
def test_the_report_says_what_cannot_be_told(study, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "readings", functools.partial(report.readings, studies=20))
    table = STUDIES[study]()
    people = table[["respondent", "source"]].drop_duplicates()
    answers = survey.answers.Answers(table, pd.DataFrame(columns=["file", "line", "problem"]), people)
    page = report.write(tmp_path / "report.html", answers, design.RULES).read_text(encoding="utf-8")
    text = re.sub(r"base64,[\w+/=]+", "", page)
    assert "These answers do not tell" in text and not re.search(r"\bnan\b", text)
    for low, high in re.findall(r"(-?[\d.]+) to (-?[\d.]+)", text.partition("Satisfied or not")[2]):
        assert low != high


def test_of_a_whole_study_nothing_is_untold():
    table = survey.answers.read_answers([simulation.FILE], KEY).table
    assert statistics.unknown_in_words(table) == [] and statistics.paradox_in_words(statistics.agreement(table)) == []


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize(("notebook", "settings"), [("11_read_the_study", "read-04"), ("12_chance", "chance-04")])
def test_a_notebook_goes_on_where_little_can_be_told(notebook, settings, study, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QUICK", "1")
    cells, table = sources(notebook), STUDIES[study]()
    people = table[["respondent", "source"]].drop_duplicates()
    odd = pd.DataFrame(columns=["file", "line", "problem"])
    given = survey.answers.Answers(table, odd, people)
    monkeypatch.setattr(survey.answers, "read_answers", lambda *_, **__: given)
    names = {"display": print, "os": os}
    execute(cells[settings], names)
    names |= {"FOLDER": tmp_path, "STUDIES": 20}
    order = list(cells)
    for name in order[order.index(settings) + 1 :]:
        if is_of_answers(cells[name]):
            execute(cells[name], names)
    said = capsys.readouterr().out
    assert not re.search(r"\bnan\b", said) and "SIMULATED" not in said
    assert "These answers do not tell" in said or notebook == "12_chance"


def is_of_answers(source):
    """Whether a cell is code on the answers there are: no exercise, and no simulation whose truth is known."""
    try:
        compile(source, "cell", "exec")
    except SyntaxError:
        return False
    return not re.search(r"exercises\.|simulation\.(draw|careless)|ravel|invented|fits|wins|drawn|bad", source)
