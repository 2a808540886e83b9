"""Every format of answers, damaged in every way that a class will find: each must be told, none guessed."""

import csv
import io
import json
import re

import pytest

from helpers import survey_import, survey_simulation

KEY = survey_simulation.paper_key()
ONE, TWO = KEY["item"][0], KEY["item"][1]
FORMULA = '=HYPERLINK("http://x.example"),1'
SATISFIED, SAID = f"Satisfied? [{ONE}/satisfied]", f"Anything to say? [{ONE}/comment]"
IMPORT_IDS = ['{"ImportId":"x"}'] * 5
TURK = ["AssignmentId", "WorkerId", "AssignmentStatus", "Input.item", "Answer.satisfied", "Answer.comment"]


def table(*rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def own(*people):
    head = ["study", "respondent", "item", "question", "value", "position", "duration_s"]
    rows = []
    for number, (value, comment) in enumerate(people):
        who = f"r{number:010x}"
        rows += [["s", who, ONE, "satisfied", value, 1, 3], ["s", who, ONE, "comment", comment, 1, 3]]
    return table(head, *rows)


def google(*people):
    rows = [[f"2026/11/23 {n}:00:00 AM GMT+1", *answers] for n, answers in enumerate(people)]
    return table(["Timestamp", SATISFIED, SAID], *rows)


def qualtrics(*people):
    head = ["StartDate", "ResponseId", "IPAddress", f"{ONE}_satisfied", f"{ONE}_comment"]
    rows = [["2026", f"R_{n}", "1.2.3.4", *answers] for n, answers in enumerate(people)]
    return table(head, head, IMPORT_IDS, *rows)


def turk(*people):
    return table(TURK, *[[f"A{n}", f"W{n}", "Approved", ONE, *answers] for n, answers in enumerate(people)])


def label_studio(*people):
    def work(number, value, comment):
        results = [{"from_name": "satisfied", "type": "choices", "value": {"choices": [value]}}]
        results.append({"from_name": "comment", "type": "textarea", "value": {"text": [comment]}})
        return {"completed_by": number, "lead_time": 3, "result": results}

    works = [work(number, *answers) for number, answers in enumerate(people)]
    return json.dumps([{"data": {"item": ONE}, "annotations": works}])


WRITERS = {"own": own, "google": google, "qualtrics": qualtrics, "turk": turk, "label_studio": label_studio}
CSV = [name for name in WRITERS if name != "label_studio"]
every = pytest.mark.parametrize("kind", WRITERS)
every_csv = pytest.mark.parametrize("kind", CSV)
PEOPLE = [("yes", "fine"), ("no", "dull")]


@pytest.fixture
def read(tmp_path):
    def write_and_read(kind, *contents):
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"{number}.{'json' if kind == 'label_studio' else 'csv'}")
            paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
        answers = survey_import.read_answers(paths, KEY)
        return answers, " | ".join(f"{row.file} {row.line}: {row.problem}" for row in answers.odd.itertuples())

    return write_and_read


def found(answers):
    return sorted(zip(answers.table["question"], answers.table["value"]))


WHOLE = sorted([("satisfied", "yes"), ("satisfied", "no"), ("comment", "fine"), ("comment", "dull")])


@every
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_whole_in_any_unicode(read, kind, encoding):
    answers, told = read(kind, WRITERS[kind](*PEOPLE).encode(encoding))
    assert found(answers) == WHOLE and answers.table["respondent"].nunique() == 2
    assert ("UTF-16" in told) == (encoding == "utf-16") and (told == "") == (encoding != "utf-16")


@every
def test_another_encoding_is_refused_with_the_mend(read, kind):
    text = json.dumps(json.loads(label_studio(("yes", "é"))), ensure_ascii=False) if kind == "label_studio" else None
    with pytest.raises(ValueError, match=r"0\.\w+ is not in UTF-8"):
        read(kind, (text or WRITERS[kind](("yes", "é"))).encode("latin-1"))


@every_csv
def test_cut_anywhere_keeps_only_whole_answers_and_says_so(read, kind):
    whole = WRITERS[kind](*PEOPLE)
    start = whole.rindex("no")
    for cut in range(start - 1, whole.rindex("dull"), 2):
        answers, told = read(kind, whole[:cut])
        assert ("satisfied", "yes") in found(answers) and ("comment", "dull") not in found(answers)
        assert {value for question, value in found(answers) if question == "comment"} <= {"fine"}
        assert "cut" in told or whole[:cut].endswith("\n")


@every_csv
def test_cut_in_the_last_cell_is_told_with_its_line(read, kind):
    whole = WRITERS[kind](*PEOPLE)
    end = whole.rindex("dull")
    for cut in (end + 2, end + 4):
        answers, told = read(kind, whole[:cut])
        assert re.search(rf"0\.csv {whole.count(chr(10))}: the last line has no end.*cut", told)
        kept = whole[end:cut] if kind == "google" else None  # Google's own downloads look like that
        assert [value for question, value in found(answers) if question == "comment"] == sorted(
            filter(None, ["fine", kept])
        )


@pytest.mark.parametrize("kind", ["qualtrics", "turk", "own"])
def test_columns_that_are_nobodys_are_told(read, kind):
    rows = [[*row, f"odd {number}"] for number, row in enumerate(csv.reader(io.StringIO(WRITERS[kind](*PEOPLE))))]
    answers, told = read(kind, table(*rows))
    assert found(answers) == WHOLE and re.search(r"0\.csv 1: not read, for .*: odd 0", told)


