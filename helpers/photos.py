"""Photos as a model needs them: upright, square, of one size, without the data phones hide in them.

    report = photos.prepare("data/subjects/amir/raw", RUNS / "photos" / "amir", size=128)

Originals are only ever read.
"""

import random
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from helpers import quality, runtime
from helpers.files import atomic_write, write_json
from helpers.focus import crop_box, find_focus

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:  # then only HEIC cannot be read, and open_photo says so
    pillow_heif = None

COLUMNS = [
    "file",
    "kept",
    "why",
    "width",
    "height",
    "focus",
    "blur",
    "brightness",
    "near_duplicate_of",
    "crop",
    "output",
]


def open_photo(path):
    """The picture in a file: RGB, upright, transparent parts white, free of metadata.

    Any format that Pillow reads, and HEIC through pillow-heif; of an animation the first frame.
    Raises ValueError, in one sentence that names the file, for whatever cannot be shown.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file: leave only photos in the folder.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} is empty: copy it from the phone again.")
    if path.suffix.lower() in (".heic", ".heif") and pillow_heif is None:
        raise ValueError(f"{path.name} is HEIC: run `pip install pillow-heif`, or save it as JPEG.")
    try:
        with Image.open(path) as file:
            ImageOps.exif_transpose(file, in_place=True)
            return _plain(file)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"{path.name} is not a picture, whatever its name says: leave it out.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has too many pixels to be safe to open: save it smaller.") from error
    except Exception as error:  # broken files make decoders raise nearly anything
        raise ValueError(f"{path.name} is damaged ({error}): copy it from the phone again.") from error


def _plain(image):
    """RGB on white, made anew so that no EXIF, GPS, profile or comment comes along."""
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip instead of scaling
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
    plain = Image.new("RGB", image.size, "white")
    if image.mode == "RGBA":
        plain.paste(image.convert("RGB"), mask=image.getchannel("A"))
    else:
        plain.paste(image if image.mode == "RGB" else image.convert("RGB"))
    return plain


def square_crop(image, size, focus=None):
    """The largest square around `focus` (x, y in pixels; else what find_focus finds), size x size pixels."""
    box = crop_box(image.size, focus or find_focus(image)[0])
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3)


def prepare(folder_in, folder_out, size, *, focus=None):
    """Turn the photos of one folder into upright PNG squares without metadata in another.

    focus: {file name: (x, y)} for photos whose crop you choose yourself.
    Returns a DataFrame, a row a photo, also kept as folder_out/report.csv: file, kept, why (not), width and
    height (upright), focus (found by), blur (sharpness), brightness, near_duplicate_of, crop (box), output.
    A bad file costs a line of the report, nothing more. Run again, it makes the same files.
    Raises FileNotFoundError if there are no files, ValueError if the originals could be written to.
    """
    folder_in, folder_out = Path(folder_in).resolve(), Path(folder_out).resolve()
    if folder_in == folder_out or folder_in in folder_out.parents:
        raise ValueError(f"{folder_out} lies within the originals: give another folder for the squares.")
    paths = sorted(path for path in folder_in.glob("*") if not path.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"There are no photos in {folder_in}: copy some there.")
    rows, seen, outputs = [], {}, set()
    for path in paths:
        row, square = _examine(path, size, (focus or {}).get(path.name), seen)
        if row["kept"]:
            row["output"] = _output_name(path, outputs)
            with atomic_write(folder_out / row["output"]) as partial:
                square.save(partial, "PNG")
        rows.append(row)
    _forget(folder_out, outputs)
    report = pd.DataFrame(rows, columns=COLUMNS).astype({"width": "Int64", "height": "Int64", "brightness": "Int64"})
    with atomic_write(folder_out / "report.csv") as partial:
        report.to_csv(partial, index=False)
    return report


def _examine(path, size, focus, seen):
    """A row of the report, and the square (None if the file cannot be read). Adds to `seen` what is kept."""
    row = dict.fromkeys(COLUMNS) | {"file": path.name, "kept": False, "why": "", "near_duplicate_of": "", "output": ""}
    try:
        image = open_photo(path)
    except ValueError as error:
        return row | {"why": str(error)}, None
    focus, row["focus"] = (focus, "hand") if focus else find_focus(image)
    row["width"], row["height"] = image.size
    row["crop"] = crop_box(image.size, focus)
    sample = image.resize((quality.SIDE, quality.SIDE), Image.Resampling.BOX, box=row["crop"])
    (dark, bright), row["blur"] = quality.brightness(sample), round(quality.sharpness(sample), 1)
    row["brightness"] = round(bright)
    row["why"] = quality.complaint(image.size, size, row["blur"], dark, bright)
    fingerprint = quality.fingerprint(image)
    twin = next((file for file, other in seen.items() if quality.distance(fingerprint, other) < quality.SAME), "")
    if twin and not row["why"]:
        row["why"], row["near_duplicate_of"] = f"nearly the same as {twin}: one of the two is enough.", twin
    row["kept"] = not row["why"]
    if row["kept"]:
        seen[path.name] = fingerprint
    return row, square_crop(image, size, focus)


def _output_name(path, taken):
    """The photo's own name as .png; numbered if another photo has it, shortened if a disk would refuse it."""
    stem, number = path.stem[:60], 1
    name = f"{stem}.png"
    while name.lower() in {other.lower() for other in taken}:  # some disks take a.png and A.png for one
        number += 1
        name = f"{stem}_{number}.png"
    taken.add(name)
    return name


def _forget(folder_out, outputs):
    """Remove squares that an earlier run made, as its report says, and this one did not."""
    if (folder_out / "report.csv").exists():
        earlier = pd.read_csv(folder_out / "report.csv", keep_default_na=False)["output"]
        for name in set(earlier) - outputs - {""}:
            (folder_out / Path(name).name).unlink(missing_ok=True)


def prepared_folder(name):
    """Where the squares and captions of a person are: your own run's, else the finished ones in data/prepared.

    Raises FileNotFoundError if there are neither.
    """
    own, finished = runtime.RUNS / "photos" / name, runtime.REPO / "data" / "prepared" / name
    folders = [folder for folder in (own, finished) if (folder / "captions.csv").exists()]
    folders += [folder for folder in (own,) if any(folder.glob("*.png"))]
    if not folders:
        raise FileNotFoundError(f"There are no prepared photos of {name}: run 01_prepare_photos first.")
    return folders[0]


def load_prepared(folder):
    """The squares in a folder, [(path, RGB image)] by name. Raises FileNotFoundError if there are none."""
    paths = sorted(Path(folder).glob("*.png"))
    if not paths:
        raise FileNotFoundError(f"There are no prepared photos in {folder}: run 01_prepare_photos first.")
    return [(path, open_photo(path)) for path in paths]


def split(files, held_out=4, seed=0):
    """Deal files of one folder into (training, validation), sorted lists of paths, and write split.json beside them.

    held_out: how many are never trained on (Algorithm 1, line 6). The same names and seed give the same split.
    Raises ValueError if that would leave nothing to train on.
    """
    files = sorted(map(Path, files))
    if not 0 <= held_out < len(files):
        raise ValueError(f"{held_out} of {len(files)} photos cannot be held out: keep at least one to train on.")
    validation = sorted(random.Random(seed).sample(files, held_out))
    training = [file for file in files if file not in validation]
    names = {"training": [file.name for file in training], "validation": [file.name for file in validation]}
    write_json(files[0].parent / "split.json", {"seed": seed} | names)
    return training, validation
