"""How large must a study be? Invented studies of every size, each with the truth known, give the answer."""

import numpy as np
import pandas as pd
from scipy import special, stats

from helpers import bootstrap
from helpers.survey_simulation import RATER_SD, intercept


def draw(share, raters, items, rater_sd=RATER_SD, rng=None):
    """One study of one method: (raters, items) array of 0 and 1 with this share on average over raters."""
    rng = rng or np.random.default_rng()
    leaning = intercept(share, rater_sd) + rng.normal(0, rater_sd, (raters, 1))
    return (rng.random((raters, items)) < special.expit(leaning)).astype(int)


def draw_ratings(raters, items, mean=3.5, rater_sd=0.7, rng=None):
    """One study of one method on a scale: (raters, items) array of 1 to 5; every rater has a level of their own."""
    rng = rng or np.random.default_rng()
    own = mean + rng.normal(0, rater_sd, (raters, 1))
    return np.clip(np.rint(own + rng.normal(0, 1, (raters, items))), 1, 5).astype(int)


def as_answers(ratings, question="match"):
    """A (raters, items) array of 1 to 5 as a long table, of a method called "invented"."""
    raters, items = np.indices(ratings.shape).reshape(2, -1)
    columns = {"respondent": raters, "item": items, "position": items + 1, "value": ratings.ravel().astype(str)}
    return pd.DataFrame(columns).assign(method="invented", question=question, source="simulated")


def intervals(share, raters, items, rater_sd=RATER_SD, studies=400, seed=0):
    """The 95 % intervals of many studies of this size: DataFrame share, low, high, pooled_low, pooled_high.

    The pooled ones are Wilson's, which would be right if every answer came from another person.
    """
    rng, found = np.random.default_rng(seed), []
    who = np.repeat(np.arange(raters), items)
    for _ in range(studies):
        ours = bootstrap.share_interval(who, draw(share, raters, items, rater_sd, rng).ravel())
        pooled = bootstrap.wilson(ours["share"], raters * items)
        found.append((ours["share"], ours["low"], ours["high"], *pooled))
    return pd.DataFrame(found, columns=["share", "low", "high", "pooled_low", "pooled_high"])


def precision(share, raters, items, rater_sd=RATER_SD, studies=400, seed=0):
    """What a study of this size shows: dict half_width of its 95 % interval on average, and coverage of the truth.

    pooled_half_width and pooled_coverage are those of Wilson's interval that takes every answer for a person.
    """
    found, told = intervals(share, raters, items, rater_sd, studies, seed), {}
    for kind in ("", "pooled_"):
        low, high = found[f"{kind}low"], found[f"{kind}high"]
        told[f"{kind}half_width"] = float((high - low).mean() / 2)
        told[f"{kind}coverage"] = float(((low <= share) & (share <= high)).mean())
    return told


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


def smallest_difference(share, raters, items, wanted=0.8, rater_sd=RATER_SD, seed=0):
    """By how much a second method must be better to be told apart in 4 of 5 studies: a share, or None if nothing is."""
    for step in range(1, 50):
        other = share + step / 100
        if other >= 0.995:
            return None
        if power(share, other, raters, items, rater_sd, 1000, seed) >= wanted:
            return step / 100
    return None
