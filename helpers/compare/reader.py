"""What the reader, pocket's attribute classifier, says of pictures: do they show the prompt, how has a class moved?"""

import numpy as np
import pandas as pd

from helpers import stats

ATTRIBUTES = ("kind", "skin", "hair", "hair_color", "beard", "glasses")


def shares(seen, attribute):
    """The share of each word the reader used for an attribute: Series, the most frequent first."""
    return seen[attribute].value_counts(normalize=True)


def distance(before, after):
    """The total variation distance of two lists of words, 0..1: half the sum of |differences| of the shares.

    Of arrays the last axis is the list, and there is a distance for each of the others.
    """
    before, after = np.asarray(before, dtype=object), np.asarray(after, dtype=object)
    words = sorted({*before.flat, *after.flat})
    return 0.5 * sum(abs((before == word).mean(axis=-1) - (after == word).mean(axis=-1)) for word in words)


def by_chance(before, after, draws=1000, seed=0, level=0.95):
    """The quantile `level` of `distance` when the two pictures of each seed swap places at random.

    Had the training changed nothing, nineteen of twenty distances would be smaller.
    """
    (before, after), rng = np.asarray([before, after], dtype=object), np.random.default_rng(seed)
    swaps = rng.random((draws, len(before))) < 0.5
    apart = distance(np.where(swaps, after, before), np.where(swaps, before, after))
    return float(np.quantile(apart, level))


def table(before, after, attributes=ATTRIBUTES, draws=1000):
    """A row for each attribute: moved, low, high, by_chance, more (the word that gained most), gain, beyond_chance.

    before, after: what the reader saw, with the seeds as index; only seeds in both count. low, high: the seeds drawn
    again; a distance is never below 0, so the interval is no test: compare `moved` with `by_chance`.
    """
    before, after = before.align(after, join="inner", axis=0)
    rows = []
    for attribute in attributes:
        old, new = before[attribute].to_numpy(object), after[attribute].to_numpy(object)
        pair = np.column_stack([old, new])
        low, high = stats.interval(pair, statistic=lambda rows: distance(rows[:, 0], rows[:, 1]), draws=draws)
        gain = shares(after, attribute).sub(shares(before, attribute), fill_value=0)
        moved, chance = distance(old, new), by_chance(old, new, draws)
        rows.append((attribute, moved, low, high, chance, gain.idxmax(), gain.max(), moved > chance))
    columns = ["attribute", "moved", "low", "high", "by_chance", "more", "gain", "beyond_chance"]
    return pd.DataFrame(rows, columns=columns)


def right(table, seen):
    """For each picture the share of its prompt's parts that the reader finds: Series; NaN where a prompt asks for none.

    table: with a column prompt; seen: what the reader saw, a row a picture, in the same order.
    """
    if len(table) != len(seen):
        raise ValueError(f"There are {len(table)} pictures but {len(seen)} readings: read the same pictures.")
    from pocket.reader import parts_of

    rows = zip(map(parts_of, table["prompt"]), seen.to_dict("records"))
    shares = [np.mean([row[name] == word for name, word in parts.items()] or np.nan) for parts, row in rows]
    return pd.Series(shares, index=table.index, dtype=float)
