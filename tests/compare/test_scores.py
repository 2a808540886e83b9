import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from helpers import show
from helpers.compare import reader, scores

RNG = np.random.default_rng(0)
A, B = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (RNG.normal(size=(5, 16)), RNG.normal(size=(7, 16))))


def test_fidelity_agrees_with_scipy():
    cosine = 1 - cdist(A, B, "cosine")
    assert scores.fidelity(A, B) == pytest.approx(cosine.mean(axis=1))
    assert scores.prompt_fidelity(A, B[:5]) == pytest.approx(cosine.diagonal())
    index, similar = scores.nearest(A, B)
    assert index.tolist() == cosine.argmax(axis=1).tolist() and similar == pytest.approx(cosine.max(axis=1))
    others = (1 - cdist(B, B, "cosine"))[~np.eye(7, dtype=bool)].reshape(7, 6)
    assert scores.ceiling(B) == pytest.approx(others.mean(axis=1))


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


def test_perceptual_distance_is_the_formula_and_diversity_its_mean_over_pairs():
    layers, others = ([RNG.normal(size=(3, 4, 6)), RNG.normal(size=(3, 9, 2))] for _ in range(2))
    expected = [slow_distance([x[i] for x in layers], [y[i] for y in others]) for i in range(3)]
    assert scores.perceptual_distance(layers, others) == pytest.approx(expected)
    assert scores.perceptual_distance(layers, [3 * x for x in layers]) == pytest.approx(np.zeros(3), abs=1e-12)
    pairs = [slow_distance([x[i] for x in layers], [x[j] for x in layers]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert scores.diversity(layers) == pytest.approx(np.mean(pairs))


def test_scores_without_pictures_are_refused():
    for score, features in ((scores.fidelity, (A[:0], B)), (scores.fidelity, (A, B[:0])), (scores.nearest, (A, B[:0]))):
        with pytest.raises(ValueError, match="no images"):
            score(*features)
    with pytest.raises(ValueError, match="two pictures"):
        scores.diversity([np.zeros((1, 4, 6))])


def crossed(bonus):
    """Scores of two trained_models over 6 prompts and 5 seeds; the second is `bonus` above the first."""
    rng, rows = np.random.default_rng(2), []
    for prompt in range(6):
        level = rng.normal()
        for seed in range(5):
            base = level + 0.1 * rng.normal()
            rows += [("base", "base", prompt, seed, base), ("h", "hypernetwork", prompt, seed, base + bonus)]
    return pd.DataFrame(rows, columns=["model", "method", "prompt_id", "seed", "CLIP-I"])


def test_differences_are_paired_by_prompt_and_seed():
    table = crossed(0.3)
    found = scores.differences(table.sample(frac=1, random_state=0), ["CLIP-I"]).iloc[0]
    assert (found["model"], found["pairs"], found["against"]) == ("h", 30, "base")
    assert found["difference"] == pytest.approx(0.3) and np.isnan(found["low"])  # all alike: not known
    uneven = table.assign(**{"CLIP-I": table["CLIP-I"] + 0.01 * np.random.default_rng(4).normal(size=len(table))})
    found = scores.differences(uneven.sample(frac=1, random_state=0), ["CLIP-I"]).iloc[0]
    assert found["low"] < 0.3 < found["high"] and found["high"] - found["low"] < 0.05, (
        "the prompts' spread is taken away"
    )
    summary = scores.summary(table, ["CLIP-I"], draws=300).set_index("model")
    assert summary.loc["h", "mean"] - summary.loc["base", "mean"] == pytest.approx(0.3)
    assert summary.loc["h", "low"] < summary.loc["base", "high"], "unpaired, the prompts' spread hides it"
    one = table[table["prompt_id"] == 1]  # a single prompt draws its seeds alone
    bare = table.drop(columns=["prompt_id", "seed"])
    assert (scores.clusters(table).shape, scores.clusters(one).shape, scores.clusters(bare)) == ((60, 2), (10, 1), None)
    with pytest.raises(ValueError, match="'nobody'"):
        scores.differences(table, ["CLIP-I"], to="nobody")
    with pytest.raises(ValueError, match="one wording"):  # the base model hears each prompt in two
        scores.differences(pd.concat([table, table[table["model"] == "base"]]), ["CLIP-I"])


def test_photos_reach_their_own_ceiling_by_every_tower():
    found = scores.real_photos({"DINO": B, "CLIP-I": A}).set_index("measure")
    assert list(found.index) == ["DINO", "CLIP-I"] and found["images"].tolist() == [7, 5]
    assert found["mean"].tolist() == pytest.approx([scores.ceiling(B).mean(), scores.ceiling(A).mean()])
    assert (found["low"] < found["mean"]).all() and (found["mean"] < found["high"]).all()


def test_drift_counts_what_moved_and_knows_chance():
    before = pd.DataFrame({"kind": ["man"] * 8 + ["woman"] * 8, "hair": ["long"] * 16})
    after = pd.DataFrame({"kind": ["man"] * 14 + ["woman"] * 2, "hair": ["long"] * 16})
    table = reader.table(before, after, ("kind", "hair"), draws=300).set_index("attribute")
    assert table.loc["kind", ["moved", "gain"]].tolist() == pytest.approx([6 / 16] * 2)
    assert table.loc["kind", "more"] == "man" and reader.distance(["man"] * 3, ["dog"]) == 1
    assert table.loc["hair", "moved"] == table.loc["hair", "by_chance"] == 0
    assert not table.loc["hair", "beyond_chance"]


def test_drift_compares_the_pictures_of_the_same_seeds():
    before = pd.DataFrame({"hair": ["long", "short", "curly"]}, index=[1, 2, 3])
    after = pd.DataFrame({"hair": ["curly", "long"]}, index=[3, 1])  # that of seed 2 was withheld
    assert reader.table(before, after, ["hair"], draws=50).loc[0, ["moved", "by_chance"]].tolist() == [0, 0]


def test_drift_by_chance_is_rarely_exceeded_by_chance():
    rng, alarms = np.random.default_rng(4), 0
    for i in range(60):
        one, other = (rng.choice(["a", "b", "c"], 24) for _ in range(2))
        alarms += reader.distance(one, other) > reader.by_chance(one, other, draws=200, seed=i)
    assert alarms <= 9  # 3 expected at five in a hundred


def test_parts_right_are_shares_of_what_was_asked():
    table = pd.DataFrame({"prompt": ["a man on a horse", "a man on a horse", "something"]})
    seen = pd.DataFrame({"kind": ["man", "woman", "man"], "context": ["horse", "dog", "dog"]})
    assert reader.right(table, seen).tolist() == pytest.approx([1, 0, np.nan], nan_ok=True)
    with pytest.raises(ValueError, match="3 pictures but 2 readings"):
        reader.right(table, seen[:2])


def test_forest_draws_every_row_and_interval_and_stacked_bars_fill_the_whole():
    summary = scores.summary(crossed(0.3), ["CLIP-I"], draws=50)
    (panel,) = show.forest(summary, zero=0, shown={"h": "hypernetwork on Amir"}).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["base", "hypernetwork on Amir"]
    drawn = [list(line.get_xdata()) for line in panel.lines]
    assert all([row.low, row.high] in drawn and [row.mean] in drawn for row in summary.itertuples())
    groups = {"before": pd.Series({"man": 0.5, "woman": 0.5}), "after": pd.Series({"man": 0.9, "dog": 0.1})}
    (axes,) = show.stacked_bars(groups, limit=2).axes
    ends = [max(bar.get_x() + bar.get_width() for bar in bars) for bars in zip(*[c.patches for c in axes.containers])]
    assert ends == pytest.approx([1, 1])


def test_a_word_has_one_colour_in_all_bars_and_a_method_in_all_figures():
    words, colors = ["woman", "man", "dog"], []
    for shares in ({"man": 1.0}, {"dog": 0.7, "man": 0.3}):
        (axes,) = show.stacked_bars({"base": pd.Series(shares)}, words).axes
        colors.append([bars.patches[0].get_facecolor() for bars in axes.containers[:3]])
    assert colors[0] == colors[1] and len(set(colors[0])) == 3
    summary = scores.summary(crossed(0.3), ["CLIP-I"], draws=50).replace({"h": "lora_x", "base": "real photos"})
    for table in (summary, summary[summary["model"] == "lora_x"]):
        colors.append(show.forest(table).axes[0].lines[-1].get_color())
    assert colors[2] == colors[3]
