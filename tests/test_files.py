import pytest

from helpers.files import atomic_write, fingerprint, read_json, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_write(path) as partial:
        partial.write_text("old")
    with pytest.raises(RuntimeError, match="power cut"), atomic_write(path) as partial:
        partial.write_text("ne")
        raise RuntimeError("power cut")
    assert path.read_text() == "old"
    assert [found.name for found in path.parent.iterdir()] == ["file.txt"]


def test_the_file_is_whole_before_it_has_its_name(tmp_path):
    path = tmp_path / "file.txt"
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_what_a_killed_process_left_behind_does_not_stay(tmp_path):
    path = tmp_path / "file.txt"
    with atomic_write(path) as partial:
        leftover = partial
        partial.write_text("x")
    leftover.write_text("half of a much longer text")
    with atomic_write(path) as partial:
        partial.write_text("y")
    assert path.read_text() == "y" and not leftover.exists()


def test_json_comes_back_and_bad_json_names_the_file(tmp_path):
    data = {"name": "Nesreen", "words": ["ü", None, 1.5]}
    write_json(tmp_path / "a.json", data)
    assert read_json(tmp_path / "a.json") == data
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b\.json"):
        read_json(tmp_path / "b.json")


def test_a_fingerprint_follows_content_and_order_only(tmp_path):
    for name, text in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / name).write_text(text)
    a, b, c = (tmp_path / name for name in "abc")
    assert fingerprint([a, b]) == fingerprint([c, b]) != fingerprint([b, a])
    assert len(fingerprint([])) == 16
