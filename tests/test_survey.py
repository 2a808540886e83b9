import itertools
import subprocess
import sys

import choix
import krippendorff
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables
from statsmodels.stats.proportion import proportion_confint

from helpers import compare, places, runtime, survey_agreement, survey_design, survey_import, survey_simulation
from helpers import survey_statistics as statistics

KEY = survey_simulation.paper_key()
PLAN = survey_design.make_plan(KEY, 20, seed=20)


def test_no_part_of_the_survey_loads_torch():
    names = "places questionnaire survey_agreement survey_design survey_formats survey_import survey_simulation"
    imports = "; ".join(f"import helpers.{name}" for name in [*names.split(), "survey_statistics", "plots", "files"])
    code = f"{imports}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=places.REPO, check=False).returncode == 0


def test_places_are_those_of_runtime():
    assert (places.REPO, places.QUICK, places.RUNS) == (runtime.REPO, runtime.QUICK, runtime.RUNS)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_williams_square_is_balanced_in_place_and_in_order(count):
    square = np.array(survey_design.williams(count))
    for column in square.T:
        assert len(set(np.bincount(column, minlength=count))) == 1
    follows = pd.Series([tuple(pair) for row in square for pair in itertools.pairwise(row)]).value_counts()
    assert len(follows) == count * (count - 1) and follows.nunique() == 1


def test_every_rater_sees_every_method_on_every_own_prompt_and_pictures_are_shown_equally_often():
    rated = PLAN[PLAN["kind"] == "rate"].merge(KEY, on="item").drop_duplicates(["rater", "item"])
    assert (pd.crosstab(rated["rater"], rated["method"]) == 6).all(axis=None)
    assert rated.groupby(["rater", "prompt_id"])["method"].nunique().eq(3).all()
    assert rated["item"].value_counts().agg(["min", "max"]).tolist() == [12, 12]
    assert PLAN.groupby("rater")["position"].apply(list).map(lambda x: x == list(range(1, 26))).all()


def test_each_method_comes_equally_often_first_second_and_third():
    rated = PLAN[(PLAN["kind"] == "rate")].merge(KEY, on="item").sort_values(["rater", "position"])
    rated = rated.drop_duplicates(["rater", "item"])
    places_of = rated.groupby(["rater", "prompt_id"]).cumcount()
    assert (pd.crosstab(places_of, rated["method"]) == 40).all(axis=None)


def test_pairs_are_of_one_prompt_balanced_and_on_both_sides():
    pairs = PLAN.loc[PLAN["kind"] == "pair", "item"]
    prompts, methods = survey_import.unblind(KEY, pairs)
    assert set(pairs) <= set(prompts)
    sides = pairs.map(methods).value_counts()
    assert len(sides) == 6 and sides.sum() == 80
    unordered = sides.groupby(lambda pair: "+".join(sorted(pair.split("+")))).sum()
    assert unordered.max() - unordered.min() <= 1


def test_a_plan_is_made_again_from_its_seed_and_the_codes_tell_nothing():
    assert survey_design.make_plan(KEY, 20, seed=20).equals(PLAN)
    assert not survey_design.make_plan(KEY, 20, seed=21).equals(PLAN)
    assert KEY["item"].is_unique and KEY["item"].str.fullmatch("[b-z][2-9][b-z][2-9]").all()


def test_an_unfair_set_of_pictures_is_refused():
    with pytest.raises(ValueError, match="exactly one picture"):
        survey_design.make_key(KEY.drop(columns="item").iloc[1:], 1)
    with pytest.raises(ValueError, match="10 prompts"):
        survey_design.make_plan(KEY, 2, prompts=11, seed=1)


def test_pictures_are_found_under_the_names_that_notebook_05_gives(tmp_path):
    prompts = pd.DataFrame({"prompt_id": ["p1"], "prompt": ["Man riding a horse, facing camera"]})
    with pytest.raises(FileNotFoundError, match="05_compare"):
        survey_design.pictures(tmp_path, prompts, ["base"])
    path = tmp_path / "base" / compare.file_name(prompts["prompt"][0], 1)
    path.parent.mkdir()
    path.touch()
    assert survey_design.pictures(tmp_path, prompts, ["base"])["file"].tolist() == [path]


@pytest.mark.parametrize(("k", "n"), [(0, 20), (14, 20), (16, 20), (20, 20), (57, 83)])
def test_wilson_is_scipys_and_statsmodels(k, n):
    ours = statistics.wilson(k / n, n)
    assert ours == pytest.approx(tuple(stats.binomtest(k, n).proportion_ci(method="wilson")), abs=1e-12)
    assert ours == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_one_answer_a_rater_has_no_design_effect_and_equal_answers_count_once():
    values = np.array([1] * 14 + [0] * 6)
    single = statistics.share_interval(range(20), values)
    assert single["effect"] == pytest.approx(20 / 19)
    repeated = statistics.share_interval(np.repeat(range(20), 8), np.repeat(values, 8))
    assert repeated["effect"] == pytest.approx(8 * 20 / 19)
    assert (repeated["low"], repeated["high"]) == pytest.approx((single["low"], single["high"]))
    with pytest.raises(ValueError, match="two raters"):
        statistics.share_interval([1, 1], [0, 1])


