import ast
import itertools
import json
import re
import subprocess
import sys

import choix
import krippendorff
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from statsmodels.genmod.families import Poisson
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats import contingency_tables
from statsmodels.stats.proportion import proportion_confint

from helpers import (
    compare,
    makers,
    places,
    questionnaire,
    runtime,
    survey_agreement,
    survey_design,
    survey_exclusions,
    survey_import,
    survey_planning,
    survey_simulation,
)
from helpers import survey_statistics as statistics

KEY = survey_simulation.paper_key()
PLAN = survey_design.make_plan(KEY, 20, seed=20)


@pytest.mark.slow
def test_no_part_of_the_survey_loads_torch():
    names = [path.stem for path in (places.REPO / "helpers").glob("survey_*.py")]
    imports = "; ".join(f"import helpers.{name}" for name in [*names, "questionnaire", "exercises_survey"])
    code = f"{imports}; import sys; sys.exit('torch' in sys.modules)"
    assert len(names) > 10
    assert subprocess.run([sys.executable, "-c", code], cwd=places.REPO, check=False).returncode == 0


@pytest.mark.slow
def test_what_the_notebook_imports_loads_no_torch():
    cells = json.loads((places.REPO / "notebooks" / "06_survey.ipynb").read_text(encoding="utf-8"))["cells"]
    nodes = [
        node for cell in cells if cell["cell_type"] == "code" for node in ast.walk(ast.parse("".join(cell["source"])))
    ]
    lines = [ast.unparse(node) for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert any("survey_report" in line for line in lines) and any("setup" in line for line in lines)
    code = "\n".join([*lines, "import sys", "sys.exit('torch' in sys.modules)"])
    assert subprocess.run([sys.executable, "-c", code], cwd=places.REPO, check=False).returncode == 0


def test_the_notebook_takes_rules_and_answers_from_the_plan_alone_and_stamps_what_it_draws_of_them():
    cells = json.loads((places.REPO / "notebooks" / "06_survey.ipynb").read_text(encoding="utf-8"))["cells"]
    code = {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}
    text = "\n".join(code.values())
    assert "read_answers(ANSWERS, KEY, study=questionnaire.study_id(plan, key))" in text
    assert "rules = survey_design.read_rules(FOLDER)" in text and "RULES" not in text
    for call in (
        "exclusions(answers.table, rules)",
        "sensitivity(answers.table, rules)",
        '"report.html", answers, rules,',
    ):
        assert call in text
    of_answers = [source for source in code.values() if "survey_plots." in source and "wide" in source]
    assert of_answers and all("answers=table" in source for source in of_answers)


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


def test_pictures_are_found_in_the_index_that_notebook_05_writes(tmp_path):
    index = tmp_path / "images.csv"
    rows = [("base", "base", ""), ("hypernetwork_nesrelah", "hypernetwork", "nesrelah")]
    rows += [("hypernetwork_amir", "hypernetwork", "amir"), ("dreambooth_amir", "DreamBooth", "amir")]
    table = pd.DataFrame(rows, columns=["maker", "method", "subject"]).assign(prompt="a man", prompt_id="p1", seed=1)
    table.assign(file="images/" + table["maker"] + "/x.png").to_csv(index, index=False)
    assert set(compare.COLUMNS) == {*table, "file"}
    wanted = pd.DataFrame({"prompt_id": ["p1"], "prompt": ["a man"], "subject": ["amir"]})
    with pytest.raises(FileNotFoundError, match="p1 by base.*05_compare"):
        survey_design.pictures(index, wanted, ["base"])
    for maker in table["maker"]:
        (tmp_path / "images" / maker).mkdir(parents=True)
        (tmp_path / "images" / maker / "x.png").touch()
    found = survey_design.pictures(index, wanted, ["base", "hypernetwork", "DreamBooth"])
    assert [path.parent.name for path in found["file"]] == ["base", "hypernetwork_amir", "dreambooth_amir"]
    strangers = survey_design.pictures(index, wanted.assign(subject="nesrelah"), ["DreamBooth"])
    assert strangers["file"][0].parent.name == "dreambooth_amir"  # the only training there is


def test_the_base_picture_is_the_one_from_the_words_that_raters_read(tmp_path):
    """Notebook 05 asks the base model for each prompt twice, in Amir's words and in Nesrelah's."""
    prompts = survey_simulation.paper_prompts()
    for column in ("prompt_id", "prompt"):
        assert prompts[column].is_unique
    rows, table = [], pd.read_csv(survey_simulation.PROMPTS)
    for subject in makers.SUBJECTS:  # Amir first, as in notebook 05
        base = makers.Maker("base", "base", "", "", "", "")
        for prompt_id, prompt in makers.wishes(table, base, subject).items():
            rows.append(("images/base/" + compare.file_name(prompt, 1), "base", "base", "", prompt_id, prompt, 1))
    index = tmp_path / "images.csv"
    made = pd.DataFrame(rows, columns=compare.COLUMNS)
    made.to_csv(index, index=False)
    assert made.groupby("prompt_id")["prompt"].nunique().max() == 2
    for file in made["file"]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    found = survey_design.pictures(index, prompts, ["base"])
    assert [path.name for path in found["file"]] == [compare.file_name(prompt, 1) for prompt in prompts["prompt"]]
    made[~made["prompt"].str.startswith("nesrelah_001 on")].to_csv(index, index=False)
    with pytest.raises(FileNotFoundError, match="dreambooth_1 by base.*'nesrelah_001 on a horse'"):
        survey_design.pictures(index, prompts, ["base"])


def test_a_prompt_that_a_teacher_adds_changes_no_code(tmp_path, monkeypatch):
    lines = survey_simulation.PROMPTS.read_text(encoding="utf-8").splitlines(keepends=True)
    longer = [lines[0], "ours_1,hypernetwork,,a man in the rain\n", *lines[1:], "ours_2,,,a man on a boat\n"]
    (tmp_path / "prompts.csv").write_text("".join(longer), encoding="utf-8")
    monkeypatch.setattr(survey_simulation, "PROMPTS", tmp_path / "prompts.csv")
    assert survey_simulation.paper_key().equals(KEY)


def test_rules_are_read_as_they_were_fixed_and_stay_once_there_are_answers(tmp_path):
    survey_design.write_plan(tmp_path, KEY, PLAN, 20)
    assert survey_design.read_rules(tmp_path) == survey_design.RULES
    other = survey_design.RULES | {"median_seconds": 7}
    survey_design.write_plan(tmp_path, KEY, PLAN, 20, other)  # nobody has answered yet
    assert survey_design.read_rules(tmp_path) == other
    for answered in ("answers/ana.csv", "rater-1.csv"):
        (tmp_path / answered).parent.mkdir(exist_ok=True)
        (tmp_path / answered).write_text("x")
        survey_design.write_plan(tmp_path, KEY, PLAN, 20, other)  # the same again does no harm
        for plan, rules in ((PLAN, survey_design.RULES), (survey_design.make_plan(KEY, 7, seed=20), other)):
            with pytest.raises(ValueError, match=rf"{answered} was answered under.*put the plan and RULES back"):
                survey_design.write_plan(tmp_path, KEY, plan, 20, rules)
        assert survey_design.read_rules(tmp_path) == other and len(pd.read_csv(tmp_path / "plan.csv")) == len(PLAN)
        (tmp_path / answered).unlink()


def test_without_fixed_rules_nobody_is_left_out_by_others(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"rules\.json is missing: make the plan first"):
        survey_design.read_rules(tmp_path)
    (tmp_path / "rules.json").write_text('{"exclude": {"attention": true}}')
    with pytest.raises(ValueError, match=r"rules\.json must have under 'exclude' the rules .*median_seconds"):
        survey_design.read_rules(tmp_path)


def test_a_study_is_another_one_with_another_plan_word_or_picture(tmp_path):
    for number, item in enumerate(KEY["item"]):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{item}.png")
    key = KEY.assign(file=[tmp_path / f"{item}.png" for item in KEY["item"]])
    first = questionnaire.study_id(PLAN, key)
    assert re.fullmatch("[0-9a-f]{8}", first) and first == questionnaire.study_id(PLAN, key[::-1])
    with Image.open(key["file"][3]) as image:
        image.save(key["file"][3], pnginfo=None, compress_level=1)
    assert questionnaire.study_id(PLAN, key) == first  # the same pixels in another file
    others = [questionnaire.study_id(PLAN[:-1], key)]
    others.append(questionnaire.study_id(PLAN, key.assign(prompt=["a horse", *key["prompt"][1:]])))
    Image.new("RGB", (4, 4), (3, 0, 1)).save(key["file"][3])
    others.append(questionnaire.study_id(PLAN, key))
    assert len({first, *others}) == 4


def test_an_unknown_order_of_screens_is_told_and_not_guessed():
    table = survey_simulation.simulate(KEY, PLAN)
    assert survey_exclusions.order_in_words(table) == []
    known = survey_exclusions.variants(table, survey_design.RULES)["first half of the screens"]
    who = table["respondent"].unique()[3]
    some = table.assign(position=table["position"].mask(table["respondent"] == who))
    half = survey_exclusions.variants(some, survey_design.RULES)["first half of the screens"]
    assert half["respondent"].nunique() == known["respondent"].nunique() - 1
    assert "not known for 1 of 20 raters" in survey_exclusions.order_in_words(some)[0]
    none = table.assign(position=float("nan"))
    assert "first half of the screens" not in survey_exclusions.variants(none, survey_design.RULES)
    assert len(statistics.screens(none)) == 20 * 23  # two of 25 pictures come twice, which nothing tells apart now


def test_alpha_has_the_interval_of_redrawn_pictures():
    rng = np.random.default_rng(7)
    matrix = np.clip(rng.integers(1, 6, 20) + rng.integers(-1, 2, (6, 20)), 1, 5).astype(float)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    ours = survey_agreement.alpha_interval(matrix, "ordinal", draws=60, seed=4)
    rng, drawn = np.random.default_rng(4), []
    for _ in range(60):
        drawn.append(krippendorff.alpha(matrix[:, rng.integers(20, size=20)], level_of_measurement="ordinal"))
    assert ours == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-9)
    with pytest.raises(ValueError, match="two raters"):
        survey_agreement.alpha_interval(np.array([[1.0, np.nan], [np.nan, 2.0]]), "ordinal")


