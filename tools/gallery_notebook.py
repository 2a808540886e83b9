"""An executed notebook as one web page: light and dark, for a phone too, without any network."""

import base64
import html
import io
import re
import shutil
from pathlib import Path
from string import Template

from nbconvert.filters import Highlight2HTML, markdown2html, strip_ansi
from PIL import Image
from pygments.formatters import HtmlFormatter

from helpers import machine
from tools import gallery_figures

ALL = '<a href="../index.html">all of it</a>'
TEMPLATE = Path(__file__).with_suffix(".html")
FOLDER = machine.REPO / "notebooks"
DOCUMENTS = ("glossary.md", "survey_teacher.md", "survey_coverage.png")  # of docs/, at which notebooks point
WIDGET = "application/vnd.jupyter.widget-view+json"


def render(notebook, path, others=()):
    """Write an executed notebook as `path`; others: stems of all pages beside it, in order, for the links.

    Pictures become WebP; a widget becomes a sentence that says so.
    """
    path, others = Path(path), list(others)
    body = "\n".join(cell_html(cell) for cell in notebook.cells[1:])  # without the badge
    place = others.index(path.stem) if path.stem in others else None
    before = others[place - 1] if place else None
    after = others[place + 1] if place is not None and place + 1 < len(others) else None
    _write(path, _link(before, "&larr; ") + ALL + _link(after, "&rarr; "), body)


def render_documents(folder):
    """Write the documents that notebooks point at into a folder, which stands beside that of the notebooks' pages."""
    for path in (machine.REPO / "docs" / name for name in DOCUMENTS):
        if path.suffix == ".md":
            body = f'<div class="prose">{markdown(path.read_text(encoding="utf-8"))}</div>'
            _write(Path(folder) / f"{path.stem}.html", ALL, body)
        else:
            with machine.atomic_write(Path(folder) / path.name) as partial:
                shutil.copy(path, partial)


def _write(path, links, body):
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(path.stem.replace("_", " ")), style=styles(), links=links, body=body
    )
    with machine.atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _link(stem, arrow):
    return f'<a href="{stem}.html">{arrow}{html.escape(stem.replace("_", " "))}</a>' if stem else ""


def styles():
    """The colours of code, for light pages and for dark ones."""
    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none; }}"


def cell_html(cell):
    """One cell: prose, or code with what it put out."""
    if cell.cell_type == "markdown":
        return f'<div class="prose">{markdown(cell.source)}</div>'
    if cell.cell_type != "code":
        return ""
    code = Highlight2HTML(pygments_lexer="ipython3")(cell.source)
    said = cell.source.strip().splitlines()[-1] if cell.source.strip() else ""
    shown = "".join(output_html(output, said) for output in cell.get("outputs", []))
    return (
        f'<div class="code" tabindex="0" role="region" aria-label="code">{code}</div>\n<div class="out">{shown}</div>'
    )


def markdown(text):
    """Markdown as HTML, its pictures inside; links to notebooks and documents lead to their pages.

    Formulas stay as they were typed: there is no network to draw them.
    """
    body = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", markdown2html(text))
    body = re.sub(r'(<a href="(?!\w+:)[^"]+)\.(?:md|ipynb)"', r'\1.html"', body)
    body = re.sub(r'(<img[^>]*?src=")https://raw[^"]*(?=/docs/pictures/)', r"\1..", body)  # stamped for Colab
    return re.sub(r'(<img[^>]*?src=")(?!data:|https?:)([^"]+)"', _inside, body)


def _inside(found):
    """A picture of the repository as a data URI; one that is not there keeps its words only."""
    path = FOLDER / found[2]
    if not path.is_file():
        return found[0]
    if path.suffix.lower() == ".gif":  # it may move
        return f'{found[1]}data:image/gif;base64,{base64.b64encode(path.read_bytes()).decode()}"'
    return f'{found[1]}{gallery_figures.data_uri(Image.open(path), 1600)[0]}"'


def output_html(output, said=""):
    """One output as HTML; said: the line of code that made it, as the words for who cannot see a picture."""
    if output.output_type == "stream":
        return f"<pre>{html.escape(strip_ansi(output.text))}</pre>"
    if output.output_type == "error":
        return f"<pre>{html.escape(strip_ansi(chr(10).join(output.traceback)))}</pre>"
    data = output.get("data", {})
    if WIDGET in data:
        return '<p class="soft">Here stands a widget. Open the notebook to use it.</p>'
    alt = html.escape(f"what this code shows: {said}", quote=True)
    for kind in ("image/gif", "image/png", "image/jpeg", "image/webp"):
        if kind in data:
            return f'<figure><img src="{_smaller(kind, data[kind])}" alt="{alt}" loading="lazy"></figure>'
    if "image/svg+xml" in data:
        return f'<figure role="img" aria-label="{alt}">{data["image/svg+xml"]}</figure>'
    if "text/html" in data:
        return f'<div class="scroll">{data["text/html"]}</div>'
    if "text/markdown" in data:
        return markdown(data["text/markdown"])
    return f"<pre>{html.escape(data['text/plain'])}</pre>" if "text/plain" in data else ""


def _smaller(kind, encoded):
    """The data URI of an output; a still picture as WebP, if that is smaller."""
    encoded = "".join(encoded.split())
    if kind in ("image/png", "image/jpeg"):
        image = Image.open(io.BytesIO(base64.b64decode(encoded)))
        webp = gallery_figures.data_uri(gallery_figures.on_white(image), 2400)[0]
        if len(webp) < len(encoded):
            return webp
    return f"data:{kind};base64,{encoded}"