@pytest.mark.parametrize("share", [0.5, 0.71, 0.87])
def test_the_interval_covers_the_truth_and_the_pooled_one_does_not(share):
    rng, who, studies = np.random.default_rng(5), np.repeat(range(20), 8), 500
    covered = pooled = 0
    for _ in range(studies):
        values = survey_simulation.draw(share, 20, 8, rng=rng).ravel()
        interval = statistics.share_interval(who, values)
        covered += interval["low"] <= share <= interval["high"]
        low, high = statistics.wilson(values.mean(), 160)
        pooled += low <= share <= high
    assert 0.92 <= covered / studies <= 0.98  # 93 to 97 % and what 500 studies leave open
    assert pooled / studies < 0.90


def test_bootstrap_of_single_answers_is_that_of_scipy():
    values = np.random.default_rng(1).random(30)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9000, rng=2).confidence_interval
    assert statistics.cluster_bootstrap(range(30), values, draws=9000) == pytest.approx(tuple(theirs), abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_tests_between_methods_agree_with_the_textbook(seed):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([range(60), ["p"]], names=["respondent", "prompt_id"])
    wide = pd.DataFrame(rng.random((60, 3)) < [0.5, 0.6, 0.7], index, ["a", "b", "c"]).astype(int)
    sums, k = wide.sum(axis=1), 3
    q = (k - 1) * (k * (wide.sum() ** 2).sum() - sums.sum() ** 2) / (k * sums.sum() - (sums**2).sum())
    ours = statistics.cochran_q(wide)
    assert ours["statistic"] == pytest.approx(q)
    assert ours["p_raters"] == pytest.approx(stats.chi2.sf(q, 2), abs=0.05)  # one block a rater: both are right
    for row in statistics.mcnemar_pairs(wide).itertuples():
        table = pd.crosstab(wide[row.first], wide[row.second])
        assert row.p_exact == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)
        assert row.holm_exact >= row.p_exact and row.holm_raters >= row.p_raters


def test_gee_with_one_answer_a_rater_finds_the_plain_odds_ratio():
    answers = [("base", 30, 10), ("other", 24, 16)]
    rows = [(method, value) for method, yes, no in answers for value in ["yes"] * yes + ["no"] * no]
    table = pd.DataFrame(rows, columns=["method", "value"]).assign(question="satisfied", position=1, prompt_id="p")
    table["respondent"] = table["item"] = [f"r{i}" for i in range(len(table))]
    assert statistics.gee(table).loc["other", "odds_ratio"] == pytest.approx((24 / 16) / (30 / 10), rel=1e-6)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_that_of_the_krippendorff_package(level, seed):
    rng = np.random.default_rng(seed)
    matrix = np.clip(rng.integers(1, 6, 15) + rng.integers(-1, 2, (6, 15)), 1, 5).astype(float)
    matrix[rng.random(matrix.shape) < 0.3] = np.nan
    theirs = krippendorff.alpha(matrix, level_of_measurement=level)
    assert survey_agreement.alpha(matrix, level) == pytest.approx(theirs, abs=1e-12)


def test_bradley_terry_without_ties_is_that_of_choix():
    rng = np.random.default_rng(3)
    pairs = [tuple(rng.permutation(4)[:2]) for _ in range(400)]
    strength = np.array([0.0, 0.5, 1.0, 1.5])
    wins = [(a, b) if rng.random() < 1 / (1 + np.exp(strength[b] - strength[a])) else (b, a) for a, b in pairs]
    table = pd.DataFrame([(f"m{a}", f"m{b}", f"m{a}") for a, b in wins], columns=["left", "right", "winner"])
    ours, _ = survey_agreement.bradley_terry(table)
    assert ours.to_numpy() == pytest.approx(choix.opt_pairwise(4, wins, alpha=0.005), abs=1e-3)


def test_ties_alone_make_all_equal_and_their_share_is_the_models():
    table = pd.DataFrame({"left": "a", "right": "b", "winner": ["a"] * 3 + ["b"] * 3 + ["tie"] * 4})
    strengths, tie = survey_agreement.bradley_terry(table)
    assert strengths.abs().max() < 1e-6
    assert np.exp(tie) / (2 + np.exp(tie)) == pytest.approx(0.4, abs=0.01)


def test_the_simulator_has_the_papers_rates_and_says_that_it_is_one():
    plan = survey_design.make_plan(KEY, 3000, seed=1)
    table = survey_simulation.simulate(KEY, plan, prompt_sd=0)  # ten prompts are too few to average out
    assert set(table["source"]) == {"simulated"}
    shares = statistics.satisfied(table).groupby("method")["value"].mean()
    assert shares.to_dict() == pytest.approx(survey_simulation.PAPER, abs=0.012)


def test_the_simulated_file_is_made_again_and_read_without_a_complaint(tmp_path):
    survey_import.write_table(tmp_path / "again.csv", survey_simulation.simulate(KEY, PLAN))
    assert (tmp_path / "again.csv").read_bytes() == survey_simulation.FILE.read_bytes()
    answers = survey_import.read_answers([survey_simulation.FILE], KEY)
    assert answers.odd.empty and len(answers.table) == 1300 and len(answers.people) == 20


def test_exclusions_follow_the_rules():
    rows = [("slow", "attention", "4", 9), ("quick", "attention", "4", 1), ("blind", "attention", "2", 9)]
    rows += [(who, "satisfied", "yes", seconds) for who, _, _, seconds in rows]
    table = pd.DataFrame(rows, columns=["respondent", "question", "value", "duration_s"]).assign(position=1)
    out = statistics.exclusions(table)
    assert set(map(tuple, out.to_numpy())) == {("quick", "too fast"), ("blind", "attention")}
