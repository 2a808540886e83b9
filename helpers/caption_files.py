"""Captions in the files that other programs read: <photo>.txt beside the photo, and metadata.jsonl."""

import json
from pathlib import Path

import pandas as pd

from helpers.captions import read_captions, write_captions
from helpers.files import atomic_write
from helpers.photos import squares_in


def export_txt(folder, suffix=".txt"):
    """Write each caption of captions.csv as <photo>.txt beside the photo, as AUTOMATIC1111 and kohya read it.

    One line of UTF-8. suffix: ".caption" for some of kohya's scripts. Returns the paths.
    Raises ValueError if two photos would share a file (a.png and a.jpg).
    """
    table, written = read_captions(folder), []
    for file, text in zip(table["file"], table["caption"]):
        path = Path(folder, file).with_suffix(suffix)
        if path in written:
            raise ValueError(f"{path.name} would hold the captions of two photos: rename one of them.")
        with atomic_write(path) as partial:
            partial.write_text(" ".join(text.split()) + "\n", encoding="utf-8")
        written.append(path)
    return written


def import_txt(folder, suffix=".txt"):
    """Take the captions from the <photo>.txt beside each photo into captions.csv; returns the table.

    A photo without such a file keeps the caption it has. What the machine wrote is kept, if there was any.
    Raises FileNotFoundError if there is no such file, ValueError for one that is not UTF-8.
    """
    found = {}
    for square in squares_in(folder):
        path = square.with_suffix(suffix)
        if path.is_file():
            try:
                found[square.name] = " ".join(path.read_text(encoding="utf-8-sig").split())
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not UTF-8: save it again as UTF-8.") from error
    if not found:
        raise FileNotFoundError(f"There are no captions as <photo>{suffix} in {folder}: copy them there.")
    return _merge(folder, found)


def export_jsonl(folder):
    """Write metadata.jsonl, as the imagefolder of Hugging Face's `datasets` reads it: file_name and text. Its path."""
    table, path = read_captions(folder), Path(folder) / "metadata.jsonl"
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for name, text in zip(table["file"], table["caption"]):
            file.write(json.dumps({"file_name": name, "text": text}, ensure_ascii=False) + "\n")
    return path


def import_jsonl(folder):
    """Take the captions from metadata.jsonl into captions.csv; returns the table.

    The caption may be called text, caption or prompt. Photos that it does not name keep the caption they have.
    Raises FileNotFoundError if there is none, ValueError, with the line's number, for a line that cannot be read or
    names a photo that is not in the folder.
    """
    path, found = Path(folder) / "metadata.jsonl", {}
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: export it first, or copy it there.")
    names = {square.name for square in squares_in(folder)}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: captions may hold other breaks
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: save it again as UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, text = _entry(line, f"{path}, line {number}")
            if name not in names:
                raise ValueError(f"{path}, line {number} names {name!r}, which is not beside it: remove the line.")
            found[name] = text
    return _merge(folder, found)


def _entry(line, where):
    """File name and caption of one line of metadata.jsonl."""
    try:
        row = json.loads(line)
        name = row["file_name"]
        text = next(row[key] for key in ("text", "caption", "prompt") if key in row)
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise ValueError(f'{where} is not {{"file_name": ..., "text": ...}}: mend or remove it.') from error
    return name, text


def _merge(folder, found):
    """Write captions.csv with these captions over those that are there; returns it."""
    try:
        old = read_captions(folder).set_index("file")
    except FileNotFoundError:
        old = pd.DataFrame(columns=["caption", "machine_caption", "draft"])
    files = [square.name for square in squares_in(folder) if square.name in found or square.name in old.index]
    caption = [found[file] if file in found else old["caption"][file] for file in files]
    before = {
        column: [old[column][file] if file in old.index else found[file] for file in files]
        for column in ("machine_caption", "draft")
    }
    write_captions(folder, pd.DataFrame({"file": files, "caption": caption} | before))
    return read_captions(folder)
