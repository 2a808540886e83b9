from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from helpers import drift, prompt_parts, score_plots, scores


def unit(rng, *shape):
    features = rng.normal(size=shape)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


RNG = np.random.default_rng(0)
A, B = unit(RNG, 5, 16), unit(RNG, 7, 16)


def test_fidelity_on_vectors_made_by_hand():
    generated = np.array([[1.0, 0], [0, 1]])
    real = np.array([[1.0, 0], [0.6, 0.8]])
    assert scores.fidelity(generated, real) == pytest.approx([(1 + 0.6) / 2, (0 + 0.8) / 2])
    assert scores.prompt_fidelity(generated, real) == pytest.approx([1, 0.8])
    assert scores.ceiling(real) == pytest.approx([0.6, 0.6])


def test_fidelity_agrees_with_scipy():
    cosine = 1 - cdist(A, B, "cosine")
    assert scores.fidelity(A, B) == pytest.approx(cosine.mean(axis=1))
    assert scores.fidelity(A, B).mean() == pytest.approx(cosine.mean()), "the mean over all pairs, as published"
    index, similar = scores.nearest(A, B)
    assert index.tolist() == cosine.argmax(axis=1).tolist() and similar == pytest.approx(cosine.max(axis=1))
    others = 1 - cdist(B, B, "cosine")
    assert scores.ceiling(B).mean() == pytest.approx(others[~np.eye(7, dtype=bool)].mean())


def test_identical_and_shuffled_sets():
    assert scores.fidelity(A[:1], A[:1]) == pytest.approx([1])
    index, similar = scores.nearest(B, B)
    assert index.tolist() == list(range(7)) and similar == pytest.approx(np.ones(7))
    shuffled = np.random.default_rng(1).permutation(7)
    assert scores.fidelity(A, B[shuffled]) == pytest.approx(scores.fidelity(A, B))
    assert scores.prompt_fidelity(B, B[shuffled]).mean() < scores.prompt_fidelity(B, B).mean()


def slow_distance(one, other):
    """LPIPS's formula in loops, for one pair: layers of (patches, width)."""
    total = 0
    for x, y in zip(one, other):
        places = []
        for p, q in zip(x, y):
            p, q = p / np.sqrt(sum(p * p)), q / np.sqrt(sum(q * q))
            places.append(sum((p - q) ** 2))
        total += np.mean(places)
    return total


def test_perceptual_distance_is_the_formula():
    layers, others = ([RNG.normal(size=(3, 4, 6)), RNG.normal(size=(3, 9, 2))] for _ in range(2))
    expected = [slow_distance([x[i] for x in layers], [y[i] for y in others]) for i in range(3)]
    assert scores.perceptual_distance(layers, others) == pytest.approx(expected)
    assert scores.perceptual_distance(layers, [3 * x for x in layers]) == pytest.approx(np.zeros(3), abs=1e-12)
    assert scores.perceptual_distance(layers, [-x for x in layers]) == pytest.approx(
        np.full(3, 8)
    )  # 2 layers, 2 squared


