"""Captions of the prepared photos: made by BLIP, kept in captions.csv, corrected by people."""

import csv
import io
import json
import re
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers import machine
from helpers.photos import folders

COLUMNS = ["file", "caption", "machine_caption", "edited", "draft"]
BATCH = 8  # images at a time
LONGEST_WORD = 60  # letters of a word that count; so captions of somebody else's are read in a time as their length
WEBUI = {"num_beams": 1, "min_length": 24, "max_length": 48, "no_repeat": 0}  # AUTOMATIC1111's interrogate.py


def caption(
    processor, blip, images, prefix="", *, num_beams=1, min_length=5, max_length=40, no_repeat=3, top_p=None, seed=0
):
    """BLIP's captions of RGB images, a list of strings (Li et al. 2022). The same settings give the same captions.

    prefix: words that every caption begins with ("a photo of a man"); BLIP goes on from there.
    min_length, max_length: in tokens, prefix included. num_beams: how many beginnings are followed at a time; with 1
    the likeliest word is taken each time. no_repeat: so many tokens in a row are never said twice; 0 allows it.
    top_p: draws each word instead, from the likeliest that together have this share of the probability (nucleus
    sampling, Holtzman et al. 2020), by the seed.
    """
    import torch  # seconds, which the processes of `prepare` need not wait

    settings = {"min_length": min_length, "max_length": max_length, "no_repeat_ngram_size": no_repeat}
    nucleus = {"num_beams": 1, "do_sample": True, "top_p": top_p, "top_k": 0}
    settings |= {"num_beams": num_beams, "do_sample": False} if top_p is None else nucleus
    texts = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            inputs = processor(images=batch, text=[prefix] * len(batch) if prefix else None, return_tensors="pt")
            tokens = blip.generate(**inputs.to(blip.device, blip.dtype), **settings)
            texts += [tidy(text) for text in processor.batch_decode(tokens, skip_special_tokens=True)]
    return texts


def tidy(text):
    """BLIP's text without the spaces that its tokenizer puts around every sign: "tan-skinned man, 4k"."""
    text = re.sub(r"(?<=\w) ?([-'_]) ?(?=\w)", r"\1", " ".join(text.split()))
    return re.sub(r" ([,.!?;:])", r"\1", text)


def write_captions(folder, table):
    """Write a table of file, caption and, if there, machine_caption and draft as folder/captions.csv.

    machine_caption: what BLIP said. draft: what was made of it before a person read it, such as the same without the
    words for fixed features; by default what BLIP said. `edited` is worked out: whether the caption differs from the
    draft. UTF-8 that spreadsheets recognise. Raises ValueError if a file stands there twice.
    """
    for twice in table["file"][table["file"].duplicated()]:
        raise ValueError(f"{twice} has two captions: keep one row a photo.")
    machine_caption = table.get("machine_caption", table["caption"])
    draft = table.get("draft", machine_caption)
    table = table.assign(machine_caption=machine_caption, draft=draft, edited=table["caption"] != draft)
    path, table = Path(folder) / "captions.csv", table[COLUMNS].map(machine.as_text)
    how = {"quoting": csv.QUOTE_ALL, "lineterminator": "\r\n"}  # or a lone carriage return would end a row
    with machine.atomic_write(path) as partial:
        table.to_csv(partial, index=False, encoding="utf-8-sig", **how)


def read_captions(folder):
    """The table in folder/captions.csv: file, caption, machine_caption (strings), edited (bool), draft (string).

    Raises FileNotFoundError if there is none, ValueError if columns are missing, or photos that it names beside it.
    """
    path = Path(folder) / "captions.csv"
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: run 02_caption_with_blip first.")
    table, there = _rows(path), _by_name(folder)
    for file in table["file"]:
        if folders.nfc(file) not in there:
            raise ValueError(f"{path} names {file}, which is not beside it: run 02_caption_with_blip again.")
    return table.assign(file=[there[folders.nfc(file)] for file in table["file"]])


def _by_name(folder):
    """{name in NFC: name as it is on the disk} of the squares in a folder; nothing that lies elsewhere has a caption."""
    return {folders.nfc(path.name): path.name for path in folders.squares_in(folder)}


def _text(path):
    """A file's text, line ends as they are. Raises ValueError if it is none that Excel saves, warns where it may be."""
    try:
        text, encoding = machine.files.decode(path.read_bytes())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: save it again as UTF-8 (in Excel, 'CSV UTF-8').") from error
    if encoding == "Windows-1252":
        mend = "If its letters are wrong, save it as UTF-8 (in Excel, 'CSV UTF-8')."
        warnings.warn(f"{path} was read as {encoding}. {mend}", stacklevel=4)
    return text


