import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from helpers import metrics, models, photos, runtime

TELLING = {"hair": "curly", "hair_color": "black", "beard": "majestic beard", "glasses": "round glasses"}


class FakeReader:
    """Reads features that are written into an image's info."""

    def read(self, images):
        return pd.DataFrame([image.info for image in images])


def image_with(features, others="something else"):
    image = Image.new("RGB", (8, 8))
    image.info = {name: word if name in features else others for name, word in TELLING.items()} | {"kind": "man"}
    return image


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository with one subject, amir."""
    folder = tmp_path / "data" / "subjects" / "amir"
    folder.mkdir(parents=True)
    (folder / "subject.json").write_text(json.dumps({"name": "amir", "class_word": "man", "telling": TELLING}))
    monkeypatch.setattr(runtime, "REPO", tmp_path)
    return tmp_path


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_closed_formula(counts):
    count, total = counts
    z = stats.norm.ppf(0.975)
    share = count / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    assert metrics.wilson(count, total) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_wilson_for_twenty_students_as_in_the_books():
    assert metrics.wilson(14, 20) == pytest.approx((0.481, 0.855), abs=5e-4)
    assert metrics.wilson(20, 20) == pytest.approx((0.839, 1.0), abs=5e-4)
    assert metrics.wilson(0, 16)[0] == 0


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_summary_of_bools_counts_them(values):
    summary = metrics.summarise(values)
    assert summary["images"] == len(values)
    assert summary["mean"] == pytest.approx(sum(values) / len(values))
    assert 0 <= summary["low"] <= summary["mean"] + 1e-12 and summary["mean"] <= summary["high"] + 1e-12 <= 1 + 1e-9


def test_summary_of_floats_is_students_interval():
    values = np.array([0.61, 0.55, 0.70, 0.66, 0.58])
    summary = metrics.summarise(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (summary["low"], summary["high"]) == pytest.approx((low, high))
    assert math.isnan(metrics.summarise([0.5])["low"])


def test_summaries_in_words():
    summary = metrics.summarise([True] * 13 + [False] * 3)
    assert metrics.FeatureScorer.words(summary) == "81 % (57 to 93 %)"
    assert metrics.PhotoScorer.words({"mean": 0.617, "low": 0.58, "high": 0.664}) == "0.62 (0.58 to 0.66)"


def test_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no images"):
        metrics.summarise([])


def test_three_of_four_features_carry_the_subject(repo):
    names = list(TELLING)
    images = [image_with(names[:count]) for count in range(5)] + [image_with(names[1:])]
    scorer = metrics.FeatureScorer(FakeReader())
    carries = scorer.carries(images, "amir")
    assert carries.dtype == bool
    assert carries.tolist() == [False, False, False, True, True, True]
    assert scorer.found(images, "amir").sum(axis=1).tolist() == [0, 1, 2, 3, 4, 3]
    assert scorer.read(images)["kind"].tolist() == ["man"] * 6


def test_a_subject_without_features_is_named(repo):
    with pytest.raises(FileNotFoundError, match=r"nobody.*subject\.json is missing"):
        metrics.telling_features("nobody")


@pytest.fixture(scope="module")
def photo_scorer():
    return metrics.PhotoScorer(*models.load_clip("pocket"))


def noise_images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)) for _ in range(count)]


def test_similarity_is_the_mean_pairwise_cosine(photo_scorer):
    images, references = noise_images(3), noise_images(4, seed=1)
    similarity = photo_scorer.similarity(images, references)
    alone = [[photo_scorer.similarity([image], [other])[0] for other in references] for image in images]
    assert similarity == pytest.approx(np.mean(alone, axis=1), abs=1e-5)
    assert (np.abs(alone) <= 1 + 1e-5).all()


def test_an_image_is_its_own_twin(photo_scorer):
    image = noise_images(1)[0]
    assert photo_scorer.similarity([image], [image])[0] == pytest.approx(1, abs=1e-4)


def test_photo_scorer_compares_with_the_prepared_photos(photo_scorer, tmp_path, monkeypatch):
    references, images = noise_images(3, seed=2), noise_images(2, seed=3)
    monkeypatch.setattr(photos, "prepared_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(photos, "load_prepared", lambda folder: [(folder / "1.png", image) for image in references])
    scores = photo_scorer.carries(images, "amir")
    assert scores == pytest.approx(photo_scorer.similarity(images, references))
    assert metrics.summarise(scores)["mean"] == pytest.approx(scores.mean())


def test_features_of_an_object_or_a_tensor_are_the_same(photo_scorer, monkeypatch):
    images = noise_images(2)
    now = photo_scorer.features(images)
    original = photo_scorer.towers.clip.get_image_features

    def as_before_transformers_5(**inputs):
        found = original(**inputs)
        return getattr(found, "pooler_output", found)

    monkeypatch.setattr(photo_scorer.towers.clip, "get_image_features", as_before_transformers_5)
    assert np.array_equal(photo_scorer.features(images), now)
