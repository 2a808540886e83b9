"""The checker of captions."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from helpers.caption_check import check_captions, repetition, says, without
from helpers.places import REPO


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(REPO / "data" / "pocket" / "tokenizer")


def test_check_points_at_each_fault_and_at_nothing_else(tokenizer):
    good = ["a photo of a man at the beach", "Man, smiling", "a man with a dog"]
    bad = ["a woman", " ", "a man with a beard with a beard", "a man " + "elegant art " * 60]
    table = pd.DataFrame({"file": [f"{i}.png" for i in range(7)], "caption": good + bad})
    found = check_captions(table, "man", tokenizer)
    assert check_captions(table[:3], "man", tokenizer) == []
    assert not any(sentence.startswith(("0.png", "1.png", "2.png")) for sentence in found)
    for start in ("3.png does not say 'man'", "4.png has no caption", "5.png says 'with a beard' twice", "6.png has "):
        assert any(sentence.startswith(start) for sentence in found), (start, found)


def test_the_limit_is_what_clip_reads(tokenizer):
    ids = tokenizer("man " * 100, truncation=True)["input_ids"]
    room = len(ids) - 2
    for count, fits in ((room, True), (room + 1, False)):
        words = " ".join(["man", "dog"][i % 2] for i in range(count))
        assert len(tokenizer(words, verbose=False)["input_ids"]) == count + 2, "one token a word"
        table = pd.DataFrame({"file": ["a.png"], "caption": [words]})
        assert (not any("tokens" in s for s in check_captions(table, "man", tokenizer))) == fits


def test_shared_captions_are_named_once(tokenizer):
    table = pd.DataFrame({"file": ["a.png", "b.png", "c.png"], "caption": ["a man", "a man", "a man smiling"]})
    (found,) = check_captions(table, "man", tokenizer)
    assert found.startswith("2 photos share one caption (a.png, b.png)")


def test_fixed_features_are_named(tokenizer):
    table = pd.DataFrame({"file": ["a.png", "b.png"], "caption": ["a man with a Beard at sea", "a man with beards"]})
    (found,) = check_captions(table, "man", tokenizer, ["beard", "round glasses"])
    assert found.startswith("a.png names 'beard', so that 'man' need not learn it")


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ("a man with a beard with a beard", "with a beard"),
        ("a man man", "man"),
        ("a man, ultra realistic, at sea, ultra realistic", "ultra realistic"),
        ("a man with a cat and a man with a dog", ""),
        ("a man, a dog", ""),
        ("", ""),
    ],
)
def test_repetition(text, twice):
    assert repetition(text) == twice


@pytest.mark.parametrize(
    ("text", "fixed", "rest"),
    [
        ("a man with a beard and round glasses at the beach", ["beard", "round glasses"], "a man at the beach"),
        ("a man with a beard and glasses wearing a green suit", ["beard", "glasses"], "a man wearing a green suit"),
        ("a man wearing glasses, with a dog", ["glasses"], "a man, with a dog"),
        ("a man with a beard and a dog", ["beard"], "a man with a dog"),
        ("bearded man", ["beard"], "bearded man"),
    ],
)
def test_without_reads_on(text, fixed, rest):
    assert without(text, fixed) == rest


words = st.lists(st.sampled_from(["a", "man", "with", "and", "beard", "glasses", "round", "cat,"]), max_size=9)


@given(words, st.lists(st.sampled_from(["beard", "glasses", "round glasses"]), unique=True))
def test_without_leaves_none_of_the_words_and_adds_none(text, fixed):
    rest = without(" ".join(text), fixed)
    assert not any(says(rest, word) for word in fixed)
    assert set(rest.replace(",", "").split()) <= {word.strip(",") for word in text}
