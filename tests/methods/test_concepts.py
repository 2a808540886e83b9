import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.methods import concepts, dreambooth
from helpers.photos import consent

PROMPTS = ("nesrelah_001 person", "a photo of a person")


def folder(place, count, captions=None):
    """A folder of different little squares; captions: {file: caption}."""
    place.mkdir(parents=True)
    consent.write_consent(place, "a drawing", "tests", "2099-01-01")
    for i in range(count):
        image = Image.new("RGB", (32, 32), (i * 37 % 256, i * 91 % 256, i * 53 % 256))
        image.paste((255 - i * 11 % 256, 0, i), (i % 16, 3, i % 16 + 9, 9 + i % 20))
        image.save(place / f"{i:02}.png")
    if captions is not None:
        lines = ["file,caption,machine_caption,edited", *(f'{k},"{v}","{v}",False' for k, v in captions.items())]
        (place / "captions.csv").write_text("\n".join(lines) + "\n")
    return place


def test_good_settings_pass_and_some_photos_are_held_out(tmp_path):
    subject = concepts.Concept(*PROMPTS, folder(tmp_path / "her", 20))
    subject.check()
    learning, validation = subject.split(4, seed=1)
    assert not set(learning) & set(validation) and len(learning) + len(validation) == 20
    assert subject.prompts(learning) == ["nesrelah_001 person"] * len(learning)
    few = concepts.Concept(*PROMPTS, folder(tmp_path / "few", 5))
    assert [len(part) for part in few.split(4, seed=1)] == [4, 1]


@pytest.mark.parametrize(
    ("count", "prompts", "message"),
    [
        (None, PROMPTS, "no photos in .*her: run notebook 01"),
        (0, PROMPTS, "no photos in .*her: run notebook 01"),
        (1, PROMPTS, "Too few photos in .*her.* five or more"),
        (9, ("nesrelah_001 person", "a photo of a dog"), "'a photo of a dog' does not say person"),
        (9, ("nesrelah_001 person", "nesrelah_001 person"), "name the class alone"),
        (9, ("nesrelah_001", PROMPTS[1]), "identifier and a class word"),
        (9, ("rex_001 dog", PROMPTS[1]), "does not say dog"),
        (9, ("rex_001 person", "many persons"), "does not say person"),
        (9, (*PROMPTS, Path("nowhere")), "no class images in nowhere"),
    ],
)
def test_what_would_spoil_a_training_is_told_before_it(tmp_path, count, prompts, message):
    place = tmp_path / "her" if count is None else folder(tmp_path / "her", count)
    with pytest.raises(ValueError, match=message):
        concepts.Concept(*prompts[:2], place, *prompts[2:]).check()


@pytest.mark.parametrize(
    ("caption", "prompt"),
    [
        ("a photo of a person in a park", "a photo of nesrelah_001 person in a park"),
        ("the person and another person", "nesrelah_001 person and another person"),
        ("a woman with pink hair", "nesrelah_001 person, a woman with pink hair"),
        ("personal things", "nesrelah_001 person, personal things"),
    ],
)
def test_captions_say_her_name(caption, prompt):
    assert concepts.named(caption, "nesrelah_001 person") == prompt
    assert concepts.named(caption, "a photo of nesrelah_001 person") == prompt  # as the fork's lists have it


def test_each_photo_may_have_its_caption(tmp_path):
    place = folder(tmp_path / "her", 3, {"00.png": "a person", "01.png": "a person in a city", "02.png": ""})
    subject, paths = concepts.Concept(*PROMPTS, place), sorted(place.glob("*.png"))
    assert subject.prompts(paths[:2], use_captions=True) == ["nesrelah_001 person", "nesrelah_001 person in a city"]
    with pytest.raises(ValueError, match="02.png has no caption"):
        subject.prompts(paths, use_captions=True)
    itself = concepts.Concept("a photo of a person", None, place)  # the class word learns, and has no other name
    itself.check()
    assert itself.prompts(paths[:2], use_captions=True) == ["a person", "a person in a city"]
    assert concepts.class_images([itself], pytest.fail, more=()) == ([], []), "nobody practises what is to change"


