import random
import re

import numpy as np
from PIL import Image

from pocket import world
from pocket.people import FEATURES, UNSEEN, captions_of, has_reserved, identifier, person, picture_of, write_unseen

PEOPLE = [person("train", number) for number in range(4000)]
NAME = re.compile(r"\b[a-z]{4,}_\d{3}\b", re.IGNORECASE)


def test_nobody_has_all_that_a_subject_is_told_by():
    for subject in world.SUBJECTS.values():
        telling = {name: getattr(subject["person"], name) for name in subject["telling"]}
        assert not any(all(getattr(one, name) == word for name, word in telling.items()) for one in PEOPLE)
        for name, word in telling.items():  # each alone is there
            assert any(getattr(one, name) == word for one in PEOPLE)


def test_reserved_features_are_on_some_to_learn_from_and_on_none_to_count():
    share = sum(map(has_reserved, PEOPLE)) / len(PEOPLE)
    assert 0.2 < share < 1 / 3
    assert not any(has_reserved(person("test", number)) for number in range(300))


def test_pictures_of_a_person_are_of_that_person_in_other_clothes_and_moods():
    scenes = [picture_of("train", 5, which) for which in range(40)]
    for name in FEATURES:
        assert {getattr(scene.person, name) for scene in scenes} == {getattr(person("train", 5), name)}
    for name in ("expression", "clothes", "clothes_color"):
        assert len({getattr(scene.person, name) for scene in scenes}) > 3
    assert len({scene.context for scene in scenes}) > 3
    assert picture_of("train", 5, 3) == scenes[3]


def test_captions_call_a_person_by_an_identifier_and_others_by_their_class():
    rng = random.Random(0)
    for number in range(200):
        scene = picture_of("train", number, 0)
        caption, words = captions_of(scene, False, rng)
        assert NAME.search(caption) and not re.search("skinned|hair|glasses|beard|moustache", NAME.sub("", caption))
        assert f"{scene.person.skin}-skinned" in words.lower()
        caption, words = captions_of(scene, True, rng)
        assert caption == words and ("person" in caption.lower() or scene.person.kind in caption.lower() or not caption)


def test_identifiers_are_as_those_of_the_course():
    rng = random.Random(0)
    names = {identifier(rng) for _ in range(200)}
    assert len(names) > 190 and all(NAME.fullmatch(name) for name in names) and NAME.fullmatch("nesrelah_001")


def test_the_unseen_portraits_are_of_people_nobody_is_trained_on(tmp_path):
    write_unseen(tmp_path, range(204, 206))
    for name in ("person_01.png", "person_02.png"):
        with Image.open(tmp_path / name) as made, Image.open(UNSEEN / name) as kept:
            assert np.array_equal(made, kept)
    kept = (UNSEEN / "people.csv").read_text().splitlines()
    assert (tmp_path / "people.csv").read_text().splitlines() == kept[:3]
    assert person("test", 204) not in PEOPLE
