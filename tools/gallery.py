"""Run the notebooks in order and make one page of what they left in runs/; what is not there is left out.

python -m tools.gallery      writes build/notebooks/*.html and build/index.html
"""

import os
import shutil
from datetime import date
from pathlib import Path

import jinja2
import pandas as pd
from PIL import Image

from helpers import machine, photos
from helpers.compare import trained
from helpers.machine import subjects
from helpers.show import data_url
from helpers.stats import percent
from tools import notebooks

BUILD = machine.REPO / "build"
SURVEY_PAGES = {"report.html": "the whole study on one page", "questionnaire.html": "the questionnaire"}


def page(rendered):
    """Write build/index.html, which needs the folder build/ around it and no network; returns its path.

    rendered: [(page of a notebook, minutes it ran)], the pages in build/notebooks.
    """
    compared, survey, audited = (machine.RUNS / name for name in ("compare", "survey", "audit"))
    templates = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=templates, autoescape=True, trim_blocks=True)
    text = environment.get_template("gallery.html").render(
        embed=embed,
        portfolio=portfolio(compared),
        stories=[story(*each) for each in people()],
        own=subjects.own(),
        grid=next(compared.glob("grid.png"), None),
        found=lines(compared / "finding.txt"),
        counts=counts(compared / "shares.csv"),
        table2=table(compared / "table2.csv", dtype=str),
        table1=table(survey / "table1.csv", dtype=str),
        survey=bring_survey(survey),
        audited=lines(audited / "finding.txt"),
        shares=against_the_world(audited / "shares.csv"),
        notebooks=rendered,
        date=date.today().isoformat(),
        model=os.environ.get("MODEL", "pocket"),
    )
    with machine.atomic_write(BUILD / "index.html") as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return BUILD / "index.html"


def people():
    """(subject, title, run folder, method, the prompt that calls them): a sample by the paper's method, others by 04's."""
    models = trained.find(os.environ.get("MODEL", "pocket"))
    rows = []
    for subject in subjects.chosen():
        method = next((method for method, sample in subjects.SAMPLES.items() if sample == subject), "dreambooth")
        model = models[f"{method}_{subject}"]
        rows.append((subject, subjects.title(subject), model.name, model.method, model.call))
    return rows


def embed(image, side):
    """(data URI, width, height) of an image, or of a picture file, as WebP at most `side` pixels wide and high."""
    image = (image if isinstance(image, Image.Image) else Image.open(image, formats=["PNG", "JPEG", "WEBP"])).convert(
        "RGB"
    )
    image.thumbnail((side, side))
    return data_url(image, None, "WEBP", 88), *image.size


def table(path, **options):
    """The DataFrame in a CSV file, or None where there is no such file."""
    return pd.read_csv(path, **options) if path.exists() else None


