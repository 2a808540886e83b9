"""A recogniser for one person: pictures to learn from, a test among look-alikes, and what its answers are worth.

After DataDream (Kim et al. 2024, arXiv 2407.10910), which adds to a few real photos pictures by a model tuned on them.
A learner is a function of what it may learn from, (n, ...) of the person and (n, ...) of others, that returns a
function from pictures to scores: above 0 it takes a picture to show the person.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageOps

from helpers import machine, photos, stats
from helpers.machine import subjects

FOLDER = machine.REPO / "data" / "lookalikes"  # by pocket.lookalikes
SIDE = 128  # pixels of a picture in a sheet
ADDED = 16  # pictures that come to the real photos of the person
FIRST = 4  # photos that are always among those drawn: weights were predicted from these, so no other is seen by the way
VARIED = "varied "  # before a name: the same pictures after classic augmentation


@dataclass(frozen=True)
class Task:
    """Somebody to be known: photos and strangers to learn from, and a test; lists of PIL images."""

    name: str
    word: str  # the class, such as "woman"
    photos: list
    strangers: list
    test: list
    truth: np.ndarray  # bool, of each picture of the test: is it the person?
    note: str = ""  # what is not fair about it


def tasks():
    """{name: Task} of subjects.chosen() and of eight more people of the drawn world.

    Of one's own person a third of the photos are the test, among those of the other people one has; with nobody else
    there the others are drawn, which `note` says.
    """
    drawn = dict(list(pd.read_csv(FOLDER / "pictures.csv", keep_default_na=False).groupby("name", sort=False)))
    samples = set(subjects.SAMPLES.values())
    people = {name: _own(name, drawn) for name in subjects.own()}
    return people | {
        name: _drawn(name, rows) for name, rows in drawn.items() if name in subjects.chosen() or name not in samples
    }


def about_test(name):
    """What the world knows of the pictures of a drawn person's test: DataFrame is_person, shared, context, place, style."""
    table = pd.read_csv(FOLDER / "pictures.csv", keep_default_na=False)
    return table[(table["name"] == name) & (table["role"] == "test")].reset_index(drop=True)


def _drawn(name, rows):
    pictures = dict(zip(rows["role"].unique(), (_of_role(name, rows, role) for role in rows["role"].unique())))
    own = pictures.get("photo") or _squares(name)
    truth = rows.loc[rows["role"] == "test", "is_person"].to_numpy(bool)
    return Task(name, rows["kind"].iloc[0], own, pictures["stranger"], pictures["test"], truth)


