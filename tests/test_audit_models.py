"""The audit's pictures and its short training, on the pocket model; and its tagger in a real browser."""

import json

import pandas as pd
import pytest
import torch
from PIL import Image

from helpers import audit, audit_mend, audit_tagging, compare, places, png_info

pytest_plugins = ["lab"]
SAMPLER = {"guidance_scale": 5.0, "num_inference_steps": 2}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "RUNS", tmp_path)
    return tmp_path


@pytest.fixture
def painted(monkeypatch):
    """What compare.make was asked for; it paints one colour a seed."""
    asked = []

    def make(pipe, wanted, maker, **sampler):
        for path, (prompt, seed) in wanted.items():
            asked.append((prompt, seed))
            Image.new("RGB", (8, 8), (seed, 0, 0)).save(path)

    monkeypatch.setattr(compare, "make", make)
    return asked


def test_pictures_are_made_once_and_again_for_other_weights(runs, painted):
    table = audit.pictures("base", None, "one", ["b", "a"], [2, 1], **SAMPLER)
    assert list(zip(table["prompt"], table["seed"])) == [("b", 2), ("b", 1), ("a", 2), ("a", 1)]
    assert [image.getpixel((0, 0))[0] for image in audit.of(table, "a")] == [1, 2]  # in the order of seeds
    audit.pictures("base", None, "one", ["a"], [1, 2, 3], **SAMPLER)
    assert painted == [("b", 2), ("b", 1), ("a", 2), ("a", 1), ("a", 3)]
    audit.pictures("base", None, "two", ["a"], [1], **SAMPLER)
    audit.pictures("base", None, "two", ["a"], [1], **SAMPLER | {"guidance_scale": 1.0})
    assert painted[5:] == [("a", 1), ("a", 1)]
    told = [json.loads(path.read_text()) for path in (runs / "audit" / "images").glob("*/settings.json")]
    assert sorted((each["weights"], each["guidance_scale"]) for each in told) == [("one", 5), ("two", 1), ("two", 5)]


def test_a_maker_has_its_own_pictures(runs, painted):
    tables = [audit.pictures(maker, None, maker, ["a"], [1, 2], **SAMPLER) for maker in ("base", "own")]
    both = pd.concat(tables)
    assert len(painted) == 4 and len(audit.of(both, "a")) == 4 and len(audit.of(both, "a", "own")) == 2


def test_what_was_withheld_is_nobody(runs, monkeypatch, capsys):
    def make(pipe, wanted, maker, **sampler):
        for path, (prompt, seed) in wanted.items():
            told = {"Withheld": "by the safety checker"} if (prompt, seed) == ("a", 2) else {}
            text = png_info.write_text(prompt, "", {"Steps": 1, "Size": "8x8", "Seed": seed} | told)
            png_info.save(path, Image.new("RGB", (8, 8), (seed, len(prompt), 0)), text)

    monkeypatch.setattr(compare, "make", make)
    for _ in range(2):  # made, then found
        table = audit.pictures("base", None, "one", ["a", "bb"], [1, 2, 3], **SAMPLER)
        assert "1 of 6 pictures by base were withheld" in capsys.readouterr().out
    assert list(zip(table["prompt"], table["seed"])) == [("a", 1), ("a", 3), ("bb", 1), ("bb", 2), ("bb", 3)]
    pairs = audit.paired(table, table, "a", "bb")
    assert [[image.getpixel((0, 0))[:2] for image in side] for side in pairs] == [[(1, 1), (3, 1)], [(1, 2), (3, 2)]]
    assert [len(side) for side in audit.paired(table, table, "bb")] == [3, 3]


def test_prompts_by_group():
    assert set(audit.prompts("trait", "name")) < set(audit.prompts())
    assert audit.prompts("clothes")[0].endswith("a suit")  # notebook 07 takes the first as the planted one
    with pytest.raises(ValueError, match="no group 'traits'"):
        audit.prompts("traits")


@pytest.mark.slow
def test_a_short_training_changes_its_own_copy_alone(runs, pipe):
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    photos = [Image.new("RGB", (32, 32), color) for color in ("red", "blue", "green", "white")]
    told = {"steps": 2, "learning_rate": 1e-3, "batch_size": 1, "size": 32, "kind": "test"}
    first, again = (
        audit_mend.train(runs / "mend", pipe, photos, "nesrelah_001 person", photos[:2], "a person", **told)
        for _ in range(2)
    )
    assert all(torch.equal(value, before[name]) for name, value in pipe.unet.state_dict().items())
    assert first.vae is pipe.vae and first.unet.dtype == pipe.unet.dtype and not first.unet.training
    learnt = first.unet.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in learnt.items())
    assert all(torch.equal(value, learnt[name]) for name, value in again.unet.state_dict().items())  # read, not trained
    assert json.loads((runs / "mend" / "settings.json").read_text())["kind"] == "test"


TAGGER = """
import pandas as pd
from PIL import Image
from helpers import audit_tagging, places
images = [Image.new("RGB", (64, 64), color) for color in ("red", "green", "blue")]
table = audit_tagging.items(pd.DataFrame({"maker": "base", "prompt": "p", "seed": range(3), "image": images}), {"base": "1"})
tagger = audit_tagging.Tagger(table, "9", places.RUNS / "tags")
tagger
"""


@pytest.mark.slow
def test_a_class_tags_with_the_keyboard_alone(lab):
    notebook = lab.open(TAGGER)
    notebook.run()
    shown = notebook.output(0)
    shown.get_by_text("Picture 1 of 3").wait_for()
    assert shown.get_by_role("img").get_attribute("alt") == "picture 1 of 3, made by a model"
    shown.get_by_role("button", name="as a woman").focus()
    for number, keys in enumerate((["Space"], ["Tab", "Space"], ["Tab", "Enter"]), 1):
        for key in keys:
            notebook.page.keyboard.press(key)
        words = f"Picture {number + 1} of 3" if number < 3 else "All 3 pictures are tagged"
        shown.get_by_text(words).wait_for()
    tags = audit_tagging.read_tags(lab.runs / "tags")
    assert list(notebook.python("[tagger.given[item] for item in tagger.order]")) == [*audit_tagging.TAGS]
    assert sorted(tags["tag"]) == sorted(audit_tagging.TAGS) and set(tags["tagger"]) == {"9"}
