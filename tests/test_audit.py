"""The audit's counting: against worlds whose skew is known, hand-computed numbers and invariants. No model is loaded."""

import shutil

import numpy as np
import pandas as pd
import pytest
from cells import execute
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers import (
    audit_counts,
    audit_features,
    audit_tagging,
    audit_words,
    audit_world,
    colab,
    notebooks,
    places,
)
from pocket import world


def seen(share_inside, share_outside, seeds=400, seed=0):
    """Readings of a model that shows a man in a suit with one chance, in other clothes with another."""
    rng = np.random.default_rng(seed)
    rows = [
        ("base", prompt, s, "man" if rng.random() < share else "woman")
        for prompt, share in [("suit", share_inside), ("shirt", share_outside), ("hoodie", share_outside)]
        for s in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["maker", "prompt", "seed", "kind"])


def test_the_world_has_its_planted_skew_and_no_other():
    people = audit_world.people(20_000)
    suits = people["clothes"] == "suit"
    man = people["kind"] == "man"
    assert man[suits].mean() == pytest.approx(world.MEN_AMONG_SUITS, abs=0.02)
    assert man.mean() == pytest.approx(0.5, abs=0.015)
    for attribute, words in (
        ("skin", world.SKINS),
        ("hair_color", world.HAIR_COLORS),
        ("expression", world.EXPRESSIONS),
    ):
        assert people[attribute].value_counts(normalize=True).sub(1 / len(words)).abs().max() < 0.015


def test_the_audit_finds_what_is_there():
    planted = 0.8 - 0.425
    table = seen(0.8, 0.425)
    found = audit_counts.amplification(audit_counts.skew(table, "kind", "man", ["suit"], ["shirt", "hoodie"]), planted)
    assert found["ratio"] == pytest.approx(1, abs=0.2) and found["ratio_low"] < 1 < found["ratio_high"]
    assert found["seeds"] == 400 and found["ratio"] == pytest.approx(found["found"] / planted)


@pytest.mark.parametrize(
    ("inside", "outside", "words"),
    [
        (0.5, 0.5, "no skew"),
        (0.2, 0.6, "other way"),
        (1.0, 0.3, "stronger"),
        (0.6, 0.5, "less of it"),
        (0.8, 0.425, "cannot tell"),
    ],
)
def test_the_verdict_says_what_the_numbers_allow(inside, outside, words):
    skews = audit_counts.skew(seen(inside, outside, seeds=500, seed=3), "kind", "man", ["suit"], ["shirt", "hoodie"])
    assert words in audit_counts.verdict(audit_counts.amplification(skews, 0.375))


def test_amplification_holds_its_interval_for_a_skew_the_other_way():
    found = audit_counts.amplification(pd.Series([-0.5, -0.4, -0.3, -0.6]), -0.4)
    assert found["ratio_low"] < found["ratio"] < found["ratio_high"] and found["ratio"] == pytest.approx(1.125)
    with pytest.raises(ValueError, match="skew of 0"):
        audit_counts.amplification([0.1, 0.2], 0)


def test_a_habit_of_the_whole_model_is_no_skew():
    skews = audit_counts.skew(seen(0.9, 0.9, seeds=2000), "kind", "man", ["suit"], ["shirt", "hoodie"])
    assert abs(skews.mean()) < 0.03


def test_skew_pairs_seeds_and_drops_the_unpaired():
    table = pd.DataFrame(
        [("suit", 1, "man"), ("shirt", 1, "woman"), ("suit", 2, "man"), ("shirt", 2, "man"), ("suit", 3, "man")],
        columns=["prompt", "seed", "kind"],
    )
    assert audit_counts.skew(table, "kind", "man", ["suit"], ["shirt"]).to_dict() == {1: 1.0, 2: 0.0}


def test_shares_and_distribution_count_the_same():
    table = seen(0.8, 0.4, seeds=10)
    shares = audit_counts.shares(table, "kind", "man")
    wide = audit_counts.distribution(table, "kind")
    assert list(shares["prompt"]) == ["suit", "shirt", "hoodie"] == list(wide.index)
    np.testing.assert_allclose(shares["mean"], wide["man"])
    assert (shares["low"] <= shares["mean"]).all() and (shares["mean"] <= shares["high"]).all()


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_evenness_is_between_0_and_1(words):
    assert -1e-9 <= audit_counts.evenness(words, "abc") <= 1 + 1e-9


def test_evenness_ends():
    assert audit_counts.evenness("aaaa", "abc") == 0 and audit_counts.evenness("abcabc", "abc") == pytest.approx(1)
    with pytest.raises(ValueError, match="'d' is not among"):
        audit_counts.evenness("abd", "abc")


@given(st.floats(0, 1), st.floats(0.6, 1))
def test_the_readers_error_is_taken_out(share, right):
    read = share * right + (1 - share) * (1 - right)
    assert audit_counts.corrected(read, right) == pytest.approx(share, abs=1e-9)


