"""The questionnaire as one web page that needs nothing else and sends nothing anywhere."""

import hashlib
import json
import re
from pathlib import Path

from PIL import Image

from helpers import machine, show

TEMPLATE = Path(__file__).with_suffix(".html")
REWRITTEN = re.compile(r"^\d*[de]?\d*$|dec|feb")  # 49018e16 and 1dec2026 are a number and a date to a spreadsheet


def interface(path=machine.REPO / "data" / "survey" / "interface.json"):
    """The words of the page in every language: {code: {name: words}}.

    Raises ValueError that names the language and the words it lacks, or has beyond the English ones.
    """
    languages = machine.read_json(path)
    for code, words in languages.items():
        if wrong := sorted(set(words) ^ set(languages["en"])):
            raise ValueError(f"The language {code!r} in {path} must have the entries of 'en': see {', '.join(wrong)}.")
    return languages


def picture_alts(words, count):
    """The text alternatives of the one picture of a screen or of the two of a pair, in the words of a language."""
    return [words["picture_alt"]] if count == 1 else [words["left_alt"], words["right_alt"]]


def bare(path, side=512, kind="JPEG"):
    """The bytes of a picture of which nothing is left but the pixels, at most `side` wide and high."""
    with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as image:
        return show.html.encoded(image, side, kind, 90)


def embed(path, side=512):
    """A picture file as a data URI, without metadata and name."""
    return show.data_url(bare(path, side, "WEBP"), kind="WEBP")


def study_id(plan, key):
    """Eight hexadecimal digits that tell one study from another, so that answers to two are never mixed.

    They change with the plan, and with the words and the pixels behind any code where the key has a column prompt, file.
    """
    digest = hashlib.sha256(plan.to_csv(index=False).encode())
    for row in key.sort_values("item").to_dict("records"):
        digest.update(f"{row['item']}\n{row.get('prompt', '')}\n".encode())
        if "file" in row:
            with Image.open(row["file"], formats=["PNG", "JPEG", "WEBP"]) as image:
                digest.update(f"{image.size}".encode() + image.convert("RGB").tobytes())
    digits = digest.hexdigest()
    return next(digits[at : at + 8] for at in range(56) if not REWRITTEN.search(digits[at : at + 8]))


def write(path, key, plan, references):
    """Write the questionnaire for all raters of a plan.

    key: as design.make_key returns it, with columns file, prompt and maybe subject. references: {subject: paths of photos
    to show beside the pictures}; without any, there is no question on likeness. Returns the path.
    """
    people = [(subject, embed(photo, 192)) for subject, photos in references.items() for photo in photos]
    pictures = {}
    for row in key.to_dict("records"):
        shown = [i for i, (name, _) in enumerate(people) if name == row.get("subject")]
        pictures[row["item"]] = {"image": embed(row["file"]), "prompt": row["prompt"], "references": shown}
    study = {"id": study_id(plan, key), "interface": interface(), "pictures": pictures}
    study["references"] = [photo for _, photo in people]
    study["screens"] = [rows[["kind", "item"]].values.tolist() for _, rows in plan.groupby("rater")]
    safe = json.dumps(study, ensure_ascii=False).replace("<", "\\u003c")  # else a prompt could end the script
    return fill(TEMPLATE, path, {"STUDY": safe})


def fill(template, path, parts, mark="__{}__"):
    """Write a text file with parts {NAME: text} in place of each __NAME__ of a template; returns the path."""
    text = template.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(mark.format(name), part)
    with machine.atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path
