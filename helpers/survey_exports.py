"""The same study for other platforms: Google Forms (Apps Script) and Label Studio. Crowd platforms: survey_crowd.

Every question carries its picture's code, by which survey_import finds it again; no method is named anywhere.
"""

import json
from pathlib import Path
from xml.etree import ElementTree

from helpers import files, questionnaire, survey_design

SCRIPT = Path(__file__).with_name("google_forms.js")
KINDS = {"rate": survey_design.RATED, "pair": ("pair",), "attention": ("attention",)}


def choices(name, words):
    """{value: words} of a closed question, as survey_import.meaning reads them back."""
    values = survey_design.CLOSED[name]
    return {v: f"{v}  {words.get(f'{name}_{v}', '')}".strip() if v.isdigit() else words[v] for v in values}


def _asked(kind, item, rows, references):
    """The questions of a screen; without photos of the person nobody can judge the likeness."""
    if kind == "rate" and not references.get(rows[item].get("subject")):
        return tuple(name for name in KINDS[kind] if name != "likeness")
    return KINDS[kind]


def _base64(path, side):
    return questionnaire.embed(path, side, "JPEG").split(",")[1]


def google_forms(path, key, plan, references, *, language="en", forms=6, side=400):
    """Write an Apps Script that builds one Google Form for each of the first `forms` raters of the plan.

    Pictures travel inside the script as JPEG. references: {subject: photos}. Returns the path.
    """
    words, rows, people = questionnaire.interface()[language], key.set_index("item").to_dict("index"), {}
    used = {code for item in plan["item"] for code in item.split("+")} - {"attention"}
    images = {item: _base64(rows[item]["file"], side) for item in sorted(used)}
    for number, (subject, photos) in enumerate(references.items(), 1):
        people[subject] = [f"person{number}_{i}" for i in range(1, len(photos) + 1)]
        images |= {name: _base64(photo, 160) for name, photo in zip(people[subject], photos)}
    screens = [_form(own, rows, references, people, words) for _, own in plan.groupby("rater")][:forms]
    study = {"title": words["title"], "description": f"{words['welcome']}\n\n{words['consent_online']}"}
    study |= {"thanks": words["thanks_online"], "reference": words["reference"]}
    text = SCRIPT.read_text(encoding="utf-8")
    data = json.dumps(study | {"images": images, "forms": screens}, ensure_ascii=False, indent=0)
    with files.atomic_write(path) as partial:
        partial.write_text(text.replace("__STUDY__", data), encoding="utf-8")
    return path


def _form(own, rows, references, people, words):
    """The screens of one form, as google_forms.js reads them."""
    screens = []
    for kind, item in own[["kind", "item"]].values:
        codes = [] if kind == "attention" else item.split("+")
        first = rows[codes[0]] if codes else {}
        questions = [
            {"title": f"{words[name]} [{item}/{name}]", "choices": list(choices(name, words).values())}
            for name in _asked(kind, item, rows, references)
        ]
        if kind == "rate":
            questions.append({"title": f"{words['comment']} [{item}/comment]", "choices": None})
        prompt = f"{words['prompt']}\n{first['prompt']}" if codes else ""
        sides = [words["left"], words["right"]] if kind == "pair" else [words["picture_alt"]]
        screen = {"words": prompt, "people": people.get(first.get("subject"), []), "pictures": codes}
        screens.append(screen | {"sides": sides, "questions": questions})
    return screens


def label_studio(folder, key, plan, references, *, language="en", side=512):
    """Write two Label Studio projects, rate and pair: a labelling config (.xml) and tasks (.json) for each.

    The pictures are inside the tasks as data URIs, so no server has to be set up. Every annotator sees every task:
    choose "Random sampling" in the project's settings, for the plan's own orders cannot be given. Returns the folder.
    """
    words, rows = questionnaire.interface()[language], key.set_index("item").to_dict("index")
    for kind in ("rate", "pair"):
        items = plan.loc[plan["kind"] == kind, "item"].drop_duplicates()
        tasks = []
        for item in items:
            codes = item.split("+")
            data = {"item": item, "prompt": rows[codes[0]]["prompt"]}
            data |= {f"picture{i}": questionnaire.embed(rows[code]["file"], side) for i, code in enumerate(codes, 1)}
            photos = references.get(rows[codes[0]].get("subject"), [])
            data |= {f"person{i}": questionnaire.embed(photo, 192) for i, photo in enumerate(photos, 1)}
            tasks.append({"data": data})
        people = min((len(photos) for photos in references.values()), default=0)
        config = _config(kind, words, people)
        files.write_json(folder / f"{kind}_tasks.json", tasks)
        with files.atomic_write(folder / f"{kind}.xml") as partial:
            partial.write_text(config, encoding="utf-8")
    return folder


def _config(kind, words, people):
    """The labelling config of a project in Label Studio's tags."""
    view = ElementTree.Element("View")
    for i in range(1, people + 1):
        ElementTree.SubElement(view, "Image", name=f"person{i}", value=f"$person{i}", width="120px")
    ElementTree.SubElement(view, "Text", name="prompt", value="$prompt")
    for i in (1, 2) if kind == "pair" else (1,):
        ElementTree.SubElement(view, "Image", name=f"picture{i}", value=f"$picture{i}", width="360px")
    for name in KINDS[kind]:
        if name == "likeness" and not people:
            continue
        ElementTree.SubElement(view, "Header", value=words[name])
        asked = ElementTree.SubElement(
            view, "Choices", name=name, toName="picture1", choice="single-radio", required="true"
        )
        for value, text in choices(name, words).items():
            ElementTree.SubElement(asked, "Choice", value=text, alias=value)
    if kind == "rate":
        ElementTree.SubElement(view, "Header", value=words["comment"])
        ElementTree.SubElement(view, "TextArea", name="comment", toName="picture1", rows="2", maxSubmissions="1")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"
