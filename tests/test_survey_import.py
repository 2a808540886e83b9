import json
import time

import pandas as pd
import pytest

from helpers import survey_design, survey_import, survey_simulation
from helpers import survey_statistics as statistics

KEY = survey_simulation.paper_key()
ONE, TWO = KEY["item"][0], KEY["item"][1]
HEADER = "study,respondent,item,question,value,position,duration_s\n"
TURK = {"AssignmentId": "A", "WorkerId": "W1", "AssignmentStatus": "Approved", "WorkTimeInSeconds": "61"}


def line(item=ONE, question="satisfied", value="yes", position="1", seconds="3.5", who="r0123456789", study="s"):
    return f"{study},{who},{item},{question},{value},{position},{seconds}\n"


@pytest.fixture
def read(tmp_path):
    """Writes bytes, text or rows to a file and reads it as answers."""

    def write_and_read(content, name="a.csv", **settings):
        path = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content = content.to_csv(index=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return survey_import.read_answers([path], KEY, **settings)

    return write_and_read


def problems(answers):
    return [f"{row.line}: {row.problem}" for row in answers.odd.itertuples()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_in_any_unicode(read, encoding):
    answers = read((HEADER + line(question="comment", value="جميل")).encode(encoding))
    assert answers.table["value"].tolist() == ["جميل"]
    assert bool(problems(answers)) == (encoding == "utf-16")


def test_another_encoding_is_refused_with_the_mend(read):
    with pytest.raises(ValueError, match=r"a\.csv is not in UTF-8.*CSV UTF-8"):
        read((HEADER + line(question="comment", value="é")).encode("latin-1"))


def test_semicolons_and_decimal_commas_are_read_and_told(read):
    answers = read((HEADER + line()).replace(",", ";").replace("3.5", "3,5"))
    assert answers.table["duration_s"].tolist() == [3.5] and "';'" in problems(answers)[0]


def test_a_cut_file_keeps_what_is_whole(read):
    answers = read(HEADER + line() + f"s,r0123456789,{TWO},satis")
    assert len(answers.table) == 1 and problems(answers)[0].startswith("3: the last line has no end")
    answers = read(HEADER + line() + f"s,r0123456789,{TWO},satis\n")
    assert len(answers.table) == 1 and problems(answers) == ["3: the row has 4 cells instead of 7: is the file cut?"]
    answers = read(HEADER + line() + f's,r0123456789,{TWO},"comm\n')
    assert len(answers.table) == 1 and problems(answers)[0].startswith("3: from here the file cannot be read")


def test_changed_headers_are_refused_by_name(read):
    with pytest.raises(ValueError, match=r"a\.csv is of no known kind; its columns are: study, who"):
        read(HEADER.replace("respondent", "who") + line())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"value": "maybe"}, "no such answer"),
        ({"item": "zzzz"}, "no such picture"),
        ({"question": "colour"}, "no such question"),
        ({"position": "1.5"}, "whole number"),
        ({"position": ""}, "whole number"),
        ({"seconds": "soon"}, "number of seconds"),
        ({"study": "other"}, "another plan"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_with_its_line(read, wrong, words):
    answers = read(HEADER + line() + line(**{"item": TWO, "position": "2"} | wrong), study="s")
    assert len(answers.table) == 1 and problems(answers)[0].startswith("3: ") and words in problems(answers)[0]


def test_a_second_submission_is_left_out_and_a_repeated_picture_is_not(read):
    answers = read(HEADER + line() + line(position="9") + line() + line(position="9"))
    assert answers.table["position"].tolist() == [1, 9]
    assert problems(answers) == ["4: handed in before: 2 answers of the same respondent are left out"]


def test_formulas_stay_text_and_are_guarded_again_when_kept(read, tmp_path):
    comment = '"=HYPERLINK(""http://x"")"'
    answers = read(HEADER + line(question="comment", value=comment))
    assert answers.table["value"].tolist() == ['=HYPERLINK("http://x")'] and "formula" in problems(answers)[0]
    survey_import.write_table(tmp_path / "kept.csv", answers.table)
    assert pd.read_csv(tmp_path / "kept.csv")["value"][0].startswith("'=")
    again = survey_import.read_answers([tmp_path / "kept.csv"], KEY)
    assert again.table["value"].tolist() == answers.table["value"].tolist()


def test_google_forms_in_any_language_and_without_the_address(read):
    form = {
        "Timestamp": ["2026/11/23"] * 2,
        "Email Address": ["ana@x.org"] * 2,
        f"Q [{ONE}/satisfied]": ["Sí", "不满意"],
    }
    form |= {f"Q [{ONE}/likeness]": ["4  Mucho", "1"], f"Q [{ONE}/comment]": ["", "nada"]}
    answers = read(pd.DataFrame(form))
    assert answers.table["value"].tolist() == ["yes", "4", "no", "1", "nada"]
    assert answers.table["respondent"].nunique() == 2 and "ana" not in answers.table.to_csv() + answers.people.to_csv()


def test_qualtrics_has_three_header_rows_and_prolific_joins(read, tmp_path):
    head = ["StartDate", "IPAddress", "ResponseId", "PROLIFIC_PID", f"{ONE}_satisfied", "QID2"]
    rows = [["Start", "IP", "Id", "Pid", "Satisfied?", f"Like? {ONE}/likeness"], ['{"ImportId":"x"}'] * 6]
    rows += [["2026", "1.2.3.4", "R_1", "P7", "Yes", "5"]]
    (tmp_path / "prolific.csv").write_text("Submission id,Participant id,Status,Age,Sex\nS,P7,APPROVED,31,Female\n")
    answers = read(pd.DataFrame(rows, columns=head), demographics=tmp_path / "prolific.csv")
    assert answers.table[["question", "value"]].to_numpy().tolist() == [["satisfied", "yes"], ["likeness", "5"]]
    assert answers.people[["Age", "Sex"]].to_numpy().tolist() == [["31", "Female"]]
    everything = answers.table.to_csv() + answers.people.to_csv()
    assert not any(secret in everything for secret in ("P7", "R_1", "1.2.3.4"))
    assert "all three header rows" in problems(read(pd.DataFrame([rows[0], rows[2]], columns=head)))[0]


def test_mechanical_turk_in_its_three_shapes(read):
    shapes = {"Input.item": ONE, "Answer.satisfied": "yes", "Answer.match.label": "3", "Answer.likeness.2": "true"}
    rows = [TURK | shapes | {"Answer.likeness.4": "false"}]
    rows.append(rows[0] | {"AssignmentId": "B", "WorkerId": "W2", "AssignmentStatus": "Rejected"})
    rows.append(rows[0] | {"AssignmentId": "C", "WorkerId": "W3", "Answer.likeness.4": "true"})
    answers = read(pd.DataFrame(rows))
    found = answers.table[["question", "value"]].to_numpy().tolist()
    assert found[:3] == [["satisfied", "yes"], ["match", "3"], ["likeness", "2"]] and len(found) == 5
    assert ["rejected" in problems(answers)[0], "2 answers" in problems(answers)[1]] == [True, True]


def test_label_studio_reads_choices_ratings_and_pairs(read):
    results = [
        {"from_name": "satisfied", "type": "choices", "value": {"choices": ["no"]}},
        {"from_name": "likeness", "type": "rating", "value": {"rating": 2}},
    ]
    profile = {"id": 3, "email": "ana@x.org", "first_name": "Ana"}
    work = {"completed_by": profile, "lead_time": 4.2, "result": results}
    two = KEY[KEY["prompt_id"] == KEY["prompt_id"][0]]["item"].tolist()[:2]
    pair = {"completed_by": 3, "result": [{"from_name": "pair", "type": "pairwise", "value": {"selected": "left"}}]}
    tasks = [{"data": {"item": ONE}, "annotations": [work, work | {"was_cancelled": True}]}]
    tasks.append({"data": {"item": "+".join(two)}, "annotations": [pair]})
    answers = read(json.dumps(tasks), "export.json")
    assert answers.table["value"].tolist() == ["no", "2", "left"] and answers.table["respondent"].nunique() == 1
    assert problems(answers) == ["1: an annotation was cancelled: it is left out"]
    with pytest.raises(ValueError, match="not whole JSON"):
        read(json.dumps(tasks)[:-9], "export.json")


def positions(answers):
    return {(row.item, row.value): row.position for row in answers.table.itertuples() if row.question == "satisfied"}


def test_the_position_in_mechanical_turk_is_the_order_of_acceptance(read):
    times = ["Sun Nov 01 01:40:00 PST 2026", "Sun Nov 01 01:50:00 PDT 2026", "2026-11-02T10:00:00Z"]
    rows = [
        TURK | {"AssignmentId": str(i), "AcceptTime": time, "Input.item": item, "Answer.satisfied": "yes"}
        for i, (time, item) in enumerate(zip(times, KEY["item"]))
    ]
    one, two, three = ((item, "yes") for item in KEY["item"][:3])
    assert positions(read(pd.DataFrame(rows))) == {one: 2, two: 1, three: 3}  # the clock went back that night
    rows[2]["AcceptTime"] = "soon"
    other = rows[0] | {"WorkerId": "W2", "AssignmentId": "9", "Answer.satisfied": "no"}
    found = positions(read(pd.DataFrame([*rows, other])))
    assert found.pop((ONE, "no")) == 1 and pd.isna(list(found.values())).all() and len(found) == 3
    rows[2]["AcceptTime"] = times[1]
    assert pd.isna(list(positions(read(pd.DataFrame(rows))).values())).all()  # two at once have no order


def test_the_position_in_label_studio_is_the_order_of_handing_in(read):
    def task(item, time):
        results = [
            {"from_name": name, "value": {"choices": [value]}} for name, value in (("satisfied", "yes"), ("match", "3"))
        ]
        return {"data": {"item": item}, "annotations": [{"completed_by": 1, "created_at": time, "result": results}]}

    tasks = [task(ONE, "2026-11-23T10:11:12.5Z"), task(TWO, "2026-11-23T10:11:12.4Z")]
    answers = read(json.dumps(tasks), "a.json")
    assert positions(answers) == {(ONE, "yes"): 2, (TWO, "yes"): 1} and answers.odd.empty
    assert answers.table.groupby("item")["position"].nunique().eq(1).all()
    del tasks[1]["annotations"][0]["created_at"]
    answers = read(json.dumps(tasks), "a.json")
    assert answers.table["position"].isna().all() and len(answers.table) == 4
    assert statistics.satisfied(answers.table)["value"].tolist() == [1, 1]
    tasks[0]["annotations"][0]["result"] = []
    assert problems(read(json.dumps(tasks), "a.json")) == ["1: an annotation has no answers"]


def test_a_file_that_names_no_plan_is_told(read):
    text = (HEADER + line()).replace("study,", "").replace("\ns,", "\n")
    assert problems(read(text)) == []
    answers = read(text, study="s")
    assert len(answers.table) == 1 and "1: no column says to which plan" in problems(answers)[0]
    assert survey_import.read_answers([survey_simulation.FILE], KEY, study="s").odd.empty


@pytest.mark.slow
def test_ten_thousand_raters_are_read_and_analysed(tmp_path, record_property):
    plan = survey_design.make_plan(KEY, 10_000, seed=1)
    survey_import.write_table(tmp_path / "many.csv", survey_simulation.simulate(KEY, plan))
    began = time.process_time()
    answers = survey_import.read_answers([tmp_path / "many.csv"], KEY)
    shares = statistics.satisfaction(answers.table)
    record_property("seconds", time.process_time() - began)
    print("seconds", time.process_time() - began)
    assert answers.odd.empty and (shares["raters"] == 10_000).all()
