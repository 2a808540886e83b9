"""Answers from every platform into one long table, without names, and a list of all that was odd.

A column of a platform names its question by a tag such as k7f2/satisfied, or k7f2_satisfied where a slash is not
allowed; a pair is left+right/pair or left_right_pair. Each platform's function returns rows with the columns ROW, all
text but line, and adds (line, problem) to `odd` for what it cannot read.
"""

import csv
import functools
import io
import itertools
import re
import secrets
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import machine
from helpers.survey import design, questionnaire

LONG = ["respondent", "item", "prompt_id", "method", "question", "value", "position", "duration_s", "source"]
ROW = ["person", "item", "question", "value", "position", "duration_s", "line"]
CODE = r"[b-z][2-9][b-z][2-9]"
ITEM = rf"(?<![a-z0-9])(attention|{CODE}(?:[+_]{CODE})?)"
TAG = re.compile(rf"{ITEM}[/_](satisfied|likeness|match|pair|comment|attention)(?![a-z])")
RANDOM_ID = re.compile(r"r[0-9a-f]{10}")  # the random id that the questionnaire gives
FORMULA = re.compile(r"'*[=+\-@\t\r]")
DEMOGRAPHICS = ["Age", "Sex", "Country of residence", "Nationality", "Language", "Student status", "Employment status"]
TURK_ZONES = {"PST": "-0800", "PDT": "-0700", "UTC": "+0000", "GMT": "+0000"}  # Mechanical Turk writes the first two


class Answers(NamedTuple):
    """table: the long table; odd: file, line, problem; people: respondent, source and demographics where known."""

    table: pd.DataFrame
    odd: pd.DataFrame
    people: pd.DataFrame


def read_answers(paths, key, *, study=None, demographics=None):
    """Read CSV files of answers (our own, Google Forms, Qualtrics, Mechanical Turk) and unblind them.

    key: columns item, prompt_id, method. study: the id of the plan; answers to another plan are left out.
    demographics: Prolific's export, joined by participant id. Ids of platforms become random ones, and nothing else
    about a person is read. A row that cannot be used is left out and listed in `odd` with file and line.
    Raises ValueError for a file of no known kind or that is not text, FileNotFoundError if there is none.
    """
    tables, odd, names = [], [], {}
    for path in map(Path, paths):
        notes, first = [], names.setdefault(path.read_bytes(), path)
        if first is not path:
            odd.append((path.name, 1, f"the same file as {first.name}: left out"))
            continue
        tables.append(_usable(_rows(path, notes), key, study, notes).assign(file=path.name))
        odd += [(path.name, line, problem) for line, problem in notes]
    table, again = _without_doubles(pd.concat(tables, ignore_index=True))
    table, people, unread = _nameless(table, demographics)
    odd = pd.DataFrame(odd + again + unread, columns=["file", "line", "problem"])
    return Answers(table[LONG], odd.sort_values(["file", "line"], kind="stable", ignore_index=True), people)


def _rows(path, odd):
    """The rows of a file with their source. Raises ValueError that lists the columns of a file of no known kind."""
    header, rows = cells(path, odd)
    for source, (read, columns, _) in PLATFORMS.items():
        if set(columns.split(",")) <= set(header) or (not columns and any(map(tag, header))):
            table = read(header, rows, odd)
            return table.assign(source=table.get("source", source))
    names = ", ".join(header)[:200] or "none"
    raise ValueError(f"The file {path.name} is of no known kind; its columns are: {names}. Export it again, as CSV.")


def tag(text):
    """(item, question) named in a column, or None."""
    match = TAG.search(text)
    return match and (match[1].replace("_", "+"), match[2])


