"""No photos without consent."""

import datetime

import pandas as pd
import pytest

from helpers import consent
from helpers.consent import check_consent, consent_form, given, write_consent
from helpers.files import read_json, write_json
from helpers.places import REPO


def test_consent_is_asked_for_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no .*consent\.json: ask the person"):
        check_consent(tmp_path)
    given_ = {"who": "a friend", "what_for": "this course", "until": "2099-01-01"}
    write_json(tmp_path / "consent.json", given_)
    assert check_consent(tmp_path) == given_
    for change, words in [
        ({"who": ""}, "does not say who"),
        ({"until": "2020-01-01"}, "ended on 2020-01-01"),
        ({"until": "soon"}, "until is 'soon': write a day"),
    ]:
        write_json(tmp_path / "consent.json", given_ | change)
        with pytest.raises(ValueError, match=words):
            check_consent(tmp_path)
    write_json(tmp_path / "consent.json", ["yes"])
    with pytest.raises(ValueError, match="does not say who, what_for, until"):
        check_consent(tmp_path)


def test_only_complete_consent_is_written(tmp_path, capsys):
    assert not given(tmp_path) and "is left out. There is no" in capsys.readouterr().out
    for wrong in ({"who": " "}, {"until": ""}, {"until": "2020-01-01"}, {"until": "soon"}):
        with pytest.raises(ValueError, match="consent"):
            write_consent(tmp_path, **({"who": "a friend", "what_for": "this course", "until": "2099-01-01"} | wrong))
        assert not (tmp_path / "consent.json").exists()
    write_consent(tmp_path, "a friend", "this course", "2099-01-01")
    assert given(tmp_path) and capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="ended on"):
        write_consent(tmp_path, "another", "this course", "2020-01-01")
    assert check_consent(tmp_path)["who"] == "a friend", "a bad try does not take the old consent away"


def code_of(notebook, identity):
    cells = read_json(REPO / "notebooks" / f"{notebook}.ipynb")["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["id"] == identity)


def test_notebook_01_shows_the_form_and_goes_on_with_whoever_agreed(tmp_path):
    raw = {name: tmp_path / name / "raw" for name in ("friend", "stranger")}
    write_consent(raw["friend"].parent, "a friend", "this course", "2099-01-01")
    shown = []
    place = {"RAW": raw, "NAMES": [*raw], "consent": consent, "display": shown.append, "pd": pd}
    exec(code_of("01_prepare_photos", "01-06"), place)  # noqa: S102  (as the notebook does)
    (form,) = shown
    assert place["NAMES"] == ["friend"] and "stranger" in form.children[-1].value
    who, _, until, agreed, save, _ = form.children
    who.value, until.value, agreed.value = "a stranger", datetime.date(2099, 1, 1), True
    save.click()
    exec(code_of("01_prepare_photos", "01-06"), place)  # noqa: S102  (as the notebook does)
    assert place["NAMES"] == ["friend", "stranger"] and len(shown) == 1, "the cell again, and they are in"


def test_notebook_02_leaves_out_whoever_did_not_agree(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_consent(tmp_path / "data" / "subjects" / "amir", "a friend", "this course", "2099-01-01")
    code, place = code_of("02_caption_with_blip", "02-04"), {"consent": consent}
    exec(code[code.index("CLASS = ") :], place)  # noqa: S102
    assert place["NAMES"] == ["amir"] and "nesrelah is left out" in capsys.readouterr().out


def test_the_form_saves_nothing_without_the_tick(tmp_path):
    who, _, until, agreed, save, told = consent_form(tmp_path).children
    who.value, until.value = "Amir", datetime.date(2099, 1, 1)
    save.click()
    assert told.value == "Nothing is saved without the tick." and not list(tmp_path.iterdir())
    agreed.value = True
    save.click()
    assert "Saved" in told.value and check_consent(tmp_path)["until"] == "2099-01-01"
