"""Run the notebooks in order and make one page of what they left.

python -m tools.gallery      writes build/notebooks/*.html and build/index.html
"""

import html
import os
import shutil
from datetime import date
from pathlib import Path
from string import Template

from helpers import machine
from tools import gallery_story, notebooks

BUILD = machine.REPO / "build"


def page(rendered):
    """Write build/index.html, which needs the folder build/ around it and no network; returns its path.

    rendered: [(page of a notebook, minutes it ran)], the pages in build/notebooks.
    """
    bring_survey()
    sections = [
        gallery_story.portfolio(),
        *(gallery_story.way(*each) for each in gallery_story.STORIES),
        gallery_story.comparison(),
        gallery_story.survey(),
        gallery_story.audit(),
    ]
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    text = template.substitute(
        people=" and ".join(name for _, name, *_ in gallery_story.STORIES),
        contents=contents("".join(sections)),
        sections="".join(sections),
        notebooks="\n".join(_line(path, minutes) for path, minutes in rendered),
        date=date.today().isoformat(),
        model=html.escape(os.environ.get("MODEL", "pocket")),
    )
    with machine.atomic_write(BUILD / "index.html") as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return BUILD / "index.html"


def bring_survey():
    """Copy the pages of notebook 06, which need nothing else, into build/survey."""
    for name in gallery_story.SURVEY_PAGES:
        made, kept = machine.RUNS / "survey" / name, BUILD / "survey" / name
        kept.unlink(missing_ok=True)  # of an earlier run
        if made.exists():
            with machine.atomic_write(kept) as unfinished:
                shutil.copyfile(made, unfinished)


def contents(text):
    """Links to the headed parts of the story that have a name of their own."""
    names = {
        **{subject: name for subject, name, *_ in gallery_story.STORIES},
        "grid": "The grid",
        "counts": "Counts",
        "table2": "Table 2",
        "table1": "Table 1",
        "audit": "Audit",
    }
    return "\n".join(f'<a href="#{anchor}">{words}</a>' for anchor, words in names.items() if f'id="{anchor}"' in text)


def _line(path, minutes):
    words = html.escape(path.stem.replace("_", " "))
    return f'<li><a href="notebooks/{path.name}">{words}</a> <span class="soft">{minutes:.1f} minutes</span></li>'


if __name__ == "__main__":
    print("Now open", os.path.relpath(page(notebooks.run_all(BUILD / "notebooks"))))
