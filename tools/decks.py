"""Slides and a printable page for each hour, made of the notebooks as they ran; `make site` writes them into the site.

A slide is a section of the notebook's core: its heading, the first two sentences, what to predict or to do, and its last
picture. The page has goals, new words, and lines to write predictions and answers on.
"""

import base64
import io
import re

import jinja2
from markdown_it import MarkdownIt
from PIL import Image

from helpers import machine
from tools import hours, notebooks

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(machine.REPO / "tools"), autoescape=True, trim_blocks=True
)
TASK = re.compile(r"\*Predict\*|\*\*Exercise\.?\*\*|\*\*Try\.?\*\*")
START = re.compile(
    r"(?:- .*\n?)+|(?:.+?[.!?](?:\s+|$)){1,2}|.*", re.DOTALL
)  # a list, or two sentences: a slide is read at a glance
LINK = re.compile(r"!\[[^]]*\]\([^)]*\)|\[([^]]*)\]\([^)]*\)")  # a deck stands alone: of a link its words
INDEX = """# Slides and handouts

One deck and one printable page for each notebook, made of the notebook as it ran. In a deck the arrow keys lead on; a handout
prints on one sheet, with lines for predictions and answers.

| notebook | deck | page |
|---|---|---|
"""
MATHS = re.compile(r"\$([^$\n]+)\$")


def sections(notebook):
    """[{"heading", "paragraphs", "picture"}] of a notebook's core: one for its title and one for each heading below it.

    paragraphs: Markdown without links. picture: the last that its outputs show, as (address, words, if it is wide), or None.
    """
    found = []
    for cell in hours.core(notebook.cells):
        if cell.cell_type == "code":
            if found and (picture := _picture(cell)):
                found[-1]["picture"] = picture
            continue
        for part in re.split(r"^(?=#{1,2} )", cell.source, flags=re.MULTILINE):
            heading = re.match(r"#{1,2} (.+)\n*", part)
            if heading:
                found.append({"heading": heading[1], "paragraphs": [], "picture": None})
            if found:
                text = LINK.sub(lambda link: link[1] or "", part[heading.end() :] if heading else part)
                found[-1]["paragraphs"] += [p for p in text.split("\n\n") if p.strip()]
    return found


def slides(notebook):
    """A deck as one HTML page that needs nothing else: arrow keys or scrolling lead on, and it prints a slide a page."""
    parts, (opening,) = [], notebooks.tagged(notebook) or (None,)
    for part in sections(notebook):
        said = [START.match(p)[0] for p in part["paragraphs"] if not TASK.search(p)][:1]
        tasks = [p for p in part["paragraphs"] if TASK.search(p)]
        parts.append(part | {"said": markup(*said), "tasks": [markup(task) for task in tasks]})
    parts[0]["picture"] = opening and _picture(opening)
    return TEMPLATES.get_template("slides.html.j2").render(parts=parts, title=parts[0]["heading"])


def handout(notebook, number, words):
    """The printable page of an hour as HTML. number: of the notebook, "03". words: [(word, meaning)] that are new in it."""
    title, goals, *rest = sections(notebook)
    paragraphs = [p for part in rest for p in part["paragraphs"]]
    asked = {kind: [markup(_task(p, kind)) for p in paragraphs if kind in p] for kind in ("*Predict*", "**Exercise")}
    return TEMPLATES.get_template("handout.html.j2").render(
        number=number, title=title["heading"], question=markup(*title["paragraphs"][:1]),
        goals=markup(*goals["paragraphs"]), predict=asked["*Predict*"], exercises=asked["**Exercise"],
        words=[(word, markup(meaning)) for word, meaning in words],
    )  # fmt: skip


def new_words():
    """{number of a notebook: [(word, first sentence on it)]} from the glossary, by the notebook in which each comes first."""
    text, found = (machine.REPO / "docs" / "glossary.md").read_text(encoding="utf-8"), {}
    for row in re.findall(r"^\|(.*)\|$", text, re.MULTILINE)[2:]:
        word, meaning, first = (cell.strip() for cell in row.split("|"))
        sentence = re.match(r".*?[.!?](?= |$)|.*", LINK.sub(lambda link: link[1] or "", meaning))[0]
        found.setdefault(first[:2], []).append((word, sentence))
    return found


def write(ran, folder):
    """Write slides/NAME.html and handouts/NAME.html for notebooks as they ran, [(stem, notebook)], into a folder.

    Returns a page of Markdown that leads to them, for the folder docs of the site.
    """
    words, lines = new_words(), []
    for stem, notebook in ran:
        pages = {"slides": slides(notebook), "handouts": handout(notebook, stem[:2], words.get(stem[:2], []))}
        for kind, page in pages.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{stem}.html").write_text(page, encoding="utf-8")
        title = sections(notebook)[0]["heading"]
        links = (
            f'<a href="../{kind}/{stem}.html">{word}</a>'
            for kind, word in (("slides", "slides"), ("handouts", "handout"))
        )
        lines.append(f"| {stem[:2]} {title} | {' | '.join(links)} |")
    return INDEX + "\n".join(lines) + "\n"


def markup(*paragraphs):
    """Markdown as safe HTML."""
    text = MATHS.sub(r"`\1`", "\n\n".join(paragraphs))
    return jinja2.utils.markupsafe.Markup(MarkdownIt("commonmark", {"html": False}).render(text))


def _task(paragraph, kind):
    """The paragraph from the word that sets the task on, without that word."""
    text = re.sub(r"^\*+(Predict|Exercise)\.?\*+[:.,]?\s*", "", paragraph[paragraph.index(kind) :])
    return text[:1].upper() + text[1:]


def _picture(cell):
    """The last picture of a code cell's outputs or None: (data: address, words for who does not see it, if it is wide)."""
    for output in reversed(cell.get("outputs", [])):
        for kind in ("image/png", "image/jpeg"):
            if kind in output.get("data", {}):
                data = output["data"][kind].replace("\n", "")
                width, height = Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG", "JPEG"]).size
                return f"data:{kind};base64,{data}", cell.metadata.get("alt", ""), width > 2.2 * height
    return None
