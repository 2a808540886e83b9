"""What the reader, pocket's attribute classifier, says of pictures: whether they show the prompt, and how a class moved."""

import re

import numpy as np
import pandas as pd

from helpers import stats

ATTRIBUTES = ("kind", "skin", "hair", "hair_color", "beard", "glasses")
# what a prompt may say, and the attribute and word by which the reader would confirm it
PARTS = {
    "style": {
        r"pixel art": "pixel art",
        r"(pencil )?sketch|pencil drawing": "pencil sketch",
        r"jade": "jade sculpture",
        r"fire|flames": "fire",
        r"comic book": "comic book",
        r"oil (painting|on canvas)": "oil painting",
        r"watercolou?r": "watercolor",
        r"photo|photograph": "photo",
    },
    "place": {
        r"beach|sea": "beach",
        r"forest|woods": "forest",
        r"city|tall buildings": "city",
        r"(outer )?space|stars": "space",
        r"snow|snowy|winter": "snow",
        r"castle": "castle",
    }
    | {
        f"{color} background": color
        for color in ("white", "blue", "green", "pink", "yellow", "grey", "purple", "orange")
    },
    "context": {
        r"horse|horseback": "horse",
        r"bicycle|bike": "bicycle",
        r"dog": "dog",
        r"cat": "cat",
        r"robot": "robot",
        r"chibi": "chibi",
        r"portrait|close-?up": "portrait",
    },
    "kind": {r"man": "man", r"woman": "woman"},
    "beard": {r"majestic beard": "majestic beard"},
}


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
        low, high = stats.interval(pair, statistic=lambda rows: distance(rows[:, 0], rows[:, 1]), draws=draws)
        gain = shares(after, attribute).sub(shares(before, attribute), fill_value=0)
        moved, chance = distance(old, new), by_chance(old, new, draws)
        rows.append((attribute, moved, low, high, chance, gain.idxmax(), gain.max(), moved > chance))
    columns = ["attribute", "moved", "low", "high", "by_chance", "more", "gain", "beyond_chance"]
    return pd.DataFrame(rows, columns=columns)


def asked(prompt):
    """What a prompt asks for: {attribute: word}. Of two words for one attribute the first in PARTS holds."""
    text, found = prompt.lower(), {}
    for attribute, words in PARTS.items():
        for pattern, word in words.items():
            if re.search(rf"\b({pattern})\b", text):
                found[attribute] = word
                break
    return found


def right(table, seen):
    """For each picture the share of its prompt's parts that the reader finds: Series; NaN where a prompt asks for none.

    table: with a column prompt; seen: what the reader saw, a row a picture, in the same order.
    """
    if len(table) != len(seen):
        raise ValueError(f"{len(table)} pictures but {len(seen)} readings: read the same pictures.")
    found = []
    for prompt, (_, row) in zip(table["prompt"], seen.iterrows()):
        wanted = asked(prompt)
        found.append(sum(row[name] == word for name, word in wanted.items()) / len(wanted) if wanted else float("nan"))
    return pd.Series(found, index=table.index, dtype=float)
