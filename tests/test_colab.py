import importlib
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from helpers import colab, widget_host

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def on_colab(monkeypatch, tmp_path):
    """The stand-in of google.colab, imported as Colab's kernel does, and an empty current folder, which it returns."""
    monkeypatch.syspath_prepend(str(STAND_IN))
    for name in names_of_google():
        monkeypatch.delitem(sys.modules, name)
    importlib.import_module("google.colab")
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "content" / "drive")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in names_of_google():
        del sys.modules[name]


def names_of_google():
    return [name for name in sys.modules if name.split(".")[0] == "google"]


def test_elsewhere_nothing_is_asked(tmp_path):
    assert not colab.on_colab()
    assert not colab.mount_drive()
    with pytest.raises(RuntimeError, match="copy the files into"):
        colab.upload(tmp_path)


def test_drive_is_mounted_once_and_again(on_colab):
    assert colab.mount_drive() and colab.mount_drive()
    assert (colab.DRIVE / "MyDrive").is_dir()


@pytest.mark.parametrize("refusal", ["policy", "declined", "unsupported"])
def test_a_refused_drive_is_one_sentence(on_colab, monkeypatch, capsys, refusal):
    monkeypatch.setenv("COLAB_DRIVE", refusal)
    assert not colab.mount_drive()
    told = capsys.readouterr().out
    assert "take it home" in told and "Traceback" not in told


def test_a_mountpoint_with_files_is_refused_as_well(on_colab, capsys):
    colab.DRIVE.mkdir(parents=True)
    (colab.DRIVE / "mine.txt").write_text("left by somebody")
    assert not colab.mount_drive()
    assert "must not already contain files" in capsys.readouterr().out


def test_uploads_land_in_the_folder_and_nowhere_else(on_colab, monkeypatch):
    chosen = on_colab / "phone"
    chosen.mkdir()
    for name in ("a.jpg", "b.zip"):
        (chosen / name).write_bytes(name.encode())
    monkeypatch.setenv("COLAB_UPLOADS", str(chosen))
    paths = colab.upload(on_colab / "raw")
    assert [path.name for path in paths] == ["a.jpg", "b.zip"]
    assert [path.read_bytes() for path in paths] == [b"a.jpg", b"b.zip"]
    assert sorted(path.name for path in on_colab.iterdir()) == ["phone", "raw"]


@pytest.mark.parametrize("name", ["HF_TOKEN", "LOCKED", "SLOW"])
def test_no_token_is_no_accident(on_colab, monkeypatch, name):
    monkeypatch.setenv("COLAB_SECRETS", json.dumps({"LOCKED": None}))
    monkeypatch.delenv(name, raising=False)
    assert not colab.copy_token(name) and name not in os.environ


def test_a_token_reaches_programs_started_here_and_no_screen(on_colab, monkeypatch, capsys):
    monkeypatch.setenv("COLAB_SECRETS", json.dumps({"MY_TOKEN": "secret"}))
    monkeypatch.setenv("MY_TOKEN", "")
    monkeypatch.delenv("MY_TOKEN")
    assert colab.copy_token("MY_TOKEN") and os.environ["MY_TOKEN"] == "secret"
    assert "secret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("installed", [True, False])
def test_our_widgets_are_switched_on_where_they_can_be_shown(on_colab, monkeypatch, installed):
    output, switched = importlib.import_module("google.colab.output"), []
    monkeypatch.setattr(output, "enable_custom_widget_manager", lambda: switched.append(True))
    monkeypatch.setattr(widget_host.importlib.util, "find_spec", lambda name: installed or None)
    assert widget_host.custom_widgets() is installed
    assert switched == [True] * installed, "without anywidget there is nothing to switch on"


def test_elsewhere_there_is_nothing_to_switch_on(monkeypatch):
    assert "google.colab" not in sys.modules
    monkeypatch.setattr(widget_host.importlib.util, "find_spec", lambda name: True)
    assert widget_host.custom_widgets()


@pytest.fixture
def run(tmp_path):
    for name in ("card.md", "previews/1.png", "checkpoints/1.pt", ".card.md.part"):
        path = tmp_path / "runs" / "hypernetwork_amir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "runs" / "hypernetwork_amir"


def test_a_run_goes_home_without_its_checkpoints(run):
    archive = colab.take_home(run)
    assert archive == run.with_name("hypernetwork_amir.zip")
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == ["hypernetwork_amir/card.md", "hypernetwork_amir/previews/1.png"]
        assert opened.read("hypernetwork_amir/card.md") == b"card.md"
    assert colab.take_home(run) == archive, "and again"


def test_on_colab_the_browser_gets_it(on_colab, run, monkeypatch):
    log = on_colab / "downloads.txt"
    monkeypatch.setenv("COLAB_DOWNLOADS", str(log))
    assert colab.take_home(run, on_colab / "mine.zip") == on_colab / "mine.zip"
    assert log.read_text() == f"{on_colab / 'mine.zip'}\n"


def test_nothing_to_take_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing in"):
        colab.take_home(tmp_path)


def test_what_was_taken_home_comes_back(on_colab, run, monkeypatch):
    """Twice, as a browser names a second download; what is no run of ours is refused before anything is written."""
    chosen, runs = on_colab / "downloads", on_colab / "fresh" / "runs"
    chosen.mkdir()
    monkeypatch.setenv("COLAB_UPLOADS", str(chosen))
    monkeypatch.setenv("COLAB_DOWNLOADS", str(on_colab / "log.txt"))
    for name in ("hypernetwork_amir.zip", "hypernetwork_amir (1).zip"):
        colab.take_home(run, chosen / name)
    assert colab.bring_back(runs) == [runs / "hypernetwork_amir"]
    there = sorted(path.relative_to(runs).as_posix() for path in runs.rglob("*") if path.is_file())
    assert there == ["hypernetwork_amir/card.md", "hypernetwork_amir/previews/1.png"]
    assert (runs / "hypernetwork_amir" / "card.md").read_text() == "card.md"
    for path in chosen.iterdir():
        path.unlink()
    for name in ("../../escaped/x.txt", "loose.txt"):
        with zipfile.ZipFile(chosen / "other.zip", "w") as opened:
            opened.writestr("good/a.txt", "a")
            opened.writestr(name, "x")
        with pytest.raises(ValueError, match="other.zip is no run that was taken home"):
            colab.bring_back(runs)
    assert not (runs / "good").exists() and not (on_colab / "escaped").exists()


def test_on_a_computer_of_ones_own_a_zip_is_unpacked_by_hand(tmp_path):
    with pytest.raises(RuntimeError, match="Uploading is for Colab"):
        colab.bring_back(tmp_path)
