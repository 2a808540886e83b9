"""The DreamBooth paper's scores as plain formulas on features, the tables they fill, and the scorer of a subject.

Features come from compare.features, each of length 1, so a dot product is a cosine. Ruiz et al. 2023, section 4.1
and 4.2: DINO and CLIP-I (likeness), CLIP-T (prompt), PRES (does the class keep off the subject?), DIV (variety).
"""

import numpy as np
import pandas as pd

from helpers import machine, stats
from helpers.compare.features import Encoders
from helpers.diffusion import models
from helpers.machine import subjects
from helpers.photos import load_prepared, prepared_folder

MISSING = 1  # so many of a subject's telling features may be: the image shows the subject all the same


def fidelity(generated, real):
    """DINO or CLIP-I: each generated picture's mean cosine to all real photos. (n, width), (m, width) -> (n,).

    Of pictures of the class instead of the subject, the same mean is PRES: there, less is better.
    Raises ValueError without pictures or without photos.
    """
    _filled(generated, real)
    return (generated @ real.T).mean(axis=1)


def ceiling(real):
    """What the real photos score against each other, each against all the others: (m, width) -> (m,)."""
    _filled(real[1:], real)
    return ((real @ real.T).sum(axis=1) - 1) / (len(real) - 1)


def real_photos(features, draws=2000):
    """What the subject's own photos reach in scores of likeness: DataFrame measure, mean, low, high, images.

    features: {measure: (m, width) of the photos, by the encoder of that measure}. The photos are drawn again.
    """
    own = {name: ceiling(each) for name, each in features.items()}
    rows = [(name, each.mean(), *stats.interval(each, draws=draws), len(each)) for name, each in own.items()]
    return pd.DataFrame(rows, columns=["measure", "mean", "low", "high", "images"])


def prompt_fidelity(images, texts):
    """CLIP-T: the cosine of each picture and its own prompt. (n, width) twice -> (n,)."""
    _filled(images, texts)
    return (images * texts).sum(axis=1)


def perceptual_distance(layers, others):
    """LPIPS's distance between pictures, pair by pair: lists, one entry a layer, of (n, patches, width) -> (n,).

    Features of length 1 at each place; squared differences summed over width, averaged over places and added up over
    layers (Zhang et al. 2018, eq. 1, with all weights 1, as the published ones belong to networks of torchvision).
    Values compare only within one run.
    """
    total = 0
    for one, other in zip(layers, others, strict=True):
        one, other = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in (one, other))
        total = total + ((one - other) ** 2).sum(axis=-1).mean(axis=-1)
    return total


def diversity(layers):
    """DIV: the mean perceptual distance over all pairs of pictures of one subject and prompt. A float.

    layers: as from Encoders.layers. Raises ValueError for fewer than two pictures.
    """
    if len(layers[0]) < 2:
        raise ValueError("Diversity needs two pictures of a prompt, from two seeds.")
    first, second = np.triu_indices(len(layers[0]), k=1)
    return float(perceptual_distance([x[first] for x in layers], [x[second] for x in layers]).mean())


def nearest(generated, training):
    """Memorisation: for each picture the nearest training photo: (its index (n,), the cosine (n,))."""
    _filled(generated, training)
    similar = generated @ training.T
    return similar.argmax(axis=1), similar.max(axis=1)


def _filled(*features):
    if not all(len(each) for each in features):
        raise ValueError("There are no images to score.")


def measure(table, encoders, photos, texts=None):
    """The scores of each picture: `table` of compare.pictures without image, with DINO (if there is one), CLIP-I, CLIP-T.

    photos: PIL images of the subject; texts: the prompts as CLIP should read them, with the class for the name.
    """
    images, scored = list(table["image"]), table.drop(columns="image").reset_index(drop=True)
    features = encoders.image_features(images)
    if encoders.dino is not None:
        scored["DINO"] = fidelity(encoders.likeness_features(images), encoders.likeness_features(photos))
    scored["CLIP-I"] = fidelity(features, encoders.image_features(photos))
    numbers, unique = pd.factorize(pd.Series(table["prompt"] if texts is None else texts))
    scored["CLIP-T"] = prompt_fidelity(features, encoders.text_features(unique)[numbers])
    return scored


def variety(table, encoders):
    """DIV of each model and prompt: DataFrame model, method, prompt_id, DIV; a prompt with one picture is left out."""
    keys = ["model", "method", "prompt_id"]
    several = [(key, group["image"]) for key, group in table.groupby(keys, sort=False) if len(group) > 1]
    rows = [(*key, diversity(encoders.layers(images))) for key, images in several]
    return pd.DataFrame(rows, columns=[*keys, "DIV"])


def summary(table, measures, by=("model", "method"), draws=2000):
    """Mean and interval of each measure for each group: DataFrame of `by`, measure, mean, low, high, images.

    Prompts and seeds are drawn again, each by itself (stats.interval): it speaks of other prompts and other
    seeds of these trained models, not of another training. With one prompt only its seeds are drawn again.
    """
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        for name in measures:
            edges = stats.interval(group[name].to_numpy(float), clusters(group), draws=draws)
            rows.append((*key, name, group[name].mean(), *edges, len(group)))
    return pd.DataFrame(rows, columns=[*by, "measure", "mean", "low", "high", "images"])


