"""Answers from every platform into one long table, without names, and a list of all that was odd."""

import csv
import functools
import io
import re
import secrets
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import machine
from helpers.survey import design, questionnaire, simulation
from helpers.survey.platforms import COLUMNS, READERS, ROW, tag

LONG = ["respondent", "item", "prompt_id", "method", "question", "value", "position", "duration_s", "source"]
RANDOM_ID = re.compile(r"r[0-9a-f]{10}")  # the random id that the questionnaire gives
JUNK = re.compile(r"\.|~\$|__MACOSX$|desktop\.ini$|(eh)?thumbs\.db$", re.IGNORECASE)  # what computers put in folders
JSON = re.compile(rb'(\xef\xbb\xbf)?\s*+\[?\s*+\{\s*+"')  # how a table in JSON begins
COPY = re.compile(r"[ (](\d+)\)?$")  # a browser's number on a file that was saved once more
LARGEST = 100 * 2**20  # bytes in a zip; answers are far smaller
DEMOGRAPHICS = ["Age", "Sex", "Country of residence", "Nationality", "Language", "Student status", "Employment status"]


class Answers(NamedTuple):
    """table: the long table; odd: file, line, problem; people: respondent, source and demographics where known."""

    table: pd.DataFrame
    odd: pd.DataFrame
    people: pd.DataFrame


def study(folder):
    """(files, key, rules, number) of the study whose plan notebook 10 left in a folder, with the answers in folder/answers.

    As long as there are none, the files and the key are those of the simulated study, whose number is None.
    Raises FileNotFoundError for answers without a plan.
    """
    files = sorted((folder / "answers").glob("*"))
    rules = design.read_rules(folder) if files or (folder / "rules.json").exists() else design.RULES
    if not files:
        return [simulation.FILE], design.paper_key(), rules, None
    key = pd.read_csv(folder / "key.csv", keep_default_na=False)
    return files, key, rules, machine.read_json(folder / "rules.json")["study"]


def read_answers(paths, key, *, study=None, demographics=None):
    """Read CSV files of answers (our own, Google Forms, Qualtrics, Mechanical Turk), also in zips, and unblind them.

    key: columns item, prompt_id, method. study: the id of the plan; answers to another plan are left out.
    Of several answers of one person to the same question on the same screen the last counts.
    demographics: Prolific's export, joined by participant id. Ids of platforms become random ones, and nothing else
    about a person is read. A row that cannot be used is left out and listed in `odd` with file and line, as is a file
    that a computer put there or that has no answers.
    Raises ValueError for a file of no known kind or that is not text, or if there are no answers at all;
    FileNotFoundError for a file that is not there.
    """
    tables, odd, names = [], [], {}
    for name, data in _files(map(Path, paths), odd):
        notes, first = [], names.setdefault(data, name)
        if first != name:
            odd.append((name, 1, f"the same file as {first}: left out"))
            continue
        table = _usable(_rows(name, data, notes), key, study, notes).assign(file=name)
        if table.empty:
            notes.append((1, "no answers to this study were found in it"))
        tables.append(table)
        odd += [(name, line, problem) for line, problem in notes]
    if not sum(map(len, tables)):
        said = "; ".join(f"{name}, line {line}: {problem}" for name, line, problem in odd[:5]) or "no file was given"
        raise ValueError(f"There are no answers to read ({said}). Put the files that raters handed in there.")
    table, again = _without_doubles(pd.concat(tables, ignore_index=True))
    table, people, unread = _nameless(table, demographics)
    odd = pd.DataFrame(odd + again + unread, columns=["file", "line", "problem"])
    return Answers(table[LONG], odd.sort_values(["file", "line"], kind="stable", ignore_index=True), people)


def _files(paths, odd):
    """[(name, bytes)] of what may be answers, folders and zips opened, a file that was saved once more after the first.

    What computers put beside them and what is empty is passed over, and reported.
    """
    found = []
    for path in paths:
        for each in sorted(filter(Path.is_file, path.rglob("*"))) if path.is_dir() else [path]:
            parts = each.relative_to(path.parent).parts
            if any(map(JUNK.match, parts)):
                odd.append(("/".join(parts), 1, JUNK_NOTE))
            elif each.suffix.lower() == ".zip":
                found += _unzipped(each, odd)
            else:
                found.append(("/".join(parts), each.read_bytes()))
    odd += [(name, 1, "the file is empty: passed over") for name, data in found if not _has_text(data)]
    number = lambda file: int((COPY.search(file[0].rpartition(".")[0]) or [0, 0])[1])
    return sorted((file for file in found if _has_text(file[1])), key=number)


JUNK_NOTE = "not answers but a file that the computer keeps for itself: passed over"
_has_text = lambda data: data.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n") != b""


