"""No photos without consent."""

import datetime
import subprocess

import pandas as pd
import pytest

from helpers import machine
from helpers.machine import write_json
from helpers.photos import consent
from tools import notebooks

GIVEN = {"who": "a friend", "what_for": "this course", "until": "2099-01-01"}
WRONG = [
    ({"who": " "}, "does not say who"),
    ({"until": ""}, "does not say until"),
    ({"until": "2020-01-01"}, "ended on 2020-01-01"),
    ({"until": "soon"}, "write a day"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_only_complete_consent_is_written_and_read(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        consent.write_consent(tmp_path, **GIVEN | change)
    assert not list(tmp_path.iterdir())
    consent.write_consent(tmp_path, **GIVEN)
    with pytest.raises(ValueError, match=words):
        consent.write_consent(tmp_path, **GIVEN | change)
    assert consent.check_consent(tmp_path) == GIVEN, "a bad try does not take the old consent away"
    write_json(tmp_path / "consent.json", GIVEN | {key: value.strip() for key, value in change.items()})
    with pytest.raises(ValueError, match=words):
        consent.check_consent(tmp_path)


@pytest.mark.skipif(not (machine.REPO / ".git").exists(), reason="a copy without git's own folder")
@pytest.mark.parametrize(("folder", "status"), [("Zoë Okafor", 0), ("amir", 1), ("nesrelah", 1)])
def test_photos_of_real_people_stay_out_of_git(folder, status):
    for path in (f"data/subjects/{folder}/raw/IMG_1.jpg", f"data/subjects/{folder}/consent.json"):
        asked = subprocess.run(["git", "check-ignore", "-q", "--no-index", path], check=False, cwd=machine.REPO)
        assert asked.returncode == status


def test_without_consent_a_folder_is_left_out_in_words(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="ask the person"):
        consent.check_consent(tmp_path)
    assert not consent.given(tmp_path) and "is left out" in capsys.readouterr().out
    write_json(tmp_path / "consent.json", ["yes"])
    with pytest.raises(ValueError, match="who, what_for, until"):
        consent.check_consent(tmp_path)


def test_the_form_saves_nothing_without_the_tick(tmp_path):
    who, _, until, agreed, save, status = consent.consent_form(tmp_path).children
    who.value, until.value = "Amir", datetime.date(2099, 1, 1)
    save.click()
    assert "without the tick" in status.value and not list(tmp_path.iterdir())
    agreed.value = True
    save.click()
    assert "Saved" in status.value and consent.check_consent(tmp_path)["until"] == "2099-01-01"


def test_notebooks_01_and_02_go_on_with_whoever_agreed(tmp_path, monkeypatch):
    """01 shows the others the form."""
    monkeypatch.chdir(tmp_path)
    raw = {name: tmp_path / "data" / "subjects" / name / "raw" for name in ("amir", "stranger")}
    consent.write_consent(raw["amir"].parent, **GIVEN)
    shown = []
    place = {"RAW": raw, "NAMES": [*raw], "consent": consent, "display": shown.append, "pd": pd}
    code = {cell.id: cell.source for path in notebooks.paths()[1:3] for cell in notebooks.read(path).cells}
    exec(code["01-06"], place)  # noqa: S102  (as the notebook does)
    assert place["NAMES"] == ["amir"] and "stranger" in shown[0].children[-1].value
    monkeypatch.setattr(machine, "REPO", tmp_path)
    monkeypatch.setenv("SUBJECT", "amir, stranger")
    place = {"consent": consent, "machine": machine}
    exec(code["02-04"][code["02-04"].index("NAMES = ") :], place)  # noqa: S102
    assert place["NAMES"] == ["amir"]


def test_consent_goes_along_with_the_squares_but_only_to_another_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path / "runs")
    folder, squares = tmp_path / "data" / "Zoë Okafor", tmp_path / "runs" / "photos" / "Zoë Okafor"
    consent.write_consent(folder, **GIVEN)
    write_json(squares / "consent.json", consent.check_consent(folder))
    (folder / "consent.json").unlink()
    with pytest.raises(FileNotFoundError):  # taken back
        consent.check_consent(folder)
    folder.rmdir()
    assert consent.check_consent(folder)["who"] == "a friend"
