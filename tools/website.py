"""The course site of a finished run: its executed notebooks, the documents, and the gallery as the first page.

python -m tools.website      writes build/site, in seconds and without a network; build/index.html leads there

Pages are laid out in build/pages as they lie in the repository, so that links between them hold, and Sphinx makes the
site of them with docs/conf.py.
"""

import base64
import io
import os
import re
import shutil
import subprocess
import sys

import nbformat

from helpers import machine
from tools import decks, gallery, notebooks

BUILD = machine.REPO / "build"
DOCUMENTS = ("README.md", "LICENSE", "docs/LICENSE", "data/README.md", "pocket/README.md")  # and docs/*.md
WIDGETS = {  # class of a widget: the picture of it in docs/screenshots, and what that shows
    "CropEditor": ("01_crop_widget", "A photo with a frame that can be dragged"),
    "CaptionEditor": ("02_caption_editor", "A photo beside a field for its caption"),
    "Rater": ("10_rater", "A picture with the questions a rater answers"),
    "PromptBox": ("prompt_page", "A field for a prompt, sliders, a button, and four pictures below"),
}
BAR = re.compile(r"\d+%\||it/s\]")  # of a progress bar, in words
INDEX = '<!doctype html><meta charset="utf-8"><title>{0}</title><meta http-equiv="refresh" content="0; url={1}"><a href="{1}">{0}</a>\n'
NO_PROSE = r"`[^`]*`|!?\[[^]]*\]\([^)]*\)|^(?:#|\s*\|).*$|<[^>]+>"  # of Markdown: code, links, headings, tables, HTML


def lay_out(executed, folder):
    """Write the source of the site into a folder, emptied before.

    executed: folder of the notebooks as they ran; one that did not is shown as it stands in the repository.
    """
    shutil.rmtree(folder, ignore_errors=True)
    documents = sorted(path.relative_to(machine.REPO).as_posix() for path in (machine.REPO / "docs").glob("*.md"))
    for name in (*DOCUMENTS, *documents):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = (machine.REPO / name).read_text(encoding="utf-8")
        (folder / name).write_text(offline(text) if name.endswith(".md") else text, encoding="utf-8")
    for path in (machine.REPO / "docs").rglob("*.[jp][pn]g"):
        (folder / path.relative_to(machine.REPO)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(machine.REPO))
    terms = glossary(folder / "docs" / "glossary.md")
    there = [executed / path.name if (executed / path.name).exists() else path for path in notebooks.paths()]
    ran = [(path.stem, notebooks.read(path)) for path in there]
    (folder / "notebooks").mkdir()
    (folder / "docs" / "slides.md").write_text(decks.write(ran, folder / "extra"), encoding="utf-8")
    for stem, notebook in ran:
        nbformat.write(page(notebook, terms), folder / "notebooks" / f"{stem}.ipynb")
    first = gallery.page(ran, [*documents, "docs/slides.md"], folder / "extra")
    (folder / "index.md").write_text(first, encoding="utf-8")


def offline(text):
    """Markdown that asks nobody: badges become links, and what was stamped for Colab is again beside the page."""
    text = re.sub(r"\[!\[([^]]*)\]\(https:[^)]*\)\]", r"[\1]", text)
    stamped = (
        r"(?<=\]\()https://(?:raw\.githubusercontent\.com/[\w.-]+/[\w.-]+|github\.com/[\w.-]+/[\w.-]+/blob)/main/docs/"
    )
    return re.sub(stamped, "../docs/", text)


def glossary(path):
    """Make the table of a glossary one that Sphinx knows, in place; returns its words."""
    text = path.read_text(encoding="utf-8")
    head, _, *rows = re.findall(r"^\|.*\n", text, re.MULTILINE)
    entries, terms = [], []
    for word, meaning, where in ([cell.strip() for cell in row.strip("|\n ").split("|")] for row in rows):
        words = word.split(", ")
        terms += words
        entries.append("\n".join(words) + f"\n  {meaning} (first in {where})\n")
    known = "```{glossary}\n" + "\n".join(entries) + "```\n"
    path.write_text(text[: text.index(head)] + known, encoding="utf-8")
    return terms


