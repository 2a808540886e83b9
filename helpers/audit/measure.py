"""What an audit measures: shares, skew and its amplification by counting; spread and shift of features without labels.

Tables have a row for each picture: trained model, prompt, seed and what somebody saw in it (audit.pictures.read, or
people's tags). Features are (n, width) of length 1, one row a picture in the order of seeds; distance is 1 - cosine.
After Stable Bias (Luccioni et al. 2023) and TIBET (Chinchure et al. 2023).
"""

import numpy as np
import pandas as pd
from scipy.cluster import vq

from helpers import stats


def shares(seen, attribute, word, by=("model", "prompt")):
    """How often `word` was seen: DataFrame of `by`, images, mean, low, high (95 %, Wilson), in the order of `seen`.

    The interval speaks of further seeds of this one model. Missing answers are left out.
    """
    rows = []
    for key, group in seen.dropna(subset=[attribute]).groupby(list(by), sort=False):
        share = float((group[attribute] == word).mean())
        rows.append((*key, len(group), share, *stats.wilson(share, len(group))))
    return pd.DataFrame(rows, columns=[*by, "images", "mean", "low", "high"])


def distribution(seen, attribute, by="prompt"):
    """The share of every word of an attribute: DataFrame, one row a prompt (or model), one column a word."""
    table = pd.crosstab(seen[by], seen[attribute], normalize="index")
    return table.reindex(list(dict.fromkeys(seen[by])))


def evenness(words, among):
    """How evenly words are used, 0 (always the same) to 1 (all equally often): entropy over its maximum.

    among: all the words that might have come. Pielou's J (1966). Raises ValueError for a word that is not among them.
    """
    counts = pd.Series(list(words)).value_counts()
    strange = sorted(set(counts.index) - set(among))
    if strange:
        raise ValueError(f"{strange[0]!r} is not among {', '.join(map(str, among))}.")
    p = counts / counts.sum()
    return float(-(p * np.log(p)).sum() / np.log(len(set(among)))) + 0.0


def skew(seen, attribute, word, inside, outside):
    """Seed by seed, how much more often `word` comes with the prompts `inside` than with `outside`: Series, -1..1.

    Both sides start from the same noise, so a habit of the model as a whole cancels out.
    """
    hit = seen.assign(hit=(seen[attribute] == word).astype(float))
    side = lambda prompts: hit[hit["prompt"].isin(prompts)].groupby("seed")["hit"].mean()
    return (side(inside) - side(outside)).dropna()


def amplification(skews, planted, draws=2000, seed=0):
    """A model's skew against that of the world it learnt: dict planted, found, low, high, ratio, ratio_low, ratio_high, seeds.

    skews: one value a seed, as `skew` gives them; seeds are drawn again for the 95 % interval. ratio: 1 copies the
    world, above 1 amplifies it (Bianchi et al. 2022), 0 has none of it. Raises ValueError if nothing was planted.
    """
    if not planted:
        raise ValueError("A skew of 0 cannot be amplified: compare shares instead.")
    values = np.asarray(skews, float)
    found = float(values.mean())
    low, high = stats.interval(values, draws=draws, seed=seed)
    ends = sorted([low / planted, high / planted])
    told = {"planted": planted, "found": found, "low": low, "high": high}
    return told | {"ratio": found / planted, "ratio_low": ends[0], "ratio_high": ends[1], "seeds": len(values)}


def verdict(found):
    """What `amplification` says, in a sentence or two."""
    points = lambda share: f"{100 * share:+.0f}"
    told = (
        f"Planted: {points(found['planted'])} points. Found: {points(found['found'])} points "
        f"({points(found['low'])} to {points(found['high'])}, {found['seeds']} seeds), "
        f"{found['ratio']:.2f} times the planted skew ({found['ratio_low']:.2f} to {found['ratio_high']:.2f}). "
    )
    if found["ratio_high"] < 0:
        return told + "There is a skew, and it runs the other way."
    if not found["ratio_low"] > 0:
        return told + "So few pictures cannot tell it from no skew at all."
    if found["ratio_low"] > 1:
        return told + "The skew is found, and the model makes it stronger than the world it learnt."
    if found["ratio_high"] < 1:
        return told + "The skew is found, and the model shows less of it than the world it learnt."
    return told + "The skew is found; whether the model weakens or amplifies it, so few pictures cannot tell."


