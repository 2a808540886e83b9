"""The survey: plan, rules and numbers."""

import itertools
import re

import choix
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from statsmodels.genmod.families import Poisson
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats import contingency_tables

from helpers import survey
from helpers.compare import pictures
from helpers.stats import alpha
from helpers.survey import questionnaire, simulation, statistics

KEY = survey.design.paper_key()
PLAN = survey.design.make_plan(KEY, 20, seed=20)
ANSWERS = survey.answers.read_answers([simulation.FILE], KEY)
TABLE = ANSWERS.table


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_williams_square_is_balanced_in_place_and_in_order(count):
    square = np.array(survey.design.williams(count))
    assert all(len(set(np.bincount(column, minlength=count))) == 1 for column in square.T)
    follows = pd.Series([tuple(pair) for row in square for pair in itertools.pairwise(row)]).value_counts()
    assert len(follows) == count * (count - 1) and follows.nunique() == 1


def test_every_rater_sees_every_method_on_every_own_prompt_equally_often_and_in_every_place():
    rated = PLAN[PLAN["kind"] == "rate"].merge(KEY, on="item").sort_values(["rater", "position"])
    rated = rated.drop_duplicates(["rater", "item"])
    assert (pd.crosstab(rated["rater"], rated["method"]) == 6).all(axis=None)
    assert rated.groupby(["rater", "prompt_id"])["method"].nunique().eq(3).all()
    assert rated["item"].value_counts().agg(["min", "max"]).tolist() == [12, 12]
    assert PLAN.groupby("rater")["position"].apply(list).map(lambda x: x == list(range(1, 26))).all()
    places_of = rated.groupby(["rater", "prompt_id"]).cumcount()
    assert (pd.crosstab(places_of, rated["method"]) == 40).all(axis=None)


def test_pairs_are_of_one_prompt_balanced_and_on_both_sides():
    pairs = PLAN.loc[PLAN["kind"] == "pair", "item"]
    prompts, methods = survey.answers.unblind(KEY, pairs)
    assert set(pairs) <= set(prompts)
    sides = pairs.map(methods).value_counts()
    assert len(sides) == 6 and sides.sum() == 80
    unordered = sides.groupby(lambda pair: "+".join(sorted(pair.split("+")))).sum()
    assert unordered.max() - unordered.min() <= 1


def test_a_plan_is_made_again_from_its_seed_and_the_codes_tell_nothing():
    assert [survey.design.make_plan(KEY, 20, seed=seed).equals(PLAN) for seed in (20, 21)] == [True, False]
    assert KEY["item"].is_unique and KEY["item"].str.fullmatch("[b-z][2-9][b-z][2-9]").all()


def test_an_unfair_set_of_pictures_is_refused():
    with pytest.raises(ValueError, match="exactly one picture"):
        survey.design.make_key(KEY.drop(columns="item").iloc[1:], 1)
    with pytest.raises(ValueError, match="10 prompts"):
        survey.design.make_plan(KEY, 2, prompts=11, seed=1)


def test_pictures_are_found_in_the_index_that_notebook_07_writes(tmp_path):
    """The base picture is the one from the words that raters read: notebook 07 asks in each person's words."""
    made = [("base/x", "base", "", "a man"), ("base/y", "base", "", "a person")]
    made += [("h_nesrelah/x", "hypernetwork", "nesrelah", "a person"), ("h_amir/x", "hypernetwork", "amir", "a man")]
    made += [("d_amir/x", "DreamBooth", "amir", "a man")]
    rows = [(f"images/{file}.png", "", *rest[:2], "p1", rest[2], 1) for file, *rest in made]
    index = tmp_path / "images.csv"
    pd.DataFrame(rows, columns=pictures.COLUMNS).to_csv(index, index=False)
    for file, *_ in rows:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    for prompt, subject, expected in (
        ("a man", "amir", ["base/x", "h_amir/x", "d_amir/x"]),
        ("a person", "nesrelah", ["base/y", "h_nesrelah/x", "d_amir/x"]),  # the only training there is
    ):
        wanted = pd.DataFrame({"prompt_id": ["p1"], "prompt": [prompt], "subject": [subject]})
        found = survey.design.pictures(index, wanted, ["base", "hypernetwork", "DreamBooth"])["file"]
        assert [path.relative_to(tmp_path / "images").with_suffix("").as_posix() for path in found] == expected
    found[0].unlink()
    with pytest.raises(FileNotFoundError, match="p1 by base.*07_compare"):
        survey.design.pictures(index, wanted, ["base"])


