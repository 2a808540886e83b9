"""Whose photos: what notebook 01 was given is what the notebooks after it work with, however a name was typed."""

import unicodedata

import pytest

from helpers import machine
from helpers.machine import subjects

ZOE = "Zoë Okafor"
APART = unicodedata.normalize("NFD", ZOE)


@pytest.fixture(autouse=True)
def clone(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(machine, "REPO", tmp_path)
    monkeypatch.delenv("SUBJECT", raising=False)
    samples = {"amir": "man", "nesrelah": "person"}
    for name, word in samples.items():
        known = {"class_word": word, "always": ["glasses"], "telling": {"hair": "shaggy"}}
        machine.write_json(tmp_path / "data" / "subjects" / name / "subject.json", known)
    return samples


def test_without_a_word_it_is_the_paper_s_two():
    assert subjects.chosen() == ["amir", "nesrelah"] and subjects.own() == []
    assert [subjects.learnt_by(method) for method in ("hypernetwork", "dreambooth", "lora")] == [
        "amir",
        *["nesrelah"] * 2,
    ]
    assert subjects.class_of("amir") == "man" and subjects.about("nesrelah")["always"] == ["glasses"]


def test_one_s_own_person_is_remembered_and_learnt_by_every_method(clone):
    assert subjects.remember(clone | {APART: "woman"}, {APART: ["red hair"]}) == [*clone, ZOE]
    assert subjects.chosen() == [*clone, ZOE] and subjects.own() == [ZOE]
    assert {subjects.learnt_by(method) for method in ("hypernetwork", "dreambooth")} == {ZOE}
    assert subjects.about(ZOE) == {"class_word": "woman", "always": ["red hair"], "telling": {}}
    assert subjects.about("amir")["telling"], "a sample keeps what its file says"
    subjects.remember(clone)
    assert subjects.own() == [] and subjects.class_of(ZOE) == "person"


def test_the_environment_goes_before_what_was_remembered(clone, monkeypatch):
    subjects.remember({ZOE: "woman"})
    monkeypatch.setenv("SUBJECT", f"nesrelah, {APART}")
    assert subjects.chosen() == ["nesrelah", ZOE] and subjects.class_of(ZOE) == "woman"
    monkeypatch.setenv("SUBJECT", "nesrelah")
    assert subjects.learnt_by("hypernetwork") == "nesrelah"


def test_a_folder_is_found_whichever_way_its_accent_was_written(tmp_path):
    assert subjects.folder(ZOE) == tmp_path / "data" / "subjects" / ZOE
    (tmp_path / "data" / "subjects" / APART).mkdir()
    assert subjects.folder(ZOE).is_dir() and subjects.folder(APART).is_dir()


@pytest.mark.parametrize("name", ["", " Ana", "Ana ", "..", ".Ana", "_Ana", "a/b", "a\\b", "Ana, Bo", "A:B", "who?"])
def test_a_name_that_no_folder_can_have_is_refused(name):
    with pytest.raises(ValueError, match="No folder can be called"):
        subjects.remember({name: "woman"})
    with pytest.raises(ValueError, match="no class word"):
        subjects.remember({"Ana": " "})
    with pytest.raises(ValueError, match="Anna .*not among the people"):
        subjects.remember({"Ana": "woman"}, {"Anna": ["red hair"]})


def test_labels_and_identifiers():
    assert [subjects.title(name) for name in ("amir", "zoë okafor", "Ana de Lima")] == [
        "Amir",
        "Zoë Okafor",
        "Ana de Lima",
    ]
    names = {
        "nesrelah": "nesrelah",
        ZOE: "zoeokafor",
        APART: "zoeokafor",
        "Олена": "олена",
        "王 伟": "王伟",
        "42": "subject",
    }
    assert {name: subjects.identifier(name) for name in names} == {name: f"{word}_001" for name, word in names.items()}


@pytest.mark.parametrize(("word", "words"), [("man", "a man"), ("artist", "an artist"), ("Elder", "an Elder")])
def test_a_class_word_takes_its_article(word, words):
    assert subjects.with_article(word) == words
