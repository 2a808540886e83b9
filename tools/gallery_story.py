"""The sections of the gallery's story, each from what a notebook left in runs/; what is not there is left out."""

import html

import pandas as pd
from PIL import Image

from helpers import machine, photos
from tools.gallery_figures import bars, pairs, picture, pictures, section, table

# subject, its name in prompts, run folder, method, the prompt that calls it
STORIES = (
    ("amir", "Amir", "hypernetwork_amir", "hypernetwork", "a photo of a man"),
    ("nesrelah", "Nesrelah", "dreambooth_nesrelah", "DreamBooth", "nesrelah_001 person"),
)
SURVEY_PAGES = {"report.html": "the whole study on one page", "questionnaire.html": "the questionnaire"}


def raw_photos(subject):
    """The photos of a subject that can be opened at all."""
    shown = []
    for path in sorted((machine.REPO / "data" / "subjects" / subject / "raw").glob("*")):
        try:
            shown.append((photos.open_photo(path), ""))
        except ValueError:  # one of them is broken on purpose
            continue
    return shown


def captioned(subject, count=6):
    """The first prepared photos of a subject with their captions."""
    folder = photos.prepared_folder(subject)
    rows = photos.read_captions(folder).head(count)
    return [(folder / row.file, row.caption) for row in rows.itertuples()]


def previews(run, count=6):
    """Previews of a training, evenly spread from the first to the last, with their step."""
    paths = sorted((machine.RUNS / run / "previews").glob("*.png"))
    chosen = sorted({round(i * (len(paths) - 1) / max(1, count - 1)) for i in range(min(count, len(paths)))})
    return [(paths[i], f"step {int(paths[i].stem)}") for i in chosen]


def same_seeds(run, prompt, count=6):
    """(before, after): pictures by the base model and by a run, from the same seeds; the run heard `prompt`.

    Where that prompt was not asked, the one that comes first in images.csv stands in.
    """
    folder = machine.RUNS / "compare"
    if not (folder / "images.csv").exists():
        return [], []
    index = pd.read_csv(folder / "images.csv", keep_default_na=False)
    base, after = (index[index["maker"] == maker] for maker in ("base", run))
    both = base.merge(after, on=["prompt_id", "seed"], suffixes=("_before", "_after"))
    both["other_words"] = both["prompt_before"] != both["prompt_after"]  # base heard some prompts in two wordings
    both = both.sort_values("other_words", kind="stable").drop_duplicates("file_after")
    asked = prompt if prompt in set(both["prompt_after"]) else next(iter(both["prompt_after"]), None)
    rows = both[both["prompt_after"] == asked].sort_values("seed").head(count)
    return tuple([folder / file for file in rows[name]] for name in ("file_before", "file_after"))


def portfolio():
    """What each person became in the same wishes, from the table that notebook 05 left."""
    folder = machine.RUNS / "compare"
    if not (folder / "portfolio.csv").exists():
        return ""
    wishes = pd.read_csv(folder / "portfolio.csv")
    seed = wishes["file"].str.extract(r"seed(\d+)\.", expand=False).astype(int)
    wishes = wishes.iloc[seed.argsort(kind="stable")]  # a line of pictures for each seed
    rows = []
    for subject, name, *_ in STORIES:
        shown = [(folder / row.file, row.wish) for row in wishes[wishes["subject"] == subject].itertuples()]
        rows.append(_who(subject, name) + pictures(shown, "tiles six"))
    return "".join(rows) + '<p class="soft">Two seeds for each wish, the first two; none was picked by hand.</p>'


def _who(subject, name):
    """A subject's name beside the first of the prepared photos."""
    photo = picture(Image.open(captioned(subject, 1)[0][0]), side=120, alt=f"photo of {name}")
    return f'<div class="who">{photo}<h3>{name}</h3></div>\n'


