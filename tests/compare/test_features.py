"""The encoders against a computation by hand, DINO with a tiny ViT of random weights."""

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import noise_images

from helpers import diffusion
from helpers.compare import features, scores

PROMPTS = ["a man", "a man", "a woman"]


@pytest.fixture(scope="module")
def pocket():
    return features.load_encoders("pocket")


@pytest.fixture(scope="module")
def with_dino(tiny_dino):
    """Pocket's CLIP and a tiny DINO, loaded as on sd15: from the folders named in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SD15_CLIP", diffusion.model_config("pocket").clip)
        patch.setenv("SD15_DINO", str(tiny_dino))
        return features.load_encoders("sd15")


def test_text_and_image_features_agree_with_clips_own_logits(pocket):
    images = noise_images(2)
    ours = pocket.image_features(images) @ pocket.text_features(PROMPTS).T
    inputs = pocket.processor(text=PROMPTS, images=images, return_tensors="pt", padding="max_length", max_length=77)
    with torch.no_grad():
        expected = (pocket.clip(**inputs).logits_per_image / pocket.clip.logit_scale.exp()).numpy()
    assert ours == pytest.approx(expected, abs=1e-5)


def test_dino_is_the_class_token_of_a_vit(with_dino):
    images = noise_images(2)
    pixels = with_dino.dino_processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        token = with_dino.dino(pixels).last_hidden_state[:, 0].numpy()
    expected = token / np.linalg.norm(token, axis=1, keepdims=True)
    assert with_dino.likeness_features(images) == pytest.approx(expected, abs=1e-5)
    assert [layer.shape for layer in with_dino.layers(images)] == [(2, 4, 12)] * 2


def table_of(images):
    rows = {"model": "base", "method": "base", "prompt_id": ["m", "m", "w"], "prompt": PROMPTS, "seed": [1, 2, 1]}
    return pd.DataFrame(rows).assign(image=images)


def test_measure_puts_each_score_where_it_belongs(pocket, with_dino):
    images, photos = noise_images(3), noise_images(4, seed=1)
    found = scores.measure(table_of(images), with_dino, photos)
    expected = with_dino.likeness_features(images) @ with_dino.likeness_features(photos).T
    assert found["DINO"].to_numpy() == pytest.approx(expected.mean(axis=1), abs=1e-5)
    words = pocket.text_features(PROMPTS)
    assert found["CLIP-T"].to_numpy() == pytest.approx((pocket.image_features(images) * words).sum(axis=1), abs=1e-4)
    assert "image" not in found and found["seed"].tolist() == [1, 2, 1]


def test_the_same_pictures_reach_the_ceiling_and_one_twice_has_no_variety(pocket):
    photos = noise_images(3, seed=1)
    mean = scores.measure(table_of(photos), pocket, photos)["CLIP-I"].to_numpy()
    assert mean == pytest.approx((scores.ceiling(pocket.image_features(photos)) * 2 + 1) / 3, abs=1e-5)
    same, others = (scores.variety(table_of(images), pocket) for images in ([photos[0]] * 3, photos))
    assert same["DIV"].tolist() == [0] and others["DIV"][0] > 0.01
    assert others["prompt_id"].tolist() == ["m"], "of the other prompt there is one picture only"
