"""Measuring pictures of people without putting a label on anybody: distances and clusters of embeddings.

After Stable Bias (Luccioni et al. 2023) and TIBET (Chinchure et al. 2023). Features are (n, width) of length 1, one row
a picture in the order of seeds, as towers.Towers.image_features gives them; distance is 1 - cosine.
"""

import numpy as np
import pandas as pd
from scipy.cluster import vq

from helpers import bootstrap


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
    low, high = bootstrap.interval(values)
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
    low, high = bootstrap.interval(values)
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
