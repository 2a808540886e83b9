"""Who looks like whom: scores of images against a subject.

On pocket the reader counts a subject's telling features; on any other model CLIP compares with the
prepared photos. Both scorers answer carries(images, subject), so the same cells work for both.
"""

import pandas as pd

from helpers import bootstrap, files, models, photos, runtime, scores, towers

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
        return bootstrap.percent(summary["mean"], summary["low"], summary["high"])

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