def test_the_fork_s_list_of_several_subjects_is_read(tmp_path):
    one, other, own = (folder(tmp_path / name, 4) for name in ("amir", "nesrelah", "people"))
    path = tmp_path / "concepts_list.json"
    first = {"instance_prompt": "amir_001 man", "class_prompt": "a photo of a man", "instance_data_dir": "amir"}
    second = {"instance_prompt": PROMPTS[0], "instance_data_dir": str(other), "class_data_dir": "people"}
    path.write_text(json.dumps([first, second | {"class_prompt": PROMPTS[1]}]))
    assert concepts.read(path) == [
        concepts.Concept("amir_001 man", "a photo of a man", one),
        concepts.Concept(*PROMPTS, other, own),
    ]
    path.write_text(json.dumps([first, second]))
    with pytest.raises(ValueError, match="Concept 2 of .* no class_prompt"):
        concepts.read(path)
    for content in ('{"instance_prompt": "a b"}', '["a"]', "3"):
        path.write_text(content)
        with pytest.raises(ValueError, match="no list of objects"):
            concepts.read(path)


def test_no_subject_is_learnt_without_consent_whichever_way_its_photos_come(tmp_path):
    place = folder(tmp_path / "people" / "her", 4)
    given, listed = place / "consent.json", tmp_path / "concepts_list.json"
    row = {"instance_prompt": PROMPTS[0], "class_prompt": PROMPTS[1], "instance_data_dir": "people/her"}
    listed.write_text(json.dumps([row]))
    ways = [lambda: concepts.Concept(*PROMPTS, place), lambda: concepts.read(listed)[0]]
    assert ways[0]() == ways[1]()
    given.rename(place.parent / "consent.json")
    assert ways[0]() == ways[1](), "beside the folder will do"
    (place.parent / "consent.json").unlink()
    for way in ways:
        with pytest.raises(FileNotFoundError, match="ask the person"):
            way()
    given.write_text(json.dumps({"who": "she", "what_for": "this", "until": "2020-01-01"}))
    for way in ways:
        with pytest.raises(ValueError, match="ended on 2020"):
            way()


def test_a_list_that_notepad_saved_is_read_and_a_backslash_is_named(tmp_path):
    folder(tmp_path / "new" / "her", 4)
    row = {"instance_prompt": PROMPTS[0], "class_prompt": PROMPTS[1], "instance_data_dir": "new/her"}
    path = tmp_path / "concepts_list.json"
    path.write_text(json.dumps([row]), encoding="utf-8-sig")
    assert concepts.read(path)[0].photos == tmp_path / "new" / "her"
    for written in (r"C:\Users\her", r"C:\new\her"):  # the second is JSON, but names another folder
        path.write_text(json.dumps([row]).replace("new/her", written))
        with pytest.raises(ValueError, match="single backslash"):
            concepts.read(path)


def test_each_class_gets_its_images_once(tmp_path):
    asked, own = [], folder(tmp_path / "people", 2)
    (own / "00.png").rename(own / "00.PNG")  # as some cameras write it
    make = lambda prompt: asked.append(prompt) or [f"{prompt} {i}" for i in range(2)]
    men, people, more = "a photo of a man", PROMPTS[1], concepts.Concept("c_001 person", PROMPTS[1], own)
    subjects = [
        concepts.Concept("a_001 man", men, own),
        concepts.Concept(PROMPTS[0], people, own),
        concepts.Concept("b_001 man", men, own),
    ]
    paths, prompts = concepts.class_images(subjects, make)
    assert asked == [men, people] and prompts == [men, men, people, people] and len(paths) == 4
    paths, prompts = concepts.class_images([concepts.Concept(*PROMPTS, own, own), more], make)
    assert paths == sorted(own.glob("0*")) and prompts == [people, people] and len(asked) == 2
    paths, prompts = concepts.class_images([more], make, ["a photo of a woman", people, ""])
    assert asked[2:] == [people, "a photo of a woman", ""] and prompts == [one for one in asked[2:] for _ in range(2)]
    assert paths == [f"{prompt} {i}" for prompt in asked[2:] for i in range(2)]


def test_taken_names_are_seen_and_turned_round(pocket_pipeline):
    tokenizer = pocket_pipeline.tokenizer
    assert concepts.is_free(tokenizer, "nesrelah_001") and not concepts.is_free(tokenizer, "person_001")
    pieces, known = dreambooth.check_identifier(tokenizer, "nesrelah_001")
    assert len(pieces) > 4 and known == [] and dreambooth.check_identifier(tokenizer, "woman_001")[1] == ["woman"]
    assert concepts.propose(tokenizer, "Nesrelah") == "nesrelah_001"
    assert concepts.propose(tokenizer, "Woman") == "namow_001"


def test_every_name_gets_a_free_identifier_and_always_the_same(pocket_pipeline):
    tokenizer = pocket_pipeline.tokenizer

    @settings(deadline=None, max_examples=60)
    @given(st.text(max_size=12))
    def check(name):
        proposed = concepts.propose(tokenizer, name)
        assert concepts.is_free(tokenizer, proposed) and proposed == concepts.propose(tokenizer, name)

    check()
