"""The same study for crowd platforms that fill a layout from a CSV, as Mechanical Turk did: tables and layouts."""

import html
from pathlib import Path

import pandas as pd

from helpers import machine
from helpers.survey import design, questionnaire
from helpers.survey.pictures import blind

LAYOUT = Path(__file__).with_name("mturk.html")
IMAGE = '<img src="${{{0}}}" alt="{1}" style="max-width:{2}">'
CHOICE = '<label style="display:block"><input type="radio" name="{0}" value="{1}" required> {2}</label>'
COMMENT = '<p><label>{comment}<br><textarea name="comment" maxlength="500"></textarea></label></p>'


def write(folder, key, plan, references, address, *, language="en"):
    """Write rate.csv and pair.csv with their layouts and a preview, and pictures/ to be put on the web at `address`.

    One row is one task; the platform gives each to several raters. Answers come back as Answer.satisfied and so on,
    beside Input.item. Raises ValueError unless address begins with https://. Returns the folder.
    """
    if not address.startswith("https://"):
        raise ValueError(f"The address {address!r} must be where the pictures will be on the web: begin with https://.")
    rows = blind(key, folder / "pictures").set_index("item").to_dict("index")
    people = {}
    for number, (subject, photos) in enumerate(references.items(), 1):
        people[subject] = [f"person{number}_{i}.jpg" for i in range(1, len(photos) + 1)]
        for name, photo in zip(people[subject], photos):
            with machine.atomic_write(folder / "pictures" / name) as partial:
                partial.write_bytes(questionnaire.bare(photo, 192))
    count = min((len(names) for names in people.values()), default=0)
    for kind in ("rate", "pair"):
        items = plan.loc[plan["kind"] == kind, "item"].drop_duplicates()
        table = pd.DataFrame([_task(item, rows, people, count, address.rstrip("/")) for item in items])
        with machine.atomic_write(folder / f"{kind}.csv") as partial:
            table.to_csv(partial, index=False)
        _write_layout(folder, kind, language, count, table.iloc[0])
    return folder


def _task(item, rows, people, count, address):
    """One row of the input CSV."""
    codes = item.split("+")
    first = rows[codes[0]]
    row = {"item": item, "prompt": html.escape(first["prompt"])}
    row |= {f"picture{i}": f"{address}/{code}.jpg" for i, code in enumerate(codes, 1)}
    names = people.get(first.get("subject"), [])[:count]
    return row | {f"person{i}": f"{address}/{name}" for i, name in enumerate(names, 1)}


def _write_layout(folder, kind, language, people, task):
    """The layout, and the same filled in with one task, pictures taken from beside it."""
    words = questionnaire.interface()[language]
    photos = [IMAGE.format(f"person{i}", words["reference_alt"], "96px") for i in range(1, people + 1)]
    alts = questionnaire.picture_alts(words, 2 if kind == "pair" else 1)
    pictures = [IMAGE.format(f"picture{i}", html.escape(alt), "48%") for i, alt in enumerate(alts, 1)]
    fields = []
    for name in design.questions(kind, people):
        choices = design.choices(name, words).items()
        fields += [f"<fieldset><legend>{words[name]}</legend>", *(CHOICE.format(name, *pair) for pair in choices)]
        fields.append("</fieldset>")
    if kind == "rate":
        fields.append(COMMENT.format_map(words))
    parts = {name.upper(): words[name] for name in ("direction", "welcome", "consent_online", "prompt", "next")}
    parts |= {"PEOPLE": "\n".join([f"<p>{words['reference']}</p>", *photos]) if photos else "", "LANGUAGE": language}
    parts |= {"PICTURES": "\n".join(pictures), "QUESTIONS": "\n".join(fields)}
    preview = questionnaire.fill(LAYOUT, folder / f"{kind}.html", parts).read_text(encoding="utf-8")
    for name, value in task.items():
        local = f"pictures/{value.rpartition('/')[2]}" if value.startswith("https://") else value
        preview = preview.replace("${" + name + "}", local)
    with machine.atomic_write(folder / f"{kind}_preview.html") as partial:
        partial.write_text(preview, encoding="utf-8")
