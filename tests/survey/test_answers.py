"""Answers of every source, whole or damaged in every way that a class will find: each must be told, none guessed."""

import csv
import io
import json
import re
import zipfile

import pandas as pd
import pytest

from helpers import survey
from helpers.survey import design, questionnaire, simulation

KEY = design.paper_key()
ONE, TWO = KEY["item"][0], KEY["item"][1]
HEADER = ["study", "respondent", "item", "question", "value", "position", "duration_s"]


def table(rows, separator=","):
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


@pytest.fixture
def read(tmp_path):
    """Writes bytes, text or a DataFrame to files and reads them as answers."""

    def write_and_read(*contents, **settings):
        paths = [tmp_path / f"{number}.csv" for number in range(len(contents))]
        for path, content in zip(paths, contents):
            content = content.to_csv(index=False) if isinstance(content, pd.DataFrame) else content
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return survey.answers.read_answers(paths, KEY, **settings)

    return write_and_read


def told(answers):
    return " | ".join(f"{row.file} {row.line}: {row.problem}" for row in answers.odd.itertuples())


def found(answers):
    return sorted(zip(answers.table["question"], answers.table["value"]))


def raters(answers):
    return answers.table["respondent"].nunique()


def own(*people):
    rows = [HEADER]
    for number, answers in enumerate(people):
        who = f"r{number:010x}"
        rows += [["s", who, ONE, name, value, 1, 3] for name, value in zip(("satisfied", "comment"), answers)]
    return rows


def google(*people):
    head = ["Timestamp", f"Satisfied? [{ONE}/satisfied]", f"Anything to say? [{ONE}/comment]"]
    return [head, *([f"2026/11/23 {n}:00:00 AM GMT+1", *answers] for n, answers in enumerate(people))]


def qualtrics(*people):
    head = ["StartDate", "ResponseId", "IPAddress", f"{ONE}_satisfied", f"{ONE}_comment"]
    rows = [["2026", f"R_{n}", "1.2.3.4", *answers] for n, answers in enumerate(people)]
    return [head, head, ['{"ImportId":"x"}'] * 5, *rows]


def turk(*people):
    head = ["AssignmentId", "WorkerId", "AssignmentStatus", "Input.item", "Answer.satisfied", "Answer.comment"]
    return [head, *([f"A{n}", f"W{n}", "Approved", ONE, *answers] for n, answers in enumerate(people))]


every = pytest.mark.parametrize("source", [own, google, qualtrics, turk])
PEOPLE = [("yes", "fine"), ("no", "dull")]
WHOLE = sorted([("satisfied", "yes"), ("satisfied", "no"), ("comment", "fine"), ("comment", "dull")])
FORMULA = '=HYPERLINK("http://x.example"),1'


@every
@pytest.mark.parametrize(
    ("encoding", "comment", "words"),
    [
        ("utf-8", "جميل", ""),
        ("utf-8-sig", "جميل", ""),
        ("utf-16", "جميل", "UTF-16"),
        ("cp1252", "schön", "Windows-1252"),
    ],
)
def test_whole_in_any_encoding_that_excel_saves(read, source, encoding, comment, words):
    answers = read(table(source(*PEOPLE, ("yes", comment))).encode(encoding))
    assert found(answers) == sorted([*WHOLE, ("satisfied", "yes"), ("comment", comment)]) and raters(answers) == 3
    assert words in told(answers) and (words != "") == (told(answers) != "")


@every
@pytest.mark.parametrize("comment", ["今日は".encode("cp932"), "schön, très schön".encode() + b"\xc3"])
def test_another_encoding_and_damaged_utf_8_are_refused(read, source, comment):
    with pytest.raises(ValueError, match=r"0\.csv is not in UTF-8"):
        read(table(source(("yes", "COMMENT"))).encode().replace(b"COMMENT", comment))