def test_an_answer_of_mechanical_turk_without_picture_or_question_is_told(read):
    rows = list(csv.reader(io.StringIO(turk(*PEOPLE))))
    more = [["Answer.colour", "Answer.match.3"], ["red", "on"], ["", "false"]]
    answers, told = read("turk", table(*([*row, *extra] for row, extra in zip(rows, more))))
    assert found(answers) == WHOLE
    assert "0.csv 2: Answer.colour = 'red' names no picture" in told and "2: Answer.match.3 = 'on'" in told
    assert told.count("left out") == 2


def test_two_people_in_a_form_of_any_language_stay_two(read):
    for title in ("Timestamp", "Marca temporal", "طابع زمني"):
        answers, told = read("google", google(("yes", ""), ("yes", "")).replace("Timestamp", title))
        assert answers.table["respondent"].nunique() == 2, title
        assert ("was taken for the time" in told) == (title != "Timestamp")
    untimed = [row[1:] for row in csv.reader(io.StringIO(google(("yes", ""), ("yes", ""))))]
    answers, told = read("google", table(*untimed))
    assert answers.table["respondent"].nunique() == 2 and "no column with the time" in told
    answers, told = read("google", table(*untimed), table(*untimed, ["no", ""]))
    assert answers.table["respondent"].nunique() == 3 and told.count("handed in before") == 2


def test_a_cut_table_of_demographics_is_told(tmp_path):
    (tmp_path / "a.csv").write_text(turk(*PEOPLE))
    (tmp_path / "p.csv").write_text("Participant id,Age,Sex\nW0,30,Female\nW1,31,Fem")
    answers = survey_import.read_answers([tmp_path / "a.csv"], KEY, demographics=tmp_path / "p.csv")
    assert sorted(answers.people["Sex"]) == ["", "Female"]
    assert [(row.file, row.line) for row in answers.odd.itertuples()] == [("p.csv", 3)]


def test_a_cut_label_studio_export_is_refused(read):
    whole = label_studio(*PEOPLE)
    for cut in range(1, len(whole), 7):
        with pytest.raises(ValueError, match=r"0\.json is not whole JSON.*export it again"):
            read("label_studio", whole[:cut])


@every_csv
@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_read_and_told(read, kind, separator):
    rows = csv.reader(io.StringIO(WRITERS[kind](*PEOPLE)))
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    answers, told = read(kind, text.getvalue())
    assert found(answers) == WHOLE and "separated by" in told


CHANGED = {  # what somebody renamed, and what is said about it
    "own": ("respondent", "name", "no known kind"),
    "google": (f"[{ONE}/satisfied]", "", "not read, for no picture's code.*Satisfied"),
    "qualtrics": (f"{ONE}_satisfied", "Q7", "1: not read, for no picture's code.*Q7"),
    "turk": ("Answer.", "Reply.", "no answers in columns named Answer"),
    "label_studio": ('"item"', '"picture"', "no such picture"),
}


@every
def test_changed_headers_are_told(read, kind):
    old, new, words = CHANGED[kind]
    damaged = WRITERS[kind](*PEOPLE).replace(old, new)
    if kind == "own":
        with pytest.raises(ValueError, match=words):
            read(kind, damaged)
        return
    answers, told = read(kind, damaged)
    assert re.search(words, told) and len(answers.table) < len(WHOLE)


def test_google_without_any_code_is_refused_by_its_columns(read):
    with pytest.raises(ValueError, match="no known kind; its columns are: Timestamp, Satisfied"):
        read("google", google(*PEOPLE).replace(f"[{ONE}/", "["))


def test_qualtrics_without_its_three_header_rows_is_not_guessed(read):
    rows = list(csv.reader(io.StringIO(qualtrics(*PEOPLE))))
    answers, told = read("qualtrics", table(rows[0], *rows[3:]))
    assert answers.table.empty and "all three header rows" in told


@every
def test_the_same_file_twice_counts_once(read, kind):
    text = WRITERS[kind](*PEOPLE)
    answers, told = read(kind, text, text)
    assert found(answers) == WHOLE and "the same file as 0" in told


@every_csv
def test_a_second_submission_counts_once(read, kind):
    text = WRITERS[kind](*PEOPLE)
    last = text.splitlines(keepends=True)[-1]
    answers, told = read(kind, text + last)
    assert found(answers) == WHOLE and "handed in before" in told


@pytest.mark.parametrize("kind", ["google", "qualtrics", "own"])
def test_a_later_download_with_more_people_adds_only_those(read, kind):
    answers, told = read(kind, WRITERS[kind](*PEOPLE), WRITERS[kind](*PEOPLE, ("yes", "late")))
    assert found(answers) == sorted([*WHOLE, ("satisfied", "yes"), ("comment", "late")])
    assert answers.table["respondent"].nunique() == 3 and told.count("handed in before") == 2


@every
def test_a_formula_in_a_comment_stays_text(read, kind, tmp_path):
    answers, told = read(kind, WRITERS[kind](("yes", FORMULA)))
    assert ("comment", FORMULA) in found(answers) and "begins like a formula: kept as plain text" in told
    survey_import.write_table(tmp_path / "kept.csv", answers.table)
    kept = (tmp_path / "kept.csv").read_text()
    assert "'=HYPERLINK" in kept and not any(
        cell.startswith("=") for row in csv.reader(io.StringIO(kept)) for cell in row
    )


@every
def test_an_empty_file_is_refused_by_name(read, kind):
    with pytest.raises(ValueError, match=r"0\.\w+ is"):
        read(kind, b"")


def test_a_prolific_table_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(qualtrics(*PEOPLE))
    (tmp_path / "p.csv").write_text("Participant,Age\nP1,30\n")
    with pytest.raises(ValueError, match=r"p\.csv has no column 'Participant id'.*Prolific"):
        survey_import.read_answers([tmp_path / "a.csv"], KEY, demographics=tmp_path / "p.csv")
