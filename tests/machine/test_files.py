import pytest

from helpers.machine import as_text, atomic_write, fingerprint, read_json, write_json


def test_a_file_is_whole_before_it_has_its_name_and_a_failed_write_leaves_the_old_one(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_write(path) as partial:
        partial.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="power cut"), atomic_write(path) as partial:
        partial.write_text("ne")
        raise RuntimeError("power cut")
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
    partial.write_text("what a killed process left behind")
    with atomic_write(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "-2+3", "\tx", "'=1", "''=1", "'quoted'", "a=b", "", 3, None])
def test_a_formula_becomes_text_and_comes_back(text):
    cell = as_text(text)
    assert as_text(cell, back=True) == text and not str(cell).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert (cell == text) == (not str(text).lstrip("'").startswith(("=", "@", "-", "\t")))


def test_json_comes_back_and_bad_json_names_the_file(tmp_path):
    data = {"name": "Nesreen", "words": ["ü", None, 1.5]}
    write_json(tmp_path / "a.json", data)
    assert read_json(tmp_path / "a.json") == data
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b\.json"):
        read_json(tmp_path / "b.json")


def test_a_fingerprint_follows_content_and_order_only(tmp_path):
    a, b, c = (tmp_path / name for name in "abc")
    for path, text in ((a, "1"), (b, "2"), (c, "1")):
        path.write_text(text)
    assert fingerprint([a, b]) == fingerprint([c, b]) != fingerprint([b, a])
