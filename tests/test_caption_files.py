"""Captions to and from other programs' files."""

import json

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import captions
from helpers.caption_files import export_jsonl, export_txt, import_jsonl, import_txt

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40).map(lambda text: " ".join(text.split()))
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder, written, machine=None):
    files = [f"IMG {i}.png" for i in range(len(written))]
    for file in files:
        Image.new("RGB", (8, 8)).save(folder / file)
    captions.write_captions(
        folder, pd.DataFrame({"file": files, "caption": written, "machine_caption": machine or written})
    )


@quick
@given(st.lists(texts, min_size=1, max_size=4))
@pytest.mark.parametrize(("out", "back"), [(export_txt, import_txt), (export_jsonl, import_jsonl)])
def test_what_goes_out_comes_back(tmp_path_factory, out, back, written):
    tmp_path = tmp_path_factory.mktemp("captions")
    write(tmp_path, written, ["by the machine"] * len(written))
    before = captions.read_captions(tmp_path)
    out(tmp_path)
    pd.testing.assert_frame_equal(back(tmp_path), before)
    captions.write_captions(tmp_path, before.assign(caption="lost"))
    pd.testing.assert_frame_equal(back(tmp_path), before)


def test_the_draft_stays_when_captions_come_back(tmp_path):
    write(tmp_path, ["a man"], ["a man with a beard"])
    captions.write_captions(tmp_path, captions.read_captions(tmp_path).assign(draft="a man"))
    before = captions.read_captions(tmp_path)
    export_txt(tmp_path)
    pd.testing.assert_frame_equal(import_txt(tmp_path), before)
    assert not before.edited.any() and before.machine_caption[0] == "a man with a beard"


def test_the_files_are_as_other_programs_want_them(tmp_path):
    write(tmp_path, ["رجل\nwith a cat", 'a "man"'])
    assert [path.name for path in export_txt(tmp_path)] == ["IMG 0.txt", "IMG 1.txt"]
    assert (tmp_path / "IMG 0.txt").read_bytes() == "رجل with a cat\n".encode()
    lines = export_jsonl(tmp_path).read_bytes().decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"file_name": "IMG 0.png", "text": "رجل\nwith a cat"},
        {"file_name": "IMG 1.png", "text": 'a "man"'},
    ]
    assert [path.suffix for path in export_txt(tmp_path, ".caption")] == [".caption"] * 2


def test_captions_from_elsewhere_are_taken_in(tmp_path):
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "a.txt").write_text("\ufeffa man, kohya\r\n", encoding="utf-8")
    table = import_txt(tmp_path)
    assert list(table.file) == ["a.png"] and list(table.caption) == ["a man, kohya"] and not table.edited.any()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "b.jpg", "prompt": "a man at sea"}\n\n')
    table = import_jsonl(tmp_path)
    assert dict(zip(table.file, table.caption)) == {"a.png": "a man, kohya", "b.jpg": "a man at sea"}
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    captions.write_captions(tmp_path, pd.DataFrame({"file": ["b.jpg", "b.png"], "caption": ["x", "y"]}))
    with pytest.raises(ValueError, match=r"b\.txt would hold the captions of two photos"):
        export_txt(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not"),
        ('["a.png", "a man"]', "line 2 is not"),
        ('{"file_name": "a.png"}', "line 2 is not"),
        ('{"file_name": 3, "text": "x"}', "line 2 is not"),
        ('{"file_name": "../a.png", "text": "x"}', "which is not beside it"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_changed(tmp_path, line, words):
    write(tmp_path, ["a man"])
    (tmp_path / "metadata.jsonl").write_text(f'{{"file_name": "IMG 0.png", "text": "new"}}\n{line}\n')
    with pytest.raises(ValueError, match=words):
        import_jsonl(tmp_path)
    assert list(captions.read_captions(tmp_path).caption) == ["a man"]


def test_what_is_missing_or_not_utf8_is_named(tmp_path):
    write(tmp_path, ["a man"])
    for back in (import_txt, import_jsonl):
        with pytest.raises(FileNotFoundError, match="There (is|are) no"):
            back(tmp_path)
    for back, name in ((import_txt, "IMG 0.txt"), (import_jsonl, "metadata.jsonl")):
        (tmp_path / name).write_bytes(b"caf\xe9")
        with pytest.raises(ValueError, match="is not UTF-8"):
            back(tmp_path)
