"""Class drift: what a model shows for a class word before a training and after it, as the reader sees it."""

import numpy as np
import pandas as pd

from helpers import bootstrap

ATTRIBUTES = ("kind", "skin", "hair", "hair_color", "beard", "glasses")


def shares(seen, attribute):
    """The share of each word the reader used for an attribute: Series, the most frequent first."""
    return seen[attribute].value_counts(normalize=True)


def distance(before, after):
    """How much of a distribution has moved: half the sum of |differences| of the shares, 0 none, 1 all of it.

    before, after: lists of words. The total variation distance.
    """
    before, after = np.asarray(before, dtype=object), np.asarray(after, dtype=object)
    return 0.5 * sum(abs(np.mean(before == word) - np.mean(after == word)) for word in {*before, *after})


def by_chance(before, after, draws=1000, seed=0, level=0.95):
    """How large `distance` gets, at this level, when the two pictures of each seed swap places at random.

    Were nothing changed by the training, nineteen of twenty distances would be smaller. Few pictures: a high bar.
    """
    both, rng = np.column_stack([before, after]).astype(object), np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        swap = rng.random(len(both)) < 0.5
        one, other = np.where(swap, both[:, 1], both[:, 0]), np.where(swap, both[:, 0], both[:, 1])
        found.append(distance(one, other))
    return float(np.quantile(found, level))


def table(before, after, attributes=ATTRIBUTES, draws=1000):
    """One row an attribute: moved (distance), low, high, by_chance, more (the word that gained most), gain, says.

    before, after: what the reader saw, each with the seeds as its index; only seeds in both count. low and high: seeds drawn again (bootstrap.interval);
    a distance is never below 0, so the interval is no test: `by_chance` is what to hold it against.
    """
    before, after = before.align(after, join="inner", axis=0)
    rows = []
    for attribute in attributes:
        old, new = before[attribute].to_numpy(object), after[attribute].to_numpy(object)
        pair = np.column_stack([old, new])
        low, high = bootstrap.interval(pair, statistic=lambda rows: distance(rows[:, 0], rows[:, 1]), draws=draws)
        gain = shares(after, attribute).sub(shares(before, attribute), fill_value=0)
        moved, chance = distance(old, new), by_chance(old, new, draws)
        rows.append((attribute, moved, low, high, chance, gain.idxmax(), gain.max(), moved > chance))
    columns = ["attribute", "moved", "low", "high", "by_chance", "more", "gain", "beyond_chance"]
    return pd.DataFrame(rows, columns=columns)
