"""Somebody whom we never drew gets through the whole suite: photos as a phone writes them, a name with space and accent."""

import random
import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from conftest import write_small_sd15

from helpers import diffusion, machine
from helpers.photos import consent
from pocket import subjects as drawn
from pocket import world
from tools import notebooks

NAME = "Zoë Okafor"
SAMPLES = '"amir": "man", "nesrelah": "person"'
OF_NOBODY = ("12", "13", "15")  # chance, and the base model alone
JUDGED = ("03", "04", "07", "08", "14")  # these say who judges their pictures
WALK = [path for path in notebooks.paths() if not path.stem.startswith("00")]


def drawn_stranger():
    """A woman of the pocket world who is none of the two samples."""
    rng = random.Random(NAME)
    return next(person for person in iter(lambda: world.sample_person(rng), None) if person.kind == "woman")


def photograph(folder, count=12):
    """The raw photos of somebody new: their phone's names and formats, some turned, some with a place."""
    person, folder = drawn_stranger(), folder / "raw"
    folder.mkdir(parents=True)
    for number in range(count):
        rng = random.Random(f"{NAME} {number}")
        fresh = {key: getattr(world.sample_person(rng), key) for key in ("expression", "clothes", "clothes_color")}
        scene = world.sample_scene(rng, replace(person, **fresh), context="portrait", style="photo")
        size = [(900, 1200), (1200, 900), (720, 1280)][number % 3]
        turned = {1: 6, 4: 3, 7: 8}.get(number, 1)
        flaw = {5: "heic", 9: "alpha"}.get(number, "")
        view = drawn._view(rng, "portrait", size)
        file, content = drawn.encode(drawn.Photo(number, scene, size, view, flaw, turned, number % 2 == 0), NAME)
        (folder / re.sub("jpg$", "JPG", file)).write_bytes(content)
    (folder / ".DS_Store").write_bytes(b"\0" * 16)
    (folder / "IMG_2044 (1).jpeg").write_bytes((folder / "IMG_2044.JPG").read_bytes())


@pytest.fixture(scope="module")
def suite(tmp_path_factory, quick_kernels):
    """A clone of the suite, the weights in it linked, with a stranger's folder."""
    clone = tmp_path_factory.mktemp("clone") / "personalize"
    for folder in ("helpers", "pocket", "notebooks", "data/subjects", "data/prepared"):
        shutil.copytree(machine.REPO / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (machine.REPO / "data").iterdir():
        if not (clone / "data" / path.name).exists():
            (clone / "data" / path.name).symlink_to(path)
    shutil.copy(machine.REPO / "requirements.txt", clone)
    photograph(clone / "data" / "subjects" / NAME)
    consent.write_consent(clone / "data" / "subjects" / NAME, NAME, "this test", "2099-01-01")
    return clone


@pytest.fixture(scope="module")
def environments(tmp_path_factory, tiny_dino):
    """{model: what the environment says of it}."""
    folder = tmp_path_factory.mktemp("sd15")
    write_small_sd15(folder)
    parts = {"SD15_CAPTIONER": diffusion.POCKET / "blip", "SD15_CLIP": diffusion.POCKET / "clip"}
    parts |= {"SD15_WEIGHTS": folder, "SD15_DINO": tiny_dino}
    return {"pocket": {}, "sd15": {name: str(path) for name, path in parts.items()}}


def shown(notebook):
    """All words that the cells of an executed notebook show."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


def walk(suite, people, leave_out=(), **environment):
    """Run 01 to 15 in a clone as a stranger would, who changes nothing but whose photos; {stem: what it shows}."""
    words = {}
    for path in (path for path in WALK if path.stem[:2] not in leave_out):
        notebook = notebooks.read(path)
        if path.stem.startswith("01"):
            (cell,) = [cell for cell in notebook.cells if f"PEOPLE = {{{SAMPLES}}}" in cell.source]
            cell.source = cell.source.replace(SAMPLES, people)
        notebooks.execute(suite / "notebooks" / path.name, notebook, QUICK="1", **environment)
        words[path.stem] = shown(notebook)
    return words


def check(runs, words, samples):
    """What the walk left is about the stranger, and about the samples only where they were asked for, too."""
    settings = machine.read_json(runs / f"dreambooth_{NAME}" / "settings.json")
    assert settings["prompts"] == ["zoeokafor_001 woman", "a photo of a woman"]
    assert (runs / f"hypernetwork_{NAME}" / "card.md").exists()
    shares = pd.read_csv(runs / "compare" / "shares.csv")
    assert set(shares["subject"]) == {NAME} | samples
    assert (shares["low"] < shares["high"]).all(), "a share keeps Wilson's interval beside a similarity"
    assert set(pd.read_csv(runs / "survey" / "key.csv")["subject"]) == {NAME}
    for stem in (stem for stem in words if stem.startswith(JUDGED)):
        assert "no attribute classifier knows them" in words[stem], stem
        assert samples or not re.search("amir|Nesrelah", words[stem]), stem


@pytest.mark.parametrize("number", [*JUDGED, "05", "09"])
def test_the_trainings_speak_of_whoever_is_learnt(number):
    (path,) = [path for path in WALK if path.stem.startswith(number)]
    assert not re.findall(
        r"(?i)\b(?:she|hers?|he|him|his)\b", "".join(cell.source for cell in notebooks.read(path).cells)
    )


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, pytest.param(True, marks=pytest.mark.weekly)], ids=["alone", "beside"])
@pytest.mark.parametrize("model", ["pocket", "sd15"])
def test_a_stranger_gets_from_raw_photos_to_the_audit(suite, environments, tmp_path, monkeypatch, model, beside):
    """First alone; weekly then beside the two samples, too, whose trainings for pocket came with the suite.

    What was done alone is kept; 03 and 04 would find that they have learnt this very person, and some notebooks are
    about nobody.
    """
    monkeypatch.delenv("SUBJECT", raising=False)
    environment = {"MODEL": model, "RUNS_DIR": str(tmp_path), **environments[model]}
    check(tmp_path, walk(suite, f'"{NAME}": "woman"', **environment), set())
    if beside:
        words = walk(suite, f'"{NAME}": "woman", {SAMPLES}', ("03", "04", *OF_NOBODY), **environment)
        check(tmp_path, words, {"amir", "nesrelah"} if model == "pocket" else set())
