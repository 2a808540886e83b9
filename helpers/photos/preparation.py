"""Photos as a model needs them: upright, square, of one size, without the data phones hide in them.

Photos are examined in parallel processes and remembered one by one, so a stopped run goes on.
"""

import filecmp
import hashlib
import itertools
import json
import multiprocessing
import os
import re
import shutil
from concurrent import futures
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ImageColor

from helpers.machine import as_text, atomic_write, read_json, write_csv, write_json
from helpers.photos import check, crop, folders

COLUMNS = ["file", "kept", "why", "width", "height", "faces", "focus", "blur", "darkest", "brightness"]
COLUMNS += ["near_duplicate_of", "crop", "further_crops", "output", "copies", "number"]
COUNTED = re.compile(r"[A-Za-z]{2,4}_?\d{4,5}")  # a camera's name, such as IMG_2047, tells of nobody
DEFAULTS = {"fit": "crop", "background": "white", "flip": False, "pieces": False, "format": "PNG", "quality": 95}
WORK = ".squares"  # within the folder of squares: what is done already, photo by photo
VERSION = 3  # of what examine does with the same settings; a new number does all photos anew
ALONE = 32  # photos that are done before two processes have started


def prepare(source, folder_out, size, *, processes=None, progress=None, rename=None, **options):
    """Turn photos into upright squares without metadata in a folder.

    source: a folder, a list of files, or a .zip. size: pixels a side. progress: such as tqdm.
    rename: pattern of the new names, of {name}, {number} and {subject} (the name of folder_out). Without one it is
    "{subject}_{number:03}", as the photos' own names may tell who or where, and numbers stay with their photos; only
    names that a camera counted, such as IMG_2047, are kept.
    options: those of `settings_of`, such as fit="pad", flip=True, format="JPEG", focus={file: (x, y)}.
    Returns a DataFrame, a row a photo, also kept as folder_out/report.csv: file, kept, why (not), width and height
    (upright), faces, focus (found by), blur (sharpness), darkest and brightness (what the darkest and the brightest
    twentieth reach, of 255), near_duplicate_of, crop (box), further_crops (of pieces), output (file), copies
    (further squares of the same photo), number. A bad file is a row of the report. What is done is not done again.
    Raises FileNotFoundError if there are no files, ValueError for a bad option or if originals could be overwritten.
    """
    folder_out = Path(folder_out).resolve()
    with folders.originals(source) as files:
        given = {Path(source).resolve()} if isinstance(source, (str, os.PathLike)) else set()
        if (given | {path.resolve().parent for path in files.values()}) & {folder_out, *folder_out.parents}:
            raise ValueError(f"{folder_out} lies within the originals: give another folder for the squares.")
        settings = settings_of(files, size, crop.read_crops(folder_out), **options)
        check_pattern(rename or "{number}")
        (folder_out / WORK).mkdir(parents=True, exist_ok=True)
        records = _examine_all(list(zip(files.values(), settings)), folder_out / WORK, processes, progress)
    rows = [dict.fromkeys(COLUMNS) | {"file": name} | record["row"] for name, record in zip(files, records)]
    leave_out_duplicates(rows, records, options.get("keep", ()))
    publish(rows, records, folder_out, rename)
    keys = {record["key"] for record in records}
    for path in (folder_out / WORK).iterdir():  # of photos or settings that are no longer asked for
        if path.name.split(".")[0].split("-")[0] not in keys:
            path.unlink()
    return report_of(rows, folder_out)


def settings_of(files, size, crops=None, *, focus=None, keep=(), leave_out=(), **options):
    """The settings of each photo, a list of dicts, for `check.examine`.

    crops: {file: (left, top, right, bottom)}, what the crop editor saved; focus: {file: (x, y)}, the middle of a crop,
    goes before it; both in pixels of the upright photo. keep, leave_out: files that stay or go whatever was measured.
    fit: "crop", or "pad" to show all of the photo on `background` (also behind transparent parts). flip: a mirrored
    copy of each. pieces: several squares of a photo at least twice as long as wide.
    format: "PNG", "JPEG" or "WEBP", the latter two with a quality of 1 to 100.
    Raises ValueError for an option or a value that is not possible or a file that is not there.
    """
    focus, crops = ({folders.nfc(name): at for name, at in (some or {}).items()} for some in (focus, crops))
    keep, leave_out = (set(map(folders.nfc, names)) for names in (keep, leave_out))
    same = {"size": size} | DEFAULTS | options
    for name in options.keys() - DEFAULTS.keys():
        raise ValueError(f"There is no option {name!r}: choose from {', '.join(DEFAULTS)}.")
    for name in sorted({*focus, *keep, *leave_out} - set(map(folders.nfc, files))):
        raise ValueError(f"There is no photo {name!r}: write the name of its file with its ending.")
    same["format"] = {"JPG": "JPEG"}.get(same["format"].upper(), same["format"].upper())
    possible = same["format"] in check.SUFFIXES and same["fit"] in ("crop", "pad") and 1 <= same["quality"] <= 100
    if not possible or size < 8:
        raise ValueError("Choose PNG, JPEG or WEBP, fit='crop' or 'pad', a quality of 1 to 100, 8 pixels or more.")
    ImageColor.getrgb(same["background"])
    place = lambda name: {"box": None if name in focus else crops.get(name), "focus": focus.get(name)}
    by_hand = lambda name: {"keep": name in keep, "leave_out": name in leave_out}
    return [same | place(name) | by_hand(name) for name in map(folders.nfc, files)]


def _key(path, settings):
    """Sixteen hexadecimal digits that change with the photo's name, length, date or any setting."""
    state = Path(path).stat()
    decisive = [VERSION, Path(path).name, state.st_size, state.st_mtime_ns, sorted(settings.items())]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]


