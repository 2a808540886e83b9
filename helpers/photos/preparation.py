"""Photos as a model needs them: upright, square, of one size, without the data phones hide in them.

    report = photos.prepare("data/subjects/amir/raw", RUNS / "photos" / "amir", size=128)

Originals are only ever read. Photos are examined in parallel processes and remembered one by one, so a stopped run
goes on. What becomes of each, and why, is in the report.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import string
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pandas as pd
from PIL import ImageColor

from helpers.machine import atomic_write, read_json, write_json
from helpers.photos import check, crop, folders

COLUMNS = ["file", "kept", "why", "width", "height", "faces", "focus", "blur", "darkest", "brightness"]
COLUMNS += ["near_duplicate_of", "crop", "further_crops", "output", "copies"]
WORK = ".squares"  # within the folder of squares: what is done already, photo by photo
VERSION = 2  # of what examine does with the same settings; a new number does all photos anew
ALONE = 32  # photos that are done before two processes have started


def prepare(source, folder_out, size, *, processes=None, progress=None, rename="{name}", **prompts):
    """Turn photos into upright squares without metadata in a folder.

    source: a folder, a list of files, or a .zip. size: pixels a side. progress: such as tqdm.
    rename: pattern of the new names, of {name} and {number}, as in "amir_{number:03}".
    prompts: those of `settings_of`, such as fit="pad", flip=True, format="JPEG", focus={file: (x, y)}.
    Returns a DataFrame, a row a photo, also kept as folder_out/report.csv: file, kept, why (not), width and
    height (upright), faces, focus (found by), blur (sharpness), darkest and brightness (what the darkest and the
    brightest twentieth reach, of 255), near_duplicate_of, crop (box), further_crops (of pieces), output (file), copies
    (further squares of the same photo).
    A bad file costs a line of the report, nothing more. What is done is not done again.
    Raises FileNotFoundError if there are no files, ValueError for a bad wish or if originals could be written to.
    """
    folder_out = Path(folder_out).resolve()
    with folders.originals(source) as files:
        for path in files.values():
            if path.resolve().parent in (folder_out, *folder_out.parents):
                raise ValueError(f"{folder_out} lies within the originals: give another folder for the squares.")
        settings = settings_of(files, size, crop.read_crops(folder_out), **prompts)
        check_pattern(rename)
        tasks = list(zip(files.values(), settings))
        (folder_out / WORK).mkdir(parents=True, exist_ok=True)
        records = _examine_all(tasks, folder_out / WORK, processes, progress)
    rows = [dict.fromkeys(COLUMNS) | {"file": name} | record["row"] for name, record in zip(files, records)]
    leave_out_duplicates(rows, records, prompts.get("keep", ()))
    publish(rows, records, folder_out, rename)
    _forget_records(folder_out / WORK, {record["key"] for record in records})
    return report_of(rows, folder_out)


def settings_of(
    files,
    size,
    by_hand=None,
    *,
    focus=None,
    crops=None,
    keep=(),
    leave_out=(),
    fit="crop",
    background="white",
    flip=False,
    pieces=False,
    format="PNG",
    quality=95,
):
    """The settings of each photo, a list of dicts, for `check.examine`.

    focus: {file: (x, y)}, the middle of its crop, or crops: {file: (left, top, right, bottom)}, in pixels of the
    upright photo; both go before by_hand, what the crop editor saved. keep, leave_out: files that stay or go
    whatever was measured. fit: "crop", or "pad" to show all of the photo on `background` (also behind transparent
    parts). flip: a mirrored copy of each. pieces: several squares of a photo twice as long as wide, or longer.
    format: "PNG", "JPEG" or "WEBP", the latter two with a quality of 1 to 100.
    Raises ValueError for a value or a file that is not there.
    """
    focus, crops = focus or {}, crops or {}
    _check_names([*focus, *crops, *keep, *leave_out], files)
    format = {"JPG": "JPEG"}.get(format.upper(), format.upper())
    if format not in check.SUFFIXES or fit not in ("crop", "pad") or not 1 <= quality <= 100 or size < 8:
        raise ValueError("Choose PNG, JPEG or WEBP, fit='crop' or 'pad', a quality of 1 to 100, 8 pixels or more.")
    ImageColor.getrgb(background)
    same = {"size": size, "fit": fit, "background": background, "flip": flip, "pieces": pieces}
    same |= {"format": format, "quality": quality}
    boxes = {name: box for name, box in (by_hand or {}).items() if name not in focus} | crops
    return [
        same | {"box": boxes.get(name), "focus": focus.get(name), "keep": name in keep, "leave_out": name in leave_out}
        for name in files
    ]


def _check_names(names, files):
    """Raise ValueError if a wish is for a photo that is not there."""
    for name in names:
        if name not in files:
            raise ValueError(f"There is no photo {name!r}: write the name of its file with its ending.")


def _key(path, settings):
    """Sixteen hexadecimal digits that change with the photo's name, length, date or any setting."""
    state = Path(path).stat()
    said = [VERSION, Path(path).name, state.st_size, state.st_mtime_ns, sorted(settings.items())]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _examine_all(tasks, folder, processes=None, progress=None):
    """Examine photos whose record is not yet in the folder; returns the records of all, in the order of the tasks.

    tasks: [(path, settings)]. processes: how many at a time; as many as cores if there is enough to do.
    progress: wraps an iterator and takes total=, as tqdm does; it counts all photos, those done before too.
    """
    keys = [_key(*task) for task in tasks]
    known = {key: _record(folder, key) for key in keys}
    missing = {key: task for key, task in zip(keys, tasks) if known[key] is None}
    if processes is None:
        processes = (os.cpu_count() or 1) if len(missing) > ALONE else 1
    run = _in_turn if processes == 1 or len(missing) < 2 else _in_parallel
    found = _counted(run(missing, folder, processes), progress, len(known), len(known) - len(missing))
    known |= dict(found)
    return [known[key] | {"key": key} for key in keys]