def test_a_study_is_about_whom_one_brought_in_the_words_that_were_asked(tmp_path, monkeypatch):
    prompts = survey.design.paper_prompts()
    asked = [(key, f"{key} of a woman") for key in prompts["prompt_id"]]
    rows = [
        ("x.png", method, name, *each) for method, name in (("hypernetwork", "Zoë"), ("base", "")) for each in asked
    ]
    table = pd.DataFrame(rows, columns=["file", "method", "subject", "prompt_id", "prompt"])
    table.loc[table["method"] == "base", "prompt"] = "of a man"
    table.to_csv(tmp_path / "images.csv", index=False)
    monkeypatch.setattr(survey.design, "INDEX", tmp_path / "images.csv")
    monkeypatch.setenv("SUBJECT", "amir, nesrelah")
    assert survey.design.own_prompts().equals(prompts)
    monkeypatch.setenv("SUBJECT", "Zoë, amir, nesrelah")
    own = survey.design.own_prompts()
    assert set(own["subject"]) == {"Zoë"} and dict(zip(own["prompt_id"], own["prompt"])) == dict(asked)


def test_a_prompt_that_a_teacher_adds_changes_no_code(tmp_path, monkeypatch):
    lines = survey.design.PROMPTS.read_text(encoding="utf-8").splitlines(keepends=True)
    longer = [lines[0], "ours_1,hypernetwork,,a man in the rain\n", *lines[1:], "ours_2,,,a man on a boat\n"]
    (tmp_path / "prompts.csv").write_text("".join(longer), encoding="utf-8")
    monkeypatch.setattr(survey.design, "PROMPTS", tmp_path / "prompts.csv")
    assert survey.design.paper_key().equals(KEY)


def test_rules_are_read_as_they_were_fixed_and_stay_once_there_are_answers(tmp_path):
    with pytest.raises(FileNotFoundError, match="make the plan first"):
        survey.design.read_rules(tmp_path)
    survey.design.write_plan(tmp_path, KEY, PLAN, 20)
    assert survey.design.read_rules(tmp_path) == survey.design.RULES
    other = survey.design.RULES | {"median_seconds": 7}
    survey.design.write_plan(tmp_path, KEY, PLAN, 20, other)  # nobody has answered yet
    for answered in ("answers/ana.csv", "rater-1.csv"):
        (tmp_path / answered).parent.mkdir(exist_ok=True)
        (tmp_path / answered).write_text("x")
        survey.design.write_plan(tmp_path, KEY, PLAN, 20, other)  # the same again does no harm
        for plan, rules in ((PLAN, survey.design.RULES), (survey.design.make_plan(KEY, 7, seed=20), other)):
            with pytest.raises(ValueError, match=f"{answered} was answered"):
                survey.design.write_plan(tmp_path, KEY, plan, 20, rules)
        assert survey.design.read_rules(tmp_path) == other and len(pd.read_csv(tmp_path / "plan.csv")) == len(PLAN)
        (tmp_path / answered).unlink()
    (tmp_path / "rules.json").write_text('{"exclude": {"attention": true}}')
    with pytest.raises(ValueError, match="rules .*median_seconds"):
        survey.design.read_rules(tmp_path)


