"""Invented raters: to plan a study before it is run, and to try its statistics where the truth is known.

python -m helpers.survey_simulation      writes data/survey/simulated_responses.csv again
"""

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from helpers import places, survey_design, survey_import, survey_statistics

PAPER = {"base": 0.80, "hypernetwork": 0.90, "DreamBooth": 0.95}  # Table 1, all three "approx."
RATER_SD = 1.0  # logits between raters; an assumption, the paper says nothing about it
PROMPT_SD = 0.5  # logits between prompts, likewise
SEED = 20
FILE = places.REPO / "data" / "survey" / "simulated_responses.csv"


def intercept(share, sd):
    """The log-odds at which a logistic model with a normal effect of this SD has this share on average."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    return optimize.brentq(lambda middle: weights @ special.expit(middle + sd * nodes) - share, -30, 30)


def paper_key(seed=SEED):
    """The key of the study that is simulated: the paper's ten prompts by three methods."""
    prompts = pd.read_csv(places.REPO / "data" / "prompts.csv")[["prompt_id", "prompt"]]
    return survey_design.make_key(prompts.merge(pd.Series(list(PAPER), name="method"), how="cross"), seed)


def simulate(key, plan, rates=PAPER, rater_sd=RATER_SD, prompt_sd=PROMPT_SD, seed=SEED):
    """The long table that invented raters would leave who follow a plan; its source says "simulated".

    Satisfied: logit(p) = intercept of the method + effect of the rater + effect of the prompt, both normal, such that
    on average over raters and prompts the share is that in `rates`. Likeness and match are cut from the same leaning
    plus noise; a pair goes to the picture with the higher leaning, a tie if they are close. One answer in 50 is
    "undecided". Seconds are log-normal around 8. Everybody passes the attention screen but one in 40.
    """
    rng = np.random.default_rng(seed)
    raters, prompts = plan["rater"].max(), sorted(key["prompt_id"].unique())
    rater_effect = rng.normal(0, rater_sd, raters + 1)
    prompt_effect = pd.Series(rng.normal(0, prompt_sd, len(prompts)), prompts)
    middle = {method: intercept(rate, np.hypot(rater_sd, prompt_sd)) for method, rate in rates.items()}
    ids = _ids(raters, rng)
    rows = plan.assign(respondent=[ids[rater] for rater in plan["rater"]], source="simulated")
    rows["duration_s"] = np.exp(rng.normal(np.log(8), 0.4, len(rows))).round(1)
    prompt_of, method_of = survey_import.unblind(key, rows["item"].unique())
    rows["prompt_id"], rows["method"] = rows["item"].map(prompt_of), rows["item"].map(method_of)
    rated, pairs, watched = (rows[rows["kind"] == kind] for kind in ("rate", "pair", "attention"))
    shared = rater_effect[rated["rater"]] + rated["prompt_id"].map(prompt_effect).to_numpy()
    leaning = rated["method"].map(middle).to_numpy() + shared
    found = [rated.assign(question="satisfied", value=_yes_no(leaning, rng))]
    found += [rated.assign(question=name, value=_scale(leaning, rng)) for name in ("likeness", "match")]
    found.append(pairs.assign(question="pair", value=_choose(pairs["method"], middle, rng)))
    passed = np.where(rng.random(len(watched)) < 1 / 40, "2", survey_design.ATTENTION)
    found.append(watched.assign(question="attention", value=passed))
    table = pd.concat(found).sort_values(["rater", "position"], kind="stable", ignore_index=True)
    return table[survey_import.LONG]


def _ids(raters, rng):
    """Ids such as the questionnaire gives, without doubles."""
    numbers = rng.choice(2**24, raters + 1, replace=False)
    return [f"r{number:010x}" for number in numbers]


def _undecided(values, rng):
    return np.where(rng.random(len(values)) < 1 / 50, "undecided", values)


def _yes_no(leaning, rng):
    return _undecided(np.where(rng.random(len(leaning)) < special.expit(leaning), "yes", "no"), rng)


def _scale(leaning, rng):
    cut = np.digitize(leaning + rng.logistic(0, 1, len(leaning)), [-1, 0.5, 2, 3.5]) + 1
    return _undecided(cut.astype(str), rng)


def _choose(methods, middle, rng):
    """left, right or tie for pairs of methods "left+right"."""
    sides = methods.str.split("+", expand=True).reindex(columns=[0, 1])
    lead = sides[0].map(middle).to_numpy(float) - sides[1].map(middle).to_numpy(float)
    lead = lead + rng.logistic(0, 1, len(sides))
    return _undecided(np.select([lead > 0.4, lead < -0.4], ["left", "right"], "tie"), rng)


def draw(share, raters, items, rater_sd=RATER_SD, rng=None):
    """One study of one method: (raters, items) array of 0 and 1 with this share on average over raters."""
    rng = rng or np.random.default_rng()
    leaning = intercept(share, rater_sd) + rng.normal(0, rater_sd, (raters, 1))
    return (rng.random((raters, items)) < special.expit(leaning)).astype(int)


def precision(share, raters, items, rater_sd=RATER_SD, studies=400, seed=0):
    """What a study of this size shows: dict half_width of its 95 % interval on average, and coverage of the truth."""
    rng, edges = np.random.default_rng(seed), []
    who = np.repeat(np.arange(raters), items)
    for _ in range(studies):
        interval = survey_statistics.share_interval(who, draw(share, raters, items, rater_sd, rng).ravel())
        edges.append((interval["low"], interval["high"]))
    low, high = np.array(edges).T
    return {"half_width": (high - low).mean() / 2, "coverage": ((low <= share) & (share <= high)).mean()}


def power(one, two, raters, items, rater_sd=RATER_SD, studies=2000, seed=0):
    """How often a study would tell two shares apart: every rater judges `items` pictures of both methods.

    A paired t test on the raters' differences at 5 %, which respects the rater and is quick.
    """
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, rater_sd, (studies, raters))
    chance = [special.expit(intercept(share, rater_sd) + effect) for share in (one, two)]
    difference = rng.binomial(items, chance[1]) - rng.binomial(items, chance[0])
    spread = difference.std(axis=1, ddof=1) / np.sqrt(raters)
    t = np.abs(difference.mean(axis=1)) / np.where(spread > 0, spread, np.inf)
    return float((t > stats.t.ppf(0.975, raters - 1)).mean())


if __name__ == "__main__":
    key = paper_key()
    survey_import.write_table(FILE, simulate(key, survey_design.make_plan(key, 20, seed=SEED)))
    print(FILE.relative_to(places.REPO))