def _of_role(name, rows, role):
    """Pictures of a sheet, in which they stand in the order of the table."""
    with Image.open(FOLDER / f"{name}.webp", formats=["WEBP"]) as sheet:
        sheet = sheet.convert("RGB")
    columns, numbers = sheet.width // SIDE, rows.loc[rows["role"] == role, "number"]
    corners = [(number % columns * SIDE, number // columns * SIDE) for number in numbers]
    return [sheet.crop((left, top, left + SIDE, top + SIDE)) for left, top in corners]


def _squares(name):
    return [image for _, image in photos.load_prepared(photos.prepared_folder(name))]


def _own(name, drawn):
    """One's own photos, every third for the test."""
    parts = lambda images: ([image for i, image in enumerate(images) if i % 3 < 2], images[2::3])
    own, test = parts(_squares(name))
    others, note = [parts(_squares(other)) for other in subjects.own() if other != name], ""
    if not others:
        rows = next(iter(drawn.values()))
        others = [(_of_role(rows["name"].iloc[0], rows, "stranger"), _of_role(rows["name"].iloc[0], rows, "test"))]
        note = f"The others are drawn and {name} is not: that alone may tell them apart. Bring photos of others, too."
    strangers, test_others = ([image for images in some for image in images] for some in zip(*others))
    truth = np.repeat([True, False], [len(test), len(test_others)])
    return Task(name, subjects.class_of(name), own, strangers, [*test, *test_others], truth, note)


def varied(image, rng):
    """Classic augmentation: a picture mirrored or not, cropped a little, its colours and its light a little changed."""
    image = ImageOps.mirror(image) if rng.random() < 0.5 else image
    side = round(min(image.size) * rng.uniform(0.75, 1))
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    image = image.crop((left, top, left + side, top + side))
    for change in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        image = change(image).enhance(rng.uniform(0.7, 1.3))
    return image


def seen(task, see, generated, views=4, seed=0):
    """{source: what `see` makes of its pictures, (n, ...)}: photos, strangers, test, each of `generated`, and varied ones.

    see: from a list of images to an array, such as Encoders.image_features. generated: {source: images}.
    "varied photos" and "varied strangers" are (n, views, ...), after classic augmentation.
    """
    sources = {"photos": task.photos, "strangers": task.strangers, "test": task.test, **generated}
    pool = {name: see(images) for name, images in sources.items()}
    for name in ("photos", "strangers"):
        rng = np.random.default_rng(seed)  # a stranger is changed as the person in that place is
        changed = see([varied(image, rng) for image in sources[name] for _ in range(views)])
        pool[VARIED + name] = changed.reshape(len(sources[name]), views, *changed.shape[1:])
    return pool


def examples(pool, own, others, shots, seed):
    """What a recogniser learns from: (of the person (n, ...), of others (n, ...)), as many of the one as of the other.

    pool: as from `seen`. own, others: names of sources. Of photos and strangers `shots` are drawn, the same numbers of
    both, the FIRST among them; to the person come ADDED of each further source, and others are filled up to the same
    count.
    """
    rng, count = np.random.default_rng(seed), min(len(pool["photos"]), len(pool["strangers"]))
    rest = rng.permutation(np.arange(min(FIRST, count), count))
    chosen = np.concatenate([np.arange(min(FIRST, count)), rest])[:shots]

    def take(source, count):
        rows = pool[source]
        if source in ("photos", "strangers"):
            return rows[chosen]
        if source.startswith(VARIED):
            return rows[chosen, : max(1, count // len(chosen))].reshape(-1, *rows.shape[2:])
        return rows[rng.permutation(len(rows))[:count]]

    of_person = np.concatenate([take(source, ADDED) for source in own])
    of_others = []
    for source in others:
        of_others.append(take(source, len(of_person) - sum(map(len, of_others))))
    of_others = np.concatenate(of_others)
    count = min(len(of_person), len(of_others))
    return of_person[:count], of_others[:count]


def balanced_accuracy(scores, truth):
    """The mean of two shares: of pictures of the person that are known, of others that are refused. 0.5 is guessing."""
    known = np.asarray(scores) > 0
    return float((known[truth].mean() + (~known[~truth]).mean()) / 2)


def auc(scores, truth):
    """The share of pairs, one picture of the person and one of another, in which the person scores higher; ties half."""
    own, others = np.asarray(scores)[truth][:, None], np.asarray(scores)[~truth]
    return float((own > others).mean() + (own == others).mean() / 2)


def trials(pools, truths, recipes, shots, seeds, learn):
    """A row for each person, recipe, number of photos and seed: person, recipe, shots, seed, balanced accuracy, AUC.

    pools: {person: as from `seen`}; truths: {person: bools of the test}; recipes: {name: (own, others)}, the sources of
    `examples`; a recipe with a source that somebody's pool has not is left out for them. learn: as at the top.
    """
    rows = []
    for person, pool in pools.items():
        for recipe, (own, others) in recipes.items():
            for count in shots if {*own, *others} <= pool.keys() else ():
                for seed in seeds:
                    scores = learn(*examples(pool, own, others, count, seed))(pool["test"])
                    values = balanced_accuracy(scores, truths[person]), auc(scores, truths[person])
                    rows.append((person, recipe, count, seed, *values))
    return pd.DataFrame(rows, columns=["person", "recipe", "shots", "seed", "balanced accuracy", "AUC"])


def summary(table, measure="balanced accuracy", by=("recipe", "shots")):
    """Mean and interval over people and seeds of each group: DataFrame of `by`, mean, low, high, people.

    low and high are NaN where all values are alike.
    """
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        edges = stats.interval(group[measure], _drawn_again(group))
        rows.append((*key, group[measure].mean(), *edges, group["person"].nunique()))
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "people"])


def gains(table, than, measure="balanced accuracy"):
    """How far each recipe lies above another one on the same people, photos and seeds: shots, recipe, gain, low, high."""
    keys, rows = ["person", "shots", "seed"], []
    reference = table.loc[table["recipe"] == than, [*keys, measure]]
    for (shots, recipe), group in table[table["recipe"] != than].groupby(["shots", "recipe"], sort=False):
        both = group.merge(reference, on=keys, suffixes=("", " there"))
        found = stats.paired_difference(both[measure], both[f"{measure} there"], _drawn_again(both))
        rows.append((shots, recipe, found["difference"], found["low"], found["high"], both["person"].nunique()))
    return pd.DataFrame(rows, columns=["shots", "recipe", "gain", "low", "high", "people"])


def _drawn_again(table):
    """The labels that are drawn again, each by itself: people and seeds, if there is more than one."""
    varying = [name for name in ("person", "seed") if table[name].nunique() > 1]
    return table[varying].to_numpy() if varying else None


def verdict(low, high):
    """What an interval of a gain says: "gain", "loss", or "open" where it holds 0 or is not known."""
    return "gain" if low > 0 else "loss" if high < 0 else "open"
