"""What questionnaires and platforms hand out, read into plain rows; survey_import judges and unblinds them.

Every reader gives a DataFrame person, item, question, value, position, duration_s, line, all text but line, and
adds (line, problem) to `odd` for what it cannot read. A column of a platform names its question by a tag such as
k7f2/satisfied, or k7f2_satisfied where a slash is not allowed; a pair is left+right/pair or left_right_pair.
"""

import csv
import io
import json
import re

import pandas as pd

ROW = ["person", "item", "question", "value", "position", "duration_s", "line"]
CODE = r"[b-z][2-9][b-z][2-9]"
TAG = re.compile(rf"(?<![a-z0-9])({CODE})(?:[+_]({CODE}))?[/_](satisfied|likeness|match|pair|comment)(?![a-z])")
ATTENTION = re.compile(r"attention[/_]attention")


def tag(text):
    """(item, question) named in a column, or None."""
    if ATTENTION.search(text):
        return "attention", "attention"
    found = TAG.search(text)
    return found and ("+".join(filter(None, found.groups()[:2])), found[3])


def decode(path, odd):
    """The text of a file in UTF-8, with or without a byte order mark, or UTF-16. Raises ValueError for any other."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        odd.append((1, "the file is in UTF-16, as Excel's 'Unicode text'; it was read as such"))
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not in UTF-8 (byte {error.start}): save it again as 'CSV UTF-8'.") from error


def cells(path, odd):
    """The header of a CSV file and its rows as [(line, cells)]; rows that are cut or too long go to `odd`."""
    text = decode(path, odd)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    if separator != ",":
        odd.append((1, f"the cells are separated by {separator!r} instead of a comma; they were read as such"))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header, rows, line = [], [], 1
    try:
        header = next(reader, [])
        line = reader.line_num + 1
        for row in reader:
            if len(row) == len(header):
                rows.append((line, row))
            elif row:
                odd.append((line, f"the row has {len(row)} cells instead of {len(header)}: is the file cut?"))
            line = reader.line_num + 1
    except csv.Error as error:
        odd.append((line, f"from here the file cannot be read as CSV ({error}): is it cut?"))
    return [name.strip() for name in header], rows


def own(header, rows, odd):
    """Our questionnaire's file, or a long table that survey_import.write_table wrote."""
    frame = pd.DataFrame([row for _, row in rows], columns=header, dtype=str)
    frame["line"] = [line for line, _ in rows]
    frame = frame.rename(columns={"respondent": "person"})
    comments = frame["question"] == "comment"
    frame.loc[comments, "value"] = frame.loc[comments, "value"].str.replace(r"^'('*[=+\-@\t\r])", r"\1", regex=True)
    return frame[[*ROW, *(name for name in ("study", "source") if name in frame)]]


def google_forms(header, rows, odd):
    """Google Forms, or the Sheet linked to it: one row a person; only tagged columns are read, no name or e-mail."""
    return _wide(header, rows, None, None)


def qualtrics(header, rows, odd):
    """Qualtrics: three header rows, of which the first or second has the tags; unfinished rows are read too."""
    texts = rows[0][1] if rows else header
    if len(rows) < 2 or not any("ImportId" in cell for cell in rows[1][1]):
        odd.append((3, "the third row is not Qualtrics' ImportId row: export again with all three header rows"))
        return pd.DataFrame(columns=ROW)
    named = [name if tag(name) else text for name, text in zip(header, texts)]
    person = "PROLIFIC_PID" if "PROLIFIC_PID" in header else "ResponseId"
    return _wide(named, rows[2:], header.index(person), None)


def _wide(header, rows, person, suffix):
    """Rows with one column a question; `person` is the column of an id, else every row is a person."""
    tags = {column: tag(name) for column, name in enumerate(header) if tag(name)}
    found = []
    for line, row in rows:
        who = row[person] if person is not None else f"line {line}"
        for position, (column, (item, question)) in enumerate(tags.items(), 1):
            if row[column].strip():
                found.append((who, item, question, row[column].strip(), str(position), "", line))
    return pd.DataFrame(found, columns=ROW)