def test_a_study_is_another_one_with_another_plan_word_or_picture(tmp_path):
    for number, item in enumerate(KEY["item"]):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{item}.png")
    key = KEY.assign(file=[tmp_path / f"{item}.png" for item in KEY["item"]])
    first = questionnaire.study_id(PLAN, key)
    assert re.fullmatch("[0-9a-f]{8}", first) and first == questionnaire.study_id(PLAN, key[::-1])
    Image.new("RGB", (4, 4), (3, 0, 0)).save(key["file"][3], compress_level=0)
    assert questionnaire.study_id(PLAN, key) == first  # the same pixels in another file
    other = key.assign(prompt=["a horse", *key["prompt"][1:]])
    others = {first, questionnaire.study_id(PLAN[:-1], key), questionnaire.study_id(PLAN, other)}
    Image.new("RGB", (4, 4), (3, 0, 1)).save(key["file"][3])
    assert len(others | {questionnaire.study_id(PLAN, key)}) == 4


FIRST = "first half of the screens"


def test_an_unknown_order_of_screens_is_told_and_not_guessed():
    assert survey.rules.order_in_words(TABLE) == []
    some = TABLE.assign(position=TABLE["position"].mask(TABLE["respondent"] == TABLE["respondent"].unique()[3]))
    known, half = (survey.rules.variants(rows, survey.design.RULES)[FIRST] for rows in (TABLE, some))
    assert half["respondent"].nunique() == known["respondent"].nunique() - 1
    assert "not known for 1 of 20 raters" in survey.rules.order_in_words(some)[0]
    none = TABLE.assign(position=float("nan"))
    assert FIRST not in survey.rules.variants(none, survey.design.RULES)
    assert len(statistics.screens(none)) == 20 * 23  # two of 25 pictures come twice, which nothing tells apart now


def test_the_interval_of_a_mean_rating_holds_the_truth_and_the_pooled_one_does_not():
    rng = np.random.default_rng(6)
    truth = simulation.draw_ratings(200_000, 1, rng).mean()
    studies = [simulation.draw_ratings(20, 6, rng) for _ in range(100)]
    tables = [simulation.as_answers(study, f"{number:02}") for number, study in enumerate(studies)]
    found = statistics.rating_means(pd.concat(tables), "match")  # each study stands for a method
    means, spreads = (np.array([measure(study) for study in studies]) for measure in (np.mean, np.std))
    assert found["mean"].to_numpy() == pytest.approx(means)
    assert 0.90 <= np.mean((found["low"] <= truth) & (truth <= found["high"])) <= 0.99
    assert np.mean(np.abs(means - truth) <= 1.96 * spreads / np.sqrt(20 * 6)) < 0.85


@pytest.mark.parametrize("share", [0.5, 0.87])
def test_the_interval_covers_the_truth_and_the_pooled_one_does_not(share):
    found = simulation.precision(share, 20, 8, studies=400)
    assert 0.92 <= found["coverage"] <= 0.98  # 93 to 97 % and what 400 studies leave open
    assert found["pooled_coverage"] < 0.90


@pytest.mark.parametrize("seed", range(2))
def test_tests_between_methods_agree_with_the_textbook(seed, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels' Holm collects garbage, slowly beside torch
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([range(60), ["p"]], names=["respondent", "prompt_id"])
    wide = pd.DataFrame(rng.random((60, 3)) < [0.5, 0.6, 0.7], index, ["a", "b", "c"]).astype(int)
    sums, k = wide.sum(axis=1), 3
    q = (k - 1) * (k * (wide.sum() ** 2).sum() - sums.sum() ** 2) / (k * sums.sum() - (sums**2).sum())
    ours = statistics.cochran_q(wide, draws=500)
    assert ours["statistic"] == pytest.approx(q)
    assert ours["p_raters"] == pytest.approx(stats.chi2.sf(q, 2), abs=0.05)  # one block a rater: both are right
    for row in statistics.mcnemar_pairs(wide, draws=500).itertuples():
        table = pd.crosstab(wide[row.first], wide[row.second])
        assert row.p_exact == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)
        assert row.holm_exact >= row.p_exact and row.holm_raters >= row.p_raters


def test_gee_with_one_answer_a_rater_finds_the_plain_odds_ratio():
    answers = [("base", 30, 10), ("other", 24, 16)]
    rows = [(method, value) for method, yes, no in answers for value in ["yes"] * yes + ["no"] * no]
    table = pd.DataFrame(rows, columns=["method", "value"]).assign(question="satisfied", position=1, prompt_id="p")
    table["respondent"] = table["item"] = [f"r{i}" for i in range(len(table))]
    assert statistics.gee(table).loc["other", "odds_ratio"] == pytest.approx((24 / 16) / (30 / 10), rel=1e-6)


