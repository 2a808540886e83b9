import csv
import hashlib

from helpers import machine

# SHA-256 of sections 4.1 and 4.2, a line each
PAPER = "3adcd9bb93f4182b59d018964226b9c0cf9500bbed5f83e5f7b3d26de7079f64"


def test_the_ten_prompts_are_the_paper_s_letter_for_letter():
    with (machine.REPO / "data" / "prompts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows)
    assert len({row["prompt_id"] for row in rows}) == len(rows)
    paper = [row for row in rows if row["paper_section"] in ("4.1", "4.2")]  # the others are a teacher's own
    expected = [(method, i) for method in ("hypernetwork", "dreambooth") for i in range(1, 6)]
    assert [(row["method"], row["prompt_id"]) for row in paper] == [(m, f"{m}_{i}") for m, i in expected]
    assert hashlib.sha256("\n".join(row["prompt"] for row in paper).encode()).hexdigest() == PAPER