def _unzipped(path, odd):
    """[(zip/name, bytes)] of the files in a zip. Raises ValueError if it is damaged, locked or far too large."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            junk = [member for member in members if any(map(JUNK.match, member.filename.split("/")))]
            odd += [(f"{path.name}/{member.filename}", 1, JUNK_NOTE) for member in junk]
            members = [member for member in members if member not in junk]
            if sum(member.file_size for member in members) > LARGEST:
                raise ValueError(f"The file {path.name} unpacks to over {LARGEST >> 20} MB, which answers never do.")
            return [(f"{path.name}/{member.filename}", archive.read(member)) for member in members]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"The file {path.name} cannot be unpacked ({error}): unpack it yourself.") from error


def _rows(name, data, odd):
    """The rows of a file with their source. Raises ValueError that lists the columns of a file of no known kind."""
    if JSON.match(data):
        note = "the file is JSON, such as Label Studio's, and not CSV: nothing of it was read; export it as CSV"
        odd.append((1, note))
        return pd.DataFrame(columns=[*ROW, "source"])
    header, rows = cells(name, data, odd)
    for source, read in READERS.items():
        own = COLUMNS[source]["recognised"]  # of Google's files, in any language, the tags alone
        if set(own) <= set(header) and (own or any(map(tag, header))):
            table = read(header, rows, odd)
            return table.assign(source=table.get("source", source))
    columns = ", ".join(header)[:200] or "none"
    raise ValueError(f"The file {name} is of no known kind; its columns are: {columns}. Export it again, as CSV.")


def cells(name, data, odd):
    """The header of a CSV file and its rows as [(line, cells)]; rows that are cut or too long go to `odd`.

    A last line without an end may be cut. Of our own files it is left out, of others its last cell, but for Google's,
    whose downloads never end their last line. Raises ValueError for text that `machine.files.decode` cannot read.
    """
    try:
        text, encoding = machine.files.decode(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"The file {name} is not in UTF-8 (byte {error.start}): save as 'CSV UTF-8'.") from error
    if encoding != "UTF-8":
        note = f"the file is in {encoding}; it was read as such: if its letters are wrong, save as 'CSV UTF-8'"
        odd.append((1, note))
    first, unquoted = (re.split(r"[\r\n]", part, maxsplit=1)[0] for part in (text, re.sub(r'"[^"]*"', "", text)))
    separator = max(",;\t", key=unquoted.count)
    if separator != ",":
        odd.append((1, f"the cells are separated by {separator!r} instead of a comma; they were read as such"))
    end = "\n" if "\n" in text else "\r"
    whole = text.endswith(end)
    if "respondent" in first and not whole:
        rest = text.rpartition(end)[2]
        text, whole = text.removesuffix(rest), True
        note = f"the last line has no end, so it is left out: {rest[:60]!r}; is the file cut?"
        odd.append((text.count(end) + 1, note))
    header, rows = _rows_of(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), odd)
    if not whole and rows:
        _check_last(header, *rows[-1], odd)
    return header, rows


def _rows_of(reader, odd):
    header, rows, line = None, [], 1
    try:
        for row in reader:
            header = [name.strip() for name in row] if header is None else header
            if len(row) == len(header):
                rows.append((line, row))
            elif row:
                odd.append((line, f"the row has {len(row)} cells instead of {len(header)}: is the file cut?"))
            line = reader.line_num + 1
    except csv.Error as error:
        odd.append((line, f"from here the file cannot be read as CSV ({error}): is it cut?"))
    return header or [], rows[1:]


def _check_last(header, line, row, odd):
    """Notes that the last line has no end, and empties its last cell except where that is no sign of a cut."""
    note = f"the last line has no end, so its last cell {row[-1][:60]!r}"
    if any(map(tag, header)) and not {"ResponseId", "AssignmentId"} & set(header):
        odd.append((line, f"{note} may be cut, though Google's downloads are like that: it was read, have a look"))
    else:
        odd.append((line, f"{note} is left out; is the file cut?"))
        row[-1] = ""


def _usable(rows, key, study, notes):
    """The usable rows with their prompt_id and method, numbers as numbers; the others go to notes."""
    rows = rows.astype(dict.fromkeys(["person", "item", "question", "duration_s"], str))  # an empty table has no type
    rows["value"] = [meaning(*cell) for cell in zip(rows["question"].tolist(), rows["value"].tolist())]
    position = pd.to_numeric(rows["position"], errors="coerce")
    unordered = (rows["position"] == "") & (rows["source"] == "Mechanical Turk")  # it deals out single pictures
    seconds = rows["duration_s"].str.replace(",", ".")  # as a spreadsheet in much of the world writes it
    duration = pd.to_numeric(seconds.mask(seconds == ""), errors="coerce")
    prompts, methods = unblind(key, rows["item"].unique())
    problems = {
        "the answer belongs to another plan": (rows["study"] if study and "study" in rows else study) != study,
        "there is no such question": ~rows["question"].isin(design.QUESTIONS),
        "there is no such picture in the key": ~rows["item"].isin(prompts),
        "there is no such answer to this question": rows["value"].isna(),
        "the position is not a whole number from 1": (~(position >= 1) | (position % 1 != 0)) & ~unordered,
        "the duration is not a number of seconds": (duration.isna() & (seconds != "")) | (duration < 0),
    }
    if study and "study" not in rows and (rows["source"] == "questionnaire").any():
        notes.append((1, "no column says to which plan the answers belong: they were read as answers to this one"))
    bad = pd.Series(False, rows.index)
    for problem, wrong in problems.items():
        notes += [(line, f"{problem}: left out") for line in rows.loc[wrong & ~bad, "line"]]
        bad |= wrong
    formula = ~bad & (rows["question"] == "comment") & (rows["value"].map(machine.as_text) != rows["value"])
    notes += [(line, "the comment begins like a formula: kept as plain text") for line in rows.loc[formula, "line"]]
    known = {"prompt_id": rows["item"].map(prompts), "method": rows["item"].map(methods)}
    rows = rows.assign(position=position, duration_s=duration, **known)[~bad]
    return rows.astype({"position": float if unordered.any() else int})


def meaning(question, text):
    """What a worded answer means ("Yes", "4  A lot", "Sí"), in any language of the interface; None if nothing."""
    if question == "comment":
        return text
    return text if text in design.QUESTIONS.get(question, ()) else _meanings().get((question, _plain(text)))


_plain = lambda text: re.sub(r"^[1-5]\s*[-:.)]?\s+", "", text.strip()).casefold()


@functools.cache
def _meanings():
    """{(question, plain words): value} in all languages of the interface."""
    return {
        (question, _plain(text)): value
        for words in questionnaire.interface().values()
        for question in design.CLOSED
        for value, text in design.choices(question, words).items()
    }


def unblind(key, items):
    """({item: prompt_id}, {item: method}) of those items that the key knows; a pair has left+right as its method."""
    place = {row.item: (row.prompt_id, row.method) for row in key.itertuples()}
    prompts, methods = {"attention": ""}, {"attention": ""}
    for item in items:
        cells = [place.get(code) for code in str(item).split("+")]
        if None not in cells and len({prompt for prompt, _ in cells}) == 1:
            prompts[item], methods[item] = cells[0][0], "+".join(method for _, method in cells)
    return prompts, methods


def _without_doubles(table):
    """The table without what was handed in before or corrected later, and a note for each file and person with such."""
    place = ["person", "item", "question", "position"]
    old = table["value"] != table.groupby(place, dropna=False)["value"].transform("last")
    again = ~old & table.assign(old=old).duplicated([*place, "old"])
    found = {"handed in before: {} answers of the same respondent are left out": again}
    found["handed in again with another answer: {} earlier answers of the same respondent are left out"] = old
    notes = []
    for note, rows in found.items():
        groups = table[rows].groupby(["file", "person"], sort=False)["line"].agg(["min", "size"])
        notes += [(file, row["min"], note.format(row["size"])) for (file, _), row in groups.iterrows()]
    return table[~(old | again)], notes


def _nameless(table, demographics):
    """Random ids in place of everybody's, what demographics say about them, and what was odd in those."""
    unread, people = [], table[["person", "source"]].drop_duplicates("person" if demographics else ["person", "source"])
    ids = {who: who if RANDOM_ID.fullmatch(who) else "r" + secrets.token_hex(5) for who in people["person"].unique()}
    people = people.assign(respondent=people["person"].map(ids))
    if demographics:
        name = Path(demographics).name
        header, rows = cells(name, Path(demographics).read_bytes(), unread)
        if "Participant id" not in header:
            raise ValueError(f"The file {name} has no column 'Participant id': export the demographics from Prolific.")
        known = pd.DataFrame([row for _, row in rows], columns=header).drop_duplicates("Participant id")
        known = known.set_index("Participant id").filter(DEMOGRAPHICS)  # and nothing else
        people = people.merge(known, left_on="person", right_index=True, how="left")
        unread = [(name, line, problem) for line, problem in unread]
    people = people.drop(columns="person").sort_values("respondent", ignore_index=True)
    return table.assign(respondent=table["person"].map(ids)), people, unread


def write_table(path, table):
    """Keep a long table as CSV; a comment that a spreadsheet would take for a formula gets a leading '."""
    machine.write_csv(path, table.assign(value=table["value"].map(machine.as_text)))
