"""The study on other platforms: what is handed out is blind, and what comes back is found again."""

import base64
import csv
import html
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import survey
from helpers.survey import design, exports, questionnaire

pytest_plugins = ["lab"]

SECRETS = re.compile(rb"hyper.?net|dream.?booth|\bamir\b|\bnesrelah\b(?!_001)|IMG_\d|stable.?diffusion", re.IGNORECASE)
WORDS = questionnaire.interface()["es"]


@pytest.fixture(scope="module")
def handed_out(study, tmp_path_factory):
    """Everything a rater or a platform can get to see, in one folder."""
    folder = tmp_path_factory.mktemp("out")
    questionnaire.write(folder / "questionnaire.html", *study)
    exports.write_google_forms(folder / "forms.gs", *study, language="es", forms=2)
    exports.write_mturk(folder / "crowd", *study, "https://pictures.example/x/", language="es")
    return folder


def test_nothing_that_is_handed_out_tells_a_method_or_a_person(study, handed_out):
    """Base64 hides words from a search of the file: every picture is unpacked and searched again, for metadata too."""
    paths, unpacked = [path for path in handed_out.rglob("*") if path.is_file()], 0
    assert len(paths) > 40
    for path in paths:
        content = path.read_bytes()
        assert not SECRETS.search(path.name.encode() + content), path
        assert not re.search(rb"(?<![A-Za-z0-9+/])base(?![A-Za-z0-9+/])", content.replace(b"base64", b"")), path
        for packed in re.findall(rb"[A-Za-z0-9+/]{200,}={0,2}", content) if path.suffix in (".html", ".gs") else ():
            data, unpacked = base64.b64decode(packed), unpacked + 1
            assert data.startswith((b"\xff\xd8\xff", b"RIFF")), path
            assert not SECRETS.search(data) and b"exif" not in data.lower()
    assert unpacked > 10
    for path in study[0]["file"]:  # the search does find what is to be found
        assert SECRETS.search(path.read_bytes()) or "base" in path.name


