"""Mechanical Turk's batch results and Label Studio's JSON, read into the plain rows of survey_formats."""

import json

import pandas as pd

from helpers import survey_formats

ZONES = {"PST": "-0800", "PDT": "-0700", "UTC": "+0000", "GMT": "+0000"}  # Mechanical Turk writes the first two
TURK = {  # columns of a batch result beside Input.x and Answer.x
    *("HITId", "HITTypeId", "Title", "Description", "Keywords", "Reward", "CreationTime", "MaxAssignments"),
    *("RequesterAnnotation", "AssignmentDurationInSeconds", "AutoApprovalDelayInSeconds", "Expiration"),
    *("NumberOfSimilarHITs", "LifetimeInSeconds", "AssignmentId", "WorkerId", "AssignmentStatus", "AcceptTime"),
    *("SubmitTime", "AutoApprovalTime", "ApprovalTime", "RejectionTime", "RequesterFeedback", "WorkTimeInSeconds"),
    *("LifetimeApprovalRate", "Last30DaysApprovalRate", "Last7DaysApprovalRate", "Approve", "Reject"),
}


def mechanical_turk(header, rows, odd):
    """A Mechanical Turk batch result: Answer.x = value, Answer.x.label = text, or Answer.x.option = true.

    x is a tag, or a question alone where Input.item has the code. Rejected assignments are left out and reported, and
    so is every answer that names no picture or question. The position follows AcceptTime.
    """
    found, handed_in = [], set()
    asked = [name for name in header if not name.startswith(("Input.", "Answer."))]
    survey_formats.tell_unread(asked, TURK, odd, "it is no column of Mechanical Turk, nor named Answer.<question>")
    for line, row in rows:
        record = dict(zip(header, row))
        problem = _unusable(record, handed_in)
        if problem:
            odd.append((line, problem))
            continue
        handed_in.add(record["AssignmentId"])
        worker, time = record["WorkerId"], _turk_time(record.get("AcceptTime", ""))
        seconds = record.get("WorkTimeInSeconds", "")
        answers, unread = _turk_answers(record)
        odd += [(line, f"{name} = {value[:60]!r} names no picture and question: left out") for name, value in unread]
        for (item, question), values in answers.items():
            if len(values) == 1:
                found.append((worker, item, question, values[0], time, seconds, line, line))
            else:
                odd.append((line, f"{item}/{question} has {len(values)} answers: {', '.join(values)}"))
    return _in_order(found)


def _turk_time(text):
    """ "Mon Nov 23 10:11:12 PST 2026" or an ISO date as a time; NaT for anything else."""
    for zone, hours in ZONES.items():
        text = text.replace(zone, hours)
    times = [
        pd.to_datetime(text, format=form, errors="coerce", utc=True) for form in ("%a %b %d %H:%M:%S %z %Y", "ISO8601")
    ]
    return times[1] if pd.isna(times[0]) else times[0]


def _in_order(found):
    """The plain rows of tuples that end with a task and have its time for a position.

    A person's first task in time gets the position 1, the next 2; all are "" for a person with a time that is missing
    or there twice, for the order in the file need not be the order of the answers.
    """
    rows = pd.DataFrame(found, columns=[*survey_formats.ROW, "task"])
    rows["position"] = pd.to_datetime(rows["position"], utc=True)
    tasks = rows.drop_duplicates(["person", "task"])
    known = tasks["position"].notna() & ~tasks.duplicated(["person", "position"], keep=False)
    tasks = tasks[known.groupby(tasks["person"]).transform("all")].sort_values("position")
    place = dict(zip(zip(tasks["person"], tasks["task"]), tasks.groupby("person").cumcount() + 1))
    told = [str(place.get(task, "")) for task in zip(rows["person"], rows["task"])]
    return rows.assign(position=told)[survey_formats.ROW]


def _unusable(record, handed_in):
    """Why an assignment is not read, or None."""
    if record.get("AssignmentStatus") == "Rejected":
        return "the assignment was rejected: its answers are left out"
    if record["AssignmentId"] in handed_in:
        return "handed in before: the same assignment again is left out"
    if not any(record[name].strip() for name in record if name.startswith("Answer.")):
        return "the assignment has no answers in columns named Answer.<question>: left out"
    if not _turk_answers(record)[0]:
        return "no answer names a picture, and there is no column Input.item: left out"
    return None


def _turk_answers(record):
    """({(item, question): chosen values}, [(column, value) not understood]), whichever of three shapes they have."""
    found, unread = {}, []
    for name, value in record.items():
        if not name.startswith("Answer.") or not value.strip():
            continue
        asked, _, option = name.removeprefix("Answer.").partition(".")
        place = survey_formats.tag(asked) or (survey_formats.tag(f"{record.get('Input.item', '')}/{asked}"))
        whole = option in ("", "label")
        if not place or not (whole or value.strip().lower() in ("true", "false")):
            unread.append((name, value.strip()))
        elif whole or value.strip().lower() == "true":
            found.setdefault(place, []).append(value.strip() if whole else option)
    return found, unread


def label_studio(path, odd):
    """Label Studio's JSON export: tasks whose data has item; `line` counts the tasks. Cancelled work is left out.

    The position follows created_at, the time at which an annotation was handed in.
    """
    try:
        tasks = json.loads(survey_formats.decode(path, odd))
    except ValueError as error:
        raise ValueError(f"{path.name} is not whole JSON ({error}): export it again.") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"{path.name} is not a list of Label Studio tasks: export it as 'JSON', not 'JSON-MIN'.")
    found, works = [], 0
    for line, task in enumerate(tasks, 1):
        item = str(task.get("data", {}).get("item", ""))
        for work in task.get("annotations", []):
            if work.get("was_cancelled"):
                odd.append((line, "an annotation was cancelled: it is left out"))
                continue
            who = _worker(work.get("completed_by"))
            works += 1
            time = pd.to_datetime(work.get("created_at"), format="ISO8601", errors="coerce", utc=True)
            seconds = str(work.get("lead_time", ""))
            if not work.get("result"):
                odd.append((line, "an annotation has no answers"))
            for result in work.get("result", []):
                value = _label_value(result)
                if value is None:
                    odd.append((line, f"a result of type {result.get('type')!r} was not understood"))
                else:
                    found.append((who, item, result.get("from_name"), value, time, seconds, line, works))
    return _in_order(found)


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