def test_bradley_terry_without_ties_is_that_of_choix():
    rng = np.random.default_rng(3)
    pairs = [tuple(rng.permutation(4)[:2]) for _ in range(400)]
    strength = np.array([0.0, 0.5, 1.0, 1.5])
    wins = [(a, b) if rng.random() < 1 / (1 + np.exp(strength[b] - strength[a])) else (b, a) for a, b in pairs]
    table = pd.DataFrame([(f"m{a}", f"m{b}", f"m{a}") for a, b in wins], columns=["left", "right", "winner"])
    ours = statistics.bradley_terry(table.assign(respondent=1), draws=1)["strength"]
    assert ours.to_numpy() == pytest.approx(choix.opt_pairwise(4, wins, alpha=0.005), abs=1e-3)


@pytest.mark.parametrize("seed", range(2))
def test_bradley_terry_with_ties_is_the_log_linear_model(seed):
    """Davidson's model as a Poisson regression with an intercept a pair (Fienberg 1979), fitted by statsmodels."""
    rng, methods = np.random.default_rng(seed), ["a", "b", "c"]
    pairs = list(itertools.combinations(methods, 2))
    counts = {pair: rng.integers(8, 40, 3) for pair in pairs}  # wins of the first, of the second, ties
    rows = [(*pair, who) for pair in pairs for who, n in zip([*pair, "tie"], counts[pair]) for _ in range(n)]
    table = pd.DataFrame(rows, columns=["left", "right", "winner"]).assign(respondent=1)
    ours = statistics.bradley_terry(table, draws=1)["strength"]
    design, seen = [], []
    for i, pair in enumerate(pairs):
        for outcome, n in enumerate(counts[pair]):
            strength = [{0: pair[0] == m, 1: pair[1] == m, 2: (m in pair) / 2}[outcome] for m in methods[1:]]
            design.append([*(i == j for j in range(3)), *strength, outcome == 2])
            seen.append(n)
    fit = GLM(np.array(seen), np.array(design, float), Poisson()).fit()
    theirs = np.array([0, *fit.params[3:5]])
    assert ours.to_numpy() == pytest.approx(theirs - theirs.mean(), abs=0.005)


def test_studies_of_all_methods_have_the_papers_shares_and_people_alike_in_each():
    table = simulation.draw_methods(2000, 6, np.random.default_rng(1))
    assert statistics.satisfaction(table)["share"].to_dict() == pytest.approx(simulation.PAPER, abs=0.02)
    own = table.assign(yes=table["value"] == "yes").pivot_table(index="respondent", columns="method", values="yes")
    assert (own.corr() > 0.2).all(axis=None)


def test_each_rule_leaves_out_whom_it_names_and_can_be_switched_off():
    rows = [("quick", "attention", "4", 1), ("blind", "attention", "2", 9), ("open", "attention", "4", 9)]
    rows += [("quick", "satisfied", "yes", 1), ("blind", "satisfied", "no", 9), ("open", "satisfied", "undecided", 9)]
    table = pd.DataFrame(rows, columns=["respondent", "question", "value", "duration_s"]).assign(position=1, item="x")
    found = {"attention": ("blind", "attention"), "median_seconds": ("quick", "too fast")}
    found["answered_share"] = ("open", "undecided")
    out = survey.rules.exclusions(table, survey.design.RULES)
    assert set(map(tuple, out.to_numpy())) == set(found.values())
    for name, gone in found.items():
        left = survey.rules.exclusions(table, survey.design.RULES | {name: 0})
        assert set(map(tuple, left.to_numpy())) == set(found.values()) - {gone}
    assert survey.rules.rules_in_words(dict.fromkeys(found, 0)) == []


