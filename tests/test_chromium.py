import os
import subprocess

import chromium
import pytest

HERE = "/usr/bin/chromium"


@pytest.fixture
def bare(monkeypatch):
    """A machine without Chromium; `bare` lists the commands that would have been run on it."""
    asked = []
    monkeypatch.setattr(chromium, "find", lambda: None)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "apt-get" else None)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command))
    return asked


def test_one_on_path_is_taken_first(monkeypatch):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: HERE if name == "chromium-browser" else None)
    assert chromium.find() == HERE


def test_then_playwrights_own(monkeypatch):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "_of_playwright", lambda: "/home/someone/chrome")
    assert chromium.find() == "/home/someone/chrome"


def test_root_gets_debians_and_then_playwrights(bare, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert chromium.get() is None
    assert [command[0] for command in bare[:2]] == ["apt-get", "apt-get"] and "chromium" in bare[1]
    assert bare[2][1:] == ["-m", "playwright", "install", "chromium"]


def test_others_get_playwrights_only(bare, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    chromium.get()
    assert [command[2] for command in bare] == ["playwright"]


def test_nothing_is_fetched_once_there_is_one(bare, monkeypatch):
    found = iter([None, HERE, HERE])  # the package list was read, then somebody installed it
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(chromium, "find", lambda: next(found))
    assert chromium.get() == HERE
    assert len(bare) == 1


@pytest.mark.parametrize("network", [subprocess.TimeoutExpired("apt-get", 300), OSError("no such program")])
def test_a_network_that_fails_is_told_and_survived(bare, monkeypatch, capsys, network):
    def fail(command, **_):
        raise network

    monkeypatch.setattr(subprocess, "run", fail)
    assert chromium.get() is None
    assert str(network) in capsys.readouterr().out


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_one_tests_are_skipped_and_in_ci_they_fail(bare, monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no Chromium on this machine"), chromium.launched():
        raise AssertionError("there is no browser to launch")
