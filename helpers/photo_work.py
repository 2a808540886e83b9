"""The work of preparing many photos: in parallel processes, remembered photo by photo, gone on with after a stop."""

import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from helpers.files import read_json, write_json
from helpers.photo_examine import examine

VERSION = 2  # of what examine does with the same settings; a new number does all photos anew
ALONE = 32  # photos that are done before two processes have started


def key_of(path, settings):
    """Sixteen hexadecimal digits that change with the photo's name, length, date or any setting."""
    state = Path(path).stat()
    said = [VERSION, Path(path).name, state.st_size, state.st_mtime_ns, sorted(settings.items())]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def work(tasks, folder, processes=None, progress=None):
    """Examine photos whose record is not yet in the folder; returns the records of all, in the order of the tasks.

    tasks: [(path, settings)]. processes: how many at a time; as many as cores if there is enough to do.
    progress: wraps an iterator and takes total=, as tqdm does; it counts all photos, those done before too.
    """
    keys = [key_of(*task) for task in tasks]
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
        yield key, examine(path, folder, key, settings)


def _in_parallel(missing, folder, processes):
    """As they are finished. Each process is a fresh Python, so none has a copy of a notebook's memory."""
    left = dict(missing)
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        futures = {pool.submit(examine, str(path), str(folder), key, s): key for key, (path, s) in missing.items()}
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
                yield key, pool.submit(examine, str(path), str(folder), key, settings).result()
            except BrokenProcessPool:
                why = f"{Path(path).name} brings the program down that opens it: save it anew, or leave it out."
                record = {"row": {"kept": False, "why": why}, "print": None, "squares": []}
                write_json(Path(folder) / f"{key}.json", record)
                yield key, record


def forget(folder, keys):
    """Remove what is remembered of photos that are no longer asked for."""
    for path in Path(folder).iterdir():
        if path.name.split(".")[0].split("-")[0] not in keys:
            path.unlink()
