"""Table 1, comments and the page at the end."""

import functools
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from helpers import survey
from helpers.survey import design, figures, report, simulation, statistics, widgets

KEY = design.paper_key()
RULES = design.RULES


@pytest.fixture(scope="module")
def answers():
    return survey.answers.read_answers([simulation.FILE], KEY)


def test_the_readings_of_80_per_cent_are_what_they_say_and_stand_in_table_1(answers, tmp_path):
    readings = report.readings(studies=60)
    by_name, wilson = readings.set_index(["method", "reading"]), {"method": "wilson"}
    for method, count in (("base", 16), ("hypernetwork", 18), ("DreamBooth", 19)):
        theirs = stats.binomtest(count, 20).proportion_ci(**wilson)
        assert by_name.loc[(method, "one answer each"), ["low", "high"]].tolist() == pytest.approx(list(theirs))
    lowest, highest = (stats.binomtest(k, 20).proportion_ci(**wilson) for k in (15, 17))
    assert by_name.loc[("base", "rounded"), ["low", "high"]].tolist() == pytest.approx([lowest.low, highest.high])
    width = (by_name["high"] - by_name["low"]).unstack()
    assert (width["pooled"] < width["by student"]).all() and (width["by student"] < width["one answer each"]).all()
    shares = statistics.satisfaction(answers.table)
    table = report.table1(shares.drop("base"), readings, simulated=True)
    assert table[("the paper", "says")].str.extract(r"(\d+)")[0].tolist() == ["80", "90", "95"]
    here = table[("here", "SIMULATED")]
    share, low, high = shares.loc["DreamBooth", ["share", "low", "high"]] * 100
    assert here["base"] == "-" and here["DreamBooth"] == f"{share:.0f} % ({low:.0f} to {high:.0f} %)"
    report.write_table1(tmp_path / "table1.csv", table)
    kept = pd.read_csv(tmp_path / "table1.csv")
    assert "here SIMULATED" in kept and kept["method"].tolist() == list(design.METHODS)


def test_figures_of_invented_answers_are_stamped(answers):
    shares = statistics.satisfaction(answers.table)
    real = answers.table.assign(source="questionnaire")
    draws = [lambda t: figures.draws([1, 2], "x", answers=t), lambda t: figures.scales(t, "likeness")]
    for draw in (*draws, lambda t: figures.shares(t, shares)):
        for table, stamped in ((answers.table, True), (real, False)):
            texts = [text.get_text() for text in draw(table).findobj(lambda part: hasattr(part, "get_text"))]
            assert ("simulated answers" in texts) == stamped
    sizes = pd.DataFrame({"raters": [5, 9], "items": 1, "half_width": 0.2, "pooled_half_width": 0.1})
    studies = simulation.intervals(0.8, 5, 2, studies=3)
    for chart in (figures.draws([1, 2], "x"), figures.study_sizes(sizes), figures.many_intervals(studies, 0.8)):
        assert "invented raters" in [text.get_text() for text in chart.findobj(lambda part: hasattr(part, "get_text"))]


def test_coders_see_no_method_and_codes_come_back(answers, tmp_path):
    sheet = widgets.sheet(answers.table)
    assert "method" not in sheet and sheet["comment"].is_unique and len(sheet) > 20
    assert not sheet["item"].is_monotonic_increasing  # an order that tells nothing
    codes = simulation.simulate_codes(sheet, 1)
    pd.Series(codes, name="code").rename_axis("comment").to_csv(tmp_path / "one.csv")
    assert widgets.read_codes(tmp_path / "one.csv") == codes
    assert widgets.by_method(sheet, codes, KEY).to_numpy().sum() == len(sheet)
    (tmp_path / "two.csv").write_text("comment,code\nc001,look\nc002,lok\n")
    with pytest.raises(ValueError, match=r"two\.csv, line 3.*'lok'"):
        widgets.read_codes(tmp_path / "two.csv")


def test_the_agreement_of_two_coders_is_near_cohens_kappa():
    rng, codes = np.random.default_rng(3), list(widgets.CODES)
    one = {f"c{i}": str(rng.choice(codes)) for i in range(400)}
    two = {name: code if rng.random() < 0.7 else str(rng.choice(codes)) for name, code in one.items()}
    found = widgets.agreement(one, two)
    crossed = widgets.crossed(one, two)
    assert found["same"] == np.trace(crossed.to_numpy()) / 400 and found["comments"] == 400
    assert found["alpha"] == pytest.approx(cohens_kappa(crossed.to_numpy()).kappa, abs=0.005)  # alike for many items
    with pytest.raises(ValueError, match="coded by both"):
        widgets.agreement({"c1": "look"}, {"c2": "look"})


@pytest.mark.slow
def test_the_report_has_every_part_and_needs_nothing(answers, tmp_path):
    codes = simulation.simulate_codes(widgets.sheet(answers.table), 1)
    page = report.write(tmp_path / "report.html", answers, RULES, coders=[codes, codes])
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link|__[A-Z0-9]+__", text) and text.count("<img alt=") == 4
    assert all(words in text for words in ("SIMULATED", "1 of 20 raters", "Cochran", "Holm", "GEE", "alpha 1.00"))


def test_the_report_bears_a_tiny_study(answers, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "readings", functools.partial(report.readings, studies=20))
    few = answers.table[answers.table["respondent"].isin(answers.table["respondent"].unique()[:4])]
    few = few[few["question"] == "satisfied"].assign(value="yes", source="questionnaire")
    people = pd.DataFrame({"respondent": few["respondent"].unique(), "source": "x", "Age": ["31", "31", "31", "77"]})
    small = survey.answers.Answers(few, answers.odd, people)
    text = report.write(tmp_path / "small.html", small, RULES).read_text(encoding="utf-8")
    assert "Age: 31 3, others 1." in text and "77" not in re.sub(r"base64,[\w+/=]+", "", text)
    assert "All answers agree" in text and "Nobody was asked" not in text
