"""Answers from any source into one long table, without names, and a list of all that was odd.

Columns of the table: respondent, item, prompt_id, method, question, value, position, duration_s, source.
"""

import re
import secrets
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import files, questionnaire, survey_design, survey_formats, survey_platforms

LONG = ["respondent", "item", "prompt_id", "method", "question", "value", "position", "duration_s", "source"]
ELSEWHERE = ("Mechanical Turk", "Label Studio")  # they deal out single pictures; the order may not be known
OURS = re.compile(r"r[0-9a-f]{10}")  # the random id that the questionnaire gives
FORMULA = re.compile(r"'*[=+\-@\t\r]")
DEMOGRAPHICS = ["Age", "Sex", "Country of residence", "Nationality", "Language", "Student status", "Employment status"]


class Answers(NamedTuple):
    """table: the long table; odd: file, line, problem; people: respondent, source and demographics where known."""

    table: pd.DataFrame
    odd: pd.DataFrame
    people: pd.DataFrame


def read_answers(paths, key, *, study=None, demographics=None):
    """Read files of answers (our CSV, Google Forms, Qualtrics, Mechanical Turk, Label Studio) and unblind them.

    key: columns item, prompt_id, method. study: the id of the plan; answers to another plan are left out.
    demographics: Prolific's export, joined by participant id. Ids of platforms become random ones, and nothing else
    about a person is read. A row that cannot be used is left out and listed in `odd` with file and line.
    Raises ValueError for a file of no known kind or that is not text, FileNotFoundError if there is none.
    """
    tables, odd, known = [], [], {}
    for path in map(Path, paths):
        notes, content = [], path.read_bytes()
        if content in known:
            odd.append((path.name, 1, f"the same file as {known[content]}: left out"))
            continue
        known[content] = path.name
        rows, source = _read(path, notes)
        rows = rows.assign(source=rows.get("source", source), file=path.name)
        tables.append(_checked(rows, key, study, notes))
        odd += [(path.name, line, problem) for line, problem in notes]
    table = pd.concat(tables, ignore_index=True)
    table, again = _without_doubles(table)
    table, people, unread = _nameless(table, demographics)
    odd = pd.DataFrame(odd + again + unread, columns=["file", "line", "problem"])
    odd = odd.sort_values(["file", "line"], kind="stable")
    return Answers(table[LONG], odd.reset_index(drop=True), people)


def _read(path, notes):
    """The plain rows of a file and the kind of file it is."""
    if path.suffix.lower() == ".json":
        return survey_platforms.label_studio(path, notes), "Label Studio"
    header, rows = survey_formats.cells(path, notes)
    read, source = _reader(path, header)
    return read(header, rows, notes), source


def _reader(path, header):
    """The reader for a CSV header and the name of its kind. Raises ValueError that lists the columns of a file of no known kind."""
    names = set(header)
    if {"respondent", "item", "question", "value", "position", "duration_s"} <= names:
        return survey_formats.own, "questionnaire"
    if {"ResponseId", "StartDate"} <= names:
        return survey_formats.qualtrics, "Qualtrics"
    if {"AssignmentId", "WorkerId"} <= names:
        return survey_platforms.mechanical_turk, "Mechanical Turk"
    if any(survey_formats.tag(name) for name in header):
        return survey_formats.google_forms, "Google Forms"
    raise ValueError(f"{path.name} is of no known kind; its columns are: {', '.join(header)[:200] or 'none'}.")


