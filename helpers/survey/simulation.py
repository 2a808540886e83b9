"""Invented raters: to try a study and its statistics where the truth is known, and to find how large a study must be."""

import functools

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from helpers import machine
from helpers.stats import percent, share_interval, wilson
from helpers.survey import design

PAPER = {"base": 0.80, "hypernetwork": 0.90, "DreamBooth": 0.95}  # Table 1, all three "approx."
RATER_SD = 1.0  # logits between raters; an assumption, the paper says nothing about it
FILE = design.FINISHED / "simulated_responses.csv"  # by tools/survey_data.py


@functools.cache
def intercept(share, sd):
    """The log-odds at which a logistic model with a normal effect of this SD has this share on average."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    return optimize.brentq(lambda middle: weights @ special.expit(middle + sd * nodes) - share, -30, 30)


def invented_comments():
    """The invented comments, {theme: {"pleased": texts, "displeased": texts}}."""
    return machine.read_json(design.FINISHED / "invented_comments.json")


def simulate_codes(comments, seed, right=0.85):
    """What an invented coder makes of invented comments: their true theme in this share of cases, else another.

    comments: as widgets.sheet returns it; gives {comment: code}. Raises KeyError for a comment that is not invented.
    """
    rng, texts = np.random.default_rng(seed), invented_comments()
    theme_of = {text: theme for theme, tones in texts.items() for tone in tones.values() for text in tone}
    choose = lambda theme: theme if rng.random() < right else str(rng.choice([one for one in texts if one != theme]))
    return {row.comment: choose(theme_of[row.value]) for row in comments.itertuples()}


def draw(share, raters, items, rng, rater_sd=RATER_SD, effect=None):
    """One study of one method: (raters, items) array of 0 and 1 with this share on average over raters.

    effect: (raters, 1) how easily each is pleased, in logits, if they are people who judged something else before.
    """
    effect = rng.normal(0, rater_sd, (raters, 1)) if effect is None else effect
    return (rng.random((raters, items)) < special.expit(intercept(share, rater_sd) + effect)).astype(int)


def draw_methods(raters, items, rng):
    """One study with the paper's shares, every method judged by the same people: the long table of "satisfied"."""
    effect = rng.normal(0, RATER_SD, (raters, 1))
    judged = {method: draw(share, raters, items, rng, effect=effect) for method, share in PAPER.items()}
    return pd.concat(as_answers(np.where(yes, "yes", "no"), method, "satisfied") for method, yes in judged.items())


def draw_ratings(raters, items, rng):
    """One study of one method on a scale: (raters, items) array of 1 to 5; every rater has a level of their own."""
    own = 3.5 + rng.normal(0, 0.7, (raters, 1))
    return np.clip(np.rint(own + rng.normal(0, 1, (raters, items))), 1, 5).astype(int)


def careless(share, raters, items, rng):
    """(raters, items) ratings, 1 to 5, of people who answer anything in this share of cases and the truth in all others."""
    true, anything = rng.integers(1, 6, items), rng.integers(1, 6, (raters, items))
    return np.where(rng.random((raters, items)) < share, anything, true)


def as_answers(ratings, method="invented", question="match"):
    """A (raters, items) array as the long table of a question about a method; every column is another prompt."""
    raters, items = np.indices(ratings.shape).reshape(2, -1)
    columns = {"respondent": raters, "prompt_id": items, "position": items + 1, "value": ratings.ravel().astype(str)}
    table = pd.DataFrame(columns).assign(method=method, question=question, source="simulated")
    return table.assign(item=method + table["prompt_id"].astype(str))


def intervals(share, raters, items, rater_sd=RATER_SD, studies=400, seed=0):
    """The 95 % intervals of many studies: DataFrame share, low, high, effect, pooled_low, pooled_high.

    The pooled ones are Wilson's, which would be right if every answer came from another person.
    """
    rng, rows = np.random.default_rng(seed), []
    who = np.repeat(np.arange(raters), items)
    for _ in range(studies):
        row = share_interval(who, draw(share, raters, items, rng, rater_sd).ravel())
        rows.append(row | dict(zip(("pooled_low", "pooled_high"), wilson(row["share"], raters * items))))
    return pd.DataFrame(rows)[["share", "low", "high", "effect", "pooled_low", "pooled_high"]]


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


def verdict(held):
    """How often 95 % intervals held the truth, and what that says of them, in two sentences. held: True or False a study."""
    share, studies = np.mean(held), len(held)
    low, high = np.round(wilson(share, studies), 2)
    said = "They are too narrow." if high < 0.95 else "They are wider than they need to be."
    said = "That agrees with 95 %." if low <= 0.95 <= high else said
    return f"{percent(share, low, high)} of {studies} intervals held the truth. {said}"


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
