import importlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import machine, show
from helpers.machine import files


def names_of_google():
    return [name for name in sys.modules if name.split(".")[0] == "google"]


@pytest.fixture
def on_colab(monkeypatch, tmp_path):
    """The stand-in of google.colab, imported as Colab's kernel does, and an empty current folder, which it returns."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "stand_in"))
    for name in names_of_google():
        monkeypatch.delitem(sys.modules, name)
    importlib.import_module("google.colab")
    monkeypatch.setattr(files, "DRIVE", tmp_path / "content" / "drive")
    monkeypatch.chdir(tmp_path)
    for kind in ("uploads", "downloads"):
        monkeypatch.setenv(f"COLAB_{kind.upper()}", str(tmp_path / kind))
    yield tmp_path
    for name in names_of_google():
        del sys.modules[name]


def test_elsewhere_nothing_is_asked(tmp_path):
    assert not machine.on_colab() and not machine.mount_drive()
    for ask in (machine.upload, machine.bring_back):
        with pytest.raises(RuntimeError, match="copy the files into"):
            ask(tmp_path)


def test_kaggle_is_no_colab_though_it_brings_google_colab(on_colab, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert not machine.on_colab() and not machine.mount_drive()
    assert "Save Version" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="on Kaggle choose Upload"):
        machine.upload(tmp_path)


def test_drive_is_mounted_once_and_again(on_colab):
    assert machine.mount_drive() and machine.mount_drive()
    assert (files.DRIVE / "MyDrive").is_dir()


@pytest.mark.parametrize("refusal", ["policy", "declined", "unsupported", "files there"])
def test_a_refused_drive_is_one_sentence(on_colab, monkeypatch, capsys, refusal):
    monkeypatch.setenv("COLAB_DRIVE", refusal)
    (files.DRIVE / "left by somebody").mkdir(parents=True)
    assert not machine.mount_drive()
    assert "take it home" in capsys.readouterr().out


def test_uploads_land_in_the_folder_and_nowhere_else(on_colab):
    (on_colab / "uploads").mkdir()
    for name in ("a.jpg", "b.zip"):
        (on_colab / "uploads" / name).write_text(name)
    paths = machine.upload(on_colab / "raw")
    assert [path.name for path in paths] == [path.read_text() for path in paths] == ["a.jpg", "b.zip"]
    assert sorted(path.name for path in on_colab.iterdir()) == ["raw", "uploads"]


@pytest.mark.parametrize("name", ["HF_TOKEN", "LOCKED", "SLOW"])
def test_no_token_is_no_accident(on_colab, monkeypatch, name):
    monkeypatch.setenv("COLAB_SECRETS", json.dumps({"LOCKED": None}))
    monkeypatch.delenv(name, raising=False)
    assert not machine.copy_token(name) and name not in os.environ


def test_a_token_reaches_programs_started_here_and_no_screen(on_colab, monkeypatch, capsys):
    monkeypatch.setenv("COLAB_SECRETS", json.dumps({"MY_TOKEN": "secret"}))
    monkeypatch.setenv("MY_TOKEN", "")
    monkeypatch.delenv("MY_TOKEN")
    assert machine.copy_token("MY_TOKEN") and os.environ["MY_TOKEN"] == "secret"
    assert "secret" not in "".join(capsys.readouterr())


def test_colab_is_told_to_show_our_widgets(on_colab, monkeypatch):
    output, switched = importlib.import_module("google.colab.output"), []
    monkeypatch.setattr(output, "enable_custom_widget_manager", lambda: switched.append(True))
    show.enable_widgets()
    assert switched == [True]


@pytest.fixture
def run(tmp_path):
    for name in ("card.md", "previews/1.png", "checkpoints/1.pt", ".card.md.part"):
        path = tmp_path / "runs" / "hypernetwork_amir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "runs" / "hypernetwork_amir"


def test_a_run_goes_home_without_its_checkpoints(run, tmp_path):
    for _ in range(2):
        archive = machine.take_home(run)
        assert archive == run.with_name("hypernetwork_amir.zip")
        with zipfile.ZipFile(archive) as opened:
            assert opened.namelist() == ["hypernetwork_amir/card.md", "hypernetwork_amir/previews/1.png"]
            assert opened.read("hypernetwork_amir/card.md") == b"card.md"
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="nothing in"):
        machine.take_home(tmp_path / "empty")


def test_what_the_browser_got_comes_back(on_colab, run):
    """Twice, as a browser names a second download."""
    (on_colab / "uploads").mkdir()
    chosen = [on_colab / "uploads" / f"hypernetwork_amir{number}.zip" for number in ("", " (1)")]
    for archive in chosen:
        assert machine.take_home(run, archive) == archive
    assert (on_colab / "downloads").read_text().splitlines() == [*map(str, chosen)]
    fresh = on_colab / "fresh" / "runs"
    assert machine.bring_back(fresh) == [fresh / run.name]
    there = sorted(path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file())
    assert there == ["hypernetwork_amir/card.md", "hypernetwork_amir/previews/1.png"]
    assert (fresh / run.name / "card.md").read_text() == "card.md"


def test_a_run_of_the_same_name_is_kept_and_never_mixed_with_what_comes(on_colab, run, capsys):
    (on_colab / "uploads").mkdir()
    machine.take_home(run, on_colab / "uploads" / "run.zip")
    other = on_colab / "fresh" / "runs" / run.name
    other.mkdir(parents=True)
    (other / "card.md").write_text("of another training")
    (other / "weights.pt").write_text("of another training")
    assert machine.bring_back(other.parent) == [other]
    assert sorted(path.name for path in other.iterdir()) == ["card.md", "previews"]
    assert {path.read_text() for path in (other.parent / f"{run.name}-1").iterdir()} == {"of another training"}
    assert sorted(path.name for path in other.parent.iterdir()) == [run.name, f"{run.name}-1"]
    assert "is kept as hypernetwork_amir-1" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["cut", "no zip", "damaged", "too large"])
def test_a_zip_that_cannot_be_unpacked_is_one_sentence_and_changes_nothing(on_colab, run, monkeypatch, fault):
    (on_colab / "uploads").mkdir()
    archive = machine.take_home(run, on_colab / "uploads" / "run.zip")
    content = archive.read_bytes()
    damaged = {"cut": content[:-30], "no zip": b"hello", "damaged": content.replace(b"card.mdPK", b"cArd.mdPK")}
    archive.write_bytes(damaged.get(fault, content))
    if fault == "too large":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    runs = on_colab / "fresh" / "runs"
    (runs / run.name).mkdir(parents=True)
    (runs / run.name / "card.md").write_text("mine")
    with pytest.raises(ValueError, match=r"make room" if fault == "too large" else r"run\.zip is not a whole zip"):
        machine.bring_back(runs)
    assert [path.read_text() for path in runs.rglob("*") if path.is_file() and path.suffix != ".zip"] == ["mine"]


@pytest.mark.parametrize("name", ["../../escaped/x.txt", "loose.txt"])
def test_a_zip_that_is_no_run_is_refused_before_anything_is_written(on_colab, name):
    (on_colab / "uploads").mkdir()
    with zipfile.ZipFile(on_colab / "uploads" / "other.zip", "w") as opened:
        opened.writestr("good/a.txt", "a")
        opened.writestr(name, "x")
    with pytest.raises(ValueError, match="other.zip is no run"):
        machine.bring_back(on_colab / "fresh" / "runs")
    assert not [path for path in on_colab.rglob("*.txt") if "uploads" not in path.parts]
