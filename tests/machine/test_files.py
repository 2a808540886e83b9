import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.machine import as_text, atomic_write, files, fingerprint, read_json, write_csv, write_json


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


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file"),  # torch
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
    ],
)
def test_whatever_writes_to_a_full_disk_says_so_in_one_sentence(tmp_path, error):
    def fail(path, index):
        path.write_bytes(b"half")
        raise error

    with pytest.raises(
        OSError, match=r"No room to write .*new/a\.csv \(.* GiB free\)\. Make room and run again\.$"
    ) as told:
        write_csv(tmp_path / "new" / "a.csv", SimpleNamespace(to_csv=fail))
    assert told.value.errno == errno.ENOSPC and not list((tmp_path / "new").iterdir())
    with pytest.raises(KeyError), atomic_write(tmp_path / "b"):
        raise KeyError("another error stays what it is")


def test_the_name_of_a_file_is_on_disk_too_and_those_of_new_folders(tmp_path, monkeypatch):
    """After a power cut a whole file may lie under no name."""
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), fsync(handle)))
    path = tmp_path / "new" / "newer" / "a.json"
    write_json(path, {})
    assert synced[0] == path.stat().st_ino
    assert {folder.stat().st_ino for folder in (path.parent, tmp_path / "new", tmp_path)} <= set(synced[1:])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_json_that_notepad_saved_is_read_and_a_backslash_is_named(tmp_path, encoding):
    (tmp_path / "a.json").write_text('{"who": "Zoë"}', encoding=encoding)
    assert read_json(tmp_path / "a.json") == {"who": "Zoë"}
    (tmp_path / "a.json").write_text('{"photos": "C:\\Users\\me"}', encoding=encoding)
    with pytest.raises(ValueError, match="single backslash"):
        read_json(tmp_path / "a.json")


def test_a_drive_that_died_is_one_sentence_and_runs_stay_here(tmp_path, monkeypatch, capsys):
    """As after a restart of Colab's kernel, before Drive is mounted anew."""

    class Dead(type(tmp_path)):
        def stat(self, **_):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(self))

    monkeypatch.delenv("RUNS_DIR", raising=False)
    monkeypatch.setattr(files, "DRIVE", Dead(tmp_path / "drive"))
    monkeypatch.setattr(files, "QUICK", False)
    assert files.find_runs() == files.REPO / "runs"
    assert capsys.readouterr().out.count("\n") == 1
    for made in (False, True):
        monkeypatch.setattr(files, "DRIVE", tmp_path / "drive")
        assert (
            files.find_runs() == tmp_path / "drive/MyDrive/personalize/runs"
        ) == made and not capsys.readouterr().out
        (tmp_path / "drive" / "MyDrive").mkdir(parents=True, exist_ok=True)


def test_on_kaggle_runs_are_what_it_keeps_and_checkpoints_are_not(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "KAGGLE", tmp_path)
    monkeypatch.delenv("RUNS_DIR", raising=False)
    assert files.local(tmp_path / "runs") == tmp_path / "runs"
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    assert files.find_runs() == tmp_path / "runs" / ("quick" if files.QUICK else "")
    place = files.local(tmp_path / "runs" / "dreambooth" / "checkpoints")
    assert tmp_path not in place.parents and place.parts[-3:] == ("runs", "dreambooth", "checkpoints")
    assert files.local("elsewhere") == Path("elsewhere")
