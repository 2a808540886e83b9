import csv
import unicodedata

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPTokenizer

from helpers import captions, models

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture(scope="module")
def captioner():
    return models.load_captioner("pocket")


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(models.POCKET / "tokenizer")


def table_of(folder, machine, corrected):
    files = [f"{i}.png" for i in range(len(machine))]
    for file in files:
        (folder / file).touch()
    return pd.DataFrame({"file": files, "caption": corrected, "machine_caption": machine})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
@example([('a man, "smiling", 4k', "a\nb\r\nc\rd"), ("رجل يركب حصانا، مبتسما", ""), ("NA", "nan"), ("=1+1", " x ")])
def test_captions_come_back_as_they_went(tmp_path, pairs):
    table = table_of(tmp_path, *zip(*pairs))
    captions.write_captions(tmp_path, table)
    back = captions.read_captions(tmp_path)
    assert list(back.columns) == captions.COLUMNS
    for column in ("file", "caption", "machine_caption"):
        assert list(back[column]) == list(table[column])
    assert list(back.edited) == [machine != corrected for machine, corrected in pairs]


def test_spreadsheets_and_other_programs_read_the_file(tmp_path):
    captions.write_captions(tmp_path, table_of(tmp_path, ["a man, smiling"], ["رجل"]))
    raw = (tmp_path / "captions.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf"), "Excel takes a CSV without this mark for another alphabet"
    assert pd.read_csv(tmp_path / "captions.csv").caption[0] == "رجل"
    with (tmp_path / "captions.csv").open("w", encoding="utf-8", newline="") as file:  # as a plain editor saves it
        csv.writer(file).writerows([captions.COLUMNS, ["0.png", "a man, by hand", "a man", "False"]])
    back = captions.read_captions(tmp_path)
    assert back.caption[0] == "a man, by hand" and back.edited[0], "edited is seen, not believed"


def test_without_machine_captions_nothing_is_edited(tmp_path):
    captions.write_captions(tmp_path, table_of(tmp_path, ["x"], ["a man"]).drop(columns="machine_caption"))
    assert captions.read_captions(tmp_path).edited.tolist() == [False]


def test_bad_caption_files_are_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="run 02_caption_with_blip first"):
        captions.read_captions(tmp_path)
    path = tmp_path / "captions.csv"
    path.write_text("file;caption\n0.png;a man\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"captions\.csv lacks file, caption"):
        captions.read_captions(tmp_path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks"):
        captions.read_captions(tmp_path)
    path.write_bytes("file,caption,machine_caption,edited\n0.png,caf\xe9,x,\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        captions.read_captions(tmp_path)
    path.write_text("file,caption,machine_caption,edited\ngone.png,a man,a man,False\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"names gone\.png, which is not beside it"):
        captions.read_captions(tmp_path)
    with pytest.raises(ValueError, match=r"a\.png has two captions"):
        captions.write_captions(tmp_path, pd.DataFrame({"file": ["a.png", "a.png"], "caption": ["x", "y"]}))


def test_hand_corrections_outlive_a_new_captioning(tmp_path):
    old = table_of(tmp_path, ["a dog", "a cat"], ["a man with a dog", "a cat"])
    assert captions.keep_edits(old, tmp_path) is old, "nothing there yet"
    captions.write_captions(tmp_path, old)
    new = table_of(tmp_path, ["one", "two"], ["one", "two"])
    kept = captions.keep_edits(new, tmp_path)
    assert list(kept.caption) == ["a man with a dog", "two"]
    assert list(kept.machine_caption) == ["one", "two"]


def test_check_points_at_each_fault_and_at_nothing_else(tokenizer):
    good = ["a photo of a man at the beach", "Man, smiling", "a man with a dog"]
    bad = ["a woman", " ", "a man with a beard with a beard", "a man " + "elegant art " * 60]
    table = pd.DataFrame({"file": [f"{i}.png" for i in range(7)], "caption": good + bad})
    found = captions.check_captions(table, "man", tokenizer)
    assert captions.check_captions(table[:3], "man", tokenizer) == []
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
        assert (not any("tokens" in s for s in captions.check_captions(table, "man", tokenizer))) == fits


def test_shared_captions_are_named_once(tokenizer):
    table = pd.DataFrame({"file": ["a.png", "b.png", "c.png"], "caption": ["a man", "a man", "a man smiling"]})
    (found,) = captions.check_captions(table, "man", tokenizer)
    assert found.startswith("2 photos share one caption (a.png, b.png)")


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("tan - skinned man , 4 k", "tan-skinned man, 4 k"),
        ("a man ' s dog", "a man's dog"),
        (" a  man ", "a man"),
        ("mo _ 042 . ", "mo_042."),
    ],
)
def test_tidy_joins_what_blip_parts(spoken, written):
    assert captions.tidy(spoken) == written == captions.tidy(written)


def noise(count):
    generator = torch.Generator().manual_seed(1)
    return [
        Image.fromarray(torch.randint(0, 256, (128, 128, 3), generator=generator, dtype=torch.uint8).numpy())
        for _ in range(count)
    ]


def test_one_caption_an_image_the_same_each_time(captioner):
    images = noise(captions.BATCH + 3)  # more than a batch
    found = captions.caption(*captioner, images)
    assert len(found) == len(images) and all(isinstance(text, str) for text in found)
    assert found == captions.caption(*captioner, images)
    assert captions.caption(*captioner, []) == []


def test_the_prefix_begins_each_caption_and_length_is_kept(captioner, tokenizer):
    processor, blip = captioner
    prefix = "a photo of a man"
    found = captions.caption(processor, blip, noise(3), prefix, max_length=20)
    assert all(text.startswith(prefix) for text in found)
    assert max(len(processor.tokenizer(text)["input_ids"]) for text in found) <= 2 * 20


def test_caption_says_what_blip_says(captioner):
    processor, blip = captioner
    (image,) = noise(1)
    with torch.no_grad():
        tokens = blip.generate(**processor(images=image, return_tensors="pt"), max_length=40)
    said = processor.decode(tokens[0], skip_special_tokens=True)
    (found,) = captions.caption(processor, blip, [image])
    letters = [unicodedata.normalize("NFC", "".join(text.split())) for text in (said, found)]
    assert letters[0] == letters[1]
