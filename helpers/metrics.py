"""Who looks like whom: scores of images against a subject, and honest intervals.

On pocket the reader counts a subject's telling features; on any other model CLIP compares with the
prepared photos. Both scorers answer carries(images, subject), so the same cells work for both.
"""

import numpy as np
import pandas as pd
from scipy import stats

from helpers import files, models, photos, runtime, scores, towers

ENOUGH = 3  # of a subject's four telling features: then an image carries the subject


def load_scorer(name):
    """The scorer of a model of helpers.models: a FeatureScorer on pocket, else a PhotoScorer."""
    if name == "pocket":
        from pocket.reader import load_reader

        return FeatureScorer(load_reader(runtime.REPO / "data" / "pocket" / "reader"))
    return PhotoScorer(*models.load_clip(name))


def telling_features(subject):
    """The features that tell a drawn subject from everybody else: {attribute: word}.

    Raises FileNotFoundError for a subject without data/subjects/<subject>/subject.json.
    """
    path = runtime.REPO / "data" / "subjects" / subject / "subject.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: the reader can only look for a subject that has this file.")
    return files.read_json(path)["telling"]


class FeatureScorer:
    """Counts a subject's telling features in an image, with a reader that names what it sees."""

    measure = "share of images with at least three of the four features"
    limits = (0, 1)  # of the axis of a figure

    def __init__(self, reader):
        self.reader = reader

    @staticmethod
    def words(summary):
        """A summary in words, such as 81 % (57 to 93 %)."""
        return "{mean:.0f} % ({low:.0f} to {high:.0f} %)".format(
            **{key: 100 * summary[key] for key in ("mean", "low", "high")}
        )

    def read(self, images):
        """What the reader sees: one row an image, columns kind, skin, hair, hair_color, beard, glasses, ..."""
        return self.reader.read(list(images))

    def found(self, images, subject):
        """Which telling features each image has: DataFrame of bool, one row an image."""
        seen = self.read(images)
        return pd.DataFrame({feature: seen[feature] == word for feature, word in telling_features(subject).items()})

    def carries(self, images, subject):
        """Whether each image has at least three of the subject's four telling features: bool (images,)."""
        return (self.found(images, subject).sum(axis=1) >= ENOUGH).to_numpy()


class PhotoScorer:
    """Compares an image with a subject's prepared photos by CLIP: CLIP-I of the DreamBooth paper."""

    measure = "CLIP similarity to the subject's photos"
    limits = None

    def __init__(self, processor, clip):
        self.towers = towers.Towers(processor, clip)

    @staticmethod
    def words(summary):
        """A summary in words, such as 0.62 (0.58 to 0.66)."""
        return f"{summary['mean']:.2f} ({summary['low']:.2f} to {summary['high']:.2f})"

    def carries(self, images, subject):
        """Mean cosine of each image to the subject's photos: float (images,), in -1..1."""
        return self.similarity(images, [photo for _, photo in photos.load_prepared(photos.prepared_folder(subject))])

    def similarity(self, images, references):
        """Mean cosine of each image to all references: float (images,)."""
        return scores.fidelity(self.features(images), self.features(references))

    def features(self, images):
        """CLIP image features of length 1: (images, width)."""
        return self.towers.image_features(images)


def wilson(count, total, confidence=0.95):
    """Wilson's interval of a proportion: (low, high).

    Unlike the textbook interval it holds for a dozen images, and for 0 and for all of them.
    """
    interval = stats.binomtest(int(count), int(total)).proportion_ci(confidence, method="wilson")
    return interval.low, interval.high


def summarise(values, confidence=0.95):
    """Mean of what a scorer says of some images, with its interval: dict images, mean, low, high.

    values: bools (Wilson's interval) or floats (Student's t; NaN for a single image).
    The interval speaks of further seeds of this one trained model, not of another training.
    Raises ValueError if there are no values.
    """
    values = np.asarray(values)
    if not len(values):
        raise ValueError("There are no images to count.")
    mean = float(values.mean())
    if values.dtype == bool:
        low, high = wilson(values.sum(), len(values), confidence)
    elif len(values) == 1:
        low = high = float("nan")
    else:
        half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
        low, high = mean - half, mean + half
    return {"images": len(values), "mean": mean, "low": float(low), "high": float(high)}