def cells(path, odd):
    """The header of a CSV file and its rows as [(line, cells)]; rows that are cut or too long go to `odd`.

    A last line without an end may be cut. Of our own files it is left out, of others its last cell, but for Google's,
    whose downloads never end their last line. Raises ValueError for text that is neither UTF-8 nor UTF-16.
    """
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if wide:
        odd.append((1, "the file is in UTF-16, as Excel's 'Unicode text'; it was read as such"))
    try:
        text = data.decode("utf-16", errors="replace") if wide else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The file {path.name} is not in UTF-8 (byte {error.start}): save as 'CSV UTF-8'.") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    if separator != ",":
        odd.append((1, f"the cells are separated by {separator!r} instead of a comma; they were read as such"))
    whole = text.endswith("\n")
    if "respondent" in first and not whole:
        text, _, rest = text.rpartition("\n")
        whole = True
        note = f"the last line has no end, so it is left out: {rest[:60]!r}; is the file cut?"
        odd.append((text.count("\n") + 2, note))
    header, rows = _rows_of(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), odd)
    if not whole and rows:
        _check_last(header, *rows[-1], odd)
    return header, rows


def _rows_of(reader, odd):
    header, rows, line = [], [], 1
    try:
        header = [name.strip() for name in next(reader, [])]
        line = reader.line_num + 1
        for row in reader:
            if len(row) == len(header):
                rows.append((line, row))
            elif row:
                odd.append((line, f"the row has {len(row)} cells instead of {len(header)}: is the file cut?"))
            line = reader.line_num + 1
    except csv.Error as error:
        odd.append((line, f"from here the file cannot be read as CSV ({error}): is it cut?"))
    return header, rows


def _check_last(header, line, row, odd):
    """Notes that the last line has no end, and empties its last cell except where that is no sign of a cut."""
    note = f"the last line has no end, so its last cell {row[-1][:60]!r}"
    if any(map(tag, header)) and not {"ResponseId", "AssignmentId"} & set(header):
        odd.append((line, f"{note} may be cut, though Google's downloads are like that: it was read, have a look"))
    else:
        odd.append((line, f"{note} is left out; is the file cut?"))
        row[-1] = ""


def _note_unread(header, source, odd):
    """Notes the columns that name no picture; among them may be one whose title was changed."""
    usual = ",".join(PLATFORMS[source][1:]).split(",")
    unread = [name or "(no title)" for name in header if name not in usual and not tag(name)]
    if unread:
        odd.append((1, f"not read, for no picture's code is in the title: {', '.join(unread)[:200]}"))


def _questionnaire(header, rows, odd):
    """Our questionnaire's file, or a long table that write_table wrote."""
    frame = pd.DataFrame([row for _, row in rows], columns=header, dtype=str)
    _note_unread(header, "questionnaire", odd)
    comments = frame["question"] == "comment"
    plain = frame["value"].str.replace(rf"^'({FORMULA.pattern})", r"\1", regex=True)
    frame["value"] = frame["value"].mask(comments, plain)
    frame = frame.rename(columns={"respondent": "person"}).assign(line=[line for line, _ in rows])
    return frame[[*ROW, *(name for name in ("study", "source") if name in frame)]]


def _google_forms(header, rows, odd):
    """Google Forms, or the Sheet linked to it: one row a person; only tagged columns are read, no name or e-mail.

    A person is known by the time (first column, in any language) and all answers: the same row in two downloads is one
    person. If somebody deleted the time, every row of a file is another person.
    """
    timed = not tag(header[0])
    if not timed:
        odd.append((1, "there is no column with the time: equal rows count as different people"))
    elif header[0] != "Timestamp":
        odd.append((1, f"the first column, {header[0]!r}, was taken for the time of the answers"))
    _note_unread(header[int(timed) :], "Google Forms", odd)
    columns = [column for column, name in enumerate(header) if tag(name) or (timed and column == 0)]
    people = pd.Series([repr([row[column] for column in columns]) for _, row in rows], dtype=str)
    return _wide(header, rows, people if timed else people + people.groupby(people).cumcount().astype(str))


def _qualtrics(header, rows, odd):
    """Qualtrics: three header rows, of which the first or second has the tags; unfinished rows are read too."""
    if len(rows) < 2 or not any("ImportId" in cell for cell in rows[1][1]):
        odd.append((3, "the third row is not Qualtrics' ImportId row: export again with all three header rows"))
        return pd.DataFrame(columns=ROW)
    named = [name if tag(name) else text for name, text in zip(header, rows[0][1])]
    _note_unread([name for name, text in zip(header, named) if not tag(text)], "Qualtrics", odd)
    person = header.index("PROLIFIC_PID" if "PROLIFIC_PID" in header else "ResponseId")
    return _wide(named, rows[2:], [row[person] for _, row in rows[2:]])