def _rows(path):
    """What stands in a captions.csv, its photos there or not. Without a draft, the machine's words are the draft."""
    text = _text(path)
    separator = max(",;\t", key=re.split("[\r\n]", text, maxsplit=1)[0].count)  # some countries' Excel writes others
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [row for row in rows if any(row.values())]
    except csv.Error as error:
        raise ValueError(f"{path} is not readable as CSV ({error}): restore it from a copy.") from error
    missing = [column for column in COLUMNS[:4] if not rows or any(row.get(column) is None for row in rows)]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: save it with its first line unchanged.")
    rows = [{name: machine.as_text(cell, back=True) for name, cell in row.items()} for row in rows]
    table = pd.DataFrame(rows, columns=COLUMNS)
    draft = table["draft"].astype(object).fillna(table["machine_caption"])  # of missing drafts alone it is of floats
    return table.assign(draft=draft, edited=table["caption"] != draft)


def keep_edits(table, folder):
    """The table with the captions that people corrected in an earlier folder/captions.csv, where there is one.

    Raises ValueError if that file cannot be read: nothing is then lost by writing over it.
    """
    path = Path(folder) / "captions.csv"
    if not path.exists():
        return table
    edited = _rows(path).query("edited")
    edited = dict(zip(edited["file"].map(folders.nfc), edited["caption"]))
    texts = [edited.get(folders.nfc(file), text) for file, text in zip(table["file"], table["caption"])]
    return table.assign(caption=texts)


def check_captions(table, class_word, tokenizer, fixed=()):
    """What is wrong with the captions, a list of sentences; empty if nothing is.

    class_word: stands in each caption, or the class learns nothing from it. tokenizer: CLIP's; Stable Diffusion reads
    its first 77 tokens, of which two mark start and end. fixed: words for what the person always has ("beard"); the
    class word does not learn a feature that another word of the caption names.
    """
    faults, limit = [], tokenizer.model_max_length - 2
    for file, text in zip(table["file"], table["caption"]):
        count = len(tokenizer(text, verbose=False)["input_ids"]) - 2
        if not text.strip():
            faults.append(f"{file} has no caption.")
        elif not says(text, class_word):
            faults.append(f"{file} does not say {class_word!r}: {text}")
        if repeated := repetition(text):
            faults.append(f"{file} says {repeated!r} twice: {text}")
        if named := [word for word in fixed if says(text, word)]:
            named = " and ".join(map(repr, named))
            faults.append(f"{file} names {named}, so that {class_word!r} need not learn it: {text}")
        if count > limit:
            faults.append(f"{file} has {count} tokens, and all after {limit} are not read.")
    for text, files in table.groupby("caption")["file"]:
        if len(files) > 1:
            faults.append(f"{len(files)} photos share one caption ({', '.join(files)}): {text}")
    return faults