@pytest.mark.slow
def test_the_interval_of_alpha_holds_the_truth():
    def draw(items, rng):
        true, anything = rng.integers(1, 6, items), rng.integers(1, 6, (8, items))
        return np.where(rng.random((8, items)) < 0.4, anything, true)

    rng = np.random.default_rng(2)
    truth = survey_agreement.alpha(draw(40_000, rng))
    found = [survey_agreement.alpha_interval(draw(30, rng), draws=200) for _ in range(200)]
    held = np.mean([low <= truth <= high for low, high in found])
    assert 0.87 <= held <= 0.99  # the percentile bootstrap of 30 pictures is a little narrow


def test_the_interval_of_a_mean_rating_holds_the_truth_and_the_pooled_one_does_not():
    rng = np.random.default_rng(6)
    truth = survey_planning.draw_ratings(200_000, 1, rng=rng).mean()
    held = pooled = 0
    for _ in range(200):
        study = survey_planning.draw_ratings(20, 6, rng=rng)
        row = statistics.rating_means(survey_planning.as_answers(study), "match").loc["invented"]
        assert row["mean"] == pytest.approx(study.mean())
        held += row["low"] <= truth <= row["high"]
        half = 1.96 * study.std() / np.sqrt(study.size)
        pooled += abs(study.mean() - truth) <= half
    assert 0.90 <= held / 200 <= 0.99 and pooled / 200 < 0.85


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
        values = survey_planning.draw(share, 20, 8, rng=rng).ravel()
        interval = statistics.share_interval(who, values)
        covered += interval["low"] <= share <= interval["high"]
        low, high = statistics.wilson(values.mean(), 160)
        pooled += low <= share <= high
    assert 0.92 <= covered / studies <= 0.98  # 93 to 97 % and what 500 studies leave open
    assert pooled / studies < 0.90


