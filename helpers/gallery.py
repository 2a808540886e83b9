"""Run the notebooks in order and make one page of what they left.

python -m helpers.gallery      writes build/notebooks/*.html and build/index.html
"""

import base64
import html
import io
import os
from datetime import date
from pathlib import Path
from string import Template

import pandas as pd
from PIL import Image

from helpers import captions, compare, files, notebooks, photos, runtime

BUILD = runtime.REPO / "build"
# subject, its name in prompts, run folder, method, the prompt that calls it
STORIES = (
    ("amir", "Amir", "hypernetwork_amir", "hypernetwork", "a photo of a man"),
    ("nesrelah", "Nesrelah", "dreambooth_nesrelah", "DreamBooth", "nesrelah_001 person"),
)


def picture(image, caption="", side=480):
    """An HTML figure with the image inside it, at most `side` pixels wide and high."""
    image = image.convert("RGB")
    image.thumbnail((side, side))
    data = io.BytesIO()
    image.save(data, "WEBP", quality=88)
    source = base64.b64encode(data.getvalue()).decode()
    words = html.escape(str(caption))
    below = f"<figcaption>{words}</figcaption>" if words else ""
    tag = f'<img src="data:image/webp;base64,{source}" alt="{words}" width="{image.width}" height="{image.height}">'
    return f"<figure>{tag}{below}</figure>"


def pictures(items, style):
    """A group of figures; items: (image or path of one, caption); style: a class of the page."""
    shown = [picture(image if isinstance(image, Image.Image) else Image.open(image), words) for image, words in items]
    return f'<div class="{style}">{"".join(shown)}</div>' if shown else ""


def section(title, sentence, body, level=2):
    """A headed part of the page, or nothing if it has nothing to show."""
    words = f"<p>{sentence}</p>\n" if sentence else ""
    return f"<h{level}>{title}</h{level}>\n{words}{body}\n" if body else ""


def raw_photos(subject):
    """The photos of a subject that can be opened at all."""
    shown = []
    for path in sorted((runtime.REPO / "data" / "subjects" / subject / "raw").glob("*")):
        try:
            shown.append((photos.open_photo(path), ""))
        except ValueError:  # one of them is broken on purpose
            continue
    return shown


def captioned(subject, count=6):
    """The first prepared photos of a subject with their captions."""
    folder = photos.prepared_folder(subject)
    table = captions.read_captions(folder).head(count)
    return [(folder / row.file, row.caption) for row in table.itertuples()]


def previews(run, count=6):
    """Previews of a training, evenly spread from the first to the last, with their step."""
    paths = sorted((runtime.RUNS / run / "previews").glob("*.png"))
    chosen = sorted({round(i * (len(paths) - 1) / max(1, count - 1)) for i in range(min(count, len(paths)))})
    return [(paths[i], f"step {int(paths[i].stem)}") for i in chosen]


def same_seeds(prompt, method, count=6):
    """(before, after): images of a prompt by the base model and by a method, from the same seeds."""
    folders = [runtime.RUNS / "compare" / "images" / name for name in ("base", method)]
    names = [compare.file_name(prompt, seed) for seed in range(1, 100)]
    names = [name for name in names if all((folder / name).exists() for folder in folders)][:count]
    return [[(folder / name, "") for name in names] for folder in folders]


def portfolio():
    """What each person became in the same wishes, from the table that notebook 05 left."""
    folder = runtime.RUNS / "compare"
    if not (folder / "portfolio.csv").exists():
        return ""
    table = pd.read_csv(folder / "portfolio.csv")
    rows = [
        f"<h3>{name}</h3>\n"
        + pictures(
            [(folder / row.file, row.wish) for row in table[table["subject"] == subject].itertuples()], "tiles six"
        )
        for subject, name, *_ in STORIES
    ]
    return "".join(rows) + '<p class="soft">Two seeds for each wish, the first two; none was picked by hand.</p>'


def story(subject, name, run, method, prompt):
    """The way of one subject from photos to portraits."""
    before, after = same_seeds(prompt, method)
    said = f"&ldquo;{html.escape(prompt)}&rdquo;"
    return "".join(
        [
            section(
                f"{name}, by {'a hypernetwork' if method == 'hypernetwork' else method}",
                "The photos as they came from the phone: every size, some turned, dark, blurred or sent twice.",
                pictures(raw_photos(subject), "raw"),
            ),
            section(
                "Squares with a caption",
                "Cropped around the face and cleaned of all that a phone hides in a photo; a small BLIP wrote the words.",
                pictures(captioned(subject), "tiles six"),
                3,
            ),
            section(
                "While it learns",
                "The same words and the same noise, again and again as the training goes on.",
                pictures(previews(run), "strip"),
                3,
            ),
            section(
                "Before",
                f"What the model made of {said} when it had never met {name}.",
                pictures(before, "tiles six"),
                3,
            ),
            section("After", "The same words and the same seeds.", pictures(after, "tiles six"), 3),
        ]
    )


def bars(table):
    """One bar a row of shares.csv, grouped by prompt, with its interval as a thin line."""
    groups = []
    for prompt, rows in table.groupby("prompt", sort=False):
        lines = "".join(_bar(row) for row in rows.itertuples())
        groups.append(f'<div class="row"><strong>&ldquo;{html.escape(prompt)}&rdquo;</strong>{lines}</div>')
    return "".join(groups)


def _bar(row):
    mean, low, high = (100 * max(0.0, min(1.0, value)) for value in (row.mean, row.low, row.high))
    track = f'<b class="{row.method}" style="width:{mean:.1f}%"></b>'
    track += f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
    return f'<div class="bar"><span>{row.method}</span><span class="track">{track}</span><span>{row.words}</span></div>'


def comparison():
    """The grid of the paper's prompts and the counts, from what notebook 05 left."""
    folder = runtime.RUNS / "compare"
    if not (folder / "shares.csv").exists():
        return ""
    grid = f'<div class="whole">{picture(Image.open(folder / "grid.png"), side=2000)}</div>'
    shares = pd.read_csv(folder / "shares.csv")
    line = "From the same seeds for each method; the thin line is the 95 % interval."
    counts = "".join(
        section(f"Who looks like {name}?", line, bars(shares[shares["subject"] == subject]), 3)
        for subject, name, *_ in STORIES
    )
    findings = html.escape((folder / "finding.txt").read_text(encoding="utf-8").strip()).splitlines()
    return (
        section("The paper's prompts", "One row a prompt; in every row all methods start from the same noise.", grid)
        + section("Who looks like whom", "", "".join(f'<p class="finding">{line}</p>' for line in findings))
        + counts
    )


def page(rendered):
    """Write build/index.html, complete in itself; rendered: [(page of a notebook, minutes it ran)]."""
    links = "\n".join(
        f'<li><a href="{path.relative_to(BUILD).as_posix()}">{path.stem.replace("_", " ")}</a> '
        f'<span class="soft">{minutes:.1f} minutes</span></li>'
        for path, minutes in rendered
    )
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    text = template.substitute(
        people=" and ".join(name for _, name, *_ in STORIES),
        sections=portfolio() + "".join(story(*each) for each in STORIES) + comparison(),
        notebooks=links,
        date=date.today().isoformat(),
        model=html.escape(os.environ.get("MODEL", "pocket")),
    )
    with files.atomic_write(BUILD / "index.html") as partial:
        partial.write_text(text, encoding="utf-8")
    return BUILD / "index.html"


if __name__ == "__main__":
    print("Now open", os.path.relpath(page(notebooks.run_all(BUILD / "notebooks"))))