def test_sensitivity_holds_every_fork_and_the_planned_way_is_the_result():
    forks = survey.rules.sensitivity(TABLE, survey.design.RULES)
    planned = survey.rules.without(TABLE, survey.rules.exclusions(TABLE, survey.design.RULES))
    shares = statistics.satisfaction(planned)
    first = forks[forks["variant"] == "as planned"].set_index("method")
    assert first["share"].to_dict() == pytest.approx(shares["share"].to_dict())
    assert forks["variant"].nunique() == 7 + 10 and not forks.isna().any(axis=None)
    no = forks[forks["variant"] == "undecided counted as no"].set_index("method")["share"]
    assert (no <= first["share"]).all() and (no < first["share"]).any()


def test_ratings_count_every_rater_once():
    rows = [("a", "x1", "base", "5"), ("a", "x2", "base", "3"), ("b", "x1", "base", "2")]
    rows += [("c", "x1", "base", "undecided"), ("b", "z", "alone", "1")]
    rows += [("a", "y1", "DreamBooth", "4"), ("b", "y1", "DreamBooth", "4")]
    table = pd.DataFrame(rows, columns=["respondent", "item", "method", "value"]).assign(question="match", position=1)
    means = statistics.rating_means(table, "match")
    assert list(means.index) == ["base", "DreamBooth"] and means.loc["base", "mean"] == 3  # of 4 and 2
    low, high = stats.t.interval(0.95, 1, 3, stats.sem([4, 2]))
    assert means.loc["base", ["low", "high"]].tolist() == pytest.approx([low, high])
    counts = statistics.scale_counts(table, "match")
    assert counts.loc["base"].to_dict() == {"1": 0, "2": 1, "3": 1, "4": 0, "5": 1, "undecided": 1}


def test_a_larger_study_is_more_precise_and_more_powerful():
    small, large = (simulation.precision(0.8, raters, 6, studies=100) for raters in (10, 40))
    assert large["half_width"] < small["half_width"] and small["pooled_half_width"] < small["half_width"]
    assert simulation.power(0.8, 0.8, 20, 6) == pytest.approx(0.05, abs=0.02)
    assert simulation.power(0.8, 0.9, 20, 6) < simulation.power(0.8, 0.9, 40, 6)
    step = simulation.smallest_difference(0.8, 40, 6)
    assert simulation.power(0.8, 0.8 + step, 40, 6, studies=1000) >= 0.8
    assert simulation.smallest_difference(0.95, 5, 1) is None


def test_places_count_each_picture_in_each_turn_and_are_level_for_ten_raters():
    counts = survey.design.places(survey.design.make_plan(KEY, 10, seed=3), KEY)
    assert counts.shape == (30, 3) and counts.to_numpy().sum() == 10 * 18 and counts.nunique().eq(1).all()
    uneven = survey.design.places(survey.design.make_plan(KEY, 7, seed=3), KEY)
    assert uneven.to_numpy().sum() == 7 * 18 and uneven.to_numpy().min() < uneven.to_numpy().max()


def test_a_verdict_calls_an_interval_too_narrow_only_where_the_studies_say_so():
    words = [simulation.verdict([True] * held + [False] * (100 - held)) for held in (80, 93, 95)]
    assert ["too narrow" in said for said in words] == [True, False, False]
    assert "wider" in simulation.verdict([True] * 400) and "80 %" in words[0]


def test_careless_raters_agree_as_often_as_both_looked():
    rng = np.random.default_rng(0)
    for share in (0, 0.5, 1):
        found = alpha(simulation.careless(share, 10, 3000, rng), "nominal")
        assert found == pytest.approx((1 - share) ** 2, abs=0.02)


def test_a_design_effect_is_told_as_what_the_answers_are_worth():
    rows = {
        "base": [0.8, 0.7, 0.9, 120, 20, 1.5],
        "alike": [0.8, 0.7, 0.9, 120, 20, 1.0],
        "one": [1, np.nan, np.nan, 6, 1, np.nan],
    }
    shares = pd.DataFrame(rows, index=["share", "low", "high", "answers", "raters", "effect"]).T
    base, alike, one = statistics.effect_in_words(shares)
    assert "120 answers are worth 80" in base and "20 raters" in alike and "nan" not in one