@every
def test_cut_anywhere_keeps_only_whole_answers_and_says_so(read, source):
    whole = table(source(*PEOPLE))
    start, end = whole.rindex("no"), whole.rindex("dull")
    for cut in [*range(start - 1, end, 2), end + 2, end + 4]:
        answers = read(whole[:cut])
        comments = {value for question, value in found(answers) if question == "comment"}
        half = {whole[end:cut]} if source is google else set()  # Google's own downloads look like that: read, and told
        assert ("satisfied", "yes") in found(answers) and comments - half <= {"fine"}
        assert "cut" in told(answers) or whole[:cut].endswith("\n")
    assert f"0.csv {whole.count(chr(10))}: the last line has no end" in told(answers)


@pytest.mark.parametrize("source", [qualtrics, turk, own])
def test_columns_that_are_nobodys_are_told(read, source):
    answers = read(table([[*row, f"odd {number}"] for number, row in enumerate(source(*PEOPLE))]))
    assert found(answers) == WHOLE and "0.csv 1: not read" in told(answers) and "odd 0" in told(answers)


@every
@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_read_and_told(read, source, separator):
    answers = read(table(source(*PEOPLE), separator))
    assert found(answers) == WHOLE and "separated by" in told(answers)


CHANGED = [  # what somebody renamed, and what is said about it
    (google, f"[{ONE}/satisfied]", "", "not read, for no picture's code"),
    (qualtrics, f"{ONE}_satisfied", "Q7", "not read, for no picture's code"),
    (qualtrics, "ImportId", "Id", "all three header rows"),
    (turk, "Answer.", "Reply.", "no answers in columns named Answer"),
    (own, "respondent", "name", "no known kind; its columns are: study, name"),
    (google, f"[{ONE}/", "[", "no known kind; its columns are: Timestamp, Sat"),
    (own, table(own(*PEOPLE)), "", "is empty"),
    (own, table(own(*PEOPLE)), "one,two\n", "no known kind"),
]


@pytest.mark.parametrize(("source", "old", "new", "words"), CHANGED)
def test_changed_headers_are_told(read, source, old, new, words):
    try:
        answers = read(table(source(*PEOPLE)).replace(old, new))
    except ValueError as error:
        assert words in str(error)
    else:
        assert words in told(answers) and len(answers.table) < len(WHOLE)


@every
def test_what_is_handed_in_twice_counts_once(read, source):
    text = table(source(*PEOPLE))
    answers = read(text, text)
    assert found(answers) == WHOLE and "the same file as 0" in told(answers)
    answers = read(text + text.splitlines(keepends=True)[-1])
    assert found(answers) == WHOLE and "handed in before" in told(answers)


@pytest.mark.parametrize("source", [google, qualtrics, own])
def test_a_later_download_with_more_people_adds_only_those(read, source):
    answers = read(table(source(*PEOPLE)), table(source(*PEOPLE, ("yes", "late"))))
    assert found(answers) == sorted([*WHOLE, ("satisfied", "yes"), ("comment", "late")])
    assert raters(answers) == 3 and told(answers).count("handed in before") == 2


@every
def test_a_formula_in_a_comment_stays_text(read, source, tmp_path):
    answers = read(table(source(("yes", FORMULA))))
    assert ("comment", FORMULA) in found(answers) and "begins like a formula" in told(answers)
    survey.answers.write_table(tmp_path / "kept.csv", answers.table)
    cells = pd.read_csv(tmp_path / "kept.csv", dtype=str, keep_default_na=False)
    assert not cells.map(lambda cell: cell.startswith("=")).any(axis=None)
    assert found(survey.answers.read_answers([tmp_path / "kept.csv"], KEY)) == found(answers)


