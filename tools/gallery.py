"""The first page of the course site: what the notebooks left in runs/; what is not there is left out."""

import functools
import hashlib
import os
import re
import shutil
from datetime import date
from pathlib import Path

import jinja2
import pandas as pd
from PIL import Image

from benchmarks import methods
from helpers import machine, photos
from helpers.compare import trained
from helpers.machine import subjects
from helpers.show import html
from helpers.stats import percent

FILMS = {  # name of a flipbook in a notebook: what to look at
    "step": "Out of noise: what the model takes the picture to be, from the first step to the last.",
    "strength": "The hypernetwork turned up, from 0, the model as it was, to more than it was trained for.",
}
DOCS = machine.REPO / "docs"
SURVEY_PAGES = {"report.html": "The whole study on one page", "questionnaire.html": "The questionnaire"}


def page(ran, documents, extra):
    """The first page as Markdown for Sphinx; its pictures and the survey's pages go into the folder `extra`.

    ran: [(stem, executed notebook)], which the site has under notebooks/. documents: names of the other pages.
    """
    compared, survey, audited, robot = (machine.RUNS / name for name in ("compare", "survey", "audit", "robot"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    environment.filters["inline"] = inline
    shares = table(compared / "shares.csv")
    return environment.get_template("gallery.md.j2").render(
        embed=functools.partial(embed, extra / "gallery"),
        portfolio=portfolio(compared),
        stories=[story(*each) for each in people()],
        one_photo=one_photo(machine.RUNS / "one_photo"),
        own=subjects.own(),
        films=[(words, film) for name, words in FILMS.items() if (film := flipbook(ran, name))],
        grid=next(compared.glob("grid.png"), None),
        found=sentences(shares),
        counts=counts(shares),
        table2=table(compared / "table2.csv", dtype=str),
        table1=table(survey / "table1.csv", dtype=str),
        survey=bring_survey(survey, extra / "survey"),
        audited=[sentence for path in sorted(audited.glob("finding*.txt")) for sentence in lines(path)],
        shares=against_the_world(audited / "shares.csv"),
        robot=[sentence for path in sorted(robot.glob("finding*.txt")) for sentence in lines(path)],
        robot_curve=next(robot.glob("curve.png"), None),
        methods=next(DOCS.glob("methods.png"), None),
        for_whom=for_whom(table(DOCS / "methods.csv")),
        notebooks=[(stem, titled(stem, notebook), notebook.metadata.get("minutes")) for stem, notebook in ran],
        documents=[name.removesuffix(".md") for name in documents],
        date=date.today().isoformat(),
        model=os.environ.get("MODEL", "pocket"),
    )


def for_whom(measured):
    """A sentence a method on who should take it, from the table of benchmarks.methods; [] without one."""
    names = [] if measured is None else measured["method"].unique()
    return [f"{name} is {methods.verdict(measured, name)}." for name in names]


def people():
    """(subject, title, run folder, method, the prompt that calls them): a sample by the paper's method, others by 04's."""
    models = trained.find(os.environ.get("MODEL", "pocket"))
    rows = []
    for subject in subjects.chosen():
        method = next((method for method, sample in subjects.SAMPLES.items() if sample == subject), "dreambooth")
        model = models[f"{method}_{subject}"]
        rows.append((subject, subjects.title(subject), model.name, model.method, model.call))
    return sorted(rows, key=lambda row: row[3] != "DreamBooth")  # a face that everybody knows again comes first


def embed(folder, image, side):
    """(address, width, height) of an image, or of a picture file, kept in a folder as WebP at most `side` pixels wide."""
    image = image if isinstance(image, Image.Image) else Image.open(image, formats=["PNG", "JPEG", "WEBP"])
    data = html.encoded(image, side, "WEBP", 88)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}.webp"
    path.write_bytes(data)
    scale = min(1, side / max(image.size))
    return f"{folder.name}/{path.name}", *(max(1, round(scale * pixels)) for pixels in image.size)


def inline(text):
    """Text that stays what it is in a line of Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#|$~^!])", r"\\\1", str(text))


def titled(stem, notebook):
    """A notebook's number and its heading."""
    words = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    return next((f"{stem[:2]} {line[2:]}" for line in words if line.startswith("# ")), stem)


def flipbook(ran, name):
    """The HTML of the first flipbook of that name that executed notebooks show, or "": it works without a kernel."""
    outputs = [
        output.get("data", {}) for _, notebook in ran for cell in notebook.cells for output in cell.get("outputs", ())
    ]
    books = ["".join(data.get("text/html", "")) for data in outputs]
    return next((book for book in books if f'data-flipbook role="group" aria-label="{name}"' in book), "")


def table(path, **options):
    """The DataFrame in a CSV file, or None where there is no such file."""
    return pd.read_csv(path, **options) if path.exists() else None


def lines(path):
    """The sentences that a notebook left in a text file."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


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
    """[(photo, "", what it shows)] of a subject, those that can be opened at all."""
    shown, words = [], {path.stem: caption for path, caption, _ in captioned(subject, None)}
    for path in sorted((subjects.folder(subject) / "raw").glob("*")):
        try:
            words_for = words.get(path.stem, f"a photo of {subjects.title(subject)} that was not taken")
            shown.append((photos.open_photo(path), "", f"From the phone: {words_for}"))
        except ValueError:  # one of them is broken on purpose
            continue
    return shown


def captioned(subject, count=6):
    """[(path, caption, what it shows)] of the first prepared photos of a subject, or of all."""
    folder, name = photos.prepared_folder(subject), subjects.title(subject)
    rows = photos.read_captions(folder).head(count) if count else photos.read_captions(folder)
    return [(folder / row.file, row.caption, f"{name}: {row.caption}") for row in rows.itertuples()]


def previews(run, count=6):
    """[(path, its step, what it shows)] of previews of a training, evenly spread from the first to the last."""
    paths = sorted((machine.RUNS / run / "previews").glob("*.png"))
    chosen = sorted({round(i * (len(paths) - 1) / max(1, count - 1)) for i in range(min(count, len(paths)))})
    steps = [(paths[i], f"step {int(paths[i].stem)}") for i in chosen]
    return [(path, step, f"Pictures from the same seeds at {step} of the training") for path, step in steps]


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
    """[(name, photo, [(path, prompt, what it shows)])]: what each person became in the same prompts, one seed after the other."""
    prompts = table(folder / "portfolio.csv")
    if prompts is None:
        return []
    seed = prompts["file"].str.extract(r"seed(\d+)\.", expand=False).astype(int)
    prompts = prompts.iloc[seed.argsort(kind="stable")]  # a line of pictures for each seed
    shown = {subject: rows for subject, rows in prompts.groupby("subject")}
    return [
        (
            name,
            captioned(subject, 1)[0][0],
            [(folder / row.file, row.prompt, f"{name}: {row.prompt}") for row in shown[subject].itertuples()],
        )
        for subject, name, *_ in people()
        if subject in shown
    ]


HOW = {"predicted": "with predicted weights"}  # where nothing was trained on the person, or hardly


def sentences(shares):
    """What notebook 08 counted, in words: of each subject's own class, and of every other prompt that a training changed."""
    if shares is None:
        return []
    counted = shares[shares["words"].str.contains("%")]  # a likeness is no count
    base, after = (counted[(counted["method"] == "base") == whether] for whether in (True, False))
    both = after.merge(base, on=["subject", "prompt"], suffixes=("", "_before"))
    classes = {name: f"a photo of {subjects.with_article(subjects.class_of(name))}" for name in set(both["subject"])}
    return [
        f"\u201c{row.prompt}\u201d: {row.mean * row.images:.0f} of {row.images} pictures show {subjects.title(row.subject)} "
        f"{HOW.get(row.method, f'after training by {row.method}')}, {row.mean_before * row.images_before:.0f} of {row.images_before} before."
        for row in both.itertuples()
        if row.mean != row.mean_before or row.prompt == classes[row.subject]
    ]


def one_photo(folder):
    """What the notebook on one photo left: (seconds to the first picture, [(whose, pictures as of `portfolio`)]), or None."""
    listed = table(folder / "pictures.csv")
    if listed is None:
        return None
    people = [(subjects.title(str(who)).replace("_", " "), rows) for who, rows in listed.groupby("who", sort=False)]
    return listed["seconds"].iloc[0], [
        (name, [(folder / row.file, row.prompt, f"{name}: {row.prompt}") for row in rows.itertuples()])
        for name, rows in people
    ]


def counts(shares):
    """{name: bars} of the table in which notebook 08 counted who shows which subject."""
    groups = [] if shares is None else shares.groupby("subject", sort=False)
    return {subjects.title(subject): bars(rows) for subject, rows in groups}


def against_the_world(path):
    """The bars of notebook 13: for each prompt the drawn world's share, then what the base model made of it."""
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


def bring_survey(made, kept):
    """Copy the pages of notebooks 10 and 11, which need nothing else, from a folder to one; returns [(name, title)] of them."""
    brought = [(name, title) for name, title in SURVEY_PAGES.items() if (made / name).exists()]
    for name, _ in brought:
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made / name, kept / name)
    return brought