def page(notebook, terms):
    """An executed notebook as the site shows it: without its badge, words linked, pictures small and with words."""
    cells = [cell for cell in notebook.cells if not cell.source.startswith("[![")]
    terms, said = set(terms), ""
    for cell in cells:
        if cell.cell_type == "markdown":
            said = plain(cell.source) or said
            cell.source = link(offline(cell.source), terms)
        else:
            cell.metadata["mystnb"] = {"image": {"alt": cell.metadata.get("alt", said)}}
            cell.outputs = [shown for output in cell.outputs if (shown := show(output))]
    code = [cell for cell in cells if cell.cell_type == "code"]
    for cell in code[:1]:
        cell.metadata["tags"] = ["hide-cell"]  # the set-up, the same in all
    notebook.cells = cells
    return notebook


def plain(markdown):
    """The last paragraph of some Markdown in plain words: what the picture below it shows."""
    paragraphs = [part for part in markdown.split("\n\n") if not part.startswith(("#", "!", "|", "<"))]
    return re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", " ".join(paragraphs[-1:])).replace("\n", " ")


def link(markdown, terms):
    """Markdown in which the first of each term, or its plural, leads to the glossary; takes those out of the set `terms`."""
    words = "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))

    def first(found):
        if found["term"] not in terms:
            return found[0]
        terms.remove(found["term"])
        return f"{{term}}`{found[0]} <{found['term']}>`"

    pattern = rf"{NO_PROSE}|(?<![\w-])(?P<term>{words})s?(?![\w-])"
    return re.sub(pattern, first, markdown, flags=re.MULTILINE) if terms else markdown


def show(output):
    """An output as a page can show it, or None: a widget as its picture or a sentence, a picture on white and small."""
    data = output.get("data", {})
    if BAR.search(output.get("text", data.get("text/plain", ""))):
        return None
    if "application/vnd.jupyter.widget-view+json" in data:
        name = re.match(r"[\w.<]*?(\w+)(?=\(| object)", data.get("text/plain", ""))
        file, words = WIDGETS.get(name and name[1], ("", ""))
        picture = f"![{words}](../docs/screenshots/{file}.jpg)\n\n" if file else ""
        output["data"] = {"text/markdown": f"{picture}Here stands a widget. Open the notebook to use it."}
    elif "image/png" in data:
        file = io.BytesIO()
        notebooks.on_white(data["image/png"]).save(file, "JPEG", quality=88, optimize=True)
        if len(small := base64.b64encode(file.getvalue()).decode()) < len(data["image/png"]):
            output["metadata"]["image/jpeg"] = output["metadata"].pop("image/png", {})
            data["image/jpeg"] = small
            del data["image/png"]
    return output


def build(executed=BUILD / "notebooks", folder=BUILD, *options):
    """Build the site of executed notebooks into folder/site and its leaf folder/index.html; returns that path.

    options: more for sphinx-build, such as -W. Raises subprocess.CalledProcessError if Sphinx fails.
    """
    pages = folder / "pages"
    lay_out(executed, pages)
    badge = notebooks.paths()[0].read_text(encoding="utf-8")
    stamped = re.search(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob", badge)
    settings = {"SITE_EXTRA": str(pages / "extra"), "SITE_REPOSITORY": os.environ.get("GITHUB_REPOSITORY", stamped[1])}
    command = ["-m", "sphinx", "-q", "-E", "-c", machine.REPO / "docs", *options, pages, folder / "site"]
    shutil.rmtree(folder / "site", ignore_errors=True)
    subprocess.run([sys.executable, *map(str, command)], check=True, env={**os.environ, **settings})
    with machine.atomic_write(folder / "index.html") as unfinished:
        unfinished.write_text(INDEX.format("Personalising Stable Diffusion", "site/index.html"), encoding="utf-8")
    return folder / "index.html"


if __name__ == "__main__":
    print("Now open", os.path.relpath(build()))
