"""Photos as a model needs them: upright, square, of one size, without the data phones hide in them.

    report = photos.prepare("data/subjects/amir/raw", RUNS / "photos" / "amir", size=128)

Originals are only ever read.
"""

from pathlib import Path

from PIL import ImageColor

from helpers import crops, photo_report, photo_work, places
from helpers.consent import check_consent
from helpers.photo_examine import SUFFIXES
from helpers.photo_open import open_photo  # offered here too
from helpers.photo_sources import originals
from helpers.photo_split import split  # noqa: F401  (offered here too)


def prepare(source, folder_out, size, *, processes=None, progress=None, rename="{name}", **wishes):
    """Turn photos into upright squares without metadata in a folder.

    source: a folder, a list of files, or a .zip. size: pixels a side. progress: such as tqdm.
    rename: pattern of the new names, of {name} and {number}, as in "amir_{number:03}".
    wishes: those of `settings_of`, such as fit="pad", flip=True, format="JPEG", focus={file: (x, y)}.
    Returns a DataFrame, a row a photo, also kept as folder_out/report.csv: file, kept, why (not), width and
    height (upright), faces, focus (found by), blur (sharpness), darkest and brightness (what the darkest and the
    brightest twentieth reach, of 255), near_duplicate_of, crop (box), further_crops (of pieces), output (file), copies
    (further squares of the same photo).
    A bad file costs a line of the report, nothing more. What is done is not done again.
    Raises FileNotFoundError if there are no files, ValueError for a bad wish or if originals could be written to.
    """
    folder_out = Path(folder_out).resolve()
    with originals(source) as files:
        for path in files.values():
            if path.resolve().parent in (folder_out, *folder_out.parents):
                raise ValueError(f"{folder_out} lies within the originals: give another folder for the squares.")
        settings = settings_of(files, size, crops.read_crops(folder_out), **wishes)
        photo_report.check_pattern(rename)
        tasks = list(zip(files.values(), settings))
        (folder_out / photo_report.WORK).mkdir(parents=True, exist_ok=True)
        records = photo_work.work(tasks, folder_out / photo_report.WORK, processes, progress)
    rows = [
        dict.fromkeys(photo_report.COLUMNS) | {"file": name} | record["row"] for name, record in zip(files, records)
    ]
    photo_report.leave_out_duplicates(rows, records, wishes.get("keep", ()))
    photo_report.publish(rows, records, folder_out, rename)
    photo_work.forget(folder_out / photo_report.WORK, {record["key"] for record in records})
    return photo_report.report_of(rows, folder_out)


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
    """The settings of each photo, a list of dicts, for `photo_examine.examine`.

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
    if format not in SUFFIXES or fit not in ("crop", "pad") or not 1 <= quality <= 100 or size < 8:
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


def prepared_folder(name):
    """Where the squares and captions of a person are: your own run's, else the finished ones in data/prepared.

    Whatever trains on them asks here, so here consent is asked for: data/subjects/NAME/consent.json.
    Raises FileNotFoundError if there are neither or there is no consent, ValueError if it is incomplete or over.
    """
    own, finished = places.RUNS / "photos" / name, places.REPO / "data" / "prepared" / name
    folders = [folder for folder in (own, finished) if (folder / "captions.csv").exists()]
    folders += [folder for folder in (own,) if own.is_dir() and squares_in(own)]
    if not folders:
        raise FileNotFoundError(f"There are no prepared photos of {name}: run 01_prepare_photos first.")
    check_consent(places.REPO / "data" / "subjects" / name)
    return folders[0]


def squares_in(folder):
    """The picture files in a prepared folder, by name."""
    paths = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []
    return [path for path in paths if path.suffix in SUFFIXES.values() and not path.name.startswith(".")]


def load_prepared(folder):
    """The squares in a folder, [(path, RGB image)] by name. Raises FileNotFoundError if there are none."""
    paths = squares_in(folder)
    if not paths:
        raise FileNotFoundError(f"There are no prepared photos in {folder}: run 01_prepare_photos first.")
    return [(path, open_photo(path)) for path in paths]
