import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from helpers import machine
from helpers.compare import scores
from helpers.diffusion import models
from helpers.stats import summarise, wilson

TELLING = {"hair": "curly", "hair_color": "black", "beard": "majestic beard", "glasses": "round glasses"}


def test_wilson_for_twenty_students_as_in_the_books():
    assert wilson(14 / 20, 20) == pytest.approx((0.481, 0.855), abs=5e-4)
    assert wilson(1, 20) == pytest.approx((0.839, 1.0), abs=5e-4)
    assert wilson(0, 16)[0] == 0
    expected = {"images": 20, "mean": 0.7, "low": 0.481, "high": 0.855}
    assert summarise([True] * 14 + [False] * 6) == pytest.approx(expected, abs=5e-4)


def test_summary_of_floats_is_students_interval():
    values = np.array([0.61, 0.55, 0.70, 0.66, 0.58])
    summary = summarise(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (summary["low"], summary["high"]) == pytest.approx((low, high))
    assert math.isnan(summarise([0.5])["low"])
    with pytest.raises(ValueError, match="no images"):
        summarise([])


def test_three_of_four_features_carry_the_subject(tmp_path, monkeypatch):
    reader = SimpleNamespace(read=pd.DataFrame)
    folder = tmp_path / "data" / "subjects" / "amir"
    folder.mkdir(parents=True)
    (folder / "subject.json").write_text(json.dumps({"name": "amir", "class_word": "man", "telling": TELLING}))
    monkeypatch.setattr(machine, "REPO", tmp_path)
    names = list(TELLING)
    shown = [names[:count] for count in range(5)] + [names[1:]]
    images = [{name: word if name in features else "other" for name, word in TELLING.items()} for features in shown]
    scorer = scores.FeatureScorer(reader)
    shows_subject = scorer.shows_subject(images, "amir")
    assert shows_subject.dtype == bool and shows_subject.tolist() == [False, False, False, True, True, True]
    with pytest.raises(FileNotFoundError, match="nobody"):
        scores.telling_features("nobody")


@pytest.fixture(scope="module")
def photo_scorer():
    return scores.PhotoScorer(*models.load_clip("pocket"))


def noise_images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)) for _ in range(count)]


def test_similarity_to_the_prepared_photos_is_the_mean_pairwise_cosine(photo_scorer, tmp_path, monkeypatch):
    images, references = noise_images(2), noise_images(3, seed=1)
    monkeypatch.setattr(scores, "prepared_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(scores, "load_prepared", lambda folder: [(folder / "1.png", image) for image in references])
    features = photo_scorer.encoders.image_features
    cosines = features(images) @ features(references).T
    assert photo_scorer.shows_subject(images, "amir") == pytest.approx(cosines.mean(axis=1), abs=1e-5)