def _wide(header, rows, people):
    """Rows with one column a question; the questions on one picture are one screen. people: who each row is from."""
    tags = [(column, *tag(name)) for column, name in enumerate(header) if tag(name)]
    items = [None, *(item for _, item, _ in tags)]
    screens = itertools.accumulate(int(before != item) for before, item in itertools.pairwise(items))
    tags = [(*place, str(screen)) for place, screen in zip(tags, screens)]
    answers = [
        (person, item, question, row[column].strip(), screen, "", line)
        for person, (line, row) in zip(people, rows)
        for column, item, question, screen in tags
        if row[column].strip()
    ]
    return pd.DataFrame(answers, columns=ROW)


def _mechanical_turk(header, rows, odd):
    """A Mechanical Turk batch result: Answer.x = value, Answer.x.label = text, or Answer.x.option = true.

    x is a tag, or a question alone where Input.item has the code. Rejected assignments and answers that name no picture
    or question are left out and noted. The position follows AcceptTime.
    """
    _note_unread([name for name in header if not name.startswith(("Input.", "Answer."))], "Mechanical Turk", odd)
    table, handed_in = [], set()
    for line, row in rows:
        record = dict(zip(header, row))
        answers, problems = _turk_answers(record)
        if record.get("AssignmentStatus") == "Rejected":
            answers, problems = {}, ["the assignment was rejected: its answers are left out"]
        elif record["AssignmentId"] in handed_in:
            answers, problems = {}, ["handed in before: the same assignment again is left out"]
        elif not answers and not problems:
            problems = ["no answers in columns named Answer.<question>: left out"]
        else:
            handed_in.add(record["AssignmentId"])
        odd += [(line, problem) for problem in problems]
        time, seconds = record.get("AcceptTime", ""), record.get("WorkTimeInSeconds", "")
        table += [(record["WorkerId"], *place, value, time, seconds, line) for place, value in answers.items()]
    return _in_order(pd.DataFrame(table, columns=ROW))


def _turk_answers(record):
    """({(item, question): value}, problems), whichever of three shapes the answers have."""
    chosen, problems = {}, []
    for name, value in record.items():
        value = value.strip()
        if not name.startswith("Answer.") or not value:
            continue
        question, _, option = name.removeprefix("Answer.").partition(".")
        place = tag(question) or tag(f"{record.get('Input.item', '')}/{question}")
        whole = option in ("", "label")
        if not place or not (whole or value.lower() in ("true", "false")):
            problems.append(f"{name} = {value[:60]!r} names no picture and question: left out")
        elif whole or value.lower() == "true":
            chosen.setdefault(place, []).append(value if whole else option)
    many = {place: values for place, values in chosen.items() if len(values) > 1}
    problems += [f"{'/'.join(place)} has {len(values)} answers: {', '.join(values)}" for place, values in many.items()]
    return {place: values[0] for place, values in chosen.items() if place not in many}, problems


def _in_order(rows):
    """The rows, one line a task, with its place in time instead of the time: a person's first task gets "1".

    The place is "" for a person with a time that is missing or there twice, for the file need not be in the order of the
    answers. A time is "Mon Nov 23 10:11:12 PST 2026" or an ISO date.
    """
    text = rows["position"].astype(str).replace(TURK_ZONES, regex=True)
    forms = "%a %b %d %H:%M:%S %z %Y", "ISO8601"
    times = [pd.to_datetime(text, format=form, errors="coerce", utc=True) for form in forms]
    tasks = rows.assign(time=times[0].fillna(times[1])).drop_duplicates("line")
    unknown = tasks["time"].isna() | tasks.duplicated(["person", "time"], keep=False)
    tasks = tasks[~tasks["person"].isin(tasks.loc[unknown, "person"])].sort_values("time")
    place = dict(zip(tasks["line"], (tasks.groupby("person").cumcount() + 1).astype(str)))
    return rows.assign(position=[place.get(line, "") for line in rows["line"]])


