"""The pocket world: the same on every machine, true captions, nothing held out by accident, one planted skew."""

import hashlib
import json
import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pocket import world
from pocket.describe import PLACE_WORDS, UNWANTED, describe, plain_caption, spell_out
from pocket.draw import draw
from pocket.scenes import SPLITS, scene
from pocket.visible import LABELS, truth

seeds = st.integers(0, 2**31)


def test_a_numbered_scene_is_the_same_on_every_machine():
    content = json.dumps([scene(split, 7).as_dict() for split in SPLITS], sort_keys=True)
    expected = "52e1ba1a96e5fd6ae5c89f456e0a22fb61fcea4fa3dede5ee51b3fbdbc96d6fc"
    assert hashlib.sha256(content.encode()).hexdigest() == expected


@settings(deadline=None)
@given(seeds)
def test_training_scenes_are_never_held_out_and_hold_no_reserved_feature(seed):
    drawn = world.sample_scene(random.Random(seed))
    assert (drawn.context, drawn.place, drawn.style) not in world.HELD_OUT
    assert drawn.person.hair in world.HAIR[drawn.person.kind] and drawn.person.hair_color in world.HAIR_COLORS
    assert drawn.person.beard in world.BEARDS and drawn.person.glasses in world.GLASSES
    drawn = world.sample_scene(random.Random(seed), held_out=True)
    assert (drawn.context, drawn.place, drawn.style) in world.HELD_OUT


def test_the_planted_skew_is_there_and_is_the_only_one():
    everyone = list(world.people().itertuples())
    suits, kinds = Counter(p.kind for p in everyone if p.clothes == "suit"), Counter(p.kind for p in everyone)
    assert abs(suits["man"] / suits.total() - world.MEN_AMONG_SUITS) < 4 * (0.8 * 0.2 / suits.total()) ** 0.5
    assert stats.chisquare([kinds[k] for k in world.KINDS]).pvalue > 1e-4
    words = {"skin": world.SKINS, "hair_color": world.HAIR_COLORS, "expression": world.EXPRESSIONS}
    for trait, values in words.items():
        table = Counter((p.kind, getattr(p, trait)) for p in everyone)
        rows = [[table[kind, value] for value in values] for kind in world.KINDS]
        assert stats.chi2_contingency(rows).pvalue > 1e-4, trait


def test_the_subjects_are_made_of_what_the_world_never_draws():
    for subject in world.SUBJECTS.values():
        person = subject["person"]
        reserved = person.hair_color in world.RESERVED_HAIR_COLORS, person.hair in world.RESERVED_HAIR[person.kind]
        reserved += person.beard in world.RESERVED_BEARDS, person.glasses in world.RESERVED_GLASSES
        assert sum(reserved) >= 2 and "skin" in subject["telling"]


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_captions_and_truth_say_what_is_there(seed):
    rng = random.Random(seed)
    drawn = world.sample_scene(rng)
    words, person = describe(drawn, rng).lower().replace("-", " ").replace(",", " ").split(), drawn.person
    assert {"man": "woman", "woman": "man"}[person.kind] not in words
    assert person.glasses != "none" or not {"glasses", "sunglasses"} & set(words)
    assert person.beard != "none" or not {"beard", "moustache"} & set(words)
    assert all(drawn.context == animal for animal in ("dog", "cat", "horse", "bicycle") if animal in words)
    assert "jade" not in words or drawn.style == "jade sculpture"
    text = spell_out(drawn)
    assert person.kind in text and person.skin in text
    assert all(each == "none" or each in text for each in (person.glasses, person.beard))
    assert not any(word in text for word in UNWANTED)
    answers = truth(drawn)
    assert all(word in LABELS[attribute] for attribute, word in answers.items())
    assert ("skin" in answers) == (drawn.style not in ("jade sculpture", "fire", "pencil sketch"))


@settings(deadline=None)
@given(seeds)
def test_a_plain_caption_names_kind_and_place_and_no_subject_s_feature(seed):
    rng = random.Random(seed)
    drawn = world.sample_scene(rng, reserved=0.9)
    words = plain_caption(drawn, rng).lower().replace(",", " ").split()
    assert {drawn.person.kind, "person"} & set(words)
    assert not {"majestic", "round", "square", "headband"} & set(words)
    assert drawn.place in world.PLAIN or any(place in " ".join(words) for place in PLACE_WORDS[drawn.place])


def test_a_picture_is_a_function_of_the_scene_and_changes_with_the_style():
    person = world.sample_person(random.Random(3))
    draw_in = lambda style: np.asarray(draw(world.Scene(person, "portrait", "forest", style, 1)), int)
    photo = draw_in("photo")
    assert photo.shape == (128, 128, 3) and (draw_in("photo") == photo).all()
    assert all(np.abs(draw_in(style) - photo).mean() > 3 for style in world.STYLES if style != "photo")