def mechanical_turk(header, rows, odd):
    """A Mechanical Turk batch result: Answer.x = value, Answer.x.label = text, or Answer.x.option = true.

    x is a tag, or a question alone where Input.item has the code. Rejected assignments are left out and reported.
    """
    found, seen = [], {}
    for line, row in rows:
        record = dict(zip(header, row))
        if record.get("AssignmentStatus") == "Rejected":
            odd.append((line, "the assignment was rejected: its answers are left out"))
            continue
        worker = record["WorkerId"]
        seen[worker] = position = seen.get(worker, 0) + 1
        seconds = record.get("WorkTimeInSeconds", "")
        for (item, question), values in _turk_answers(record).items():
            if len(values) == 1:
                found.append((worker, item, question, values[0], str(position), seconds, line))
            else:
                odd.append((line, f"{item}/{question} has {len(values)} answers: {', '.join(values)}"))
    return pd.DataFrame(found, columns=ROW)


def _turk_answers(record):
    """{(item, question): chosen values} of one assignment, whichever of the three shapes it has."""
    found = {}
    for name, value in record.items():
        if not name.startswith("Answer.") or not value.strip():
            continue
        asked, _, option = name.removeprefix("Answer.").partition(".")
        place = tag(asked) or (tag(f"{record.get('Input.item', '')}/{asked}"))
        if not place or (option not in ("", "label") and value.strip().lower() != "true"):
            continue
        found.setdefault(place, []).append(value.strip() if option in ("", "label") else option)
    return found


def label_studio(path, odd):
    """Label Studio's JSON export: tasks whose data has item; `line` counts the tasks. Cancelled work is left out."""
    try:
        tasks = json.loads(decode(path, odd))
    except ValueError as error:
        raise ValueError(f"{path.name} is not whole JSON ({error}): export it again.") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"{path.name} is not a list of Label Studio tasks: export it as 'JSON', not 'JSON-MIN'.")
    found, seen = [], {}
    for line, task in enumerate(tasks, 1):
        item = str(task.get("data", {}).get("item", ""))
        for work in task.get("annotations", []):
            if work.get("was_cancelled"):
                odd.append((line, "an annotation was cancelled: it is left out"))
                continue
            who = _worker(work.get("completed_by"))
            seen[who] = position = seen.get(who, 0) + 1
            seconds = str(work.get("lead_time", ""))
            for result in work.get("result", []):
                value = _label_value(result)
                if value is None:
                    odd.append((line, f"a result of type {result.get('type')!r} was not understood"))
                else:
                    found.append((who, item, result.get("from_name"), value, str(position), seconds, line))
    return pd.DataFrame(found, columns=ROW)


def _worker(completed_by):
    """Label Studio gives a number, or a whole profile with name and e-mail, of which only the number is read."""
    return f"annotator {completed_by['id'] if isinstance(completed_by, dict) else completed_by}"


def _label_value(result):
    value = result.get("value", {})
    for name in ("choices", "text"):
        if isinstance(value.get(name), list) and len(value[name]) == 1:
            return str(value[name][0])
    found = value.get("rating", value.get("selected"))
    return None if found is None else str(found)


def reader(path, header):
    """The reader for a CSV header. Raises ValueError that lists the columns of a file of no known kind."""
    names = set(header)
    if {"respondent", "item", "question", "value", "position", "duration_s"} <= names:
        return own, "questionnaire"
    if {"ResponseId", "StartDate"} <= names:
        return qualtrics, "Qualtrics"
    if {"AssignmentId", "WorkerId"} <= names:
        return mechanical_turk, "Mechanical Turk"
    if any(tag(name) for name in header):
        return google_forms, "Google Forms"
    raise ValueError(f"{path.name} is of no known kind; its columns are: {', '.join(header)[:200] or 'none'}.")
