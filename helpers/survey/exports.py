"""The same study on other platforms: Google Forms, and the tables and layouts of crowd platforms.

Every question carries its picture's code, by which survey.answers finds it again; no method is named anywhere.
"""

import base64
import html
import json
from pathlib import Path

import pandas as pd

from helpers import machine
from helpers.survey import design, questionnaire

SCRIPT = Path(__file__).with_name("google_forms.js")
LAYOUT = Path(__file__).with_name("mturk.html")
IMAGE = '<img src="${{{0}}}" alt="{1}" style="max-width:{2}">'
CHOICE = '<label style="display:block"><input type="radio" name="{0}" value="{1}" required> {2}</label>'
COMMENT = '<p><label>{comment}<br><textarea name="comment" maxlength="500"></textarea></label></p>'


def write_google_forms(path, key, plan, references, *, language="en", forms=6):
    """Write an Apps Script that builds one Google Form for each of the first `forms` raters of the plan.

    Pictures travel inside the script as JPEG. references: {subject: photos}. Returns the path.
    """
    words, rows = questionnaire.interface()[language], key.set_index("item").to_dict("index")
    codes = {code for item in plan["item"] for code in item.split("+")} - {"attention"}
    images = {code: questionnaire.bare(rows[code]["file"], 400) for code in sorted(codes)}
    people, photos = _people(references)
    images |= {name: questionnaire.bare(photo, 160) for name, photo in photos.items()}
    study = {"title": words["title"], "description": f"{words['welcome']}\n\n{words['consent_online']}"}
    study |= {"thanks": words["thanks_online"], "reference": words["reference"]}
    study["images"] = {name: base64.b64encode(data).decode() for name, data in images.items()}
    study["forms"] = [_form(own, rows, people, words) for _, own in plan.groupby("rater")][:forms]
    return questionnaire.fill(SCRIPT, path, {"STUDY": json.dumps(study, ensure_ascii=False, indent=0)})


def _people(references):
    """({subject: names that tell nothing}, {such a name: the photo})."""
    people, photos = {}, {}
    for number, (subject, paths) in enumerate(references.items(), 1):
        people[subject] = [f"person{number}_{i}" for i in range(1, len(paths) + 1)]
        photos |= dict(zip(people[subject], paths))
    return people, photos


def _form(own, rows, people, words):
    """The screens of one form, as google_forms.js reads them."""
    screens = []
    for kind, item in own[["kind", "item"]].values:
        codes = [] if kind == "attention" else item.split("+")
        first = rows[codes[0]] if codes else {}
        photos = people.get(first.get("subject"), [])
        asked = {name: [*design.choices(name, words).values()] for name in design.questions(kind, photos)}
        asked |= {"comment": None} if kind == "rate" else {}
        questions = [{"title": f"{words[name]} [{item}/{name}]", "choices": choices} for name, choices in asked.items()]
        prompt = f"{words['prompt']}\n{first['prompt']}" if codes else ""
        sides = [words["left"], words["right"]] if kind == "pair" else [words["picture_alt"]]
        screen = {"words": prompt, "people": photos, "pictures": codes}
        screens.append(screen | {"sides": sides, "questions": questions})
    return screens


def write_mturk(folder, key, plan, references, address, *, language="en"):
    """Write rate.csv and pair.csv with their layouts and a preview, and pictures/ to be put on the web at `address`.

    One row is one task; the platform (such as Mechanical Turk) gives each to several raters. Answers come back beside
    Input.item, as Answer.satisfied and so on. Raises ValueError unless address begins with https://. Returns folder.
    """
    if not address.startswith("https://"):
        raise ValueError(f"The address {address!r} must be where the pictures will be on the web: begin with https://.")
    rows = design.blind(key, folder / "pictures").set_index("item").to_dict("index")
    people, photos = _people(references)
    for name, photo in photos.items():
        with machine.atomic_write(folder / "pictures" / f"{name}.jpg") as partial:
            partial.write_bytes(questionnaire.bare(photo, 192))
    count = min((len(names) for names in people.values()), default=0)
    for kind in ("rate", "pair"):
        items = plan.loc[plan["kind"] == kind, "item"].drop_duplicates()
        table = pd.DataFrame([_task(item, rows, people, count, address.rstrip("/")) for item in items])
        machine.write_csv(folder / f"{kind}.csv", table)
        _write_layout(folder, kind, language, count, table.iloc[0])
    return folder


def _task(item, rows, people, count, address):
    """One row of the input CSV."""
    codes = item.split("+")
    first = rows[codes[0]]
    names = people.get(first.get("subject"), [])[:count]
    row = {"item": item, "prompt": html.escape(first["prompt"])}
    row |= {f"picture{i}": f"{address}/{code}.jpg" for i, code in enumerate(codes, 1)}
    return row | {f"person{i}": f"{address}/{name}.jpg" for i, name in enumerate(names, 1)}


def _write_layout(folder, kind, language, people, task):
    """The layout, and the same filled in with one task, pictures taken from beside it."""
    words = questionnaire.interface()[language]
    photos = [IMAGE.format(f"person{i}", words["reference_alt"], "96px") for i in range(1, people + 1)]
    alts = questionnaire.picture_alts(words, 2 if kind == "pair" else 1)
    pictures = [IMAGE.format(f"picture{i}", html.escape(alt), "48%") for i, alt in enumerate(alts, 1)]
    fields = []
    for name in design.questions(kind, people):
        choices = [CHOICE.format(name, *choice) for choice in design.choices(name, words).items()]
        fields += [f"<fieldset><legend>{words[name]}</legend>", *choices, "</fieldset>"]
    if kind == "rate":
        fields.append(COMMENT.format_map(words))
    parts = {name.upper(): words[name] for name in ("direction", "welcome", "consent_online", "prompt", "next")}
    parts |= {"PEOPLE": "\n".join([f"<p>{words['reference']}</p>", *photos]) if photos else "", "LANGUAGE": language}
    parts |= {"PICTURES": "\n".join(pictures), "QUESTIONS": "\n".join(fields)}
    layout = questionnaire.fill(LAYOUT, folder / f"{kind}.html", parts)
    local = lambda value: f"pictures/{value.rpartition('/')[2]}" if value.startswith("https://") else value
    questionnaire.fill(layout, folder / f"{kind}_preview.html", task.map(local), mark="${{{}}}")