def test_two_people_in_a_form_of_any_language_stay_two(read):
    alike = google(("yes", ""), ("yes", ""))
    for title in ("Timestamp", "Marca temporal", "طابع زمني"):
        answers = read(table(alike).replace("Timestamp", title))
        assert raters(answers) == 2 and ("was taken for the time" in told(answers)) == (title != "Timestamp")
    untimed = [row[1:] for row in alike]
    answers = read(table(untimed))
    assert raters(answers) == 2 and "no column with the time" in told(answers)
    answers = read(table(untimed), table([*untimed, ["no", ""]]))
    assert raters(answers) == 3 and told(answers).count("handed in before") == 2


def test_demographics_that_are_cut_are_told_and_of_another_kind_refused(read, tmp_path):
    people = tmp_path / "p.csv"
    people.write_text("Participant id,Age,Sex\nW0,30,Female\nW1,31,Fem")
    answers = read(table(turk(*PEOPLE)), demographics=people)
    assert sorted(answers.people["Sex"]) == ["", "Female"] and told(answers).startswith("p.csv 3: ")
    people.write_text("Participant,Age\nP1,30\n")
    with pytest.raises(ValueError, match=r"p\.csv has no column 'Participant id'"):
        read(table(turk(*PEOPLE)), demographics=people)


def line(item=ONE, question="satisfied", value="yes", position="1", seconds="3.5", study="s"):
    return f"{study},r0123456789,{item},{question},{value},{position},{seconds}\r\n"


