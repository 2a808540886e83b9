"""Captions of the prepared photos: made by BLIP, kept in captions.csv, corrected by people."""

import csv
import re
from pathlib import Path

import pandas as pd
import torch

from helpers.caption_check import check_captions  # noqa: F401  (offered here too)
from helpers.files import atomic_write

COLUMNS = ["file", "caption", "machine_caption", "edited", "draft"]
BATCH = 8  # images at a time
WEBUI = {"num_beams": 1, "min_length": 24, "max_length": 48, "no_repeat": 0}  # AUTOMATIC1111's interrogate.py


@torch.no_grad()
def caption(
    processor, blip, images, prefix="", *, num_beams=1, min_length=5, max_length=40, no_repeat=3, top_p=None, seed=0
):
    """BLIP's captions of RGB images, a list of strings (Li et al. 2022).

    prefix: words that every caption begins with ("a photo of a man"); BLIP goes on from there.
    min_length, max_length: in tokens, prefix included. num_beams: how many beginnings are followed at a time; 1
    takes the likeliest word each time. More beams find likelier captions, which fit more photos and say less of each. no_repeat: so many tokens in a row are never said twice; 0 allows it.
    top_p: draws each word instead, from the likeliest that together have this share of the probability (nucleus
    sampling, Holtzman et al. 2020), always the same for a seed.
    The same images and settings give the same captions.
    """
    how = {"min_length": min_length, "max_length": max_length, "num_beams": num_beams, "do_sample": False}
    how["no_repeat_ngram_size"] = no_repeat
    if top_p is not None:
        how |= {"num_beams": 1, "do_sample": True, "top_p": top_p, "top_k": 0}
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(images), BATCH):
            tokens = blip.generate(**_inputs(processor, blip, images[start : start + BATCH], prefix), **how)
            found += [tidy(text) for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    return found


def _inputs(processor, blip, images, prefix):
    """What BLIP is given: the pixels and, if there is one, the beginning of each caption."""
    inputs = {"pixel_values": processor(images=images, return_tensors="pt")["pixel_values"].to(blip.dtype)}
    if prefix:
        words = processor.tokenizer([prefix] * len(images), return_tensors="pt")
        inputs |= {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}
    return {name: tensor.to(blip.device) for name, tensor in inputs.items()}


def tidy(text):
    """BLIP's tokenizer parts every sign from its word; people write "tan-skinned man, 4k"."""
    text = re.sub(r"(?<=\w) ?([-'_]) ?(?=\w)", r"\1", " ".join(text.split()))
    return re.sub(r" ([,.!?;:])", r"\1", text)


def write_captions(folder, table):
    """Write a table of file, caption and, if there, machine_caption and draft as folder/captions.csv.

    machine_caption: what BLIP said. draft: what was made of it before a person read it, such as the same without the
    words for fixed features; BLIP's words if there is none. `edited` is worked out anew: the caption is no longer the
    draft. UTF-8 that spreadsheets recognise.
    Raises ValueError if a file stands there twice.
    """
    table = table.copy()
    twice = table["file"][table["file"].duplicated()]
    if len(twice):
        raise ValueError(f"{twice.iloc[0]} has two captions: keep one row a photo.")
    if "machine_caption" not in table:
        table["machine_caption"] = table["caption"]
    if "draft" not in table:
        table["draft"] = table["machine_caption"]
    table["edited"] = table["caption"] != table["draft"]
    path = Path(folder) / "captions.csv"
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)  # or a lone carriage return would end a row
        writer.writerows([COLUMNS, *table[COLUMNS].itertuples(index=False)])


def read_captions(folder):
    """The table in folder/captions.csv: file, caption, machine_caption (strings), edited (bool), draft (string).

    Raises FileNotFoundError if there is none, ValueError if columns or the photos it names are missing.
    """
    path = Path(folder) / "captions.csv"
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: run 02_caption_with_blip first.")
    table = _rows(path)
    gone = [file for file in table["file"] if not (Path(folder) / file).is_file()]
    if gone:
        raise ValueError(f"{path} names {gone[0]}, which is not beside it: run 02_caption_with_blip again.")
    return table


def _rows(path):
    """What stands in a captions.csv, its photos there or not. Without a draft, the machine's words are the draft."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: save it again as 'CSV UTF-8'.") from error
    missing = [column for column in COLUMNS[:4] if not rows or any(row.get(column) is None for row in rows)]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: save it with commas and the first line unchanged.")
    for row in rows:
        row["draft"] = row["machine_caption"] if row.get("draft") is None else row["draft"]
    table = pd.DataFrame(rows)[COLUMNS]
    return table.assign(edited=table["caption"] != table["draft"])


def keep_edits(table, folder):
    """The table with the captions that people corrected in an earlier folder/captions.csv, where there is one.

    Raises ValueError if that file cannot be read: nothing is then lost by writing over it.
    """
    path = Path(folder) / "captions.csv"
    if not path.exists():
        return table
    edited = _rows(path).query("edited")
    earlier = dict(zip(edited["file"], edited["caption"]))
    return table.assign(caption=[earlier.get(*row) for row in zip(table["file"], table["caption"])])
