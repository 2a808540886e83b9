"""Tags that people give: a widget that shows pictures without their origin, files of tags, and how far taggers agree.

A tag says how a picture presents somebody, never who that is. Each tagger saves one CSV; a class puts them in a folder.
"""

import hashlib
import html
import io
import json
import random
import re
import zipfile
from pathlib import Path

import ipywidgets as widgets
import pandas as pd

from helpers import bootstrap, files, widget_host

COLUMNS = ["tagger", "item", "question", "tag"]
QUESTION = "How does this picture present the person?"
TAGS = ("as a woman", "as a man", "cannot tell")


def items(table, weights):
    """The pictures of a table of audit.pictures under codes: the table with a column item, eight hexadecimal digits.

    weights: {maker: fingerprint of its weights}. The code is of weights, prompt and seed, not of pixels, which differ in
    their last bits from one computer to the next: what a class tags at home has to meet in one table.
    """
    made = zip(table["maker"], table["prompt"], table["seed"])
    told = [json.dumps([weights[maker], prompt, int(seed)]) for maker, prompt, seed in made]
    return table.assign(item=[hashlib.sha256(text.encode()).hexdigest()[:8] for text in told])


class Tagger(widgets.VBox):
    """Shows one picture after the other and saves each answer at once; closed and opened again, it goes on.

    table: with columns item and image (`items`); tagger: a number or a made-up name, not the person's own.
    The order is shuffled, a different one for each tagger. Every button can be reached by Tab and pressed by Space.
    """

    def __init__(self, table, tagger, folder, question=QUESTION, tags=TAGS):
        if not re.fullmatch(r"[\w-]{1,40}", str(tagger)):
            raise ValueError(f"{tagger!r} cannot be a tagger's name: letters, digits, - and _ only.")
        self.question, self.tagger = question, str(tagger)
        self.path = Path(folder) / f"tags_{tagger}.csv"
        self.images = dict(zip(table["item"], table["image"]))
        self.order = sorted(self.images)
        random.Random(self.tagger).shuffle(self.order)
        self.given = self._earlier()
        self.picture, self.told = widgets.HTML(), widgets.HTML()
        self.buttons = [widgets.Button(description=tag, tooltip=f"{question} {tag}") for tag in tags]
        self.undo = widgets.Button(description="back", tooltip="Take the last answer back")
        for button in self.buttons:
            button.on_click(lambda clicked: self.answer(clicked.description))
        self.undo.on_click(lambda _: self.take_back())
        super().__init__([self.told, self.picture, widgets.HBox([*self.buttons, self.undo])])
        self._show()

    def answer(self, tag):
        """Give the picture now shown a tag, save, and show the next one."""
        left = self.left()
        if left:
            self.given[left[0]] = tag
            self._save()
        self._show()

    def take_back(self):
        """Forget the last answer and show that picture again."""
        done = [item for item in self.order if item in self.given]
        if done:
            del self.given[done[-1]]
            self._save()
        self._show()

    def left(self):
        """The items without a tag, in this tagger's order."""
        return [item for item in self.order if item not in self.given]

    def _earlier(self):
        if not self.path.exists():
            return {}
        rows = read_tags([self.path])
        rows = rows[rows["item"].isin(self.images) & (rows["question"] == self.question)]
        return dict(zip(rows["item"], rows["tag"]))

    def _save(self):
        rows = [(self.tagger, item, self.question, self.given[item]) for item in self.order if item in self.given]
        with files.atomic_write(self.path) as partial:
            pd.DataFrame(rows, columns=COLUMNS).to_csv(partial, index=False)

    def _show(self):
        left, count = self.left(), len(self.order)
        for button in self.buttons:
            button.disabled = not left
        self.undo.disabled = not self.given
        if not left:
            self.told.value = f"<p role='status'>All {count} pictures are tagged. The file is {self.path.name}.</p>"
            self.picture.value = ""
            return
        number = count - len(left) + 1
        self.told.value = f"<p role='status'>Picture {number} of {count}. {html.escape(self.question)}</p>"
        self.picture.value = _img(self.images[left[0]], f"picture {number} of {count}, made by a model")


def _img(image, words):
    return f'<img src="{widget_host.data_url(image)}" alt="{words}" style="width:min(320px, 90vw)">'


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
            raise ValueError(f"{path} lacks the column {missing[0]}: use the file as the tagger saved it.")
        if table[COLUMNS].isna().any(axis=None):
            raise ValueError(f"{path} has an empty cell: delete that row.")
        for tagger in table["tagger"].unique():
            if owners.setdefault(tagger, path) != path:
                raise ValueError(f"{owners[tagger]} and {path} are both of tagger {tagger}: give one another number.")
        tables.append(table[COLUMNS])
    found = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return found.drop_duplicates(["tagger", "item", "question"], keep="last", ignore_index=True)


def _files(paths):
    """[(name for people, a path or an open file)] of CSV files, those within zips too."""
    if not isinstance(paths, (str, Path)):
        return [(path, path) for path in paths]
    found = [(path, path) for path in sorted(Path(paths).glob("*.csv"))]
    for path in sorted(Path(paths).glob("*.zip")):
        with zipfile.ZipFile(path) as opened:
            names = [name for name in opened.namelist() if name.endswith(".csv")]
            found += [(f"{path}, {name}", io.BytesIO(opened.read(name))) for name in names]
    return found


def agreement(tags):
    """Krippendorff's alpha of nominal tags, 1 perfect and 0 chance; one question at a time.

    Raises ValueError if no picture has tags of two people; NaN if everybody gave the same tag everywhere.
    """
    codes = {tag: i for i, tag in enumerate(sorted(set(tags["tag"])))}
    matrix = tags.assign(code=tags["tag"].map(codes)).pivot(index="tagger", columns="item", values="code")
    return bootstrap.alpha(matrix.to_numpy(float), "nominal")


def majority(tags):
    """The tag that more than half of a picture's taggers gave: DataFrame item, tag (missing without one), taggers."""
    rows = []
    for item, group in tags.groupby("item"):
        share = group["tag"].value_counts(normalize=True)
        rows.append((item, share.index[0] if share.iloc[0] > 0.5 else None, len(group)))
    return pd.DataFrame(rows, columns=["item", "tag", "taggers"])
