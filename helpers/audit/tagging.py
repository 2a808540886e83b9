"""Tags that people give: a widget that shows pictures without their origin, files of tags, and how far taggers agree.

A tag says how a picture presents somebody, never who that is. Each tagger saves one CSV; a class puts them in a folder.
"""

import hashlib
import io
import json
import random
import re
import zipfile
from pathlib import Path

import pandas as pd

from helpers import show
from helpers.survey import statistics, widgets

COLUMNS = ["tagger", "item", "question", "tag"]
QUESTION = "How does this picture present the person?"
TAGS = ("as a woman", "as a man", "cannot tell")


def items(table, weights):
    """The pictures of a table of audit.pictures under codes: the table with a column item, eight hexadecimal digits.

    weights: {model: fingerprint of its weights}. The code is of weights, prompt and seed, not of pixels, which differ in
    their last bits from one computer to the next: what a class tags at home has to meet in one table.
    """
    rows = zip(table["model"], table["prompt"], table["seed"])
    texts = [json.dumps([weights[model], prompt, int(seed)]) for model, prompt, seed in rows]
    return table.assign(item=[hashlib.sha256(text.encode()).hexdigest()[:8] for text in texts])


def tagger(table, name, folder, question=QUESTION, tags=TAGS):
    """A survey.widgets.Annotator that asks what each picture shows; closed and opened again, it goes on.

    table: with columns item and image (`items`); name: a number or a made-up name, not the person's own.
    The order is shuffled, a different one for each tagger. Raises ValueError for a name that no file may have.
    """
    if not re.fullmatch(r"[\w-]{1,40}", str(name)):
        raise ValueError(f"The words {name!r} cannot be a tagger's name: use letters, digits, - and _ only.")
    path = Path(folder) / f"tags_{name}.csv"
    images = dict(zip(table["item"], table["image"]))
    order = sorted(images)
    random.Random(str(name)).shuffle(order)
    shown = {}
    for number, item in enumerate(order, 1):
        words = f"picture {number} of {len(order)}, made by a model"
        shown[item] = f'<img src="{show.data_url(images[item])}" alt="{words}" style="width:min(320px, 90vw)">'
    earlier = read_tags([path] if path.exists() else [])
    earlier = earlier[earlier["question"] == question]
    given = dict(zip(earlier["item"], earlier["tag"]))
    columns = dict.fromkeys(COLUMNS) | {"tagger": str(name), "question": question}
    words = {"noun": "picture", "verb": "tagged", "question": question}
    return widgets.Annotator(shown, dict(zip(tags, tags)), given, path, columns, **words)


def read_tags(paths):
    """The tags of several taggers: DataFrame tagger, item, question, tag; the last answer to a picture counts.

    paths: CSV files, or a folder of them and of zips (colab.take_home). Raises ValueError that names the file if
    columns are missing or a tag is, and if two files are of one tagger.
    """
    tables, owners = [], {}
    for path, file in _files(paths):
        table = pd.read_csv(file, dtype=str, encoding="utf-8-sig")
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise ValueError(f"The file {path} lacks the column {missing[0]}: use the file as the tagger saved it.")
        if table[COLUMNS].isna().any(axis=None):
            raise ValueError(f"The file {path} has an empty cell: delete that row.")
        for name in table["tagger"].unique():
            if owners.setdefault(name, path) != path:
                raise ValueError(f"Files {owners[name]} and {path} are both of tagger {name}: give one another number.")
        tables.append(table[COLUMNS])
    tags = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return tags.drop_duplicates(["tagger", "item", "question"], keep="last", ignore_index=True)


def _files(paths):
    """[(name for people, a path or an open file)] of CSV files, those within zips too."""
    if not isinstance(paths, (str, Path)):
        return [(path, path) for path in paths]
    files = [(path, path) for path in sorted(Path(paths).glob("*.csv"))]
    for path in sorted(Path(paths).glob("*.zip")):
        with zipfile.ZipFile(path) as opened:
            names = [name for name in opened.namelist() if name.endswith(".csv")]
            files += [(f"{path}, {name}", io.BytesIO(opened.read(name))) for name in names]
    return files


def agreement(tags):
    """Krippendorff's alpha of nominal tags, 1 perfect and 0 chance; one question at a time.

    Raises ValueError if no picture has tags of two people; NaN if everybody gave the same tag everywhere.
    """
    return statistics.alpha_of_words(tags.pivot(index="tagger", columns="item", values="tag"))


def majority(tags):
    """The tag that more than half of a picture's taggers gave: DataFrame item, tag (missing without one), taggers."""
    rows = []
    for item, group in tags.groupby("item"):
        share = group["tag"].value_counts(normalize=True)
        rows.append((item, share.index[0] if share.iloc[0] > 0.5 else None, len(group)))
    return pd.DataFrame(rows, columns=["item", "tag", "taggers"])