def test_bootstrap_of_single_answers_is_that_of_scipy():
    values = np.random.default_rng(1).random(30)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9000, rng=2).confidence_interval
    assert statistics.bootstrap_share(range(30), values, draws=9000) == pytest.approx(tuple(theirs), abs=0.01)


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


@pytest.mark.parametrize("seed", range(2))
def test_bradley_terry_with_ties_is_the_log_linear_model(seed):
    """Davidson's model as a Poisson regression with an intercept a pair (Fienberg 1979), fitted by statsmodels."""
    rng, methods = np.random.default_rng(seed), ["a", "b", "c"]
    pairs = list(itertools.combinations(methods, 2))
    counts = {pair: rng.integers(8, 40, 3) for pair in pairs}  # wins of the first, of the second, ties
    rows = [(*pair, who) for pair in pairs for who, n in zip([*pair, "tie"], counts[pair]) for _ in range(n)]
    ours, tie = survey_agreement.bradley_terry(pd.DataFrame(rows, columns=["left", "right", "winner"]))
    design, seen = [], []
    for i, pair in enumerate(pairs):
        for outcome, n in enumerate(counts[pair]):
            strength = [{0: pair[0] == m, 1: pair[1] == m, 2: (m in pair) / 2}[outcome] for m in methods[1:]]
            design.append([*(i == j for j in range(3)), *strength, outcome == 2])
            seen.append(n)
    fit = GLM(np.array(seen), np.array(design, float), Poisson()).fit()
    theirs = np.array([0, *fit.params[3:5]])
    assert ours.to_numpy() == pytest.approx(theirs - theirs.mean(), abs=0.005)
    assert tie == pytest.approx(fit.params[5], abs=0.005)