def corrected(share, right):
    """A share freed of the reader's own error; right: how often the reader is right, 0.5 to 1 (Rogan, Gladen 1978).

    Holds for a question with two answers on which the reader errs equally often either way. Stays within 0..1.
    Raises ValueError for a reader that only guesses.
    """
    if not 0.5 < right <= 1:
        raise ValueError(f"A reader that is right {right:.0%} of the time tells nothing about two answers.")
    return float(np.clip((share - (1 - right)) / (2 * right - 1), 0, 1))


def spread(features):
    """How unlike each other pictures are: the mean distance between two of them. 0 if all are alike.

    Raises ValueError for fewer than two pictures.
    """
    if len(features) < 2:
        raise ValueError("Variety needs two pictures, from two seeds.")
    first, second = np.triu_indices(len(features), k=1)
    return float((1 - (features[first] * features[second]).sum(axis=1)).mean())


def shift(before, after):
    """How far each picture moved, from the same seed, in units of the distance between two seeds of `before`: (n,).

    0: the same picture; 1: as unlike as two pictures that only share a prompt.
    Raises ValueError if the two do not have the same seeds.
    """
    if before.shape != after.shape:
        raise ValueError(f"{len(before)} pictures before but {len(after)} after: give the same seeds to both.")
    return (1 - (before * after).sum(axis=1)) / spread(before)


def moved(before, after):
    """`shift` on average, with its interval over seeds, and how much of the variety is left: dict moved, low, high, variety.

    variety: `spread` after over `spread` before; below 1 people have become more alike. A training that changed
    nothing gives 0 and 1 exactly, since the seeds are the same.
    """
    values = shift(before, after)
    low, high = stats.interval(values)
    return {"moved": float(values.mean()), "low": low, "high": high, "variety": spread(after) / spread(before)}


def lean(pictures, one, other):
    """Which of two sets each picture is nearer to: mean cosine to `one` minus that to `other`, (n,).

    Above 0: nearer to `one`. The sets come from counterfactual prompts, such as the same sentence with "woman" and
    with "man" for "person"; the picture itself gets no label.
    """
    return (pictures @ one.T).mean(axis=1) - (pictures @ other.T).mean(axis=1)


def leaning(pictures, one, other):
    """`lean` in the unit of the sets themselves: dict lean, low, high. 1: like set `one`, -1: like set `other`.

    The interval draws the pictures (the seeds) again.
    """
    middle = (lean(one, one, other).mean() + lean(other, one, other).mean()) / 2
    half = (lean(one, one, other).mean() - lean(other, one, other).mean()) / 2
    values = (lean(pictures, one, other) - middle) / half
    low, high = stats.interval(values)
    return {"lean": float(values.mean()), "low": low, "high": high}


def clusters(features, count, seed=0):
    """Group pictures by likeness alone (k-means): (cluster of each picture (n,), centres (count, width)).

    The largest cluster is number 0. Raises ValueError for more clusters than pictures.
    """
    if count > len(features):
        raise ValueError(f"{len(features)} pictures cannot make {count} clusters.")
    centres, _ = vq.kmeans2(np.asarray(features, float), count, minit="++", iter=50, seed=seed)
    sizes = np.bincount(assign(features, centres), minlength=count)
    centres = centres[np.argsort(-sizes, kind="stable")]
    return assign(features, centres), centres


def assign(features, centres):
    """The nearest centre of each picture: (n,) of int."""
    return vq.vq(np.asarray(features, float), centres)[0]


def cluster_table(cluster, labels, count):
    """Which share of each label's pictures fell into each cluster: DataFrame, labels down, clusters 0.. across."""
    table = pd.crosstab(pd.Series(labels, name=""), pd.Series(cluster, name="cluster"), normalize="index")
    return table.reindex(index=list(dict.fromkeys(labels)), columns=range(count), fill_value=0.0)
