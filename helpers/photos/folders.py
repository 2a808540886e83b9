"""Folders of photos: originals from a folder or a zip, prepared squares, and which of them are held out."""

import itertools
import json
import os
import random
import shutil
import tempfile
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import pandas as pd

from helpers import machine
from helpers.photos import check, crop
from helpers.photos.consent import check_consent
from helpers.photos.crop import nfc
from helpers.photos.open import FILMS, open_photo

LARGEST = 200 * 2**20  # bytes of one file in an archive
TOGETHER = 8 * 2**30  # bytes of all its files
MOST = 10_000  # files
LITTER = {"desktop.ini", "thumbs.db"}  # Windows'
squares_in = machine.files.pictures_in  # in a prepared folder every picture is a square


@contextmanager
def originals(source):
    """Context of {name: path} of the photos in a folder, a list of files, or a .zip, unpacked as long as it lasts.

    Folders and zips within the folder are read too; hidden files, and those that Windows leaves, are passed over. Names
    are in NFC, however accents are written on the disk. Files of one name get the folder's name in front, or a number.
    Raises FileNotFoundError if there are none, ValueError if a zip given as the source is broken or too large.
    """
    single = isinstance(source, (str, os.PathLike))
    with tempfile.TemporaryDirectory() as place:
        if single and Path(source).suffix.lower() == ".zip" and Path(source).is_file():
            paths = unpack(source, place)
        else:
            paths = list(_with_zips(_within(source) if single else map(Path, source), Path(place)))
        if not paths:
            raise FileNotFoundError(f"There are no photos in {source if single else 'the list'}: copy some there.")
        files = {}
        for path in paths:
            name = nfc(path.name)
            if name in files:
                name = nfc(f"{path.parent.name}_{path.name}")
            files[name if name not in files else free_name(Path(name).stem, path.suffix, files)] = path
        yield files


