"""What questionnaires and platforms hand out, read into plain rows; survey_import judges and unblinds them.

Every reader gives a DataFrame person, item, question, value, position, duration_s, line, all text but line, and
adds (line, problem) to `odd` for what it cannot read. A column of a platform names its question by a tag such as
k7f2/satisfied, or k7f2_satisfied where a slash is not allowed; a pair is left+right/pair or left_right_pair.
"""

import collections
import csv
import hashlib
import io
import re

import pandas as pd

ROW = ["person", "item", "question", "value", "position", "duration_s", "line"]
CODE = r"[b-z][2-9][b-z][2-9]"
TAG = re.compile(rf"(?<![a-z0-9])({CODE})(?:[+_]({CODE}))?[/_](satisfied|likeness|match|pair|comment)(?![a-z])")
QUALTRICS = {  # columns that Qualtrics adds by itself
    *("StartDate", "EndDate", "Status", "IPAddress", "Progress", "Duration (in seconds)", "Finished", "RecordedDate"),
    *("ResponseId", "RecipientLastName", "RecipientFirstName", "RecipientEmail", "ExternalReference"),
    *("LocationLatitude", "LocationLongitude", "DistributionChannel", "UserLanguage", "PROLIFIC_PID"),
}
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
    """The header of a CSV file and its rows as [(line, cells)]; rows that are cut or too long go to `odd`.

    A last line without an end may be cut. Of our own files it is left out, of others its last cell, but for Google's,
    whose downloads never end their last line.
    """
    text = decode(path, odd)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    if separator != ",":
        odd.append((1, f"the cells are separated by {separator!r} instead of a comma; they were read as such"))
    whole = text.endswith("\n")
    if "respondent" in first and not whole:
        text, _, rest = text.rpartition("\n")
        odd.append(
            (text.count("\n") + 2, f"the last line has no end, so it is left out: {rest[:60]!r}; is the file cut?")
        )
        text, whole = text + "\n", True
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
    header = [name.strip() for name in header]
    if not whole and rows:
        _doubt(header, rows, odd)
    return header, rows


def _doubt(header, rows, odd):
    """Tells that the last line has no end, and empties its last cell except where that is no sign of a cut."""
    line, row = rows[-1]
    told = f"the last line has no end, so its last cell {row[-1][:60]!r}"
    if any(map(tag, header)) and not {"ResponseId", "AssignmentId"} & set(header):
        odd.append((line, f"{told} may be cut, though Google's downloads are like that: it was read, have a look"))
    else:
        odd.append((line, f"{told} is left out; is the file cut?"))
        row[-1] = ""


def own(header, rows, odd):
    """Our questionnaire's file, or a long table that survey_import.write_table wrote."""
    frame = pd.DataFrame([row for _, row in rows], columns=header, dtype=str)
    frame["line"] = [line for line, _ in rows]
    frame = frame.rename(columns={"respondent": "person"})
    tell_unread(header, {"respondent", "study", "source", "prompt_id", "method", *ROW}, odd, "it is none of ours")
    comments = frame["question"] == "comment"
    frame.loc[comments, "value"] = frame.loc[comments, "value"].str.replace(r"^'('*[=+\-@\t\r])", r"\1", regex=True)
    return frame[[*ROW, *(name for name in ("study", "source") if name in frame)]]


def google_forms(header, rows, odd):
    """Google Forms, or the Sheet linked to it: one row a person; only tagged columns are read, no name or e-mail.

    Nothing in the file names a person, so a person is known by the time and all answers: the same row in two
    downloads is one person. The time stands in the first column, whatever that is called in the form's language. If
    somebody deleted it, every row of a file is another person.
    """
    timed = not tag(header[0])
    if not timed:
        odd.append((1, "there is no column with the time: equal rows count as different people"))
    elif header[0] != "Timestamp":
        odd.append((1, f"the first column, {header[0]!r}, was taken for the time of the answers"))
    tell_unread(header[int(timed) :], {"Timestamp", "Username", "Email Address"}, odd)
    asked = [column for column, name in enumerate(header) if tag(name) or (timed and column == 0)]
    marks, seen = {}, collections.Counter()
    for line, row in rows:
        mark = repr([row[i] for i in asked])
        marks[line] = hashlib.sha256(f"{mark}{'' if timed else seen[mark]}".encode()).hexdigest()
        seen[mark] += 1
    return _wide(header, rows, lambda line, row: marks[line])


def qualtrics(header, rows, odd):
    """Qualtrics: three header rows, of which the first or second has the tags; unfinished rows are read too."""
    texts = rows[0][1] if rows else header
    if len(rows) < 2 or not any("ImportId" in cell for cell in rows[1][1]):
        odd.append((3, "the third row is not Qualtrics' ImportId row: export again with all three header rows"))
        return pd.DataFrame(columns=ROW)
    named = [name if tag(name) else text for name, text in zip(header, texts)]
    tell_unread([name for name, found in zip(header, map(tag, named)) if not found], QUALTRICS, odd)
    person = header.index("PROLIFIC_PID" if "PROLIFIC_PID" in header else "ResponseId")
    return _wide(named, rows[2:], lambda line, row: row[person])


def tell_unread(header, known, odd, why="no picture's code stands in the title"):
    """Notes the columns that name no picture; among them may be one whose title was changed."""
    unread = [name or "(no title)" for name in header if not tag(name) and name not in known]
    if unread:
        odd.append((1, f"not read, for {why}: {', '.join(unread)[:200]}"))


def _wide(header, rows, person):
    """Rows with one column a question; the questions on one picture are one screen. person: of (line, row)."""
    tags = {column: tag(name) for column, name in enumerate(header) if tag(name)}
    found, screens, last = [], {}, None
    for column, (item, _) in tags.items():
        screens[column] = len(set(screens.values())) + (item != last)
        last = item
    for line, row in rows:
        for column, (item, question) in tags.items():
            if row[column].strip():
                place = str(screens[column])
                found.append((person(line, row), item, question, row[column].strip(), place, "", line))
    return pd.DataFrame(found, columns=ROW)
