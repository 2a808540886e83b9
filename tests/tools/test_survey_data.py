"""The simulated answers in data/survey: made again byte for byte, and by raters who answer as the paper's did."""

import pytest

from helpers import survey
from helpers.survey import design, simulation, statistics
from tools import survey_data

KEY = design.paper_key()


def test_the_simulator_has_the_papers_rates_and_says_that_it_is_one():
    plan = design.make_plan(KEY, 1000, seed=1)
    table = survey_data.simulate(KEY, plan, prompt_sd=0)  # ten prompts are too few to average out
    assert set(table["source"]) == {"simulated"}
    excluded = survey.rules.exclusions(table, design.RULES)
    assert excluded.loc[excluded["reason"] == "too fast", "respondent"].nunique() == 50  # the careless, all caught
    shares = statistics.satisfaction(survey.rules.without(table, excluded))
    assert shares["share"].to_dict() == pytest.approx(simulation.PAPER, abs=0.02)


def test_the_simulated_file_is_made_again_and_read_without_a_complaint(tmp_path):
    table = survey_data.simulate(KEY, design.make_plan(KEY, 20, seed=design.SEED))
    survey.answers.write_table(tmp_path / "again.csv", table)
    assert (tmp_path / "again.csv").read_bytes() == simulation.FILE.read_bytes()
    answers = survey.answers.read_answers([simulation.FILE], KEY)
    assert answers.odd.empty and len(answers.people) == 20
    assert len(answers.table[answers.table["question"] != "comment"]) == 3 * 400 + 80 + 20
