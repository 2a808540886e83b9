"""Captions of the prepared photos: made by BLIP, kept in captions.csv, corrected by people."""

import csv
import re
from pathlib import Path

import pandas as pd
import torch

from helpers.files import atomic_write

COLUMNS = ["file", "caption", "machine_caption", "edited"]
BATCH = 8  # images at a time


@torch.no_grad()
def caption(processor, blip, images, prefix="", max_length=40, num_beams=1):
    """BLIP's captions of RGB images, a list of strings (Li et al. 2022).

    prefix: words that every caption begins with ("a photo of a man"); BLIP goes on from there.
    max_length: in tokens, prefix included. num_beams: 1 takes the likeliest word each time.
    The same images give the same captions.
    """
    found = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        inputs = {"pixel_values": processor(images=batch, return_tensors="pt")["pixel_values"].to(blip.dtype)}
        if prefix:
            words = processor.tokenizer([prefix] * len(batch), return_tensors="pt")
            inputs |= {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}
        inputs = {name: tensor.to(blip.device) for name, tensor in inputs.items()}
        tokens = blip.generate(**inputs, max_length=max_length, num_beams=num_beams, do_sample=False)
        found += [tidy(text) for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    return found


def tidy(text):
    """BLIP's tokenizer parts every sign from its word; people write "tan-skinned man, 4k"."""
    text = re.sub(r"(?<=\w) ?([-'_]) ?(?=\w)", r"\1", " ".join(text.split()))
    return re.sub(r" ([,.!?;:])", r"\1", text)


def write_captions(folder, table):
    """Write a table of file, caption and, if there, machine_caption as folder/captions.csv.

    `edited` is worked out anew: the caption is no longer the machine's. UTF-8 that spreadsheets recognise.
    Raises ValueError if a file stands there twice.
    """
    table = table.copy()
    twice = table["file"][table["file"].duplicated()]
    if len(twice):
        raise ValueError(f"{twice.iloc[0]} has two captions: keep one row a photo.")
    if "machine_caption" not in table:
        table["machine_caption"] = table["caption"]
    table["edited"] = table["caption"] != table["machine_caption"]
    path = Path(folder) / "captions.csv"
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)  # or a lone carriage return would end a row
        writer.writerows([COLUMNS, *table[COLUMNS].itertuples(index=False)])


def read_captions(folder):
    """The table in folder/captions.csv: file, caption, machine_caption (strings), edited (bool).

    Raises FileNotFoundError if there is none, ValueError if columns or the photos it names are missing.
    """
    path = Path(folder) / "captions.csv"
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: run 02_caption_with_blip first.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: save it again as 'CSV UTF-8'.") from error
    missing = [column for column in COLUMNS if not rows or any(row.get(column) is None for row in rows)]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: save it with commas and the first line unchanged.")
    gone = [row["file"] for row in rows if not (Path(folder) / row["file"]).is_file()]
    if gone:
        raise ValueError(f"{path} names {gone[0]}, which is not beside it: run 02_caption_with_blip again.")
    table = pd.DataFrame(rows)[COLUMNS]
    return table.assign(edited=table["caption"] != table["machine_caption"])


def keep_edits(table, folder):
    """The table with the captions that people corrected in an earlier folder/captions.csv, where there is one."""
    path = Path(folder) / "captions.csv"
    if not path.exists():
        return table
    with path.open(encoding="utf-8-sig", newline="") as file:
        earlier = {
            row["file"]: row["caption"] for row in csv.DictReader(file) if row["caption"] != row["machine_caption"]
        }
    return table.assign(caption=[earlier.get(*row) for row in zip(table["file"], table["caption"])])


def check_captions(table, class_word, tokenizer):
    """What is wrong with the captions, a list of sentences; empty if nothing is.

    class_word: stands in each caption, or the class learns nothing from it.
    tokenizer: CLIP's; Stable Diffusion reads its first 77 tokens, of which two mark start and end.
    """
    found, limit = [], tokenizer.model_max_length - 2
    for file, text in zip(table["file"], table["caption"]):
        count = len(tokenizer(text, verbose=False)["input_ids"]) - 2
        if not text.strip():
            found.append(f"{file} has no caption.")
        elif not re.search(rf"\b{re.escape(class_word)}\b", text, re.IGNORECASE):
            found.append(f"{file} does not say {class_word!r}: {text}")
        if repeated := re.search(r"\b(\w+(?: \w+){0,3}) \1\b", text):
            found.append(f"{file} says {repeated[1]!r} twice in a row: {text}")
        if count > limit:
            found.append(f"{file} has {count} tokens, and all after {limit} are not read.")
    for text, files in table.groupby("caption")["file"]:
        if len(files) > 1:
            found.append(f"{len(files)} photos share one caption ({', '.join(files)}): {text}")
    return found
