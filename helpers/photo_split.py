"""Training and validation photos, dealt so that no photo has a near copy of itself on the other side."""

import itertools
import json
import random
from pathlib import Path

import pandas as pd

from helpers import places, quality
from helpers.files import write_json
from helpers.photo_open import open_photo

FINISHED = places.REPO / "data"


def split(files, held_out=4, seed=0):
    """Deal files of one folder into (training, validation), sorted lists of paths, and write split.json beside them.

    The finished sets in data/ keep the split.json that they came with.

    held_out: how many are never trained on (Algorithm 1, line 6). Squares of one photo and near-duplicates stay
    together, so it may be fewer where they do not add up. The same files and seed give the same split.
    Raises ValueError if that would leave nothing to train on.
    """
    files = sorted(map(Path, files))
    if not 0 <= held_out < len(files):
        raise ValueError(f"{held_out} of {len(files)} photos cannot be held out: keep at least one to train on.")
    group, validation = together(files), []
    for file in random.Random(seed).sample(files, len(files)):
        if file not in validation and len(validation) + len(group[file]) <= held_out:
            validation += group[file]
    if held_out and not validation:
        raise ValueError(f"These {len(files)} files are copies of too few photos to hold {held_out} of them out.")
    validation = sorted(validation)
    training = [file for file in files if file not in validation]
    names = {"training": [file.name for file in training], "validation": [file.name for file in validation]}
    path = files[0].resolve().parent / "split.json"
    if not (path.exists() and FINISHED in path.parents):
        write_json(path, {"seed": seed} | names)
    return training, validation


def together(files):
    """{file: the files that must stay on one side with it, itself included}.

    Squares that report.csv says were made of one photo, and squares that look nearly the same, mirrored or not.
    """
    group = {file: [file] for file in files}
    for pair in [*_of_one_photo(files), *_nearly_the_same([file for file in files if file.is_file()])]:
        one, other = (group[file] for file in pair)
        if one is not other:
            one += other
            for file in other:
                group[file] = one
    return group


def _of_one_photo(files):
    """Pairs of files that an entry of report.csv beside them names."""
    report = files[0].parent / "report.csv"
    if not report.is_file():
        return []
    table = pd.read_csv(report, keep_default_na=False)
    made = [[row["output"], *json.loads(row.get("copies") or "[]")] for _, row in table.iterrows()]
    by_name = {file.name: file for file in files}
    found = [[by_name[name] for name in names if name in by_name] for names in made]
    return [pair for names in found for pair in itertools.pairwise(names)]


def _nearly_the_same(files):
    prints = [quality.fingerprint(open_photo(file, at_least=64)) for file in files]
    instead = quality.near_duplicates(prints, [1] * len(files))
    return [(files[loser], files[winner]) for loser, winner in instead.items()]
