"""The study on other platforms: what is handed out is blind, and what comes back is found again."""

import base64
import csv
import html
import json
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import (
    questionnaire,
    survey_crowd,
    survey_design,
    survey_exports,
    survey_import,
    survey_pictures,
    survey_simulation,
)

pytest_plugins = ["lab"]

SECRETS = re.compile(rb"hyper.?net|dream.?booth|\bamir\b|\bnesrelah\b(?!_001)|IMG_\d|stable.?diffusion", re.IGNORECASE)
WORDS = questionnaire.interface()["es"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The paper's prompts by three methods; every picture carries its method in name, metadata and settings."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    table = survey_simulation.paper_prompts().merge(pd.Series(survey_simulation.METHODS, name="method"), how="cross")
    files = []
    for row in table.itertuples():
        image = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((40, 40))
        exif = image.getexif()
        exif[0x010E] = f"{row.method} amir stable diffusion"
        files.append(folder / f"{row.method}-{row.prompt_id}.png")
        image.save(files[-1], exif=exif)
    key = survey_design.make_key(table.assign(file=files), 4)
    plan = survey_design.make_plan(key, 3, prompts=2, pairs=2, duplicates=1, seed=4)
    return key, plan, {"amir": files[:2], "nesrelah": files[2:4]}


@pytest.fixture(scope="module")
def handed_out(study, tmp_path_factory):
    """Everything a rater or a platform can get to see, in one folder."""
    folder = tmp_path_factory.mktemp("out")
    questionnaire.write(folder / "questionnaire.html", *study)
    survey_exports.google_forms(folder / "forms.gs", *study, language="es", forms=2)
    survey_exports.label_studio(folder / "label_studio", *study, language="es")
    survey_crowd.crowd(folder / "crowd", *study, "https://pictures.example/x/", language="es")
    return folder


def test_nothing_that_is_handed_out_tells_a_method_or_a_person(study, handed_out):
    paths = [path for path in handed_out.rglob("*") if path.is_file()]
    assert len(paths) > 40
    for path in paths:
        assert not SECRETS.search(path.name.encode()), path
        assert not SECRETS.search(path.read_bytes()), path
        assert not re.search(rb"(?<![A-Za-z0-9+/])base(?![A-Za-z0-9+/])", re.sub(rb"base64", b"", path.read_bytes())), (
            path
        )
    for path in study[0]["file"]:  # the search does find what is to be found
        assert SECRETS.search(path.read_bytes()) or "base" in path.name


def test_pictures_inside_files_are_searched_unpacked_too(handed_out):
    """Base64 hides words from a search of the file: unpack every picture and look again, for any metadata at all."""
    for name in ("questionnaire.html", "forms.gs", "label_studio/rate_tasks.json", "label_studio/pair_tasks.json"):
        packed = re.findall(rb"[A-Za-z0-9+/]{200,}={0,2}", (handed_out / name).read_bytes())
        assert len(packed) > 5, name
        for data in packed:
            unpacked = base64.b64decode(data)
            assert unpacked[:3] == b"\xff\xd8\xff" or unpacked[:4] == b"RIFF", name
            assert not SECRETS.search(unpacked) and b"Exif" not in unpacked and b"EXIF" not in unpacked


def test_the_finished_set_in_data_is_blind():
    for path in survey_pictures.finished_key()["file"]:
        assert re.fullmatch(r"([b-z][2-9]){2}\.jpg", path.name) and path.stat().st_size < 20_000
        assert not SECRETS.search(path.read_bytes()) and b"Exif" not in path.read_bytes()
        with Image.open(path) as image:
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_blind_pictures_replace_those_of_an_older_key(study, tmp_path):
    (tmp_path / "k2k2.jpg").touch()
    made = survey_pictures.blind(study[0], tmp_path)
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
    page = browser.new_page()
    forms = page.evaluate(f"() => {{ {STAND_IN}\n{script}\nmakeForms();\nreturn made; }}")
    assert len(forms) == 2
    expected = []
    for number, form in enumerate(forms, 1):
        own = plan[plan["rater"] == number]
        items, head, given = form["items"], ["Marca temporal"], [f"2026/11/2{number}"]
        assert form["set"]["setCollectEmail"] is False and WORDS["consent_online"] in form["set"]["setDescription"]
        pages = [i for i, item in enumerate(items) if item["kind"] == "addPageBreakItem"]
        assert len(pages) == len(own)
        images = [item for item in items if item["kind"] == "addImageItem"]
        assert all(item["set"]["setImage"].startswith("image/jpeg \xff\xd8") for item in images)
        for item in items:
            if item["kind"] == "addMultipleChoiceItem":
                head.append(item["set"]["setTitle"])
                given.append(item["set"]["setChoiceValues"][len(head) % len(item["set"]["setChoiceValues"])])
        with open(tmp_path / f"form{number}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([head, given])
        expected += [(code, position) for position, code in own[["position", "item"]].to_numpy()[:, ::-1]]
    answers = survey_import.read_answers([tmp_path / "form1.csv", tmp_path / "form2.csv"], key)
    assert answers.table["respondent"].nunique() == 2 and len(answers.table) == sum(
        3 if kind == "rate" else 1 for kind in plan.loc[plan["rater"] <= 2, "kind"]
    )
    assert {(row.item, row.position) for row in answers.table.itertuples()} == {(i, int(p)) for p, i in expected}
    assert all("Marca temporal" in problem for problem in answers.odd["problem"])


def test_label_studio_projects_ask_everything_and_their_export_is_found_again(study, handed_out, tmp_path):
    key, plan, _ = study
    works = []
    for kind in ("rate", "pair"):
        config = ElementTree.parse(handed_out / "label_studio" / f"{kind}.xml").getroot()
        tasks = json.loads((handed_out / "label_studio" / f"{kind}_tasks.json").read_text())
        assert [task["data"]["item"] for task in tasks] == list(plan.loc[plan["kind"] == kind, "item"].unique())
        wanted = {part.get("value")[1:] for part in config if part.tag in ("Image", "Text")}
        names = {part.get("name") for part in config if part.tag in ("Image", "Text", "Choices", "TextArea")}
        assert all(wanted <= set(task["data"]) for task in tasks)
        assert all(part.get("toName") in names for part in config if part.get("toName"))
        choices = {c.get("name"): [o.get("alias") for o in c] for c in config.iter("Choices")}
        assert choices == {name: list(survey_design.CLOSED[name]) for name in survey_exports.KINDS[kind]}
        for task in tasks:
            results = [{"from_name": n, "type": "choices", "value": {"choices": [v[1]]}} for n, v in choices.items()]
            works.append(task | {"annotations": [{"completed_by": 7, "lead_time": 5.5, "result": results}]})
    (tmp_path / "export.json").write_text(json.dumps(works))
    answers = survey_import.read_answers([tmp_path / "export.json"], key)
    assert answers.odd.empty and set(answers.table["item"]) == set(plan["item"]) - {"attention"}
    assert set(answers.table["value"]) == {"no", "2", "right"}


def test_crowd_tables_fill_their_layouts_and_results_are_found_again(study, handed_out, tmp_path):
    key, plan, _ = study
    results = []
    for kind in ("rate", "pair"):
        table = pd.read_csv(handed_out / "crowd" / f"{kind}.csv", keep_default_na=False)
        layout = (handed_out / "crowd" / f"{kind}.html").read_text(encoding="utf-8")
        assert set(re.findall(r"\$\{(\w+)\}", layout)) == set(table.columns) - {"item"}
        assert "<script" not in layout and 'lang="es"' in layout
        alts = re.findall(r'\{picture\d\}" alt="([^"]+)"', layout)
        assert alts == [html.escape(alt) for alt in questionnaire.picture_alts(WORDS, 2 if kind == "pair" else 1)]
        for row in table.itertuples():
            for name in ("picture1", "person1"):
                assert (handed_out / "crowd" / "pictures" / getattr(row, name).rpartition("/")[2]).exists()
            assert html.unescape(row.prompt) in set(key["prompt"])
        fields = {name: re.findall(rf'name="{name}" value="(\w+)"', layout) for name in survey_exports.KINDS[kind]}
        assert fields == {name: list(survey_design.CLOSED[name]) for name in survey_exports.KINDS[kind]}
        preview = (handed_out / "crowd" / f"{kind}_preview.html").read_text(encoding="utf-8")
        assert "${" not in preview.split("-->")[1] and "https://" not in preview
        for number, item in enumerate(table["item"]):
            worker = {"AssignmentId": f"{kind}{number}", "WorkerId": "W", "AssignmentStatus": "Approved"}
            chosen = {f"Answer.{name}": values[0] for name, values in fields.items()}
            results.append(worker | {"Input.item": item} | chosen)
    pd.DataFrame(results).to_csv(tmp_path / "batch.csv", index=False)
    answers = survey_import.read_answers([tmp_path / "batch.csv"], key)
    assert answers.odd.empty and set(answers.table["item"]) == set(plan["item"]) - {"attention"}
    with pytest.raises(ValueError, match="https://"):
        survey_crowd.crowd(tmp_path, *study, "pictures")


@pytest.mark.parametrize("language", questionnaire.interface())
def test_words_of_every_language_come_back_as_what_they_mean(language):
    words = questionnaire.interface()[language]
    for name in survey_design.CLOSED:
        for value, text in survey_exports.choices(name, words).items():
            assert survey_import.meaning(name, text) == value


def test_without_photos_of_the_person_likeness_is_not_asked(study, tmp_path):
    key, plan, _ = study
    survey_exports.google_forms(tmp_path / "f.gs", key, plan, {})
    survey_exports.label_studio(tmp_path / "ls", key, plan, {})
    survey_crowd.crowd(tmp_path / "crowd", key, plan, {}, "https://x.example")
    for path in ("f.gs", "ls/rate.xml", "crowd/rate.html"):
        text = (tmp_path / path).read_text(encoding="utf-8")
        assert "/satisfied]" in text or 'name="satisfied"' in text
        assert "/likeness]" not in text and 'name="likeness"' not in text
