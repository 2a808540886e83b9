"""The study for crowd platforms that fill a layout from a CSV: input tables, layouts, pictures, and a preview."""

import html
from pathlib import Path

import pandas as pd

from helpers import files, questionnaire, survey_exports, survey_pictures

LAYOUT = Path(__file__).with_name("crowd.html")


def crowd(folder, key, plan, references, address, *, language="en"):
    """Write rate.csv and pair.csv with their layouts and a preview, and pictures/ to be put on the web at `address`.

    One row is one task; the platform gives each to several raters. Answers come back as Answer.satisfied and so on,
    beside Input.item. Raises ValueError unless address begins with https://. Returns the folder.
    """
    if not address.startswith("https://"):
        raise ValueError(f"{address!r} must be where the pictures will be on the web, beginning with https://.")
    address, people = address.rstrip("/"), {}
    rows = survey_pictures.blind(key, folder / "pictures").set_index("item").to_dict("index")
    for number, (subject, photos) in enumerate(references.items(), 1):
        people[subject] = [f"person{number}_{i}.jpg" for i in range(1, len(photos) + 1)]
        for name, photo in zip(people[subject], photos):
            with files.atomic_write(folder / "pictures" / name) as partial:
                partial.write_bytes(questionnaire.bare(photo, 192))
    count = min((len(names) for names in people.values()), default=0)
    for kind in ("rate", "pair"):
        items = plan.loc[plan["kind"] == kind, "item"].drop_duplicates()
        table = pd.DataFrame([_task(item, rows, people, count, address) for item in items])
        _write(folder, kind, table, _layout(kind, language, count))
    return folder


def _task(item, rows, people, count, address):
    """One row of the input CSV."""
    codes = item.split("+")
    first = rows[codes[0]]
    row = {"item": item, "prompt": html.escape(first["prompt"])}
    row |= {f"picture{i}": f"{address}/{code}.jpg" for i, code in enumerate(codes, 1)}
    names = people.get(first.get("subject"), [])[:count]
    return row | {f"person{i}": f"{address}/{name}" for i, name in enumerate(names, 1)}


def _write(folder, kind, table, layout):
    """The input CSV, the layout, and the layout filled in with the first row, pictures taken from beside it."""
    with files.atomic_write(folder / f"{kind}.csv") as partial:
        table.to_csv(partial, index=False)
    preview = layout
    for name, value in table.iloc[0].items():
        local = f"pictures/{value.rpartition('/')[2]}" if value.startswith("https://") else value
        preview = preview.replace("${" + name + "}", local)
    for name, text in ((f"{kind}.html", layout), (f"{kind}_preview.html", preview)):
        with files.atomic_write(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _layout(kind, language, people):
    """The layout of a task: one fieldset a question, as in our own questionnaire."""
    words = questionnaire.interface()[language]
    image = '<img src="${{{0}}}" alt="{1}" style="max-width:{2}">'
    photos = [image.format(f"person{i}", words["reference_alt"], "96px") for i in range(1, people + 1)]
    alts = [html.escape(alt) for alt in questionnaire.picture_alts(words, 2 if kind == "pair" else 1)]
    shown = [image.format(f"picture{i}", alt, "48%") for i, alt in enumerate(alts, 1)]
    asked = []
    for name in survey_exports.KINDS[kind]:
        if name == "likeness" and not people:
            continue
        radios = [
            f'<label style="display:block"><input type="radio" name="{name}" value="{value}" required> {text}</label>'
            for value, text in survey_exports.choices(name, words).items()
        ]
        asked.append("\n".join([f"<fieldset><legend>{words[name]}</legend>", *radios, "</fieldset>"]))
    if kind == "rate":
        asked.append(
            f'<p><label>{words["comment"]}<br><textarea name="comment" maxlength="500"></textarea></label></p>'
        )
    parts = {"PEOPLE": "\n".join([f"<p>{words['reference']}</p>", *photos]) if photos else ""}
    parts |= {"PICTURES": "\n".join(shown), "QUESTIONS": "\n".join(asked)}
    text = LAYOUT.read_text(encoding="utf-8")
    for name in ("WELCOME", "CONSENT_ONLINE", "PROMPT", "NEXT"):
        text = text.replace(f"__{name}__", words[name.lower()])
    for name, part in parts.items():
        text = text.replace(f"__{name}__", part)
    return text.replace("<form ", f'<form lang="{language}" dir="{words["direction"]}" ')