def says(text, words):
    """Whether a text says these words, next to one another, in upper or lower case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def repetition(text):
    """Words that a text says again, whatever stands between them; else "".

    One to eight words twice in a row, "and a clock" twice anywhere, or a part between commas twice anywhere.
    """
    plain = " ".join(word[:LONGEST_WORD] for word in re.findall(r"[\w'-]+", text))
    if found := re.search(r"\b(\w[\w'-]*+(?: [\w'-]++){0,7})(?: and)? \1\b", plain, re.IGNORECASE):
        return found[1]
    phrases = re.findall(r"\b(?=(and (?:an?|the|his|her) [\w'-]+))", plain, re.IGNORECASE)
    for said in (phrases, [part.strip().lower() for part in text.split(",")]):
        times = Counter(map(str.lower, said))
        if again := next((words for words in said if words and times[words.lower()] > 1), ""):
            return again
    return ""


# how captions say what somebody has: a holder, then things with their adjectives, joined by commas and "and"
ADJECTIVES = "long short big small large full thick thin round square dark light black brown blond blonde red grey gray"
ADJECTIVES += " white pink blue green yellow purple curly wavy straight shaggy bushy messy trimmed"
NOUNS = r"(?:ear|neck)?rings?|clothing|building|painting|ceiling|king|morning|evening"  # no verbs
HOLDER = rf"(?:(?:who|that) )?(?:with|in|has|have|wears|(?!(?:{NOUNS})\b)\w+ing)"
ENDS = rf"{HOLDER}|and|or|at|on|by|of|near|under|behind|before|beside|from|to|for|is|are|was|who|that|while|as"
WORD = rf"(?:(?:{ADJECTIVES.replace(' ', '|')}),(?= )|pair of|(?!(?:{ENDS})\b)[\w'-]+)"
ITEM = rf"{WORD}(?: {WORD})*"
AND = r",? and (?!(?:an? |the |another )?(?:wo)?(?:man|men|person|people|boy|girl|child|lady|guy)\b)"
LIST = rf"{ITEM}(?:(?:, {ITEM})*{AND}{ITEM})?"


def without(text, fixed):
    """The text without these features, their adjectives and the "with a" or "and" that led to them; the rest reads on.

    "a man with a long black beard and round glasses at the beach" without "beard" and "glasses": "a man at the beach".
    """
    named = lambda part: any(says(part, words) for words in fixed)

    def less(found):
        items = re.findall(rf"(?<![\w'-]){ITEM}", found["items"], re.IGNORECASE)
        kept = [item for item in items if not named(item)]
        if len(kept) == len(items):
            return found[0]
        if kept:
            return f"{found['lead']}{found['holder']} {', '.join(kept[:-1])}{' and ' if kept[1:] else ''}{kept[-1]}"
        return "" if "and" in found["lead"].lower() else "\0"  # an "and" before or behind goes too

    text = " ".join(text.replace("\0", " ").split())
    pattern = rf"(?P<lead>(?:,? and|,)? ?)\b(?P<holder>{HOLDER}) (?P<items>{LIST})"
    text = re.sub(pattern, less, text, flags=re.IGNORECASE)
    text = re.sub(rf"\0{AND}", " ", text, flags=re.IGNORECASE).replace("\0", "")
    first, *parts = text.split(", ")
    text = ", ".join([first, *(part for part in parts if not (named(part) and re.fullmatch(ITEM, part)))])
    words = "|".join(map(re.escape, sorted(fixed, key=len, reverse=True))) or "(?!)"
    phrase = rf"(?i),? ?(?:\b(?:and|with) )?(?:\ban? |\bhis |\bher )?(?<!\w)(?:{words})(?!\w)"
    kept, reach = [], 4 + words.count("\\ ")
    for word in re.sub(phrase, "", text).split():  # in "round beard glasses" two stand together only when one has gone
        kept[-reach:] = re.sub(phrase, "", " ".join([*kept[-reach:], word])).split()
    return " ".join(kept).strip(" ,")


def export_txt(folder, suffix=".txt"):
    """Write each caption of captions.csv as <photo>.txt beside the photo, as AUTOMATIC1111 and kohya read it.

    One line of UTF-8. suffix: ".caption" for some of kohya's scripts. Returns the paths.
    Raises ValueError if two photos would share a file (a.png and a.jpg).
    """
    table = read_captions(folder)
    paths = [Path(folder, file).with_suffix(suffix) for file in table["file"]]
    for path, text in zip(paths, table["caption"]):
        if paths.count(path) > 1:
            raise ValueError(f"{path.name} would hold the captions of two photos: rename one of them.")
        with machine.atomic_write(path) as partial:
            partial.write_text(" ".join(text.split()) + "\n", encoding="utf-8")
    return paths


def import_txt(folder, suffix=".txt"):
    """Take the captions from the <photo>.txt beside each photo into captions.csv; returns the table.

    A photo without such a file keeps the caption it has.
    Raises FileNotFoundError if there is no such file, ValueError for one that is not UTF-8.
    """
    paths = {square.name: square.with_suffix(suffix) for square in folders.squares_in(folder)}
    captions = {name: " ".join(_text(path).split()) for name, path in paths.items() if path.is_file()}
    if not captions:
        raise FileNotFoundError(f"There are no captions as <photo>{suffix} in {folder}: copy them there.")
    return _merge(folder, captions)


def export_jsonl(folder):
    """Write metadata.jsonl, as the imagefolder of Hugging Face's `datasets` reads it: file_name and text. Its path."""
    table, path = read_captions(folder), Path(folder) / "metadata.jsonl"
    with machine.atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for name, text in zip(table["file"], table["caption"]):
            file.write(json.dumps({"file_name": name, "text": text}, ensure_ascii=False) + "\n")
    return path


def import_jsonl(folder):
    """Take the captions from metadata.jsonl, called text, caption or prompt, into captions.csv; returns the table.

    Photos that it does not name keep the caption they have. Raises FileNotFoundError if there is none, ValueError,
    with the line's number, for a line that cannot be read or names a photo that is not in the folder.
    """
    path, captions = Path(folder) / "metadata.jsonl", {}
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: export it first, or copy it there.")
    names = _by_name(folder)
    for number, line in enumerate(_text(path).split("\n"), 1):  # not splitlines: captions may hold other breaks
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = row["file_name"], next(row[key] for key in ("text", "caption", "prompt") if key in row)
            if not isinstance(name, str) or not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            where = f"{path}, line {number}"
            raise ValueError(f'{where} is not {{"file_name": ..., "text": ...}}: correct or remove it.') from error
        if folders.nfc(name) not in names:
            raise ValueError(f"{path}, line {number} names {name!r}, which is not beside it: remove the line.")
        captions[names[folders.nfc(name)]] = text
    return _merge(folder, captions)


def _merge(folder, captions):
    """Write captions.csv with these captions, {file: text}, over those that are there; returns it."""
    rows = {file: {"file": file, "caption": text} | dict.fromkeys(COLUMNS[2:], text) for file, text in captions.items()}
    if (Path(folder) / "captions.csv").exists():
        for row in read_captions(folder).to_dict("records"):
            rows[row["file"]] = row | {"caption": captions.get(row["file"], row["caption"])}
    files = [square.name for square in folders.squares_in(folder) if square.name in rows]
    write_captions(folder, pd.DataFrame([rows[file] for file in files]))
    return read_captions(folder)