def test_ties_alone_make_all_equal_and_their_share_is_the_models():
    table = pd.DataFrame({"left": "a", "right": "b", "winner": ["a"] * 3 + ["b"] * 3 + ["tie"] * 4})
    strengths, tie = survey_agreement.bradley_terry(table)
    assert strengths.abs().max() < 1e-6
    assert np.exp(tie) / (2 + np.exp(tie)) == pytest.approx(0.4, abs=0.01)


@pytest.mark.slow
def test_the_simulator_has_the_papers_rates_and_says_that_it_is_one():
    plan = survey_design.make_plan(KEY, 3000, seed=1)
    table = survey_simulation.simulate(KEY, plan, prompt_sd=0)  # ten prompts are too few to average out
    assert set(table["source"]) == {"simulated"}
    excluded = survey_exclusions.exclusions(table, survey_design.RULES)
    assert excluded.loc[excluded["reason"] == "too fast", "respondent"].nunique() == 150  # the careless, all caught
    shares = statistics.satisfied(survey_exclusions.without(table, excluded)).groupby("method")["value"].mean()
    assert shares.to_dict() == pytest.approx(survey_simulation.PAPER, abs=0.012)


def test_the_simulated_file_is_made_again_and_read_without_a_complaint(tmp_path):
    survey_import.write_table(tmp_path / "again.csv", survey_simulation.simulate(KEY, PLAN))
    assert (tmp_path / "again.csv").read_bytes() == survey_simulation.FILE.read_bytes()
    answers = survey_import.read_answers([survey_simulation.FILE], KEY)
    assert answers.odd.empty and len(answers.people) == 20
    assert len(answers.table[answers.table["question"] != "comment"]) == 3 * 400 + 80 + 20


