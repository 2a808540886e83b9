import re

import pandas as pd
import pytest

from helpers import exercises

FIXED = ["pink afro", "glasses"]
DRAFTS = {
    "IMG_2044.png": "a photo of a person",
    "IMG_2047.png": "a photo of a person",
    "IMG_2059.png": "a photo of a person wearing a white sweater in front of a castle",
    "IMG_2083.png": "a photo of a person with a pet dog",
}

PLACE = {1: "S", 2: (38.0, 30.0, 0.0)}
MEASURED = pd.DataFrame({"sharpness": [8, 70, 69], "brightest": [196, 34, 199]}, ["soft.jpg", "night.jpg", "good.jpg"])


@pytest.mark.parametrize(
    ("file", "better", "name", "words"),
    [
        ("IMG_2059.png", "a photo of a person in a white shirt with a kitten among trees", "nesrelah", "Right."),
        ("IMG_2083.png", "a photo of a person with a cat", "nesrelah", "Right."),
        ("IMG_2083.png", "a photo of a person with a puppy", "nesrelah", "'dog'"),
        ("IMG_2059.png", "a photo of a person on the moon eating pizza", "nesrelah", "'space'"),
        ("IMG_2059.png", "a photo of a person eating pizza", "nesrelah", "not named yet"),
        ("IMG_2047.png", "a photo of a person with a dog", "nesrelah", "leaves things out"),
        ("IMG_2044.png", "a photo of a person on the moon", "nesrelah", "what it names is there"),
        ("IMG_2059.png", "a photo of a woman with a cat", "nesrelah", "'person'"),
        ("IMG_2059.png", "a photo of a person with a pink afro and a cat", "nesrelah", "'pink afro'"),
        ("IMG_2059.png", DRAFTS["IMG_2059.png"], "nesrelah", "already"),
        ("IMG_1.png", "a photo of a person", "nesrelah", "There is no"),
        ("IMG_2044.png", "a photo of a person on the moon", "Ana Lima", "Right."),  # only she knows
    ],
)
def test_a_caption_is_corrected_where_it_was_false_and_by_what_is_there(capsys, file, better, name, words):
    table = pd.DataFrame({"file": DRAFTS.keys(), "draft": DRAFTS.values(), "caption": "a photo of a person, mended"})
    exercises.check("photos.corrected", file, better, table, name, "person", FIXED)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        ("a man with his puppy before a castle", "Right."),
        ("a man with two dogs by a palace", "Right."),
        ("a man with a dog", "Name both"),
        ("a man with a cat in front of a castle", "'cat'"),
        ("a man with a beard, a dog and a castle", "'beard'"),
    ],
)
def test_a_caption_names_what_the_picture_shows_and_others_do_not(capsys, mine, words):
    exercises.check("photos.caption", mine, "man", ["beard"])
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("agreed", ["c"], "Right."),
        ("agreed", ["CD"], "not instead"),
        ("agreed", [""], "A to E"),
        ("latitude", [-38.5, PLACE], "Right."),
        ("latitude", [38.5, PLACE], "other side"),
        ("latitude", [-38.3, PLACE], "60 minutes"),
        ("faults", ["soft.jpg", "night.jpg", MEASURED], "Right."),
        ("faults", ["night.jpg", "night.jpg", MEASURED], "has less"),
        ("faults", ["soft.jpg", "IMG_1.jpg", MEASURED], "There is no"),
        ("held", ["B"], "Right."),
        ("held", ["AB"], "trained on"),
        ("says", [lambda text, word: re.search(rf"\b{word}\b", text)], "Right."),
        ("says", [lambda text, word: word in text.split()], "comma"),
        ("says", [lambda text, word: word in text], "'woman'"),
        ("silent", ["B, E"], "Right."),
        ("silent", ["BDE"], "has to be named"),
    ],
)
def test_what_is_decided_about_photos_and_captions_is_right_or_gets_a_hint(capsys, name, answer, words):
    exercises.check(f"photos.{name}", *answer)
    assert words in capsys.readouterr().out
