"""The same study as Google Forms: an Apps Script that builds one form for each order of the pictures.

Every question carries its picture's code, by which survey_answers finds it again; no method is named anywhere.
"""

import base64
import json
from pathlib import Path

from helpers.survey import design, questionnaire

SCRIPT = Path(__file__).with_name("google_forms.js")


def write(path, key, plan, references, *, language="en", forms=6, side=400):
    """Write an Apps Script that builds one Google Form for each of the first `forms` raters of the plan.

    Pictures travel inside the script as JPEG. references: {subject: photos}. Returns the path.
    """
    words, rows, people = questionnaire.interface()[language], key.set_index("item").to_dict("index"), {}
    used = {code for item in plan["item"] for code in item.split("+")} - {"attention"}
    images = {item: questionnaire.bare(rows[item]["file"], side) for item in sorted(used)}
    for number, (subject, photos) in enumerate(references.items(), 1):
        people[subject] = [f"person{number}_{i}" for i in range(1, len(photos) + 1)]
        images |= {name: questionnaire.bare(photo, 160) for name, photo in zip(people[subject], photos)}
    study = {"title": words["title"], "description": f"{words['welcome']}\n\n{words['consent_online']}"}
    study |= {"thanks": words["thanks_online"], "reference": words["reference"]}
    study["images"] = {name: base64.b64encode(data).decode() for name, data in images.items()}
    study["forms"] = [_form(own, rows, people, words) for _, own in plan.groupby("rater")][:forms]
    return questionnaire.fill(SCRIPT, path, {"STUDY": json.dumps(study, ensure_ascii=False, indent=0)})


def _form(own, rows, people, words):
    """The screens of one form, as google_forms.js reads them."""
    screens = []
    for kind, item in own[["kind", "item"]].values:
        codes = [] if kind == "attention" else item.split("+")
        first = rows[codes[0]] if codes else {}
        photos = people.get(first.get("subject"), [])
        questions = [
            {"title": f"{words[name]} [{item}/{name}]", "choices": list(design.choices(name, words).values())}
            for name in design.questions(kind, photos)
        ]
        if kind == "rate":
            questions.append({"title": f"{words['comment']} [{item}/comment]", "choices": None})
        prompt = f"{words['prompt']}\n{first['prompt']}" if codes else ""
        sides = [words["left"], words["right"]] if kind == "pair" else [words["picture_alt"]]
        screen = {"words": prompt, "people": photos, "pictures": codes}
        screens.append(screen | {"sides": sides, "questions": questions})
    return screens