def test_exclusions_follow_the_rules():
    rows = [("slow", "attention", "4", 9), ("quick", "attention", "4", 1), ("blind", "attention", "2", 9)]
    rows += [(who, "satisfied", "yes", seconds) for who, _, _, seconds in rows]
    table = pd.DataFrame(rows, columns=["respondent", "question", "value", "duration_s"]).assign(position=1, item="x")
    out = survey_exclusions.exclusions(table, survey_design.RULES)
    assert set(map(tuple, out.to_numpy())) == {("quick", "too fast"), ("blind", "attention")}


def test_each_rule_can_be_switched_off_and_leaves_the_others():
    rows = [("quick", "attention", "2", 1)] + [("slow", "attention", "4", 9)] + [("open", "attention", "4", 9)]
    rows += [("quick", "satisfied", "yes", 1), ("slow", "satisfied", "no", 9), ("open", "satisfied", "undecided", 9)]
    table = pd.DataFrame(rows, columns=["respondent", "question", "value", "duration_s"]).assign(position=1, item="x")
    reasons = {"attention": "attention", "median_seconds": "too fast", "answered_share": "undecided"}
    assert set(survey_exclusions.exclusions(table, survey_design.RULES)["reason"]) == set(reasons.values())
    for name, off in survey_exclusions.OFF.items():
        left = survey_exclusions.exclusions(table, survey_design.RULES | {name: off})["reason"]
        assert set(left) == set(reasons.values()) - {reasons[name]}
    assert survey_exclusions.rules_in_words(survey_exclusions.OFF) == []


def test_sensitivity_holds_every_fork_and_the_planned_way_is_the_result():
    table = survey_simulation.simulate(KEY, PLAN)
    forks = survey_exclusions.sensitivity(table, survey_design.RULES)
    planned = survey_exclusions.without(table, survey_exclusions.exclusions(table, survey_design.RULES))
    shares = statistics.satisfaction(planned)
    first = forks[forks["variant"] == "as planned"].set_index("method")
    assert first["share"].to_dict() == pytest.approx(shares["share"].to_dict())
    assert forks["variant"].nunique() == 7 + 10 and not forks.isna().any(axis=None)
    no = forks[forks["variant"] == "undecided counted as no"].set_index("method")["share"]
    assert (no <= first["share"]).all() and (no < first["share"]).any()
    words = survey_exclusions.spread_in_words(forks)
    assert [sentence.split(":")[0] for sentence in words] == list(survey_simulation.METHODS)


def test_ratings_count_every_rater_once():
    rows = [
        ("a", "x1", "base", "5"),
        ("a", "x2", "base", "3"),
        ("b", "x1", "base", "2"),
        ("c", "x1", "base", "undecided"),
    ]
    rows += [("a", "y1", "DreamBooth", "4"), ("b", "y1", "DreamBooth", "4"), ("b", "z", "alone", "1")]
    table = pd.DataFrame(rows, columns=["respondent", "item", "method", "value"]).assign(question="match", position=1)
    means = statistics.rating_means(table, "match")
    assert list(means.index) == ["base", "DreamBooth"] and means.loc["base", "mean"] == 3  # of 4 and 2
    low, high = stats.t.interval(0.95, 1, 3, stats.sem([4, 2]))
    assert means.loc["base", ["low", "high"]].tolist() == pytest.approx([low, high])
    counts = statistics.scale_counts(table, "match")
    assert counts.loc["base"].to_dict() == {"1": 0, "2": 1, "3": 1, "4": 0, "5": 1, "undecided": 1}


def test_a_larger_study_is_more_precise_and_more_powerful():
    small, large = (survey_planning.precision(0.8, raters, 6, studies=100) for raters in (10, 40))
    assert large["half_width"] < small["half_width"] and small["pooled_half_width"] < small["half_width"]
    assert survey_planning.power(0.8, 0.8, 20, 6) == pytest.approx(0.05, abs=0.02)
    assert survey_planning.power(0.8, 0.9, 20, 6) < survey_planning.power(0.8, 0.9, 40, 6)
    step = survey_planning.smallest_difference(0.8, 40, 6)
    assert survey_planning.power(0.8, 0.8 + step, 40, 6, studies=1000) >= 0.8
    assert survey_planning.smallest_difference(0.95, 5, 1) is None