def test_diversity_is_the_mean_over_pairs():
    layers = [RNG.normal(size=(3, 4, 6))]
    pairs = [slow_distance([layers[0][i]], [layers[0][j]]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert scores.diversity(layers) == pytest.approx(np.mean(pairs))
    assert scores.diversity([np.repeat(layers[0][:1], 4, axis=0)]) == 0


def test_scores_without_pictures_are_refused():
    for call in (
        lambda: scores.fidelity(A[:0], B),
        lambda: scores.fidelity(A, B[:0]),
        lambda: scores.nearest(A, B[:0]),
    ):
        with pytest.raises(ValueError, match="no images to score"):
            call()
    with pytest.raises(ValueError, match="two pictures of a prompt"):
        scores.diversity([np.zeros((1, 4, 6))])


def crossed(bonus):
    """Scores of two makers over 6 prompts and 5 seeds; the second is `bonus` above the first."""
    rng = np.random.default_rng(2)
    rows = []
    for prompt in range(6):
        level = rng.normal()
        for seed in range(5):
            base = level + 0.1 * rng.normal()
            rows += [("base", "base", prompt, seed, base), ("h", "hypernetwork", prompt, seed, base + bonus)]
    return pd.DataFrame(rows, columns=["maker", "method", "prompt_id", "seed", "CLIP-I"])


def test_differences_are_paired_by_prompt_and_seed():
    found = scores.differences(crossed(0.3).sample(frac=1, random_state=0), ["CLIP-I"]).iloc[0]
    assert (found["maker"], found["pairs"], found["against"]) == ("h", 30, "base")
    assert found["difference"] == pytest.approx(0.3) and found["low"] == pytest.approx(0.3)
    summary = scores.summary(crossed(0.3), ["CLIP-I"], draws=300).set_index("maker")
    assert summary.loc["h", "mean"] - summary.loc["base", "mean"] == pytest.approx(0.3)
    assert summary.loc["h", "low"] < summary.loc["base", "high"], "unpaired, the prompts' spread hides it"
    with pytest.raises(ValueError, match="no pictures by 'nobody'"):
        scores.differences(crossed(0), ["CLIP-I"], to="nobody")


def test_two_wordings_of_one_prompt_are_not_mixed():
    """The base model hears each of the ten prompts in two wordings, one a subject, under one prompt_id."""
    table = crossed(0.3)
    with pytest.raises(ValueError, match="base has two pictures of 0, seed 0: compare one wording"):
        scores.differences(pd.concat([table, table[table["maker"] == "base"]]), ["CLIP-I"])


def test_photos_reach_their_own_ceiling_by_every_tower():
    found = scores.real_photos({"DINO": B, "CLIP-I": A}).set_index("measure")
    assert list(found.index) == ["DINO", "CLIP-I"] and found["images"].tolist() == [7, 5]
    for name, photos in (("DINO", B), ("CLIP-I", A)):
        assert found.loc[name, "mean"] == pytest.approx(scores.ceiling(photos).mean())
        assert found.loc[name, "low"] < found.loc[name, "mean"] < found.loc[name, "high"]


def test_variety_needs_two_pictures_of_a_prompt():
    table = pd.DataFrame({"maker": "base", "method": "base", "prompt_id": ["a", "a", "b"], "image": [0, 1, 2]})
    towers = SimpleNamespace(layers=lambda images: [np.arange(len(list(images)) * 8.0).reshape(-1, 4, 2)])
    assert scores.variety(table, towers)["prompt_id"].tolist() == ["a"], "the other of b was withheld"


def test_a_single_prompt_draws_its_seeds_alone():
    table = crossed(0)
    assert scores.clusters(table).shape == (60, 2)
    assert scores.clusters(table[table["prompt_id"] == 1]).shape == (10, 1)
    assert scores.clusters(table.drop(columns=["prompt_id", "seed"])) is None


@given(st.lists(st.sampled_from(["man", "woman", "dog"]), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_drift_is_none_between_equal_sets_and_whole_between_others(words):
    assert drift.distance(words, list(reversed(words))) == 0
    assert drift.distance(words, ["horse"] * 3) == pytest.approx(1)


def test_drift_counts_what_moved_and_knows_chance():
    before = pd.DataFrame({"kind": ["man"] * 8 + ["woman"] * 8, "hair": ["long"] * 16})
    after = pd.DataFrame({"kind": ["man"] * 14 + ["woman"] * 2, "hair": ["long"] * 16})
    table = drift.table(before, after, ("kind", "hair"), draws=300).set_index("attribute")
    assert table.loc["kind", "moved"] == pytest.approx(6 / 16)
    assert (table.loc["kind", "more"], table.loc["kind", "gain"]) == ("man", pytest.approx(6 / 16))
    assert table.loc["hair", "moved"] == table.loc["hair", "by_chance"] == 0
    assert not table.loc["hair", "beyond_chance"]
    swapped = drift.by_chance(before["kind"], before["kind"].sample(frac=1, random_state=1))
    assert swapped < 0.6


def test_drift_compares_the_pictures_of_the_same_seeds():
    before = pd.DataFrame({"hair": ["long", "short", "curly"]}, index=[1, 2, 3])
    after = pd.DataFrame({"hair": ["curly", "long"]}, index=[3, 1])  # that of seed 2 was withheld
    table = drift.table(before, after, ["hair"], draws=50).iloc[0]
    assert table["moved"] == 0 and table["by_chance"] == 0


def test_drift_by_chance_is_rarely_exceeded_by_chance():
    rng, alarms = np.random.default_rng(4), 0
    for i in range(60):
        one, other = (rng.choice(["a", "b", "c"], 24) for _ in range(2))
        alarms += drift.distance(one, other) > drift.by_chance(one, other, draws=200, seed=i)
    assert alarms <= 9  # 3 expected at five in a hundred


def test_prompt_parts_of_the_papers_prompts():
    prompts = pd.read_csv("data/prompts.csv").set_index("prompt_id")["prompt"]
    asked = prompt_parts.asked
    assert asked(prompts["hypernetwork_1"]) == {"context": "horse", "kind": "man"}
    assert asked(prompts["hypernetwork_2"]) == {"context": "portrait", "kind": "man"}
    assert asked(prompts["hypernetwork_3"]) == {"style": "fire", "kind": "man"}
    assert asked(prompts["hypernetwork_4"]) == {"context": "chibi", "kind": "man"}
    assert asked(prompts["hypernetwork_5"])["beard"] == "majestic beard"
    assert asked(prompts["dreambooth_1"]) == {"context": "horse"}
    assert asked(prompts["dreambooth_2"])["style"] == "jade sculpture"
    assert asked(prompts["dreambooth_4"]) == {"style": "comic book", "context": "robot"}
    assert asked("a woman at the beach, oil painting") == {"style": "oil painting", "place": "beach", "kind": "woman"}
    assert asked("snowman, blue shirt") == {}


def test_parts_right_are_shares_of_what_was_asked():
    table = pd.DataFrame({"prompt": ["a man on a horse", "a man on a horse", "something"]})
    seen = pd.DataFrame({"kind": ["man", "woman", "man"], "context": ["horse", "dog", "dog"]})
    assert prompt_parts.right(table, seen).tolist()[:2] == [1, 0]
    assert np.isnan(prompt_parts.right(table, seen)[2])
    with pytest.raises(ValueError, match="3 pictures but 2 readings"):
        prompt_parts.right(table, seen[:2])


def test_forest_draws_every_row_and_interval():
    summary = scores.summary(crossed(0.3), ["CLIP-I"], draws=50)
    chart = score_plots.forest(summary, zero=0, shown={"h": "hypernetwork on Amir"})
    (panel,) = chart.axes
    assert panel.get_title() == "CLIP-I"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["base", "hypernetwork on Amir"]
    drawn = [line.get_xdata() for line in panel.lines]
    for row in summary.itertuples():
        assert any(list(x) == [row.low, row.high] for x in drawn) and any(list(x) == [row.mean] for x in drawn)
    with pytest.raises(ValueError, match="no scores"):
        score_plots.forest(summary[:0])


def test_stacked_bars_fill_the_whole():
    groups = {"before": pd.Series({"man": 0.5, "woman": 0.5}), "after": pd.Series({"man": 0.9, "dog": 0.1})}
    (axes,) = score_plots.stacked_bars(groups, limit=2).axes
    ends = [max(bar.get_x() + bar.get_width() for bar in bars) for bars in zip(*[c.patches for c in axes.containers])]
    assert ends == pytest.approx([1, 1])