def lines(path):
    """The sentences that a notebook left in a text file."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] if path.exists() else []


def story(subject, name, run, method, prompt):
    """What the page tells of the way of one subject from photos to portraits."""
    return {
        "subject": subject,
        "anchor": subjects.identifier(subject).removesuffix("_001"),
        "name": name,
        "method": method,
        "prompt": prompt,
        "raw": raw_photos(subject),
        "captioned": captioned(subject),
        "previews": previews(run),
        "pairs": same_seeds(run, prompt),
    }


def raw_photos(subject):
    """[(photo, "")] of a subject, those that can be opened at all."""
    shown = []
    for path in sorted((subjects.folder(subject) / "raw").glob("*")):
        try:
            shown.append((photos.open_photo(path), ""))
        except ValueError:  # one of them is broken on purpose
            continue
    return shown


def captioned(subject, count=6):
    """[(path, caption)] of the first prepared photos of a subject."""
    folder = photos.prepared_folder(subject)
    return [(folder / row.file, row.caption) for row in photos.read_captions(folder).head(count).itertuples()]


def previews(run, count=6):
    """[(path, its step)] of previews of a training, evenly spread from the first to the last."""
    paths = sorted((machine.RUNS / run / "previews").glob("*.png"))
    chosen = sorted({round(i * (len(paths) - 1) / max(1, count - 1)) for i in range(min(count, len(paths)))})
    return [(paths[i], f"step {int(paths[i].stem)}") for i in chosen]


def same_seeds(run, prompt, count=6):
    """[(before, after)]: pictures by the base model and by a run, from the same seeds; the run was given `prompt`.

    Where that prompt was not asked, the one that comes first in images.csv stands in.
    """
    folder = machine.RUNS / "compare"
    index = table(folder / "images.csv", keep_default_na=False)
    if index is None:
        return []
    base, after = (index[index["model"] == model] for model in ("base", run))
    both = base.merge(after, on=["prompt_id", "seed"], suffixes=("_before", "_after"))
    both["other_words"] = both["prompt_before"] != both["prompt_after"]  # base was given some prompts in two wordings
    both = both.sort_values("other_words", kind="stable").drop_duplicates("file_after")
    asked = prompt if prompt in set(both["prompt_after"]) else next(iter(both["prompt_after"]), None)
    rows = both[both["prompt_after"] == asked].sort_values("seed").head(count)
    return [(folder / row.file_before, folder / row.file_after) for row in rows.itertuples()]


def portfolio(folder):
    """[(name, photo, [(path, prompt)])]: what each person became in the same prompts, one seed after the other."""
    prompts = table(folder / "portfolio.csv")
    if prompts is None:
        return []
    seed = prompts["file"].str.extract(r"seed(\d+)\.", expand=False).astype(int)
    prompts = prompts.iloc[seed.argsort(kind="stable")]  # a line of pictures for each seed
    shown = {subject: rows for subject, rows in prompts.groupby("subject")}
    return [
        (name, captioned(subject, 1)[0][0], [(folder / row.file, row.prompt) for row in shown[subject].itertuples()])
        for subject, name, *_ in people()
        if subject in shown
    ]


def counts(path):
    """{name: bars} of the table in which notebook 05 counted who shows which subject."""
    shares = table(path)
    groups = [] if shares is None else shares.groupby("subject", sort=False)
    return {subjects.title(subject): bars(rows) for subject, rows in groups}


def against_the_world(path):
    """The bars of notebook 07: for each prompt the drawn world's share, then what the base model made of it."""
    model = table(path)
    if model is None:
        return []
    world = model.assign(method="world", mean=model["world"], low=float("nan"), high=float("nan"))  # no estimate
    world["words"] = [percent(share) for share in world["mean"]]
    model = model.assign(method="model", words=[percent(*row) for row in model[["mean", "low", "high"]].to_numpy()])
    return bars(pd.concat([world, model]).sort_index(kind="stable"))


def bars(shares):
    """One bar a row, with its interval as a thin line, as dicts for the template; `place` numbers the prompts.

    shares: DataFrame prompt, method, mean, low, high (0..1) and words, which stand beside the bar. Where low and high
    are nan or meet there is no line.
    """
    ends = (100 * shares[["mean", "low", "high"]].clip(0, 1)).round(1)
    place = shares["prompt"].factorize()[0]
    return shares.assign(place=place, **ends, width=(ends["high"] - ends["low"]).round(1)).to_dict("records")


def bring_survey(folder):
    """Copy the pages of notebook 06, which need nothing else, into build/survey; returns [(name, title)] of them."""
    brought = []
    for name, title in SURVEY_PAGES.items():
        made, kept = folder / name, BUILD / "survey" / name
        kept.unlink(missing_ok=True)  # of an earlier run
        if made.exists():
            brought.append((name, title))
            with machine.atomic_write(kept) as unfinished:
                shutil.copyfile(made, unfinished)
    return brought


if __name__ == "__main__":
    print("Now open", os.path.relpath(page(notebooks.run_all(BUILD / "notebooks"))))
