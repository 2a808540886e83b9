import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.machine import install


@pytest.fixture
def requirements(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("# what we need\n\npytest>=1,<999  # tests\nno-such-package-of-ours>=1,<2  # 05\n")
    return path


@pytest.fixture
def on_colab(monkeypatch):
    """Pretends to run on Colab, and returns the list of pip's arguments and constraints asked for."""
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    asked = []

    def run(command, check):
        file = command.index("-c") + 1
        asked.append((command[file + 1 :], Path(command[file]).read_text()))

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_what_has_no_wheel_for_this_machine_is_not_missing(requirements):
    requirements.write_text('one-that-is-not>=1; platform_system == "Amiga"\none-of-ours; platform_system != "Amiga"\n')
    assert install.missing(requirements) == ['one-of-ours; platform_system != "Amiga"']


def test_colab_gets_only_what_is_missing_and_keeps_its_own(requirements, on_colab):
    install.install_missing(requirements)
    ((packages, constraints),) = on_colab
    assert packages == ["no-such-package-of-ours>=1,<2"]
    for name in ("torch", "numpy", "pillow", "ipywidgets", "ipython", "ipykernel"):
        assert f"{name}=={metadata.version(name)}\n" in constraints


@pytest.mark.parametrize("colab_too", [False, True])
def test_kaggle_gets_what_is_missing_or_a_sentence(requirements, on_colab, monkeypatch, colab_too):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    if not colab_too:
        monkeypatch.delitem(sys.modules, "google.colab")
    install.install_missing(requirements)
    assert [packages for packages, _ in on_colab] == [["no-such-package-of-ours>=1,<2"]]

    def no_network(command, check):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", no_network)
    with pytest.raises(ConnectionError, match="no-such-package-of-ours.*switch Internet on"):
        install.install_missing(requirements)


def test_nothing_is_run_when_all_is_there(on_colab):
    install.install_missing()
    assert on_colab == []


def test_colab_never_gets_another_torch(requirements, on_colab, monkeypatch):
    monkeypatch.setattr(install, "_installed", lambda name: name != "torch")
    requirements.write_text("torch>=2\n")
    with pytest.raises(ModuleNotFoundError, match="lacks torch"):
        install.install_missing(requirements)
    assert on_colab == []


def test_elsewhere_one_sentence_says_what_to_do(requirements):
    with pytest.raises(ModuleNotFoundError, match=r"no-such-package-of-ours.*pip install -r requirements.txt"):
        install.install_missing(requirements)
