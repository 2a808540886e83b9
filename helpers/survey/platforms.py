"""The answers in each platform's file, one row an answer.

A column of a platform names its question by a tag such as k7f2/satisfied, or k7f2_satisfied where a slash is not
allowed; a pair is left+right/pair or left_right_pair. Each platform's function takes the header and [(line, cells)],
returns rows with the columns ROW, all text but line, and adds (line, problem) to `odd` for what it cannot read.
"""

import itertools
import re

import pandas as pd

from helpers import machine

COLUMNS = machine.read_json(machine.REPO / "data" / "survey" / "platforms.json")
ROW = ["person", "item", "question", "value", "position", "duration_s", "line"]
CODE = r"[b-z][2-9][b-z][2-9]"
ITEM = rf"(?<![a-z0-9])(attention|{CODE}(?:[+_]{CODE})?)"
TAG = re.compile(rf"{ITEM}[/_](satisfied|likeness|match|pair|comment|attention)(?![a-z])")
NO_ANSWER = 1 | 2 | 8  # bits of Qualtrics' Status: preview, test, spam; 0 is an answer, 4 imported, 16 offline, 32 EX
ANSWER = re.compile(  # the same in words: "IP Address" has IP in every language, whatever else may be is no answer
    r"(?<![a-z])ip(?![a-z])|^\W*(imported|importiert|importad[oa]|import[ée]e?|importat[oa]|ge.?mporteerd|importerad|"
    r"импорт\w*|インポート\w*|已?导入|已?匯入|가져\w*|offline|hors ligne|sin conexi.n|オフライン|离线|離線|오프라인)\W*$",
    re.IGNORECASE,
)
SECONDS = re.compile(r"(?<!\d)\d++\D\d++\D\d++\D++\d++[:.]\d++[:.]\d")  # a date, and a time to the second
TURK_ZONES = {"PST": "-0800", "PDT": "-0700", "UTC": "+0000", "GMT": "+0000"}  # Mechanical Turk writes the first two


def tag(text):
    """(item, question) named in a column, or None."""
    match = TAG.search(text)
    return match and (match[1].replace("_", "+"), match[2])


def _note_unread(header, source, odd):
    """Notes the columns that name no picture; among them may be one whose title was changed."""
    usual = COLUMNS[source]["recognised"] + COLUMNS[source]["others"]
    if unread := [name or "(no title)" for name in header if name not in usual and not tag(name)]:
        odd.append((1, f"not read, for no picture's code is in the title: {', '.join(unread)[:200]}"))


def _questionnaire(header, rows, odd):
    """Our questionnaire's file, or a long table that write_table wrote."""
    frame = pd.DataFrame([row for _, row in rows], columns=header, dtype=str)
    _note_unread(header, "questionnaire", odd)
    plain = [machine.as_text(value, back=True) for value in frame["value"]]
    frame["value"] = frame["value"].where(frame["question"] != "comment", plain)
    frame = frame.rename(columns={"respondent": "person"}).assign(line=[line for line, _ in rows])
    return frame[[*ROW, *(name for name in ("study", "source") if name in frame)]]


def _google_forms(header, rows, odd):
    """Google Forms, or the Sheet linked to it: one row a person; only tagged columns are read, no name or e-mail.

    A person is known by the time (first column, in any language) and the answers: the same row in two downloads is one
    person, also if a spreadsheet saved one of them again. Without the time every row of a file is another person.
    """
    timed = not tag(header[0])
    if not timed:
        odd.append((1, "there is no column with the time: equal rows count as different people"))
    elif header[0] != "Timestamp":
        odd.append((1, f"the first column, {header[0]!r}, was taken for the time of the answers"))
    _note_unread(header[int(timed) :], "Google Forms", odd)
    return _wide(header, rows, _people(header, rows, timed))


def _people(header, rows, timed):
    """Who each row is from. Spreadsheets write times another way and without seconds, so the minute and the closed
    answers count; whoever is alike in both is numbered in the order of the file."""
    tags, people, seen = [(column, tag(name)) for column, name in enumerate(header) if tag(name)], [], {}
    for number, (_, row) in enumerate(rows):
        given = tuple((row[column].strip(), place) for column, place in tags)
        closed = [answer for answer in given if not timed or answer[1][1] != "comment"]
        who = f"{_minute(row[0]) if timed else ''} {closed}"
        whole = (row[0], given) if timed and SECONDS.search(row[0]) else number  # to the second: the same again
        alike = seen.setdefault(who, {})
        people.append(f"{who} {alike.setdefault(whole, len(alike))}")
    return people


def _minute(time):
    """A time to the minute, however it is written: day, month and year in any order, 12 hours or 24."""
    numbers = [int(number) for number in re.findall(r"\d{1,9}", time)]
    if len(numbers) < 5:
        return time
    *date, hour, minute = numbers[:5]
    return repr((sorted(number % 100 for number in date), hour % 12, minute))


def _qualtrics(header, rows, odd):
    """Qualtrics: three header rows, of which the first or second has the tags; unfinished rows are read too.

    Previews, tests and spam are left out, and reported, whether Status is a number or a word of any language.
    """
    if len(rows) < 2 or not any("ImportId" in cell for cell in rows[1][1]):
        odd.append((3, "the third row is not Qualtrics' ImportId row: export again with all three header rows"))
        return pd.DataFrame(columns=ROW)
    named = [name if tag(name) else text for name, text in zip(header, rows[0][1])]
    _note_unread([name for name, text in zip(header, named) if not tag(text)], "Qualtrics", odd)
    person = header.index("PROLIFIC_PID" if "PROLIFIC_PID" in header else "ResponseId")
    kept = []
    for line, row in rows[2:]:
        status, channel = (dict(zip(header, row)).get(name, "").strip() for name in ("Status", "DistributionChannel"))
        if _answer(status, channel):
            kept.append((line, row))
        else:
            odd.append((line, f"a preview, a test or spam, by its status {status or channel!r}: left out"))
    return _wide(named, kept, [row[person] for _, row in kept])


def _answer(status, channel):
    """Whether a row of Qualtrics is from somebody who was asked; without a status it is."""
    if re.fullmatch(r"\d+", status):
        return not int(status) & NO_ANSWER
    return channel not in ("preview", "test") and (not status or bool(ANSWER.search(status)))


def _wide(header, rows, people):
    """Rows with one column a question; the questions on one picture are one screen. people: who each row is from."""
    tags = [(column, *tag(name)) for column, name in enumerate(header) if tag(name)]
    screens = enumerate(itertools.groupby(tags, lambda place: place[1]), 1)
    tags = [(*place, str(number)) for number, (_, screen) in screens for place in screen]
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


READERS = {"questionnaire": _questionnaire, "Qualtrics": _qualtrics, "Mechanical Turk": _mechanical_turk}
READERS["Google Forms"] = _google_forms  # the last to be tried: any file with tags may be Google's