def _examine_all(tasks, folder, processes=None, progress=None):
    """Examine photos whose record is not yet in the folder; returns the records of all, in the order of the tasks.

    tasks: [(path, settings)]. processes: how many at a time; as many as cores if there is enough to do.
    progress: wraps an iterator and takes total=, as tqdm does; it counts all photos, those done before too.
    """
    keys = [_key(*task) for task in tasks]
    records = {key: _record(folder, key) for key in keys}
    missing = {key: task for key, task in zip(keys, tasks) if records[key] is None}
    processes = processes or (os.cpu_count() or 1 if len(missing) > ALONE else 1)
    if processes == 1 or len(missing) < 2:
        examined = ((key, check.examine(path, folder, key, settings)) for key, (path, settings) in missing.items())
    else:
        examined = _in_parallel(missing, folder, processes)
    if progress:
        examined = progress(examined, total=len(records), initial=len(records) - len(missing), unit="photo")
    records |= dict(examined)
    return [records[key] | {"key": key} for key in keys]


def _record(folder, key):
    """The record of a photo, or None if it is not finished or its squares are gone."""
    try:
        record = read_json(folder / f"{key}.json")
    except (OSError, ValueError):
        return None
    return record if all((folder / name).is_file() for name in record["squares"]) else None


def _in_parallel(missing, folder, processes):
    """(key, record) as they are finished. Each process is a fresh Python, without a copy of a notebook's memory.

    Where one is killed, by a decoder's crash or for want of memory, the rest goes one by one, and its photo is named.
    """
    left, pool = dict(missing), futures.ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        tasks = {pool.submit(check.examine, path, folder, key, how): key for key, (path, how) in missing.items()}
        for task in futures.as_completed(tasks):
            record, key = task.result(), tasks[task]
            del left[key]
            yield key, record
    except futures.process.BrokenProcessPool:
        for key, (path, how) in left.items():
            if len(missing) > 1:
                yield from _in_parallel({key: (path, how)}, folder, 1)
            else:
                record = check.empty_record(f"{path.name} crashes what opens it: save it anew, or leave it out.")
                write_json(folder / f"{key}.json", record)
                yield key, record
    finally:
        pool.shutdown(cancel_futures=True)


def check_pattern(rename):
    """Raise ValueError if a pattern for names cannot be filled in, or would lead out of the folder."""
    try:
        one, other = (rename.format(name=name, number=i, subject="s") for i, name in enumerate("ab"))
    except (ValueError, KeyError, IndexError):
        one = other = ""
    if one == other or set(one) & set('/\\:*?"<>|') or one.startswith("."):
        raise ValueError(f"rename={rename!r} makes no file names: use {{name}} or {{number:03}}, and no slashes.")


def leave_out_duplicates(rows, records, keep=()):
    """Keep the sharper of photos that are nearly the same; the others' rows name it. keep: files that stay anyway."""
    good, keep = [i for i, row in enumerate(rows) if row["kept"]], set(map(folders.nfc, keep))
    stay = {number for number, i in enumerate(good) if rows[i]["file"] in keep}
    prints = [np.frombuffer(bytes.fromhex(records[i]["print"]), "uint8").reshape(check.MARK) for i in good]
    instead = check.near_duplicates(prints, [rows[i]["blur"] for i in good], stay)
    for loser, winner in instead.items():
        row, better = rows[good[loser]], rows[good[winner]]
        why = ", which is sharper." if better["blur"] > 1.1 * row["blur"] else ": one of the two is enough."
        row |= {"kept": False, "near_duplicate_of": better["file"], "why": f"nearly the same as {better['file']}{why}"}


def publish(rows, records, folder_out, rename):
    """Give the squares of the photos that are kept their names, and take away those of an earlier run."""
    earlier, taken = {} if rename else folders.numbered(folder_out), set()
    new = itertools.count(max(earlier.values(), default=0) + 1)
    for row, record in zip(rows, records):
        names, row["near_duplicate_of"] = [], row["near_duplicate_of"] or ""
        row["number"] = earlier.get(row["file"]) or (next(new) if row["kept"] else None)
        name = Path(row["file"]).stem[:60]
        pattern = rename or ("{name}" if COUNTED.fullmatch(name) else "{subject}_{number:03}")
        for square in record["squares"] if row["kept"] else []:
            stem = pattern.format(name=name, subject=folder_out.name, number=row["number"])
            stem += "_flipped" if "_flipped" in square else ""
            names.append(folders.free_name(stem, Path(square).suffix, taken))
            taken.add(names[-1])
            made, path = folder_out / WORK / square, folder_out / names[-1]
            if not path.exists() or not filecmp.cmp(made, path, shallow=False):
                with atomic_write(path) as partial:  # a link would let edits of it reach what is remembered
                    shutil.copyfile(made, partial)
        row["output"], row["copies"] = (names[0], names[1:]) if names else ("", [])
    for name in set().union(*folders.reported(folder_out)) - taken - {""}:
        (folder_out / Path(name).name).unlink(missing_ok=True)


def report_of(rows, folder_out):
    """The report as a table, also written as report.csv."""
    integers = dict.fromkeys(("width", "height", "faces", "darkest", "brightness", "number"), "Int64")
    report = pd.DataFrame(rows, columns=COLUMNS).astype(integers)
    report["crop"] = [tuple(box) if box else None for box in report["crop"]]
    report["further_crops"] = [[tuple(box) for box in boxes or []] for boxes in report["further_crops"]]
    lists = {name: report[name].map(json.dumps) for name in ("copies", "further_crops")}
    as_objects = report.assign(**lists).astype(object)  # pandas before 3 makes 1.0 of 1 where a column has a gap
    write_csv(folder_out / "report.csv", as_objects.map(as_text))
    return report
