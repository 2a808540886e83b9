"""The crop and caption editors: what is chosen and typed is in the files."""

import json
import re

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import blobs
from PIL import Image

from helpers import photos
from helpers.photos import CaptionEditor, CropEditor, crop


@pytest.fixture
def prepared(tmp_path):
    """(report, folder of originals, folder of squares) of three photos and a broken one."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for seed in range(3):
        blobs(seed, 400, 300).save(raw / f"{seed}.png")
    (raw / "broken.png").write_bytes(b"no picture")
    report = photos.prepare(raw, out, 64, rename="{name}")
    texts = [f"a man with a cat, number {seed}" for seed in range(3)]
    photos.write_captions(out, pd.DataFrame({"file": report.output[report.kept], "caption": texts}))
    return report, raw, out


def send(widget, **message):
    """What the page would send."""
    widget._handle_custom_msg(message, [])


def test_the_crop_editor_keeps_boxes_within_the_photo_and_answers_its_page(prepared):
    report, raw, out = prepared
    widget = CropEditor(report, raw, out, 64)
    widget.show(3)
    view = widget.view
    assert (view["file"], view["size"], view["by_hand"]) == ("0.png", [400, 300], False)
    assert view["box"] == list(report.crop[0]) and widget.files == ["0.png", "1.png", "2.png"]
    widget.keep("0.png", (350, -20, 500, 130))
    assert widget.view["box"] == [250, 0, 400, 150] and widget.view["by_hand"]
    assert crop.read_crops(out) == {"0.png": (250, 0, 400, 150)}
    assert photos.prepare(raw, out, 64).crop[0] == (250, 0, 400, 150)
    widget.keep("0.png", None)
    assert widget.view["box"] == list(report.crop[0]) and crop.read_crops(out) == {}
    assert widget.view["image"].startswith("data:image/jpeg;base64,")
    send(widget, kind="show", index=-1)
    assert widget.view["file"] == "2.png"
    send(widget, kind="keep", file="2.png", box=[10, 20, 110, 120])
    send(widget, kind="keep", file="2.png", box=["left", 0, 1, 2])
    assert "is not a crop" in widget.view["status"] and crop.read_crops(out) == {"2.png": (10, 20, 110, 120)}
    send(widget, kind="keep", file="2.png", box=None)
    assert crop.read_crops(out) == {} and json.dumps(widget.view)
    with pytest.raises(ValueError, match="'x'"):
        widget.keep("x", None)
    with pytest.raises(ValueError, match="cannot be found"):
        CropEditor(report, [raw / "0.png"], out)


@pytest.mark.parametrize("text", ["[1]", '{"a.png": 3}', "{"])
def test_a_spoilt_list_of_crops_is_named(tmp_path, text):
    (tmp_path / "crops.json").write_text(text)
    with pytest.raises(ValueError, match=r"crops\.json"):
        crop.read_crops(tmp_path)


def test_the_caption_widget_answers_its_page(prepared):
    out = prepared[2]
    written = lambda: list(photos.read_captions(out).caption)
    widget = CaptionEditor(out, check=lambda text: [] if "man" in text else ["no man"])
    send(widget, kind="write", file="0.png", text="a woman\n at the  beach")
    assert widget.view["warnings"] == [] and written()[0] == "a woman at the beach"
    send(widget, kind="write", file="0.png", text="a dog")
    assert widget.view["warnings"] == ["no man"]
    turn = widget.view["turn"]
    send(widget, kind="replace", find="Cat", by="dog")
    assert "2 captions" in widget.view["status"] and widget.view["turn"] > turn
    assert written()[1:] == [f"a man with a dog, number {i}" for i in (1, 2)]
    send(widget, kind="undo")
    assert written()[1:] == [f"a man with a cat, number {i}" for i in (1, 2)]
    send(widget, kind="undo")
    assert "no replacement" in widget.view["status"]
    send(widget, kind="show", index=2)
    assert CaptionEditor(out).view["file"] == "2.png", "the next visit goes on where this one ended"
    assert json.dumps(widget.view) and dict(widget.words())["man"] == 2


words = st.text(st.sampled_from("ab cé.رجل-'"), max_size=12)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(words.map(lambda text: " ".join(text.split())), min_size=1, max_size=4), words.filter(str.strip), words)
def test_replacing_takes_whole_words_and_can_be_taken_back(tmp_path, texts, find, by):
    files = [f"{i}.png" for i in range(len(texts))]
    for file in files:
        Image.new("RGB", (8, 8)).save(tmp_path / file)
    photos.write_captions(tmp_path, pd.DataFrame({"file": files, "caption": texts}))
    editor = CaptionEditor(tmp_path)
    editor.replace(find, by)
    new = list(photos.read_captions(tmp_path).caption)
    changed = sum(one != other for one, other in zip(texts, new))
    assert re.match(rf"{changed} captions? changed", editor.view["status"])
    assert all(one == other for one, other in zip(texts, new) if find.strip().lower() not in one.lower())
    editor.undo()
    assert list(photos.read_captions(tmp_path).caption) == texts
    with pytest.raises(ValueError, match="look for"):
        editor.replace(" ", by)