def test_a_reader_that_guesses_is_refused():
    with pytest.raises(ValueError, match="tells nothing"):
        audit_counts.corrected(0.5, 0.5)


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.fixture
def three_crowds():
    """30 pictures in three directions, ten each."""
    rng = np.random.default_rng(0)
    return unit(np.repeat(np.eye(3, 8), 10, axis=0) + 0.05 * rng.normal(size=(30, 8)))


def test_clusters_are_the_crowds(three_crowds):
    cluster, centres = audit_features.clusters(three_crowds, 3)
    labels = np.repeat(["a", "b", "c"], 10)
    table = audit_features.cluster_table(cluster, labels, 3)
    assert list(table.index) == ["a", "b", "c"] and sorted(table.to_numpy().argmax(axis=1)) == [0, 1, 2]
    assert (table.max(axis=1) == 1).all()
    assert (audit_features.assign(three_crowds, centres) == cluster).all()
    with pytest.raises(ValueError, match="30 pictures cannot make 31"):
        audit_features.clusters(three_crowds, 31)


def test_spread_by_hand():
    assert audit_features.spread(np.eye(4)) == pytest.approx(1)
    assert audit_features.spread(np.ones((3, 1))) == pytest.approx(0)
    with pytest.raises(ValueError, match="two pictures"):
        audit_features.spread(np.eye(1))


def test_shift_of_nothing_is_0_and_of_strangers_1():
    features = np.eye(6)
    np.testing.assert_allclose(audit_features.shift(features, features), 0, atol=1e-12)
    np.testing.assert_allclose(audit_features.shift(features, np.roll(features, 1, axis=0)), 1)
    with pytest.raises(ValueError, match="same seeds"):
        audit_features.shift(features, features[:3])


def test_moved_says_by_how_much_and_how_surely(three_crowds):
    same = audit_features.moved(three_crowds, three_crowds)
    assert same["moved"] == pytest.approx(0) and same["variety"] == pytest.approx(1)
    one_face = np.repeat(three_crowds[:1], 30, axis=0)
    found = audit_features.moved(three_crowds, one_face)
    assert found["low"] < found["moved"] < found["high"] and found["variety"] == pytest.approx(0, abs=1e-9)


def test_leaning_puts_the_sets_at_1_and_minus_1(three_crowds):
    one, other = three_crowds[:10], three_crowds[10:20]
    assert audit_features.leaning(one, one, other)["lean"] == pytest.approx(1)
    assert audit_features.leaning(other, one, other)["lean"] == pytest.approx(-1)
    mixed = audit_features.leaning(np.concatenate([one[:9], other[:1]]), one, other)
    assert 0.5 < mixed["lean"] < 1 and mixed["low"] < mixed["lean"] < mixed["high"]


def test_words_are_counted_whole():
    assert audit_words.mentioned("A woman, and her dog: no HUMANity") == {"woman"}
    assert audit_words.counts(["a man", "a man and a woman", "a dog"]).to_dict() == {
        "woman": 1, "man": 2, "person": 0, "nobody": 1,
    }  # fmt: skip
    assert [audit_words.called(c) for c in ("a lady", "men and women", "a person", "snow")] == [
        "woman", "both", "person", "nobody",
    ]  # fmt: skip


def test_prompts_ask_for_nobody_and_name_no_artist():
    table = pd.read_csv(places.REPO / "data" / "audit" / "prompts.csv")
    assert not table.duplicated("prompt").any() and table.notna().all(axis=None)
    paper = " ".join(pd.read_csv(places.REPO / "data" / "prompts.csv")["prompt"]).lower()
    for prompt in table["prompt"][table["group"] == "name"]:
        assert prompt.split()[-1].lower() not in paper
    gendered = table["prompt"].map(audit_words.called).isin(["man", "woman"])
    assert set(table["group"][gendered]) == {"class"}


def test_languages_say_one_thing_each_and_english_comes_first():
    table = pd.read_csv(places.REPO / "data" / "audit" / "languages.csv")
    assert table["code"].iloc[0] == "en" and not table.duplicated("code").any() and not table.duplicated("prompt").any()


@pytest.fixture
def pictures():
    images = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue", "white")]
    table = pd.DataFrame({"maker": "DreamBooth", "prompt": "p", "seed": range(4), "image": images})
    return audit_tagging.items(table, {"DreamBooth": "1234"})