def _checked(rows, key, study, notes):
    """The usable rows with their prompt_id and method, numbers as numbers; the others go to notes."""
    rows = rows.astype(dict.fromkeys(["person", "item", "question", "duration_s"], str))  # an empty table has no type
    rows = rows.assign(value=[meaning(*cell) for cell in zip(rows["question"], rows["value"])])
    position = pd.to_numeric(rows["position"], errors="coerce")
    unordered = (rows["position"] == "") & rows["source"].isin(ELSEWHERE)
    seconds = rows["duration_s"].str.replace(",", ".")  # as a spreadsheet in much of the world writes it
    duration = pd.to_numeric(seconds.mask(seconds == ""), errors="coerce")
    prompts, methods = unblind(key, rows["item"].unique())
    problems = {
        "the answer belongs to another plan": (rows["study"] != study) if study and "study" in rows else False,
        "there is no such question": ~rows["question"].isin(survey_design.QUESTIONS),
        "there is no such picture in the key": ~rows["item"].isin(prompts),
        "there is no such answer to this question": rows["value"].isna(),
        "the position is not a whole number from 1": (~(position >= 1) | (position % 1 != 0)) & ~unordered,
        "the duration is not a number of seconds": (duration.isna() & (seconds != "")) | (duration < 0),
    }
    if study and "study" not in rows and (rows["source"] == "questionnaire").any():
        notes.append((1, "no column says to which plan the answers belong: they were read as answers to this one"))
    bad = pd.Series(False, rows.index)
    for problem, wrong in problems.items():
        wrong = wrong & ~bad
        if wrong is not False:
            notes += [(line, f"{problem}: left out") for line in rows.loc[wrong, "line"]]
            bad |= wrong
    formulas = rows[~bad & (rows["question"] == "comment")]
    formulas = formulas[formulas["value"].astype(str).str.match(FORMULA)]
    notes += [(line, "the comment begins like a formula: kept as plain text") for line in formulas["line"]]
    columns = {"prompt_id": rows["item"].map(prompts), "method": rows["item"].map(methods)}
    return rows.assign(position=position, duration_s=duration, **columns)[~bad].astype(
        {"position": float if unordered.any() else int}
    )


def meaning(question, text):
    """What a worded answer means ("Yes", "4  A lot", "Sí"), in any language of the interface; None if nothing."""
    if question == "comment":
        return text
    allowed = survey_design.QUESTIONS.get(question, ())
    return text if text in allowed else _dictionary().get((question, _plain(text)))


def _plain(text):
    return re.sub(r"^[1-5]\s*[-:.)]?\s+", "", text.strip()).casefold()


def _dictionary(cache={}):  # noqa: B006 the words of the interface never change while we run
    if not cache:
        for words in questionnaire.interface().values():
            for question in ("satisfied", "likeness", "match", "pair"):
                for value in survey_design.QUESTIONS[question]:
                    name = f"{question}_{value}" if value.isdigit() else value
                    cache[question, _plain(words[name])] = value
    return cache


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
    """The table without answers that were handed in before, and a note for each file and person that has such."""
    same = table.duplicated(["person", "item", "question", "position"])
    again = table[same].groupby(["file", "person"], sort=False)["line"].agg(["min", "size"])
    note = "handed in before: {} answers of the same respondent are left out"
    return table[~same], [(file, row["min"], note.format(row["size"])) for (file, _), row in again.iterrows()]


def _nameless(table, demographics):
    """Random ids in place of everybody's, what demographics say about them, and what was odd in those."""
    unread, people = [], table[["person", "source"]].drop_duplicates("person" if demographics else ["person", "source"])
    ids = {who: who if OURS.fullmatch(who) else "r" + secrets.token_hex(5) for who in people["person"].unique()}
    people = people.assign(respondent=people["person"].map(ids))
    if demographics:
        people = people.merge(_prolific(Path(demographics), unread), left_on="person", right_index=True, how="left")
    people = people.drop(columns="person").sort_values("respondent", ignore_index=True)
    unread = [(Path(demographics).name, line, problem) for line, problem in unread]
    return table.assign(respondent=table["person"].map(ids)), people, unread


def _prolific(path, notes):
    """Prolific's export by participant: the columns in DEMOGRAPHICS and nothing else."""
    header, rows = survey_formats.cells(path, notes)
    if "Participant id" not in header:
        raise ValueError(
            f"{path.name} has no column 'Participant id': export the demographic data from Prolific again."
        )
    frame = pd.DataFrame([row for _, row in rows], columns=header).drop_duplicates("Participant id")
    return frame.set_index("Participant id")[[name for name in DEMOGRAPHICS if name in header]]


def write_table(path, table):
    """Keep a long table as CSV; a comment that a spreadsheet would take for a formula gets a leading '."""
    risky = (table["question"] == "comment") & table["value"].str.match(FORMULA)
    with files.atomic_write(path) as partial:
        table.assign(value=table["value"].mask(risky, "'" + table["value"])).to_csv(partial, index=False)