def _within(folder):
    """The files in a folder and in the folders within it, those directly in it first."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and not _hidden(path.relative_to(folder))]
    return sorted(paths, key=lambda path: (len(path.parts), path))


def _with_zips(paths, place):
    """Each path; in place of a zip what is in it, unpacked into a folder of its name in `place`, if it can be read."""
    for path in paths:
        found = [path]
        if path.suffix.lower() == ".zip" and path.is_file():
            with suppress(ValueError):  # `prepare` names it
                found = unpack(path, place / free_name(path.stem, "", os.listdir(place)))
        yield from found


def unpack(archive, folder):
    """Copy the files of a zip straight into a folder, whatever folders they lie in there; returns their paths.

    Nothing is written outside the folder; a second file of a name gets a number. Hidden files are passed over. A
    member that is a film, encrypted, damaged or of more than 200 MB is left empty, so that `prepare` names it.
    Raises ValueError if this is no zip, or if it holds too many files or too much (8 GB).
    """
    folder, name, written = Path(folder), Path(archive).name, []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if member.filename]  # is_dir fails without a name
            members = [member for member in members if not member.is_dir() and not _hidden(_path_of(member))]
            if len(members) > MOST:
                raise ValueError(f"{name} holds {len(members)} files: pack at most {MOST}.")
            if sum(member.file_size for member in members if not _passed_over(member)) > TOGETHER:
                raise ValueError(f"{name} holds more than {TOGETHER // 2**30} GB: pack fewer photos.")
            for member in members:
                written.append(_extract(opened, member, folder, [path.name for path in written]))
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ValueError(f"{name} is not a whole zip ({error}): pack or copy it again.") from error
    return written


def _path_of(member):
    return PurePosixPath(member.filename.replace("\\", "/"))


def _hidden(path):
    return path.name.lower() in LITTER or any(p == "__MACOSX" or p.startswith(".") and p.strip(".") for p in path.parts)


def _passed_over(member):
    return member.file_size > LARGEST or _path_of(member).suffix.lower() in FILMS


def _extract(opened, member, folder, taken):
    """Write one member under its bare name, never more bytes than it declared."""
    bare = _path_of(member).name.replace("\0", "").replace(":", "_")
    bare = Path(bare if bare.strip(".") else "unnamed")
    path = folder / free_name(bare.stem[:100], bare.suffix[:20], taken)
    with machine.atomic_write(path) as partial, partial.open("wb") as target:
        try:
            if not _passed_over(member):
                with opened.open(member) as content:
                    shutil.copyfileobj(content, target)  # zipfile stops at the declared size and checks the sum
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError):
            target.truncate(0)  # encrypted or damaged
    when = time.mktime((*member.date_time, 0, 0, -1)) if member.date_time[1] else 0
    os.utime(path, (when, when))  # so that `prepare` knows it again
    return path


def free_name(stem, suffix, taken):
    """stem and suffix, with a number between them if `taken` has that name; some disks take a.png and A.png for one."""
    numbered = itertools.chain([f"{stem}{suffix}"], (f"{stem}_{number}{suffix}" for number in itertools.count(2)))
    taken = {name.lower() for name in taken}
    return next(name for name in numbered if name.lower() not in taken)


def pack(folder, archive):
    """Zip the squares and captions of a prepared folder; returns the path. The same files give the same zip.

    Hidden files stay out, and so do report.csv and crops.json, which tell of the originals.
    """
    folder, archive = Path(folder), Path(archive)
    with machine.atomic_write(archive) as partial, zipfile.ZipFile(partial, "w") as opened:
        for path in sorted(filter(Path.is_file, folder.glob("[!.]*"))):
            if path.name not in ("report.csv", "crops.json") and path.resolve() != archive.resolve():
                opened.writestr(zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0)), path.read_bytes())
    return archive


def prepared_folder(name):
    """Where the squares and captions of a person are: your own run's, else the finished ones in data/prepared.

    Whatever trains on them asks here, so here consent is asked for: data/subjects/NAME/consent.json.
    Raises FileNotFoundError if there are neither or there is no consent, ValueError if it is incomplete or over.
    """
    own, finished = machine.RUNS / "photos" / name, machine.REPO / "data" / "prepared" / name
    captioned = [folder for folder in (own, finished) if (folder / "captions.csv").exists()]
    if not captioned and not squares_in(own):
        raise FileNotFoundError(f"There are no prepared photos of {name}: run 01_prepare_photos first.")
    check_consent(machine.subjects.folder(name))
    return captioned[0] if captioned else own


def load_prepared(folder):
    """The squares in a folder, [(path, RGB image)] by name. Raises FileNotFoundError if there are none."""
    if not (paths := squares_in(folder)):
        raise FileNotFoundError(f"There are no prepared photos in {folder}: run 01_prepare_photos first.")
    return [(path, open_photo(path)) for path in paths]


def cut_again(squares, source, size):
    """What prepared squares show, cut out of the originals at another size: RGB images.

    source: as for `originals`. Left out are mirror images, further pieces, and squares whose original is not there.
    Raises FileNotFoundError if none is left, ValueError for squares of several folders.
    """
    if len({path.parent for path in squares}) > 1:
        raise ValueError(f"These squares lie in several folders: give those of {squares[0].parent} alone.")
    rows = {row["output"]: row for row in _report(squares[0].parent)}
    with originals(source) as files:
        found = [rows[path.name] for path in squares if rows.get(path.name, {}).get("file") in files]
        if not found:
            raise FileNotFoundError(f"{source} has none of the originals of these squares: copy the photos there.")
        boxes = [json.loads(f"[{row['crop'][1:-1]}]") for row in found]
        return [crop.cut(open_photo(files[row["file"]]), box, size) for row, box in zip(found, boxes)]


def split(files, held_out=4, seed=0):
    """Deal files of one folder into (training, validation), sorted lists of paths, and write split.json beside them.

    held_out: how many are never trained on (Algorithm 1, line 6). Squares of one photo and near-duplicates stay
    together, so it may be fewer where they do not add up. The same files and seed give the same split. The finished
    sets in data/ keep the split.json that they came with.
    Raises ValueError if that would leave nothing to train on.
    """
    files = sorted(map(Path, files))
    if not 0 <= held_out < len(files):
        raise ValueError(f"{held_out} of {len(files)} photos cannot be held out: keep at least one to train on.")
    group, validation = _together(files), []
    for file in random.Random(seed).sample(files, len(files)):
        if file not in validation and len(validation) + len(group[file]) <= held_out:
            validation += group[file]
    if held_out and not validation:
        raise ValueError(f"These {len(files)} files are copies of too few photos to hold {held_out} of them out.")
    validation = sorted(validation)
    training = [file for file in files if file not in validation]
    names = {"training": [file.name for file in training], "validation": [file.name for file in validation]}
    path = files[0].resolve().parent / "split.json"
    if not path.exists() or machine.REPO / "data" not in path.parents:
        machine.write_json(path, {"seed": seed} | names)
    return training, validation


def _together(files):
    """{file: it and the squares of the same photo, by report.csv, or that look nearly the same, mirrored or not}."""
    group, there = {file: {file} for file in files}, [file for file in files if file.is_file()]
    prints = [check.fingerprint(open_photo(file, at_least=64)) for file in there]
    pairs = [(there[i], there[j]) for i, j in check.near_duplicates(prints, [1] * len(there)).items()]
    for names in reported(files[0].parent):
        pairs += itertools.pairwise(file for file in files if file.name in names)
    for one, other in pairs:
        together = group[one] | group[other]
        group |= dict.fromkeys(together, together)
    return group


def reported(folder):
    """The names of the squares of each photo in folder/report.csv, lists of strings; [] if there is none."""
    return [[row["output"], *json.loads(row.get("copies") or "[]")] for row in _report(folder)]


def numbered(folder):
    """{file: number} of the photos in folder/report.csv that were numbered."""
    return {row["file"]: int(row["number"]) for row in _report(folder) if row.get("number")}


def _report(folder):
    path = Path(folder) / "report.csv"
    if not path.is_file():
        return []
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    return table.map(machine.as_text, back=True).to_dict("records")
