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
        raise ValueError(f"The word {strange[0]!r} is not among {', '.join(map(str, among))}: give all that may come.")
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
    """A model's skew against that of the world it learnt: dict planted, measured, low, high, ratio, ratio_low,
    ratio_high, seeds.

    skews: one value a seed, as `skew` gives them; seeds are drawn again for the 95 % interval. ratio: 1 copies the
    world, above 1 amplifies it (Bianchi et al. 2022), 0 has none of it. Raises ValueError if nothing was planted.
    """
    if not planted:
        raise ValueError("A skew of 0 cannot be amplified: compare shares instead.")
    values = np.asarray(skews, float)
    measured = float(values.mean())
    low, high = stats.interval(values, draws=draws, seed=seed, limits=(-1, 1))
    ends = sorted([low / planted, high / planted])
    result = {"planted": planted, "measured": measured, "low": low, "high": high, "seeds": len(values)}
    return result | {"ratio": measured / planted, "ratio_low": ends[0], "ratio_high": ends[1]}


def verdict(result):
    """What `amplification` says, in two sentences."""
    points = lambda name: f"{100 * result[name]:+.0f}"
    numbers = (
        f"Planted: {points('planted')} points. Found: {points('measured')} points "
        f"({stats.between(100 * result['low'], 100 * result['high'], '+.0f')}, {result['seeds']} seeds), "
        f"{result['ratio']:.2f} times the planted skew ({stats.between(result['ratio_low'], result['ratio_high'])}). "
    )
    if result["ratio_high"] < 0:
        return numbers + "There is a skew, and it runs the other way."
    if not result["ratio_low"] > 0:
        return numbers + "So few pictures cannot tell it from no skew at all."
    if result["ratio_low"] > 1:
        return numbers + "The skew is found, and the model makes it stronger than the world it learnt."
    if result["ratio_high"] < 1:
        return numbers + "The skew is found, and the model shows less of it than the world it learnt."
    return numbers + "The skew is found; so few pictures cannot tell whether the model weakens or amplifies it."


def headline(short, captions):
    """What is left of "the model amplifies" once prompts are worded as the captions were (Seshadri et al. 2023).

    short, captions: `amplification` of short prompts, and of prompts in the captions' own words.
    """
    numbers = " ".join(
        f"{words}: {result['ratio']:.2f} times the skew of the world "
        f"({stats.between(result['ratio_low'], result['ratio_high'])})."
        for words, result in (("Short prompts", short), ("Prompts worded as captions", captions))
    )
    stronger = short["ratio_low"] > 1, captions["ratio_low"] > 1
    endings = {
        (True, True): "The model amplifies, whichever way it is asked.",
        (True, False): "Amplification is shown with short prompts alone, so the short question has a part in it.",
        (False, True): "Amplification is shown with the captions' words alone.",
        (False, False): "These pictures show amplification with neither wording.",
    }
    return f"{numbers} {endings[stronger]}"


def spread(features):
    """How unlike each other pictures are: the mean distance between two of them. 0 if all are alike.

    Raises ValueError for fewer than two pictures.
    """
    if len(features) < 2:
        raise ValueError("Variety needs two pictures: make them from two seeds.")
    first, second = np.triu_indices(len(features), k=1)
    return float((1 - (features[first] * features[second]).sum(axis=1)).mean())


def shift(before, after):
    """How far each picture moved, from the same seed, in units of the distance between two seeds of `before`: (n,).

    0: the same picture; 1: as unlike as two pictures that only share a prompt.
    Raises ValueError if the two do not have the same seeds.
    """
    if before.shape != after.shape:
        raise ValueError(f"There are {len(before)} pictures before, {len(after)} after: give both the same seeds.")
    return (1 - (before * after).sum(axis=1)).clip(min=0) / spread(before)  # rounding can leave a cosine above 1


def moved(before, after):
    """`shift` on average, with its interval over seeds, and how much of the variety is left: dict moved, low, high,
    variety.

    variety: `spread` after over `spread` before; below 1 people have become more alike. A training that changed
    nothing gives 0 and 1 exactly, since the seeds are the same.
    """
    values = shift(before, after)
    low, high = stats.interval(values)
    return {"moved": float(values.mean()), "low": low, "high": high, "variety": spread(after) / spread(before)}


def leaning(pictures, one, other):
    """Which of two sets the pictures are nearer to: dict lean, low, high. 1: like set `one`, -1: like set `other`.

    Nearness is the mean cosine to `one` minus that to `other`. The sets come from counterfactual prompts, such as the
    same sentence with "woman" and with "man" for "person"; no picture gets a label. The interval draws seeds again.
    """
    nearer = lambda features: (features @ one.T).mean(axis=1) - (features @ other.T).mean(axis=1)
    top, bottom = nearer(one).mean(), nearer(other).mean()
    values = (nearer(pictures) - (top + bottom) / 2) / ((top - bottom) / 2)
    low, high = stats.interval(values)
    return {"lean": float(values.mean()), "low": low, "high": high}


def clusters(features, count, seed=0):
    """Group pictures by likeness alone (k-means): the cluster of each picture (n,); the largest cluster is number 0.

    Raises ValueError for more clusters than pictures.
    """
    if count > len(features):
        raise ValueError(f"{len(features)} pictures cannot make {count} clusters: ask for fewer.")
    features = np.asarray(features, float)
    centres, _ = vq.kmeans2(features, count, minit="++", iter=50, seed=seed)
    cluster, _ = vq.vq(features, centres)
    largest_first = np.argsort(-np.bincount(cluster, minlength=count), kind="stable")
    return np.argsort(largest_first)[cluster]


def cluster_table(cluster, labels, count):
    """Which share of each label's pictures fell into each cluster: DataFrame, labels down, clusters 0.. across."""
    table = pd.crosstab(pd.Series(labels, name=""), pd.Series(cluster, name="cluster"), normalize="index")
    return table.reindex(index=list(dict.fromkeys(labels)), columns=range(count), fill_value=0.0)
