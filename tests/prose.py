"""What people read in this project: Markdown files and the prose of notebooks, with and without its code and links."""

import json
import re

from helpers import notebooks, places

REPO = places.REPO
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
NOT_PROSE = re.compile(
    r"^---.*?^---$|&\w+;|```.*?```|``.*?``|`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$|<[^>]+>|https?://\S+|\S+@\S+",
    re.DOTALL | re.MULTILINE,
)


def texts():
    """{name of a file, or of a notebook with the cell's number: its Markdown}."""
    paths = [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("data/**/README.md"), *REPO.glob("pocket/*.md")]
    found = {str(path.relative_to(REPO)): path.read_text(encoding="utf-8") for path in sorted(paths)}
    for path in notebooks.paths():
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            if cell["cell_type"] == "markdown":
                found[f"notebooks/{path.name} [{number}]"] = "".join(cell["source"])
    return found


def words(text):
    """The words of some Markdown, without code, formulas and addresses; a part of a word with a digit is none."""
    text = LINK.sub(r"\2", LINK.sub(r"\2", text))
    text = NOT_PROSE.sub(" ", text).replace("’", "'")
    return [word.strip("'") for word in re.findall(r"(?<![\w.])[^\W\d_]+(?:'[^\W\d_]+)*(?![\w])", text)]


def links(text):
    """The targets of links and pictures in some Markdown, code left out."""
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    targets = [match[3] for match in LINK.finditer(text)]
    inner = [match[3] for outer in LINK.finditer(text) for match in LINK.finditer(outer[2])]
    return targets + inner


def anchors(text):
    """The names that GitHub gives to the headings of some Markdown."""
    headings = re.findall(r"^#+ +(.*?)\s*#*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-") for heading in headings}
