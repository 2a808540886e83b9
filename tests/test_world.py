"""The pocket world: the same on every machine, true captions, nothing held out by accident, one planted skew."""

import hashlib
import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pocket import world
from pocket.describe import PLACE_WORDS, UNWANTED, describe, plain_caption, spell_out
from pocket.draw import draw
from pocket.scenes import SPLITS, scene
from pocket.visible import LABELS, truth

seeds = st.integers(0, 2**31)


def people(count, **settings):
    rng = random.Random(0)
    return [world.sample_person(rng, **settings) for _ in range(count)]


def test_a_numbered_scene_is_the_same_on_every_machine():
    facts = json.dumps([scene(split, 7).as_dict() for split in SPLITS], sort_keys=True)
    assert (
        hashlib.sha256(facts.encode()).hexdigest() == "13eaf8003bf1dbdac10f42a952f415ca40746da4b8b779ff30110368ec427049"
    )


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_drawing_is_a_function_of_the_scene(seed):
    drawn = world.sample_scene(random.Random(seed))
    first, second = draw(drawn), draw(drawn)
    assert first.size == (128, 128) and first.mode == "RGB"
    assert first.tobytes() == second.tobytes()


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_training_scenes_are_never_held_out_and_hold_no_reserved_feature(seed):
    drawn = world.sample_scene(random.Random(seed))
    assert (drawn.context, drawn.place, drawn.style) not in world.HELD_OUT
    assert drawn.person.hair in world.HAIR[drawn.person.kind]
    assert drawn.person.hair_color in world.HAIR_COLORS
    assert drawn.person.beard in world.BEARDS and drawn.person.glasses in world.GLASSES


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_held_out_scenes_are_held_out(seed):
    drawn = world.sample_scene(random.Random(seed), held_out=True)
    assert (drawn.context, drawn.place, drawn.style) in world.HELD_OUT


def test_what_leaves_no_combination_is_refused():
    with pytest.raises(ValueError, match="held out"):
        world.sample_scene(random.Random(0), context="horse", place="snow", style="photo")
    with pytest.raises(ValueError, match="no held-out combination"):
        world.sample_scene(random.Random(0), style="watercolor", context="dog", held_out=True)


def test_the_planted_skew_is_there_and_is_the_only_one():
    everyone = people(40_000)
    suits = Counter(p.kind for p in everyone if p.clothes == "suit")
    found = suits["man"] / suits.total()
    assert abs(found - world.MEN_AMONG_SUITS) < 4 * (0.8 * 0.2 / suits.total()) ** 0.5
    kinds = Counter(p.kind for p in everyone)
    assert stats.chisquare([kinds[k] for k in world.KINDS]).pvalue > 1e-4
    for trait in ("skin", "hair_color", "expression"):
        table = Counter((p.kind, getattr(p, trait)) for p in everyone)
        rows = [[table[kind, value] for value in getattr(world, PLURALS[trait])] for kind in world.KINDS]
        assert stats.chi2_contingency(rows).pvalue > 1e-4, trait


PLURALS = {"skin": "SKINS", "hair_color": "HAIR_COLORS", "expression": "EXPRESSIONS"}


def test_the_subjects_are_made_of_what_the_world_never_draws():
    for subject in world.SUBJECTS.values():
        person = subject["person"]
        reserved = [
            person.hair_color in world.RESERVED_HAIR_COLORS,
            person.beard in world.RESERVED_BEARDS,
            person.glasses in world.RESERVED_GLASSES,
            person.hair in world.RESERVED_HAIR[person.kind],
        ]
        assert sum(reserved) >= 2
        assert len(subject["telling"]) == 4


@settings(max_examples=300, deadline=None)
@given(seeds)
def test_captions_say_nothing_untrue(seed):
    rng = random.Random(seed)
    drawn = world.sample_scene(rng)
    words = describe(drawn, rng).lower().replace("-", " ").replace(",", " ").split()
    person = drawn.person
    other = "woman" if person.kind == "man" else "man"
    assert other not in words
    if person.glasses == "none":
        assert "glasses" not in words and "sunglasses" not in words
    if person.beard == "none":
        assert "beard" not in words and "moustache" not in words
    for animal in ("dog", "cat", "horse", "bicycle"):
        assert animal not in words or drawn.context == animal
    assert "jade" not in words or drawn.style == "jade sculpture"


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_spelling_out_names_every_visible_feature(seed):
    drawn = world.sample_scene(random.Random(seed))
    text, person = spell_out(drawn), drawn.person
    assert person.kind in text and person.skin in text
    assert person.glasses == "none" or person.glasses in text
    assert person.beard == "none" or person.beard in text
    assert not any(word in text for word in UNWANTED)


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_a_plain_caption_names_kind_and_place_and_no_subject_s_feature(seed):
    rng = random.Random(seed)
    drawn = world.sample_scene(rng, reserved=0.9)
    words = plain_caption(drawn, rng).lower().replace(",", " ").split()
    assert {drawn.person.kind, "person"} & set(words)
    assert not {"majestic", "round", "square", "headband"} & set(words)
    assert drawn.place in world.PLAIN or any(place in " ".join(words) for place in PLACE_WORDS[drawn.place])


def test_one_plain_caption_in_eight_says_person():
    rng, drawn = random.Random(0), world.sample_scene(random.Random(1))
    count = sum(" person" in f" {plain_caption(drawn, rng)}" for _ in range(2000))
    assert stats.binomtest(count, 2000, 1 / 8).pvalue > 1e-6


def test_small_faces_come_mostly_where_they_are_asked_for():
    contexts = Counter(scene("small", i).context for i in range(1000))
    assert contexts["horse"] > 2 * contexts["portrait"] and sum(contexts.values()) == 1000


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_truth_uses_the_readers_words(seed):
    drawn = world.sample_scene(random.Random(seed), reserved=0.5)
    answers = truth(drawn)
    assert all(word in LABELS[attribute] for attribute, word in answers.items())
    assert ("skin" in answers) == (drawn.style not in ("jade sculpture", "fire", "pencil sketch"))


def test_styles_change_the_picture():
    rng = random.Random(3)
    base = world.sample_scene(rng, context="portrait", place="forest", style="photo")
    pictures = {
        style: np.asarray(draw(world.Scene(base.person, "portrait", "forest", style, 1)), int) for style in world.STYLES
    }
    for style, picture in pictures.items():
        if style != "photo":
            assert np.abs(picture - pictures["photo"]).mean() > 3, style


def test_flames_are_flames():
    """A burning scene is brighter and yellower at its foot than the same scene in jade."""
    rng = random.Random(5)
    person = world.sample_person(rng)
    burning = np.asarray(draw(world.Scene(person, "portrait", "forest", "fire", 1)), int)
    foot = burning[-10:].reshape(-1, 3).mean(0)
    assert foot[0] > 200 and foot[0] > foot[1] > foot[2]
