from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pictures import noise_images

from helpers import machine, stats
from helpers.compare import scores
from helpers.diffusion import models

TELLING = {"hair": "curly", "hair_color": "black", "beard": "majestic beard", "glasses": "round glasses", "skin": "tan"}


@pytest.mark.parametrize("count", [4, 5])
def test_all_features_but_one_carry_the_subject(count, tmp_path, monkeypatch):
    telling = dict(list(TELLING.items())[:count])
    reader = SimpleNamespace(read=pd.DataFrame)
    about = {"name": "amir", "class_word": "man", "telling": telling}
    machine.write_json(tmp_path / "data" / "subjects" / "amir" / "subject.json", about)
    monkeypatch.setattr(machine, "REPO", tmp_path)
    names = list(telling)
    shown = [names[:some] for some in range(count + 1)] + [names[1:]]
    images = [{name: word if name in features else "other" for name, word in telling.items()} for features in shown]
    scorer = scores.FeatureScorer(reader)
    shows_subject = scorer.shows_subject(images, "amir")
    assert shows_subject.dtype == bool and shows_subject.tolist() == [False] * (count - 1) + [True] * 3
    with pytest.raises(ValueError, match="nobody"):
        scorer.shows_subject(images, "nobody")


def test_similarity_to_the_prepared_photos_is_the_mean_pairwise_cosine(tmp_path, monkeypatch):
    photo_scorer = scores.PhotoScorer(*models.load_clip("pocket"))
    images, references = noise_images(2), noise_images(3, seed=1)
    monkeypatch.setattr(scores, "prepared_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(scores, "load_prepared", lambda folder: [(folder / "1.png", image) for image in references])
    features = photo_scorer.encoders.image_features
    cosines = features(images) @ features(references).T
    assert photo_scorer.shows_subject(images, "amir") == pytest.approx(cosines.mean(axis=1), abs=1e-5)
    among = features(references) @ features(references).T
    others = among[~np.eye(3, dtype=bool)].mean()
    assert photo_scorer.of_photos("amir").mean() == pytest.approx(others, abs=1e-5), (
        "a photo is not compared with itself"
    )
    assert f"these reach {others:.2f} among" in photo_scorer.how("amir")


def test_no_interval_leaves_the_range_of_a_cosine():
    """Two pictures leave Student's t wider than that."""
    assert scores.PhotoScorer.words(stats.summarise([0.2, 0.6])) == "0.40 (-1.00 to 1.00)"
    assert "not known" in scores.PhotoScorer.words(stats.summarise([0.2]))


def test_whom_no_reader_knows_is_compared_with_photos(monkeypatch):
    loaded = []
    monkeypatch.setattr(models, "load_clip", lambda name: loaded.append(name) or (None, SimpleNamespace()))
    monkeypatch.setattr(scores, "load_reader", lambda name: loaded.append("reader") or scores.FeatureScorer(None))
    scorers = scores.load_scorers("pocket", ["amir", "Zoë Okafor", "nesrelah", "Olena"])
    assert scorers["amir"] is scorers["nesrelah"] and isinstance(scorers["amir"], scores.FeatureScorer)
    assert scorers["Zoë Okafor"] is scorers["Olena"] and isinstance(scorers["Olena"], scores.PhotoScorer)
    assert sorted(loaded) == ["pocket", "reader"], "each is loaded once"
    assert {type(scorer) for scorer in scores.load_scorers("sd15", ["amir", "Olena"]).values()} == {scores.PhotoScorer}
