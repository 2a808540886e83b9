import csv
import unicodedata

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import captions, models

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture(scope="module")
def captioner():
    return models.load_captioner("pocket")


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


def test_the_machines_own_words_are_kept_beside_the_draft(tmp_path):
    drafted = table_of(tmp_path, ["a man with a beard", "a man and a cat"], ["a man", "a man and a cat"])
    captions.write_captions(tmp_path, drafted.assign(draft=drafted.caption))
    back = captions.read_captions(tmp_path)
    assert back.machine_caption[0] == "a man with a beard" and back.draft[0] == back.caption[0] == "a man"
    assert not back.edited.any(), "what the program took out nobody corrected"
    captions.write_captions(tmp_path, back.assign(caption=["a man by hand", "a man and a cat"]))
    assert captions.read_captions(tmp_path).edited.tolist() == [True, False]
    new = table_of(tmp_path, ["one", "two"], ["1", "2"])
    kept = captions.keep_edits(new.assign(draft=new.caption), tmp_path)
    assert list(kept.caption) == ["a man by hand", "2"] and list(kept.draft) == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"file;caption;machine_caption;edited\n0.png;a man;x;True\n", "save it with commas"),
        ("file,caption,machine_caption,edited\n0.png,café,x,True\n".encode("latin-1"), "is not UTF-8"),
        (b"", "lacks"),
    ],
)
def test_corrections_in_a_file_that_cannot_be_read_are_not_written_over(tmp_path, content, words):
    new = table_of(tmp_path, ["one"], ["one"])
    (tmp_path / "captions.csv").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        captions.keep_edits(new, tmp_path)
    assert (tmp_path / "captions.csv").read_bytes() == content


def test_corrections_of_photos_that_are_gone_do_no_harm(tmp_path):
    old = table_of(tmp_path, ["a dog", "a cat"], ["a man", "a woman"])
    captions.write_captions(tmp_path, old)
    (tmp_path / "1.png").unlink()
    assert list(captions.keep_edits(old[:1].assign(caption="new"), tmp_path).caption) == ["a man"]


def test_hand_corrections_outlive_a_new_captioning(tmp_path):
    old = table_of(tmp_path, ["a dog", "a cat"], ["a man with a dog", "a cat"])
    assert captions.keep_edits(old, tmp_path) is old, "nothing there yet"
    captions.write_captions(tmp_path, old)
    new = table_of(tmp_path, ["one", "two"], ["one", "two"])
    kept = captions.keep_edits(new, tmp_path)
    assert list(kept.caption) == ["a man with a dog", "two"]
    assert list(kept.machine_caption) == ["one", "two"]


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


def test_the_prefix_begins_each_caption_and_length_is_kept(captioner):
    processor, blip = captioner
    prefix = "a photo of a man"
    found = captions.caption(processor, blip, noise(3), prefix, max_length=20)
    assert all(text.startswith(prefix) for text in found)
    assert max(len(processor.tokenizer(text)["input_ids"]) for text in found) <= 2 * 20


@pytest.mark.parametrize(
    ("wishes", "settings_of_transformers"),
    [
        ({"num_beams": 1, "no_repeat": 0, "min_length": 0}, {}),
        ({}, {"num_beams": 1, "min_length": 5, "no_repeat_ngram_size": 3}),
        ({"num_beams": 3}, {"num_beams": 3, "min_length": 5, "no_repeat_ngram_size": 3}),
        (captions.WEBUI, {"num_beams": 1, "min_length": 24, "max_length": 48}),
    ],
)
def test_caption_says_what_blip_says(captioner, wishes, settings_of_transformers):
    processor, blip = captioner
    (image,) = noise(1)
    with torch.no_grad():
        inputs = processor(images=image, return_tensors="pt")
        tokens = blip.generate(**inputs, **({"max_length": 40} | settings_of_transformers))
    said = processor.decode(tokens[0], skip_special_tokens=True)
    (found,) = captions.caption(processor, blip, [image], **wishes)
    letters = [unicodedata.normalize("NFC", "".join(text.split())) for text in (said, found)]
    assert letters[0] == letters[1]


def test_the_long_minimum_makes_captions_longer(captioner):
    images = noise(3)
    short = captions.caption(*captioner, images, num_beams=1, no_repeat=0)
    long = captions.caption(*captioner, images, **captions.WEBUI)
    count = captioner[0].tokenizer
    assert all(len(count(text)["input_ids"]) >= 20 for text in long)
    assert sum(map(len, long)) > sum(map(len, short))


def test_nucleus_sampling_follows_its_seed_and_nobody_elses(captioner):
    images = noise(2)
    state = torch.random.get_rng_state()
    first = captions.caption(*captioner, images, top_p=0.95, seed=1)
    assert torch.equal(state, torch.random.get_rng_state()), "whoever trains beside it draws the same numbers"
    torch.manual_seed(99)
    assert captions.caption(*captioner, images, top_p=0.95, seed=1) == first
    others = [captions.caption(*captioner, images, top_p=0.95, seed=seed) for seed in (2, 3, 4)]
    assert any(other != first for other in others)