def clusters(table):
    """The labels that stats.interval draws again: of prompt_id and seed those that vary, else None."""
    varying = [name for name in ("prompt_id", "seed") if name in table and table[name].nunique() > 1]
    return table[varying].to_numpy() if varying else None


def differences(table, measures, to="base", by="model", draws=2000):
    """How far each model lies above another on the same prompts and seeds.

    Returns a DataFrame of model, measure, against and the keys of stats.paired_difference. Raises ValueError if `to`
    is not in the table, or if a model has two pictures of one prompt_id and seed, as of a prompt in two wordings.
    """
    places = ["prompt_id", "seed"]
    if to not in set(table[by]):
        raise ValueError(f"There are no pictures by {to!r} to compare with: make them first.")
    if (twice := table.duplicated([by, *places])).any():
        model, prompt, seed = table.loc[twice, [by, *places]].iloc[0]
        raise ValueError(f"{model} has two pictures of {prompt}, seed {seed}: compare one wording at a time.")
    reference, rows = table.loc[table[by] == to, [*places, *measures]], []
    for name, group in table[table[by] != to].groupby(by, sort=False):
        both = group.merge(reference, on=places, suffixes=("", " there"))
        for score in measures:
            a, b = both[score].to_numpy(float), both[f"{score} there"].to_numpy(float)
            difference = stats.paired_difference(a, b, clusters(both), draws=draws)
            rows.append({by: name, "measure": score, "against": to} | difference)
    return pd.DataFrame(rows)


def load_reader(name):
    """A FeatureScorer with pocket's attribute classifier, which reads whatever pocket draws; None for other models."""
    if name != "pocket":
        return None
    from pocket.reader import load_reader as load

    return FeatureScorer(load(machine.REPO / "data" / "pocket" / "reader"))


def load_scorers(name, people):
    """{subject: scorer}: a FeatureScorer for whom the model's reader can know, else a PhotoScorer; one of each for all."""
    known = [subject for subject in people if name == "pocket" and subjects.about(subject)["telling"]]
    reader = load_reader(name) if known else None
    others = PhotoScorer(*models.load_clip(name)) if set(people) - set(known) else None
    return {subject: reader if subject in known else others for subject in people}


class FeatureScorer:
    """Counts a subject's telling features in an image, with a reader: an attribute classifier."""

    measure = "share of images that lack at most one telling feature"
    verb = "shows"  # what a picture does that has them
    limits = (0, 1)  # of the axis of a figure

    def __init__(self, reader):
        self.reader = reader

    @staticmethod
    def how(subject):
        """How it judges likeness to a subject, in words."""
        count = len(subjects.about(subject)["telling"])
        return f"an attribute classifier looks for {count} telling features, and {count - MISSING} of them will do"

    @staticmethod
    def words(summary):
        """A summary in words, such as 81 % (57 to 93 %)."""
        return stats.percent(summary["mean"], summary["low"], summary["high"])

    def read(self, images):
        """What the reader sees: one row an image, columns kind, skin, hair, hair_color, beard, glasses, ..."""
        return self.reader.read(list(images))

    def shows_subject(self, images, subject):
        """Whether each image lacks at most one of the subject's telling features: bool (images,)."""
        telling, seen = subjects.about(subject)["telling"], self.read(images)
        if not telling:
            raise ValueError(f"No telling features of {subject} are known: compare with photos, by a PhotoScorer.")
        return sum(seen[feature] == word for feature, word in telling.items()).to_numpy() >= len(telling) - MISSING

    def of_photos(self, subject):
        """What it says of each of the subject's own photos: bool (photos,)."""
        return self.shows_subject(_photos(subject), subject)


class PhotoScorer:
    """Compares an image with a subject's prepared photos by CLIP: CLIP-I of the DreamBooth paper."""

    measure = "CLIP similarity to the subject's photos"
    verb = "resembles"  # more or less
    limits = None

    def __init__(self, processor, clip):
        self.encoders = Encoders(processor, clip)

    def how(self, subject):
        """How it judges likeness to a subject, in words, and what the subject's photos reach among themselves."""
        how = "no attribute classifier knows them, so likeness is the CLIP similarity to their own photos"
        return f"{how}; these reach {self.of_photos(subject).mean():.2f} among themselves"

    @staticmethod
    def words(summary):
        """A summary in words, such as 0.62 (0.58 to 0.66); Student's t may leave the range of a cosine."""
        low, high = np.clip([summary["low"], summary["high"]], -1, 1)
        return f"{summary['mean']:.2f} ({stats.between(low, high)})"

    def shows_subject(self, images, subject):
        """Mean cosine of each image to the subject's photos: float (images,), in -1..1."""
        return fidelity(*map(self.encoders.image_features, (images, _photos(subject))))

    def of_photos(self, subject):
        """Mean cosine of each of the subject's own photos to all the others: float (photos,)."""
        return ceiling(self.encoders.image_features(_photos(subject)))


def _photos(subject):
    return [photo for _, photo in load_prepared(prepared_folder(subject))]