OURS = "respondent,item,question,value,position,duration_s"
QUALTRICS = (
    "EndDate,Status,IPAddress,Progress,Duration (in seconds),Finished,RecordedDate,RecipientLastName,UserLanguage,"
    "RecipientFirstName,RecipientEmail,ExternalReference,LocationLatitude,LocationLongitude,DistributionChannel,"
    "PROLIFIC_PID"
)
TURK = (
    "HITId,HITTypeId,Title,Description,Keywords,Reward,CreationTime,MaxAssignments,RequesterAnnotation,AcceptTime,"
    "AssignmentDurationInSeconds,AutoApprovalDelayInSeconds,Expiration,NumberOfSimilarHITs,LifetimeInSeconds,"
    "AssignmentStatus,SubmitTime,AutoApprovalTime,ApprovalTime,RejectionTime,RequesterFeedback,WorkTimeInSeconds,"
    "LifetimeApprovalRate,Last30DaysApprovalRate,Last7DaysApprovalRate,Approve,Reject"
)
PLATFORMS = {  # the function for its files, the columns by which they are recognised, and the others that it adds
    "questionnaire": (_questionnaire, OURS, "study,source,prompt_id,method"),
    "Qualtrics": (_qualtrics, "ResponseId,StartDate", QUALTRICS),
    "Mechanical Turk": (_mechanical_turk, "AssignmentId,WorkerId", TURK),
    "Google Forms": (_google_forms, "", "Timestamp,Username,Email Address"),  # recognised by the tags
}


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
    formulas = rows[~bad & (rows["question"] == "comment")]
    formulas = formulas.loc[formulas["value"].astype(str).str.match(FORMULA), "line"]
    notes += [(line, "the comment begins like a formula: kept as plain text") for line in formulas]
    rows = rows.assign(prompt_id=rows["item"].map(prompts), method=rows["item"].map(methods))
    rows = rows.assign(position=position, duration_s=duration)[~bad]
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
    """The table without answers that were handed in before, and a note for each file and person that has such."""
    same = table.duplicated(["person", "item", "question", "position"])
    again = table[same].groupby(["file", "person"], sort=False)["line"].agg(["min", "size"])
    note = "handed in before: {} answers of the same respondent are left out"
    return table[~same], [(file, row["min"], note.format(row["size"])) for (file, _), row in again.iterrows()]


def _nameless(table, demographics):
    """Random ids in place of everybody's, what demographics say about them, and what was odd in those."""
    unread, people = [], table[["person", "source"]].drop_duplicates("person" if demographics else ["person", "source"])
    ids = {who: who if RANDOM_ID.fullmatch(who) else "r" + secrets.token_hex(5) for who in people["person"].unique()}
    people = people.assign(respondent=people["person"].map(ids))
    if demographics:
        people = people.merge(_prolific(Path(demographics), unread), left_on="person", right_index=True, how="left")
        unread = [(Path(demographics).name, line, problem) for line, problem in unread]
    people = people.drop(columns="person").sort_values("respondent", ignore_index=True)
    return table.assign(respondent=table["person"].map(ids)), people, unread


def _prolific(path, notes):
    """Prolific's export by participant: the columns in DEMOGRAPHICS and nothing else."""
    header, rows = cells(path, notes)
    if "Participant id" not in header:
        raise ValueError(f"The file {path.name} has no column 'Participant id': export the demographics from Prolific.")
    frame = pd.DataFrame([row for _, row in rows], columns=header).drop_duplicates("Participant id")
    return frame.set_index("Participant id")[[name for name in DEMOGRAPHICS if name in header]]


def write_table(path, table):
    """Keep a long table as CSV; a comment that a spreadsheet would take for a formula gets a leading '."""
    risky = (table["question"] == "comment") & table["value"].str.match(FORMULA)
    machine.write_csv(path, table.assign(value=table["value"].mask(risky, "'" + table["value"])))
