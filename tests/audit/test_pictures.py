"""The audit's counting: against worlds whose skew is known, hand-computed numbers and invariants. No model is loaded."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import audit, machine
from helpers.audit import measure, tagging


def seen(share_inside, share_outside, seeds=400, seed=0):
    """Readings of a model that shows a man in a suit with one chance, in other clothes with another."""
    rng = np.random.default_rng(seed)
    rows = [
        ("base", prompt, s, "man" if rng.random() < share else "woman")
        for prompt, share in [("suit", share_inside), ("shirt", share_outside), ("hoodie", share_outside)]
        for s in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["model", "prompt", "seed", "kind"])


def skew(table):
    return measure.skew(table, "kind", "man", ["suit"], ["shirt", "hoodie"])


def test_the_audit_finds_what_is_there():
    planted = 0.8 - 0.425
    found = measure.amplification(skew(seen(0.8, 0.425)), planted)
    assert found["ratio"] == pytest.approx(1, abs=0.2) and found["ratio_low"] < 1 < found["ratio_high"]
    assert found["seeds"] == 400 and found["ratio"] == pytest.approx(found["measured"] / planted)
    found = measure.amplification(pd.Series([-0.5, -0.4, -0.3, -0.6]), -0.4)  # the other way
    assert found["ratio_low"] < found["ratio"] < found["ratio_high"] and found["ratio"] == pytest.approx(1.125)
    with pytest.raises(ValueError, match="skew of 0"):
        measure.amplification([0.1, 0.2], 0)
    assert abs(skew(seen(0.9, 0.9, seeds=2000)).mean()) < 0.03, "a habit of the whole model is no skew"


VERDICTS = {"no skew": (0.5, 0.5), "other way": (0.2, 0.6), "stronger": (1, 0.3), "less of it": (0.6, 0.5)}


@pytest.mark.parametrize(("words", "shares"), [*VERDICTS.items(), ("cannot tell", (0.8, 0.425))])
def test_the_verdict_says_what_the_numbers_allow(words, shares):
    skews = skew(seen(*shares, seeds=500, seed=3))
    assert words in measure.verdict(measure.amplification(skews, 0.375))


def test_seeds_that_are_all_alike_are_not_certain():
    found = measure.amplification([1.0] * 12, 0.5)
    assert found["measured"] == 1 and found["low"] < 0.8 and "cannot tell" not in measure.verdict(found)
    alone = measure.verdict(measure.amplification([0.4], 0.5))
    assert alone.count("interval not known") == 2 and "nan" not in alone and "cannot tell" in alone


@pytest.mark.parametrize(
    ("short", "captions", "words"),
    [(1.0, 1.0, "whichever way"), (1.0, 0.4, "short prompts alone"), (0.4, 1.0, "words alone"), (0.4, 0.4, "neither")],
)
def test_the_headline_keeps_what_both_wordings_show(short, captions, words):
    found = [measure.amplification(skew(seen(share, 0, seeds=500)), 0.4) for share in (short, captions)]
    said = measure.headline(*found)
    assert words in said and f"Short prompts: {found[0]['ratio']:.2f} times" in said


def test_skew_pairs_seeds_and_drops_the_unpaired():
    rows = [("suit", 1, "man"), ("shirt", 1, "woman"), ("suit", 2, "man"), ("hoodie", 2, "man"), ("suit", 3, "man")]
    assert skew(pd.DataFrame(rows, columns=["prompt", "seed", "kind"])).to_dict() == {1: 1.0, 2: 0.0}


def test_shares_and_distribution_count_the_same():
    table = seen(0.8, 0.4, seeds=10)
    shares, wide = measure.shares(table, "kind", "man"), measure.distribution(table, "kind")
    assert list(shares["prompt"]) == ["suit", "shirt", "hoodie"] == list(wide.index)
    np.testing.assert_allclose(shares["mean"], wide["man"])


def test_evenness_goes_from_0_to_1():
    assert 0 < measure.evenness("aab", "abc") < measure.evenness("abc", "abc")
    assert measure.evenness("aaaa", "abc") == 0 and measure.evenness("abcabc", "abc") == pytest.approx(1)
    with pytest.raises(ValueError, match="'d'"):
        measure.evenness("abd", "abc")


@pytest.fixture
def three_crowds():
    """Features of 30 pictures in three directions, ten each, of length 1."""
    features = np.repeat(np.eye(3, 8), 10, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(30, 8))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_clusters_are_the_crowds(three_crowds):
    cluster = measure.clusters(three_crowds, 3)
    table = measure.cluster_table(cluster, np.repeat(["a", "b", "c"], 10), 3)
    assert list(table.index) == ["a", "b", "c"] and sorted(table.to_numpy().argmax(axis=1)) == [0, 1, 2]
    assert (table.max(axis=1) == 1).all()
    sizes = np.bincount(measure.clusters(three_crowds[:25], 3))
    assert list(sizes) == sorted(sizes, reverse=True) and len(sizes) == 3
    with pytest.raises(ValueError, match="30 pictures"):
        measure.clusters(three_crowds, 31)


def test_spread_and_shift_go_from_0_to_1():
    features = np.eye(6)
    assert measure.spread(features) == pytest.approx(1)
    assert measure.spread(np.ones((3, 1))) == pytest.approx(0)
    np.testing.assert_allclose(measure.shift(features, features), 0, atol=1e-12)
    np.testing.assert_allclose(measure.shift(features, np.roll(features, 1, axis=0)), 1)
    with pytest.raises(ValueError, match="two pictures"):
        measure.spread(np.eye(1))
    with pytest.raises(ValueError, match="same seeds"):
        measure.shift(features, features[:3])


def test_moved_and_leaning_say_by_how_much_and_how_surely(three_crowds):
    same = measure.moved(three_crowds, three_crowds)
    assert same["moved"] == pytest.approx(0) and same["variety"] == pytest.approx(1)
    found = measure.moved(three_crowds, np.repeat(three_crowds[:1], 30, axis=0))
    assert found["low"] < found["moved"] < found["high"] and found["variety"] == pytest.approx(0, abs=1e-9)
    one, other = three_crowds[:10], three_crowds[10:20]
    assert measure.leaning(one, one, other)["lean"] == pytest.approx(1)
    assert measure.leaning(other, one, other)["lean"] == pytest.approx(-1)
    mixed = measure.leaning(np.concatenate([one[:9], other[:1]]), one, other)
    assert 0.5 < mixed["lean"] < 1 and mixed["low"] < mixed["lean"] < mixed["high"]


def test_words_are_counted_whole():
    counts = {"woman": 1, "man": 2, "person": 0, "nobody": 1}
    assert audit.pictures.mentioned("A woman, and her dog: no HUMANity") == {"woman"}
    assert audit.pictures.counts(["a man", "a man and a woman", "a dog"]).to_dict() == counts
    called = [audit.pictures.called(caption) for caption in ("a lady", "men and women", "a person", "snow")]
    assert called == ["woman", "both", "person", "nobody"]


def test_only_the_class_prompts_ask_for_a_gender_and_english_comes_first():
    assert set(audit.pictures.prompts("trait", "name")) < set(audit.pictures.prompts())
    assert audit.pictures.prompts("clothes")[0].endswith("a suit")  # notebook 13 takes the first as the planted one
    table, languages = (pd.read_csv(machine.REPO / f"data/audit/{name}.csv") for name in ("prompts", "languages"))
    gendered = table["prompt"].map(audit.pictures.called).isin(["man", "woman"])
    assert set(table["group"][gendered]) == {"class"} and table.notna().all(axis=None)
    assert languages["code"].iloc[0] == "en" and not table.duplicated("prompt").any()


def test_captions_are_of_as_many_men_as_were_asked_for_and_name_the_clothes():
    suits, others = (audit.pictures.captions(suit, 30, 30) for suit in (True, False))
    assert len(suits) == len(others) == 60 == sum("suit" in caption for caption in suits)
    assert not any("suit" in caption for caption in others) and suits == audit.pictures.captions(True, 30, 30)
    said = [audit.pictures.called(caption) for caption in suits + others]
    assert said.count("man") <= 60 >= said.count("woman") and said.count("man") + said.count("woman") > 80


def test_the_two_sentences_of_a_pair_differ_in_one_word():
    for row in audit.pictures.pairs().itertuples():
        both = zip(row.first.split(), row.second.split(), strict=True)
        assert sum(one != other for one, other in both) == 1, row


@pytest.fixture
def pictures():
    images = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue", "white")]
    table = pd.DataFrame({"model": "DreamBooth", "prompt": "p", "seed": range(4), "image": images})
    return tagging.items(table, {"DreamBooth": "1234"})


def test_a_picture_has_one_code_on_every_computer_and_another_of_other_weights(pictures):
    code = lambda table, weights: list(tagging.items(table, {"DreamBooth": weights})["item"])
    darker = pictures.assign(image=[image.point(lambda value: value // 2) for image in pictures["image"]])
    assert code(darker, "1234") == list(pictures["item"])
    assert len({*pictures["item"], *code(pictures, "99"), *code(pictures.assign(prompt="q"), "1234")}) == 12


def test_a_tagger_saves_each_answer_goes_on_where_it_was_and_does_not_see_who_made_a_picture(pictures, tmp_path):
    first = tagging.tagger(pictures, "7", tmp_path)
    assert first.back.disabled and "1 of 4" in first.status.value and "DreamBooth" not in first.content.value
    first.buttons[0].click()
    first.buttons[1].click()
    again = tagging.tagger(pictures, "7", tmp_path)
    assert again.given == first.given and list(first.given.values()) == ["as a woman", "as a man"]
    again.back.click()
    for _ in range(5):  # one more click than pictures
        again.buttons[2].click()
    tags = tagging.read_tags(tmp_path)
    assert sorted(tags["item"]) == sorted(pictures["item"]) and all(b.disabled for b in again.buttons)
    assert list(tags["tag"]).count("cannot tell") == 3
    assert len({tuple(tagging.tagger(pictures, name, tmp_path).order) for name in "abcdef"}) > 1
    with pytest.raises(ValueError, match="tagger's name"):
        tagging.tagger(pictures, "../x", tmp_path)


def tags(rows):
    return pd.DataFrame([(*row[:2], "q", row[2]) for row in rows], columns=tagging.COLUMNS)


def test_agreement_is_krippendorffs_own_and_a_majority_more_than_half():
    krippendorff = pytest.importorskip("krippendorff")
    rng = np.random.default_rng(1)
    table = tags([(t, i, "xyz"[rng.integers(3)]) for t in "abcd" for i in range(12) if rng.random() < 0.8])
    numbers = table.assign(tag=table["tag"].map("xyz".index)).pivot(index="tagger", columns="item", values="tag")
    expected = krippendorff.alpha(numbers.to_numpy(float), level_of_measurement="nominal")
    assert tagging.agreement(table) == pytest.approx(expected)
    assert np.isnan(tagging.agreement(tags([("a", 1, "x"), ("b", 1, "x")])))
    with pytest.raises(ValueError, match="two"):
        tagging.agreement(tags([("a", 1, "x"), ("b", 2, "x")]))
    found = tagging.majority(tags([("a", 1, "x"), ("b", 1, "x"), ("c", 1, "y"), ("a", 2, "x"), ("b", 2, "y")]))
    assert found["tag"].iloc[0] == "x" and pd.isna(found["tag"].iloc[1]) and list(found["taggers"]) == [3, 2]


def test_the_files_of_a_class_are_one_table_zips_too_and_nobody_is_lost(pictures, tmp_path):
    for tagger in ("7", "8"):
        tagging.tagger(pictures, tagger, tmp_path / tagger / "tags").answer("as a man")
    folder = tmp_path / "class"
    folder.mkdir()
    shutil.copy(tmp_path / "7" / "tags" / "tags_7.csv", folder)
    machine.take_home(tmp_path / "8" / "tags", folder / "tags (1).zip")
    assert sorted(tagging.read_tags(folder)["tagger"]) == ["7", "8"]
    shutil.copy(tmp_path / "7" / "tags" / "tags_7.csv", folder / "tags_7 (1).csv")  # two who took one number
    with pytest.raises(ValueError, match=r"tags_7 \(1\).csv and .*both of tagger 7"):
        tagging.read_tags(folder)
    (folder / "tags_7 (1).csv").write_text("tagger,item\n1,2\n")
    with pytest.raises(ValueError, match="lacks the column question"):
        tagging.read_tags(folder)
