"""Invented raters: to try a study and its statistics where the truth is known, and to find how large a study must be.

python -m helpers.survey.simulation      writes data/survey/simulated_responses.csv again
"""

import functools

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from helpers import machine
from helpers.stats import share_interval, wilson
from helpers.survey import answers, design

PAPER = {"base": 0.80, "hypernetwork": 0.90, "DreamBooth": 0.95}  # Table 1, all three "approx."
RATER_SD = 1.0  # logits between raters; an assumption, the paper says nothing about it
PROMPT_SD = 0.5  # logits between prompts, likewise
CARELESS = 0.05  # share of raters who click through; likewise
COMMENTS = 0.12  # share of pictures that get a comment; likewise
FILE = design.FINISHED / "simulated_responses.csv"
DECIDED = {name: [value for value in values if value != "undecided"] for name, values in design.CLOSED.items()}


@functools.cache
def intercept(share, sd):
    """The log-odds at which a logistic model with a normal effect of this SD has this share on average."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    return optimize.brentq(lambda middle: weights @ special.expit(middle + sd * nodes) - share, -30, 30)


def simulate(key, plan, prompt_sd=PROMPT_SD, careless=CARELESS, seed=design.SEED):
    """The long table that invented raters would leave who follow a plan; its source says "simulated".

    Satisfied: logit(p) = intercept of the method + effect of the rater + effect of the prompt, both normal, such that
    on average over attentive raters and prompts the share is that in PAPER. Likeness and match are cut from the same
    leaning plus noise; a pair goes to the picture with the higher leaning. One answer in 50 is "undecided". Attentive
    raters pass the attention screen but one in 40; the share `careless` clicks anything within a second or two.
    """
    rng = np.random.default_rng(seed)
    raters, prompts = plan["rater"].max(), sorted(key["prompt_id"].unique())
    rater_effect = rng.normal(0, RATER_SD, raters + 1)
    prompt_effect = pd.Series(rng.normal(0, prompt_sd, len(prompts)), prompts)
    middle = {method: intercept(rate, np.hypot(RATER_SD, prompt_sd)) for method, rate in PAPER.items()}
    rows = _screens(key, plan, rng)
    rated, pairs, attention = (rows[rows["kind"] == kind] for kind in ("rate", "pair", "attention"))
    shared = rater_effect[rated["rater"]] + rated["prompt_id"].map(prompt_effect).to_numpy()
    leaning = rated["method"].map(middle).to_numpy() + shared
    yes_no = np.where(rng.random(len(leaning)) < special.expit(leaning), "yes", "no")
    parts = [rated.assign(question="satisfied", value=_undecided(yes_no, rng))]
    parts += [rated.assign(question=name, value=_scale(leaning, rng)) for name in ("likeness", "match")]
    parts.append(pairs.assign(question="pair", value=_choose(pairs["method"], middle, rng)))
    passed = np.where(rng.random(len(attention)) < 1 / 40, "2", design.ATTENTION)
    parts.append(attention.assign(question="attention", value=passed))
    parts.append(_comments(rated, leaning, rng))
    table = _click_through(pd.concat(parts), rng.permutation(raters)[: round(raters * careless)] + 1, rng)
    return table.sort_values(["rater", "position"], kind="stable", ignore_index=True)[answers.LONG]


def _screens(key, plan, rng):
    """The screens of a plan with the respondents' ids, the time taken and what stands behind the codes."""
    numbers = rng.choice(2**24, plan["rater"].max() + 1, replace=False)
    rows = plan.assign(respondent=[f"r{numbers[rater]:010x}" for rater in plan["rater"]], source="simulated")
    rows["duration_s"] = np.exp(rng.normal(np.log(8), 0.4, len(rows))).round(1)
    prompts, methods = answers.unblind(key, rows["item"].unique())
    return rows.assign(prompt_id=rows["item"].map(prompts), method=rows["item"].map(methods))


def _undecided(values, rng):
    return np.where(rng.random(len(values)) < 1 / 50, "undecided", values)


def _scale(leaning, rng):
    cut = np.digitize(leaning + rng.logistic(0, 1, len(leaning)), [-1, 0.5, 2, 3.5]) + 1
    return _undecided(cut.astype(str), rng)


def _choose(methods, middle, rng):
    """left, right or tie for pairs of methods "left+right"."""
    sides = methods.str.split("+", expand=True).reindex(columns=[0, 1])
    lead = sides[0].map(middle).to_numpy(float) - sides[1].map(middle).to_numpy(float)
    lead = lead + rng.logistic(0, 1, len(sides))
    return _undecided(np.select([lead > 0.4, lead < -0.4], ["left", "right"], "tie"), rng)


def invented_comments():
    """The invented comments, {theme: {"pleased": texts, "displeased": texts}}."""
    return machine.read_json(design.FINISHED / "invented_comments.json")