def _record(folder, key):
    """What is known of a photo, or None if it is not finished or its squares are gone."""
    path = Path(folder) / f"{key}.json"
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return None
    return record if all((Path(folder) / name).is_file() for name in record["squares"]) else None


def _counted(found, progress, total, done):
    return found if progress is None else progress(found, total=total, initial=done, unit="photo")


def _in_turn(missing, folder, _):
    for key, (path, settings) in missing.items():
        yield key, check.examine(path, folder, key, settings)


def _in_parallel(missing, folder, processes):
    """As they are finished. Each process is a fresh Python, so none has a copy of a notebook's memory."""
    left = dict(missing)
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        futures = {
            pool.submit(check.examine, str(path), str(folder), key, s): key for key, (path, s) in missing.items()
        }
        for future in as_completed(futures):
            found = future.result()
            del left[futures[future]]
            yield futures[future], found
    except BrokenProcessPool:
        yield from _one_by_one(left, folder)
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(left, folder):
    """After a process was killed, by a decoder's crash or for want of memory: find out which photo does it."""
    for key, (path, settings) in left.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                yield key, pool.submit(check.examine, str(path), str(folder), key, settings).result()
            except BrokenProcessPool:
                why = f"{Path(path).name} brings the program down that opens it: save it anew, or leave it out."
                record = {"row": {"kept": False, "why": why}, "print": None, "squares": []}
                write_json(Path(folder) / f"{key}.json", record)
                yield key, record


def _forget_records(folder, keys):
    """Remove what is remembered of photos that are no longer asked for."""
    for path in Path(folder).iterdir():
        if path.name.split(".")[0].split("-")[0] not in keys:
            path.unlink()


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
    instead = check.near_duplicates([records[i]["print"] for i in good], [rows[i]["blur"] for i in good], stay)
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
    _forget_squares(folder_out, taken)


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


def _forget_squares(folder_out, outputs):
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