def test_a_picture_has_one_code_on_every_computer_and_another_of_other_weights(pictures):
    shifted = pictures.assign(image=[image.point(lambda value: value // 2) for image in pictures["image"]])
    assert list(audit_tagging.items(shifted, {"DreamBooth": "1234"})["item"]) == list(pictures["item"])
    others = [
        audit_tagging.items(pictures, {"DreamBooth": "99"}),
        audit_tagging.items(pictures.assign(prompt="q"), {"DreamBooth": "1234"}),
    ]
    assert len({*pictures["item"], *others[0]["item"], *others[1]["item"]}) == 12


def test_a_tagger_saves_each_answer_and_goes_on_where_it_was(pictures, tmp_path):
    first = audit_tagging.Tagger(pictures, "7", tmp_path)
    assert first.undo.disabled and "Picture 1 of 4" in first.told.value and 'alt="picture 1 of 4' in first.picture.value
    first.buttons[0].click()
    first.buttons[1].click()
    again = audit_tagging.Tagger(pictures, "7", tmp_path)
    assert again.given == first.given and list(first.given.values()) == ["as a woman", "as a man"]
    again.undo.click()
    for _ in range(5):  # one more click than pictures
        again.buttons[2].click()
    tags = audit_tagging.read_tags(tmp_path)
    assert sorted(tags["item"]) == sorted(pictures["item"]) and all(b.disabled for b in again.buttons)
    assert list(tags["tag"]).count("cannot tell") == 3 and "All 4" in again.told.value


def test_taggers_do_not_see_where_a_picture_comes_from_nor_the_same_order(pictures, tmp_path):
    shown = [audit_tagging.Tagger(pictures, name, tmp_path) for name in "abcdef"]
    assert "DreamBooth" not in shown[0].picture.value and len({tuple(each.order) for each in shown}) > 1
    with pytest.raises(ValueError, match="cannot be a tagger's name"):
        audit_tagging.Tagger(pictures, "../x", tmp_path)


def tags(rows):
    return pd.DataFrame([(*row[:2], "q", row[2]) for row in rows], columns=audit_tagging.COLUMNS)


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([("1", "a"), ("2", "b")], "2 taggers so far and no picture that two of them tagged"),
        ([("1", "a"), ("1", "b"), ("2", "a")], "2 taggers, 3 tags, alpha nan on 1 pictures"),
        ([("1", "a"), ("1", "b"), ("2", "a"), ("2", "b")], "2 taggers, 4 tags, alpha 0.00 on 2 pictures"),
        ([], "0 taggers so far"),
    ],
)
def test_the_notebook_tells_agreement_only_where_two_tagged_one_picture(tmp_path, capsys, items, told):
    """The cell itself, on files as the widget writes them. Tagger 1 says "man" of a, "woman" of b; tagger 2 "man"."""
    (tmp_path / "tags").mkdir()
    for tagger in {name for name, _ in items}:
        rows = [(tagger, item, audit_tagging.QUESTION, tag(tagger, item)) for name, item in items if name == tagger]
        pd.DataFrame(rows, columns=audit_tagging.COLUMNS).to_csv(tmp_path / "tags" / f"tags_{tagger}.csv", index=False)
    (path,) = [path for path in notebooks.paths() if path.name.startswith("07")]
    (source,) = [cell.source for cell in notebooks.read(path).cells if "audit_tagging.read_tags(" in cell.source]
    execute(source, {"audit_tagging": audit_tagging, "RUN": tmp_path})
    assert told in capsys.readouterr().out


def tag(tagger, item):
    return "as a woman" if (tagger, item) == ("1", "b") else "as a man"


def test_agreement_is_krippendorffs_own_example():
    krippendorff = pytest.importorskip("krippendorff")
    rng = np.random.default_rng(1)
    rows = [(t, i, "xyz"[rng.integers(3)]) for t in "abcd" for i in range(12) if rng.random() < 0.8]
    table = tags(rows)
    matrix = table.pivot(index="tagger", columns="item", values="tag")
    numbers = matrix.map(lambda tag: {"x": 0, "y": 1, "z": 2}.get(tag, np.nan)).to_numpy(float)
    expected = krippendorff.alpha(numbers, level_of_measurement="nominal")
    assert audit_tagging.agreement(table) == pytest.approx(expected)


def test_the_files_of_a_class_are_one_table_zips_too_and_nobody_is_lost(pictures, tmp_path):
    for tagger in ("7", "8"):
        audit_tagging.Tagger(pictures, tagger, tmp_path / tagger / "tags").answer("as a man")
    folder = tmp_path / "class"
    folder.mkdir()
    shutil.copy(tmp_path / "7" / "tags" / "tags_7.csv", folder)
    colab.take_home(tmp_path / "8" / "tags", folder / "tags (1).zip")
    assert sorted(audit_tagging.read_tags(folder)["tagger"]) == ["7", "8"]
    shutil.copy(tmp_path / "7" / "tags" / "tags_7.csv", folder / "tags_7 (1).csv")  # two who took one number
    with pytest.raises(ValueError, match=r"tags_7 \(1\).csv and .*tags_7.csv are both of tagger 7: give one another"):
        audit_tagging.read_tags(folder)


def test_a_majority_is_more_than_half(tmp_path):
    table = tags([("a", "1", "x"), ("b", "1", "x"), ("c", "1", "y"), ("a", "2", "x"), ("b", "2", "y")])
    found = audit_tagging.majority(table)
    assert found["tag"].iloc[0] == "x" and pd.isna(found["tag"].iloc[1]) and list(found["taggers"]) == [3, 2]
    (tmp_path / "odd.csv").write_text("tagger,item\n1,2\n")
    with pytest.raises(ValueError, match="odd.csv lacks the column question"):
        audit_tagging.read_tags(tmp_path)