def _comments(rated, leaning, rng):
    """Some rated screens once more as comments; the happier a rater, the likelier a pleased one."""
    texts = invented_comments()
    some = rng.random(len(rated)) < COMMENTS
    pleased = rng.random(some.sum()) < special.expit(leaning[some] - 1)
    themes = rng.choice(list(texts), some.sum())
    said = [rng.choice(texts[theme]["pleased" if happy else "displeased"]) for theme, happy in zip(themes, pleased)]
    return rated[some].assign(question="comment", value=said)


def _click_through(table, careless, rng):
    """Careless raters answer anything, a second or two a screen, and write nothing."""
    table = table[~(table["rater"].isin(careless) & (table["question"] == "comment"))].reset_index(drop=True)
    rows = table["rater"].isin(careless)
    anything = [rng.choice(DECIDED[question]) for question in table.loc[rows, "question"]]
    table.loc[rows, "value"] = np.array(anything, dtype=object)
    table.loc[rows, "duration_s"] = (table.loc[rows, "duration_s"] / 6).round(1)
    return table


def simulate_codes(comments, seed, right=0.85):
    """What an invented coder makes of invented comments: their true theme in this share of cases, else another.

    comments: as widgets.sheet returns it; gives {comment: code}. Raises KeyError for a comment that is not invented.
    """
    rng, texts = np.random.default_rng(seed), invented_comments()
    theme_of = {text: theme for theme, tones in texts.items() for tone in tones.values() for text in tone}
    choose = lambda theme: theme if rng.random() < right else str(rng.choice([one for one in texts if one != theme]))
    return {row.comment: choose(theme_of[row.value]) for row in comments.itertuples()}


def draw(share, raters, items, rng, rater_sd=RATER_SD):
    """One study of one method: (raters, items) array of 0 and 1 with this share on average over raters."""
    leaning = intercept(share, rater_sd) + rng.normal(0, rater_sd, (raters, 1))
    return (rng.random((raters, items)) < special.expit(leaning)).astype(int)


def draw_ratings(raters, items, rng):
    """One study of one method on a scale: (raters, items) array of 1 to 5; every rater has a level of their own."""
    own = 3.5 + rng.normal(0, 0.7, (raters, 1))
    return np.clip(np.rint(own + rng.normal(0, 1, (raters, items))), 1, 5).astype(int)


def as_answers(ratings):
    """A (raters, items) array of 1 to 5 as a long table of "match", of a method called "invented"."""
    raters, items = np.indices(ratings.shape).reshape(2, -1)
    columns = {"respondent": raters, "item": items, "position": items + 1, "value": ratings.ravel().astype(str)}
    return pd.DataFrame(columns).assign(method="invented", question="match", source="simulated")


def intervals(share, raters, items, rater_sd=RATER_SD, studies=400, seed=0):
    """The 95 % intervals of many studies of this size: DataFrame share, low, high, pooled_low, pooled_high.

    The pooled ones are Wilson's, which would be right if every answer came from another person.
    """
    rng, rows = np.random.default_rng(seed), []
    who = np.repeat(np.arange(raters), items)
    for _ in range(studies):
        row = share_interval(who, draw(share, raters, items, rng, rater_sd).ravel())
        rows.append((row["share"], row["low"], row["high"], *wilson(row["share"], raters * items)))
    return pd.DataFrame(rows, columns=["share", "low", "high", "pooled_low", "pooled_high"])


def precision(share, raters, items, rater_sd=RATER_SD, studies=400, seed=0):
    """What a study of this size shows: dict half_width of its 95 % interval on average, and coverage of the truth.

    pooled_half_width and pooled_coverage are those of Wilson's interval that takes every answer for a person.
    """
    table, result = intervals(share, raters, items, rater_sd, studies, seed), {}
    for kind in ("", "pooled_"):
        low, high = table[f"{kind}low"], table[f"{kind}high"]
        result[f"{kind}half_width"] = float((high - low).mean() / 2)
        result[f"{kind}coverage"] = float(((low <= share) & (share <= high)).mean())
    return result


def power(one, two, raters, items, studies=2000, seed=0):
    """How often a study would tell two shares apart: every rater judges `items` pictures of both methods.

    A paired t test on the raters' differences at 5 %, which respects the rater and is quick.
    """
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, RATER_SD, (studies, raters))
    chance = [special.expit(intercept(share, RATER_SD) + effect) for share in (one, two)]
    difference = rng.binomial(items, chance[1]) - rng.binomial(items, chance[0])
    spread = difference.std(axis=1, ddof=1) / np.sqrt(raters)
    t = np.abs(difference.mean(axis=1)) / np.where(spread > 0, spread, np.inf)
    return float((t > stats.t.ppf(0.975, raters - 1)).mean())


def smallest_difference(share, raters, items):
    """By how much a second method must be better to be told apart in 4 of 5 studies: a share, or None if nothing is."""
    steps = [step / 100 for step in range(1, 50) if share + step / 100 < 0.995]
    return next((step for step in steps if power(share, share + step, raters, items, 1000) >= 0.8), None)


if __name__ == "__main__":
    key = design.paper_key()
    answers.write_table(FILE, simulate(key, design.make_plan(key, 20, seed=design.SEED)))
    print(FILE.relative_to(machine.REPO))
