"""What becomes of each photo: which of two copies stays, what its squares are called, and the report that says so."""

import json
import os
import shutil
import string
from pathlib import Path

import pandas as pd

from helpers import quality
from helpers.files import atomic_write

COLUMNS = [
    "file",
    "kept",
    "why",
    "width",
    "height",
    "faces",
    "focus",
    "blur",
    "darkest",
    "brightness",
    "near_duplicate_of",
    "crop",
    "further_crops",
    "output",
    "copies",
]
WORK = ".squares"  # within the folder of squares: what is done already, photo by photo


def check_pattern(rename):
    """Raise ValueError if a pattern for names cannot be filled in, or would lead out of the folder."""
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(rename) if field is not None}
        name = rename.format(name="a", number=1)
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"rename={rename!r} cannot be filled in: use {{name}} and {{number:03}}.") from error
    if not fields & {"name", "number"} or set(name) & set('/\\:*?"<>|') or name.startswith("."):
        raise ValueError(f"rename={rename!r} makes no file names: use {{name}} or {{number:03}}, and no slashes.")


def leave_out_duplicates(rows, records, keep=()):
    """Of photos that are nearly the same the sharper one stays; the others say which. keep: files that stay anyway."""
    good = [i for i, row in enumerate(rows) if row["kept"]]
    stay = {number for number, i in enumerate(good) if rows[i]["file"] in keep}
    instead = quality.near_duplicates([records[i]["print"] for i in good], [rows[i]["blur"] for i in good], stay)
    for loser, winner in instead.items():
        row, better = rows[good[loser]], rows[good[winner]]
        sharper = better["blur"] > 1.1 * row["blur"]
        end = ", which is sharper." if sharper else ": one of the two is enough."
        why = f"nearly the same as {better['file']}{end}"
        row |= {"kept": False, "near_duplicate_of": better["file"], "why": why}


def publish(rows, records, folder_out, rename):
    """Give the squares of the photos that are kept their names, and take away those of an earlier run."""
    taken, number = set(), 0
    for row, record in zip(rows, records):
        names, row["near_duplicate_of"] = [], row["near_duplicate_of"] or ""
        number += row["kept"]
        for square in record["squares"] if row["kept"] else []:
            stem = rename.format(name=Path(row["file"]).stem[:60], number=number)
            stem += "_flipped" if "_flipped" in square else ""
            names.append(_free_name(stem, Path(square).suffix, taken))
            _place(folder_out / WORK / square, folder_out / names[-1])
        row["output"], row["copies"] = (names[0], names[1:]) if names else ("", [])
    _forget(folder_out, taken)


def _free_name(stem, suffix, taken):
    """The name, numbered if another square has it, adding it to `taken`."""
    name, number = f"{stem}{suffix}", 1
    while name.lower() in {other.lower() for other in taken}:  # some disks take a.png and A.png for one
        number += 1
        name = f"{stem}_{number}{suffix}"
    taken.add(name)
    return name


def _place(square, path):
    """The square under its name: a second name of the same file where the disk can, else a copy."""
    if path.exists() and os.path.samefile(square, path):
        return
    with atomic_write(path) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(square, partial)
        except OSError:  # Google Drive and some USB sticks have no links
            shutil.copyfile(square, partial)


def _forget(folder_out, outputs):
    """Remove squares that an earlier run made, as its report says, and this one did not."""
    if (folder_out / "report.csv").exists():
        earlier = pd.read_csv(folder_out / "report.csv", keep_default_na=False)
        more = [name for text in earlier.get("copies", []) for name in json.loads(text or "[]")]
        for name in {*earlier["output"], *more} - outputs - {""}:
            (folder_out / Path(name).name).unlink(missing_ok=True)


def report_of(rows, folder_out):
    """The report as a table, also written as report.csv."""
    whole = dict.fromkeys(("width", "height", "faces", "darkest", "brightness"), "Int64")
    report = pd.DataFrame(rows, columns=COLUMNS).astype(whole)
    report["crop"] = [tuple(box) if box else None for box in report["crop"]]
    report["further_crops"] = [[tuple(box) for box in boxes or []] for boxes in report["further_crops"]]
    lists = {name: report[name].map(json.dumps) for name in ("copies", "further_crops")}
    with atomic_write(folder_out / "report.csv") as partial:
        report.assign(**lists).to_csv(partial, index=False)
    return report