def way(subject, name, run, method, prompt):
    """The way of one subject from photos to portraits."""
    before, after = same_seeds(run, prompt)
    told = (
        "Above what the model made when it had never met this person, below what it makes now: "
        f"the same words and the same noise, &ldquo;{html.escape(prompt)}&rdquo;."
    )
    parts = [
        section(
            f"{name}, by {'a hypernetwork' if method == 'hypernetwork' else method}",
            "The photos as they came from the phone: every size, some turned, dark, blurred or sent twice.",
            pictures(raw_photos(subject), "raw", alt=f"raw photo of {name}"),
            anchor=subject,
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
        section("Before and after", told, pairs(before, after, name), 3),
    ]
    return "".join(parts)


def comparison():
    """The grid of the paper's prompts, the counts and Table 2, from what notebook 05 left."""
    folder = machine.RUNS / "compare"
    grid, counts, told, table2 = "", "", "", ""
    if (folder / "grid.png").exists():
        words = "for each person a row of real photos, then one row a method, one column a prompt"
        grid = f'<div class="whole" tabindex="0" role="region" aria-label="the grid">{picture(Image.open(folder / "grid.png"), side=2400, alt=words)}</div>'
    if (folder / "shares.csv").exists():
        shares = pd.read_csv(folder / "shares.csv")
        line = "From the same seeds for each method; the thin line is the 95 % interval."
        known = {subject: name for subject, name, *_ in STORIES}
        for subject, rows in shares.groupby("subject", sort=False):
            counts += section(f"Who looks like {known.get(subject, subject)}?", line, bars(rows), 3)
    if (folder / "table2.csv").exists():
        table2 = table(pd.read_csv(folder / "table2.csv", dtype=str))
    told = findings(folder)
    line = (
        "For each person the real photos, then one row a method. In every column all methods have the same prompt "
        "and start from the same noise."
    )
    cost = "The paper's column, and ours beside it."
    return (
        section("The paper's prompts", line, grid, anchor="grid")
        + section("Who looks like whom", "", told + counts, anchor="counts")
        + section("Table 2: what it took", cost, table2, anchor="table2")
    )


def findings(folder):
    """The sentences that a notebook left in finding.txt, each as a paragraph."""
    path = folder / "finding.txt"
    if not path.exists():
        return ""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return "".join(f'<p class="finding">{html.escape(line)}</p>' for line in lines)


def survey():
    """Table 1, from what notebook 06 left; it says itself where answers are simulated."""
    folder = machine.RUNS / "survey"
    if not (folder / "table1.csv").exists():
        return ""
    words = (
        "How many raters were satisfied. &ldquo;Simulated&rdquo; answers are invented by a program: nobody was asked."
    )
    there = [(name, title) for name, title in SURVEY_PAGES.items() if (folder / name).exists()]
    links = " &middot; ".join(f'<a href="survey/{name}">{title}</a>' for name, title in there)
    body = table(pd.read_csv(folder / "table1.csv", dtype=str)) + (f"<p>{links}</p>" if links else "")
    return section("Table 1: what people said", words, body, anchor="table1")


def audit():
    """What the audit of notebook 07 found, and the shares beside the world's own."""
    folder, counted = machine.RUNS / "audit", ""
    if (folder / "shares.csv").exists():
        shares = pd.read_csv(folder / "shares.csv")
        model = shares.assign(
            method="model", words=[_percent(*row) for row in shares[["mean", "low", "high"]].to_numpy()]
        )
        truth = shares.assign(method="world", mean=shares["world"], low=shares["world"], high=shares["world"])
        truth["words"] = [_percent(share) for share in truth["mean"]]
        both = pd.concat([truth, model]).sort_index(kind="stable")
        counted = (
            "<p>The share of men among those that came: in the drawn world, and in what the base model made of it.</p>"
        )
        counted += bars(both)
    return section("Whom does it show when nobody is named?", "", findings(folder) + counted, anchor="audit")


def _percent(share, low=None, high=None):
    words = f"{100 * share:.0f} %"
    return words if low is None else f"{words} ({100 * low:.0f} to {100 * high:.0f} %)"