WRONG = [
    (line(TWO, value="maybe"), "no such answer"),
    (line("zzzz"), "no such picture"),
    (line(TWO, question="colour"), "no such question"),
    (line(TWO, position="1.5"), "whole number"),
    (line(TWO, position=""), "whole number"),
    (line(TWO, seconds="soon"), "number of seconds"),
    (line(TWO, study="other"), "another plan"),
    (f"s,r0123456789,{TWO},satis\n", "4 cells instead of 7"),
    (f's,r0123456789,{TWO},"comm\n', "cannot be read"),
    (line(), "handed in before"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_a_row_that_cannot_be_used_is_left_out_with_its_line(read, wrong, words):
    answers = read(table([HEADER]) + line() + wrong, study="s")
    assert len(answers.table) == 1 and told(answers).startswith("0.csv 3: ") and words in told(answers)


def test_a_picture_shown_twice_counts_twice_and_decimal_commas_are_read(read):
    answers = read((table([HEADER]) + line() + line(position="9")).replace(",", ";").replace("3.5", "3,5"))
    assert answers.table["position"].tolist() == [1, 9] and answers.table["duration_s"].tolist() == [3.5] * 2


def test_a_file_that_names_no_plan_is_told(read):
    text = table([row[1:] for row in own(*PEOPLE)])
    assert told(read(text)) == "" and "0.csv 1: no column says to which plan" in told(read(text, study="s"))
    assert survey.answers.read_answers([simulation.FILE], KEY, study="s").odd.empty


def test_google_forms_in_any_language_and_without_the_address(read):
    form = {"Timestamp": ["2026/11/23"] * 2, "Email Address": ["ana@x.org"] * 2}
    form |= {f"Q [{ONE}/satisfied]": ["Sí", "不满意"], f"Q [{ONE}/likeness]": ["4  Mucho", "1"]}
    answers = read(pd.DataFrame(form | {f"Q [{ONE}/comment]": ["", "nada"]}))
    assert answers.table["value"].tolist() == ["yes", "4", "no", "1", "nada"]
    assert raters(answers) == 2 and "ana" not in answers.table.to_csv() + answers.people.to_csv()


def test_qualtrics_has_three_header_rows_and_prolific_joins(read, tmp_path):
    head = ["StartDate", "IPAddress", "ResponseId", "PROLIFIC_PID", f"{ONE}_satisfied", "QID2"]
    rows = [["Start", "IP", "Id", "Pid", "Satisfied?", f"Like? {ONE}/likeness"], ['{"ImportId":"x"}'] * 6]
    rows += [["2026", "1.2.3.4", "R_1", "P7", "Yes", "5"]]
    (tmp_path / "prolific.csv").write_text("Submission id,Participant id,Status,Age,Sex\nS,P7,APPROVED,31,Female\n")
    answers = read(pd.DataFrame(rows, columns=head), demographics=tmp_path / "prolific.csv")
    assert found(answers) == [("likeness", "5"), ("satisfied", "yes")]
    assert answers.people[["Age", "Sex"]].to_numpy().tolist() == [["31", "Female"]]
    everything = answers.table.to_csv() + answers.people.to_csv()
    assert not any(secret in everything for secret in ("P7", "R_1", "1.2.3.4"))


TURK = {"AssignmentId": "A", "WorkerId": "W1", "AssignmentStatus": "Approved", "WorkTimeInSeconds": "61"}


def test_mechanical_turk_in_its_three_shapes(read):
    shapes = {"Input.item": ONE, "Answer.satisfied": "yes", "Answer.match.label": "3", "Answer.likeness.2": "true"}
    first = TURK | shapes | {"Answer.likeness.4": "false", "Answer.colour": "red"}
    rejected = first | {"AssignmentId": "B", "WorkerId": "W2", "AssignmentStatus": "Rejected"}
    two_likenesses = first | {"AssignmentId": "C", "WorkerId": "W3", "Answer.likeness.4": "true", "Answer.colour": ""}
    answers = read(pd.DataFrame([first, rejected, two_likenesses]))
    assert found(answers) == [("likeness", "2"), *[("match", "3")] * 2, *[("satisfied", "yes")] * 2]
    for words in ("2: Answer.colour = 'red' names no picture", "3: the assignment was rejected", "2 answers"):
        assert words in told(answers)


def test_the_position_in_mechanical_turk_is_the_order_of_acceptance(read):
    times = ["Sun Nov 01 01:40:00 PST 2026", "Sun Nov 01 01:50:00 PDT 2026", "2026-11-02T10:00:00Z"]
    rows = [
        TURK | {"AssignmentId": str(i), "AcceptTime": time, "Input.item": item, "Answer.satisfied": "yes"}
        for i, (time, item) in enumerate(zip(times, KEY["item"]))
    ]
    assert read(pd.DataFrame(rows)).table["position"].tolist() == [2, 1, 3]  # the clock went back that night
    other = rows[0] | {"WorkerId": "W2", "AssignmentId": "9"}
    for third in ("soon", times[1]):  # no time, or two at once: no order
        rows[2]["AcceptTime"] = third
        *unknown, known = read(pd.DataFrame([*rows, other])).table["position"]
        assert pd.isna(unknown).all() and known == 1


STATUS = [  # Qualtrics' own words and numbers, and whether the row is an answer
    *[(word, True) for word in ("IP Address", "IP-Adresse", "Dirección IP", "IP 地址", "IP アドレス", "IP-адрес", "Adresse IP")],
    *[(word, True) for word in ("0", "4", "16", "32", "", "Imported", "Offline")],
    *[(word, False) for word in ("Survey Preview", "Survey Test", "Spam", "Umfragenvorschau", "Vista previa de la encuesta")],
    *[(word, False) for word in ("Aperçu de l'enquête", "アンケートプレビュー", "调查预览", "Possible Spam", "Offline Survey Preview")],
    *[(word, False) for word in ("1", "2", "8", "9", "12", "17", "40")],
]  # fmt: skip


@pytest.mark.parametrize(("status", "counts"), STATUS)
def test_previews_tests_and_spam_are_no_raters_in_any_language(read, status, counts):
    rows = qualtrics(*PEOPLE)
    columns = ["Status", "Status", '{"ImportId":"status"}', "IP Address", status]
    answers = read(table([[*row, cell] for row, cell in zip(rows, columns)]))
    assert raters(answers) == 1 + counts
    assert ("0.csv 5: a preview, a test or spam" in told(answers)) == (not counts)


def test_a_preview_is_known_by_its_channel_too(read):
    columns = ["DistributionChannel", "Channel", '{"ImportId":"distributionChannel"}', "anonymous", "preview"]
    answers = read(table([[*row, cell] for row, cell in zip(qualtrics(*PEOPLE), columns)]))
    assert raters(answers) == 1 and "'preview'" in told(answers)


LABEL_STUDIO = [{"id": 7, "prompt": "a man", f"{ONE}/satisfied": "yes"}]
NOTHING = [  # what yields no answer, and what is said
    (json.dumps(LABEL_STUDIO), "1.csv 1: the file is JSON"),
    (json.dumps(LABEL_STUDIO, indent=2), "1.csv 1: the file is JSON"),
    (json.dumps(LABEL_STUDIO[0]).encode("utf-8-sig"), "1.csv 1: the file is JSON"),
    (table(own()), "1.csv 1: no answers to this study"),
    (table(google()), "1.csv 1: no answers to this study"),
    (table(turk(("", ""))), "1.csv 1: no answers to this study"),
    ("", "1.csv 1: the file is empty"),
    (b"\xef\xbb\xbf\r\n", "1.csv 1: the file is empty"),
]


@pytest.mark.parametrize(("content", "words"), NOTHING)
def test_a_file_that_yields_nothing_is_named_and_the_others_are_read(read, content, words):
    answers = read(table(own(*PEOPLE)), content)
    assert found(answers) == WHOLE and words in told(answers)
    with pytest.raises(ValueError, match=r"no answers to read \(0\.csv"):
        read(content)


EXCEL = [  # a time as Google writes it, and as a spreadsheet somewhere saves it again
    ("11/23/2026 10:00:07", "11/23/2026 10:00"),
    ("2026/11/23 10:00:07 PM GMT+1", "23.11.2026 22:00"),
    ("2026/11/03 12:00:07 AM EST", "3/11/26 0:00"),
    ("2026/11/23 9:05:07 AM GMT+1", "2026-11-23 09:05:07"),
]


@pytest.mark.parametrize(("google_time", "excel_time"), EXCEL)
def test_a_form_that_a_spreadsheet_saved_again_is_of_the_same_people(read, google_time, excel_time):
    """Three people in one minute, two of them of one opinion: they stay three in both files."""
    rows = google(("yes", ""), ("no", ""), ("yes", ""))
    times = [google_time.replace(":07", f":{second:02}") for second in (7, 8, 9)]
    first = table([rows[0], *([time, *row[1:]] for time, row in zip(times, rows[1:]))])
    times = [excel_time.replace(":07", f":{second:02}") for second in (7, 8, 9)]
    again = table([rows[0], *([time, *row[1:]] for time, row in zip(times, rows[1:]))], ";")
    for files in ([first], [again], [first, again], [again, first]):
        assert raters(read(*files)) == 3 and len(found(read(*files))) == 3


def test_other_forms_of_the_same_minute_are_of_other_people(read):
    form = table(google(("yes", "")))
    assert raters(read(form, form.replace(ONE, TWO))) == 2


def test_no_id_of_ours_is_a_number_or_a_date_to_a_spreadsheet():
    plans = [pd.DataFrame({"rater": [number], "item": [ONE]}) for number in range(300)]
    ids = [questionnaire.study_id(plan, KEY) for plan in plans]
    assert not any(re.fullmatch(r"\d*[de]?\d*", name) or re.search("dec|feb", name) for name in ids)
    assert len(set(ids)) == 300 and all(re.fullmatch("[0-9a-f]{8}", name) for name in ids)
    assert pd.to_numeric(pd.Series([*ids, *KEY["item"], "r0123456789"]), errors="coerce").isna().all()


@every
def test_titles_with_separators_in_quotes_and_lone_carriage_returns_are_read(read, source):
    rows = [[*row, "a; b; c; d; e; f; g; h; i; j"] for row in source(*PEOPLE)]
    for end in ("\r\n", "\n", "\r"):
        text = io.StringIO(newline="")
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=end).writerows(rows)
        answers = read(text.getvalue())
        assert found(answers) == WHOLE and "cut" not in told(answers) and "separated" not in told(answers)


def test_what_computers_put_beside_the_answers_is_passed_over_and_a_zip_is_opened(tmp_path):
    folder = tmp_path / "answers"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    junk = [".DS_Store", "._a.csv", ".ipynb_checkpoints/a-checkpoint.csv", "desktop.ini", "~$a.xlsx", "Thumbs.db"]
    for name in junk:
        (folder / name).write_bytes(b"\x00\x05\x16\x07\xff")
    (folder / "empty.csv").touch()
    (folder / "a.csv").write_text(table(own(PEOPLE[0])))
    with zipfile.ZipFile(folder / "class.zip", "w") as archive:
        archive.writestr("b/b.csv", table([HEADER, *own((), PEOPLE[1])[1:]]))
        archive.writestr("__MACOSX/b/._b.csv", b"\x00\x05")
        archive.writestr("b/", "")
    answers = survey.answers.read_answers(sorted(folder.iterdir()), KEY)
    assert found(answers) == WHOLE and raters(answers) == 2
    for name in (*junk, "empty.csv", "class.zip/__MACOSX/b/._b.csv"):
        assert f"{name} 1: " in told(answers) and "passed over" in told(answers)
    again = survey.answers.read_answers([folder], KEY)  # the folder itself
    assert found(again) == WHOLE and len(again.odd) == len(answers.odd)
    for path in folder.glob("*.csv"):
        path.unlink()
    (folder / "class.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match=r"class\.zip cannot be unpacked"):
        survey.answers.read_answers(sorted(folder.iterdir()), KEY)


def test_of_two_answers_the_corrected_one_counts_wherever_it_stands(read, tmp_path):
    answers = read(table([HEADER]) + line() + line(value="no") + line(value="no"))
    assert found(answers) == [("satisfied", "no")]
    assert "0.csv 2: handed in again with another answer: 1 " in told(answers) and "4: handed in before" in told(
        answers
    )
    first, second = table([HEADER]) + line(), table([HEADER]) + line(value="no")
    assert found(read(first, second)) == [("satisfied", "no")] and found(read(second, first)) == [("satisfied", "yes")]
    for name, text in (("a (1).csv", second), ("a.csv", first)):
        (tmp_path / name).write_text(text)
    copies = survey.answers.read_answers(sorted(tmp_path.glob("a*.csv")), KEY)  # the browser's number decides
    assert found(copies) == [("satisfied", "no")] and "a.csv 2: handed in again" in told(copies)


def test_the_study_in_a_folder_is_the_simulated_one_until_somebody_answers(tmp_path):
    files, key, rules, number = survey.answers.study(tmp_path)
    assert files == [simulation.FILE] and number is None and rules == design.RULES
    assert survey.answers.read_answers(files, key, study=number).table["source"].unique().tolist() == ["simulated"]
    key, own = KEY.assign(prompt="NA"), design.RULES | {"median_seconds": 3.0}
    plan = design.make_plan(key, 2, seed=1)
    design.write_plan(tmp_path, key, plan, 1, own)
    assert survey.answers.study(tmp_path)[0] == [simulation.FILE] and survey.answers.study(tmp_path)[2] == own
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "a.csv").write_text(table([HEADER, [questionnaire.study_id(plan, key), *own_answer()]]))
    files, kept, rules, number = survey.answers.study(tmp_path)
    assert kept["prompt"].tolist() == key["prompt"].tolist() and rules == own
    assert len(survey.answers.read_answers(files, kept, study=number).table) == 1
    (tmp_path / "rules.json").unlink()
    with pytest.raises(FileNotFoundError, match="make the plan"):
        survey.answers.study(tmp_path)


def own_answer():
    return ["r0123456789", ONE, "satisfied", "yes", 1, 4.0]