def test_the_finished_set_is_blind_and_whole_and_matches_the_simulated_answers():
    key, columns = design.finished_key(), ["item", "prompt_id", "method", "subject"]
    assert key[columns].equals(design.paper_key()[columns])
    assert set((design.FINISHED / "pictures").iterdir()) == set(key["file"])
    for path in key["file"]:
        assert re.fullmatch(r"([b-z][2-9]){2}\.jpg", path.name) and path.stat().st_size < 20_000
        assert not SECRETS.search(path.read_bytes()) and b"Exif" not in path.read_bytes()
        with Image.open(path) as image:
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_blind_pictures_replace_those_of_an_older_key(study, tmp_path):
    (tmp_path / "k2k2.jpg").touch()
    made = design.blind(study[0], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{item}.jpg" for item in made["item"]}
    with Image.open(made["file"][0]) as ours, Image.open(study[0]["file"][0]) as theirs:
        assert np.abs(np.asarray(ours, int) - np.asarray(theirs.convert("RGB"), int)).mean() < 10  # it is that picture


STAND_IN = """
const made = [];
const stand = record => new Proxy(record, { get(record, name) {
  if (name.startsWith("add")) return () => { const item = { kind: name, set: {} }; record.items.push(item); return stand(item); };
  if (name.startsWith("set")) return value => { record.set[name] = value && value.bytes || value; return stand(record); };
  return () => "https://forms.example/" + name;
}});
const FormApp = { create: title => { const form = { set: {}, items: [] }; made.push(form); return stand(form); } };
const Logger = { log: () => {} };
const Utilities = { base64Decode: text => atob(text), newBlob: (bytes, type) => ({ bytes: type + " " + bytes.slice(0, 3) }) };
"""


@pytest.mark.slow
def test_the_apps_script_builds_forms_whose_answers_are_found_again(study, handed_out, browser, tmp_path):
    key, plan, _ = study
    script = (handed_out / "forms.gs").read_text(encoding="utf-8")
    forms = browser.new_page().evaluate(f"() => {{ {STAND_IN}\n{script}\nmakeForms();\nreturn made; }}")
    for number, form in enumerate(forms, 1):
        items, head, given = form["items"], ["Marca temporal"], [f"2026/11/2{number}"]
        assert form["set"]["setCollectEmail"] is False and WORDS["consent_online"] in form["set"]["setDescription"]
        assert [item["kind"] for item in items].count("addPageBreakItem") == (plan["rater"] == number).sum()
        images = [item["set"]["setImage"] for item in items if item["kind"] == "addImageItem"]
        assert images and all(image.startswith("image/jpeg \xff\xd8") for image in images)
        for item in (item["set"] for item in items if item["kind"] == "addMultipleChoiceItem"):
            head.append(item["setTitle"])
            given.append(item["setChoiceValues"][len(head) % len(item["setChoiceValues"])])
        with open(tmp_path / f"form{number}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, given])
    answers, own = survey.answers.read_answers(sorted(tmp_path.glob("form*.csv")), key), plan[plan["rater"] <= 2]
    assert answers.table["respondent"].nunique() == len(forms) == 2
    assert len(answers.table) == own["kind"].map({"rate": 3, "pair": 1, "attention": 1}).sum()
    found = answers.table[["item", "position"]].itertuples(index=False, name=None)
    assert set(found) == set(own[["item", "position"]].itertuples(index=False, name=None))


def test_crowd_tables_fill_their_layouts_and_results_are_found_again(study, handed_out, tmp_path):
    key, plan, _ = study
    results, folder = [], handed_out / "crowd"
    for kind in ("rate", "pair"):
        table = pd.read_csv(folder / f"{kind}.csv", keep_default_na=False)
        layout, preview = ((folder / f"{kind}{end}.html").read_text("utf-8") for end in ("", "_preview"))
        assert set(re.findall(r"\$\{(\w+)\}", layout)) == set(table.columns) - {"item"}
        assert "<script" not in layout and "${" not in preview.split("-->")[1] and "https://" not in preview
        assert set(table["prompt"].map(html.unescape)) <= set(key["prompt"])
        for address in (*table["picture1"], *table["person1"]):
            assert (folder / "pictures" / address.rpartition("/")[2]).exists()
        fields = {name: re.findall(rf'name="{name}" value="(\w+)"', layout) for name in design.KINDS[kind]}
        assert fields == {name: list(design.CLOSED[name]) for name in design.KINDS[kind]}
        for number, item in enumerate(table["item"]):
            worker = {"AssignmentId": f"{kind}{number}", "WorkerId": "W", "AssignmentStatus": "Approved"}
            chosen = {f"Answer.{name}": values[0] for name, values in fields.items()}
            results.append(worker | {"Input.item": item} | chosen)
    pd.DataFrame(results).to_csv(tmp_path / "batch.csv", index=False)
    answers = survey.answers.read_answers([tmp_path / "batch.csv"], key)
    assert answers.odd.empty and set(answers.table["item"]) == set(plan["item"]) - {"attention"}
    with pytest.raises(ValueError, match="https://"):
        exports.write_mturk(tmp_path, *study, "pictures")


@pytest.mark.parametrize("language", questionnaire.interface())
def test_words_of_every_language_come_back_as_what_they_mean(language):
    words = questionnaire.interface()[language]
    for name in design.CLOSED:
        for value, text in design.choices(name, words).items():
            assert survey.answers.meaning(name, text) == value


def test_without_photos_of_the_person_likeness_is_not_asked(study, tmp_path):
    key, plan, _ = study
    exports.write_google_forms(tmp_path / "f.gs", key, plan, {})
    exports.write_mturk(tmp_path, key, plan, {}, "https://x.example")
    for name, before, after in (("f.gs", "/", "]"), ("rate.html", 'name="', '"')):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert f"{before}satisfied{after}" in text and f"{before}likeness{after}" not in text
