import csv
import itertools
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import prompt_syntax, runtime
from helpers.prompt_syntax import BREAK, Network, parse_attention


def rounded(pieces):
    return [(text, round(weight, 4)) for text, weight in pieces]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of a man", [("a photo of a man", 1)]),
        ("a (red) hat", [("a ", 1), ("red", 1.1), (" hat", 1)]),
        ("a [red] hat", [("a ", 1), ("red", 0.9091), (" hat", 1)]),
        ("a (red:1.5) hat", [("a ", 1), ("red", 1.5), (" hat", 1)]),
        ("(red: .5 )", [("red", 0.5)]),
        ("((red))", [("red", 1.21)]),
        ("(a [b] (c:2))", [("a ", 1.1), ("b", 1), (" ", 1.1), ("c", 2.2)]),
        ("(red)(hat)", [("redhat", 1.1)]),
        (r"\(red\) \[hat\] \\ back\slash", [(r"(red) [hat] \ backslash", 1)]),
        ("(a (b", [("a ", 1.1), ("b", 1.21)]),
        ("(a [b", [("a ", 1.1), ("b", 1)]),
        ("a) b]", [("a) b]", 1)]),
        ("a:1.5) b", [("a:1.5) b", 1)]),
        ("[a:1.5]", [("a:1.5", 0.9091)]),
        ("(a: b)", [("a: b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 0.9091)]),
        ("one BREAK two", [("one", 1), BREAK, ("two", 1)]),
        ("(one BREAK two:1.2)", [("one", 1.2), ("BREAK", -1.2), ("two", 1.2)]),  # brackets multiply its -1 too
        ("([one BREAK two])", [("one", 1), BREAK, ("two", 1)]),
        ("a BREAK BREAK b", [("a", 1), BREAK, ("", 1), BREAK, ("b", 1)]),
        (r"(a:1.5)(\:2)(b:1.5)", [("a", 1.5), ("", 2), ("b", 1.5)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
        ("", [("", 1)]),
        ("()", [("", 1)]),
    ],
)
def test_brackets_weigh_as_in_the_web_ui(text, expected):
    """What AUTOMATIC1111/stable-diffusion-webui, modules/prompt_parser.py, parse_prompt_attention returns (v1.10.1).

    One exception: on a weight that is no number, as in "(a:1.2.3)", it stops with an error; here it is text.
    """
    assert rounded(parse_attention(text)) == expected


def test_the_paper_s_list_in_brackets_is_no_negative_prompt():
    """Its words stay in the prompt, at 91 % (AUTOMATIC1111's modules/prompt_parser.py, parse_prompt_attention)."""
    with (runtime.REPO / "data" / "prompts.csv").open() as file:
        prompt = next(row["prompt"] for row in csv.DictReader(file) if row["prompt_id"] == "dreambooth_2")
    (before, one), (bracketed, weight) = parse_attention(prompt)
    assert one == 1 and weight == 1 / 1.1 and f"{before}[{bracketed}]" == prompt
    assert "bad anatomy, blurry" in bracketed
    assert prompt_syntax.schedule(prompt, 20) == [(20, prompt)]


words = st.text(string.ascii_letters + string.digits + " ,.'", min_size=1).filter(lambda text: "BREAK" not in text)
weights = st.floats(0.01, 9).map(lambda weight: round(weight, 2))


@settings(deadline=None)
@given(st.lists(st.tuples(words, weights), min_size=1, max_size=6))
def test_weights_written_out_are_read_back(pieces):
    text = "".join(f"({text}:{weight})" for text, weight in pieces)
    read = parse_attention(text)
    assert [w for t, w in read for _ in t] == [w for t, w in pieces for _ in t]
    assert "".join(t for t, _ in read) == "".join(t for t, _ in pieces)


@settings(deadline=None)
@given(words, st.integers(0, 8), st.integers(0, 8))
def test_nested_brackets_multiply_and_unclosed_ones_run_to_the_end(text, round_ones, square_ones):
    opening = "(" * round_ones + "[" * square_ones
    expected = [(text, pytest.approx(1.1 ** (round_ones - square_ones)))]
    assert parse_attention(opening + text + "]" * square_ones + ")" * round_ones) == expected
    assert parse_attention(opening + text) == expected


@settings(deadline=None)
@given(st.text("ab()[]:|\\1. ", max_size=30))
def test_any_text_is_read_and_no_letter_lost(text):
    read = parse_attention(text)
    letters = [letter for piece, _ in read for letter in piece if letter in "ab"]
    assert letters == [letter for letter in text if letter in "ab"]
    assert all(one[1] != two[1] for one, two in itertools.pairwise(read))
    for step in (1, 2, 10):
        prompt_syntax.prompt_at(text, step, 10)


@settings(deadline=None)
@given(st.text(max_size=30).filter(lambda text: "BREAK" not in text))
def test_escaped_text_stays_as_it_is(text):
    escaped = "".join("\\" + letter if letter in "()[]\\" else letter for letter in text)
    assert parse_attention(escaped) == [(text, 1.0)]
    assert prompt_syntax.prompt_at(escaped, 1, 10) == escaped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a man", [(10, "a man")]),
        ("a [dog:cat:0.5]", [(5, "a dog"), (10, "a cat")]),
        ("a [dog:cat:.25]", [(2, "a dog"), (10, "a cat")]),
        ("a [dog:cat:7]", [(7, "a dog"), (10, "a cat")]),
        ("a [dog:cat:12]", [(10, "a dog")]),
        ("a [dog:cat:0]", [(10, "a cat")]),
        ("a [ dog : cat : 3 ]", [(3, "a  dog "), (10, "a  cat ")]),
        ("a man[ on a horse:4]", [(4, "a man"), (10, "a man on a horse")]),
        ("a man[ on a horse::4]", [(4, "a man on a horse"), (10, "a man")]),
        ("[a:[b:c:6]:3]", [(3, "a"), (6, "b"), (10, "c")]),
        ("[[red:blue:2] (hat:1.2):cap:8]", [(2, "red (hat:1.2)"), (8, "blue (hat:1.2)"), (10, "cap")]),
        ("([dog:cat:5]:1.3)", [(5, "(dog:1.3)"), (10, "(cat:1.3)")]),
        ("[[dog]:5]", [(5, ""), (10, "[dog]")]),
        ("a [blurry, bad] man", [(10, "a [blurry, bad] man")]),
        ("a [dog:cat] b", [(10, "a [dog:cat] b")]),
        ("[a:b:c:5]", [(10, "[a:b:c:5]")]),
        ("[a:-5]", [(10, "a")]),  # the web UI's grammar reads signs and exponents
        ("[a:b:5e-1]", [(5, "a"), (10, "b")]),
        ("a [dog:cat:5", [(10, "a [dog:cat:5")]),
        ("a) ](b [dog:5] c", [(5, "a) ](b  c"), (10, "a) ](b dog c")]),
        ("[a (b:5] c", [(10, "[a (b:5] c")]),
        (r"\[dog:5\]", [(10, r"\[dog:5\]")]),
        (r"[do\]g:5]", [(5, ""), (10, r"do\]g")]),
    ],
)
def test_editing_changes_the_prompt_at_its_step(text, expected):
    assert prompt_syntax.schedule(text, 10) == expected


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(words, min_size=2, max_size=5))
def test_alternatives_take_turns(steps, choices):
    text = f"a [{'|'.join(choices)}] b"
    for step in range(1, steps + 1):
        assert prompt_syntax.prompt_at(text, step, steps) == f"a {choices[(step - 1) % len(choices)]} b"


def test_alternatives_may_be_empty_and_nest():
    at = lambda text: [prompt_syntax.prompt_at(text, step, 4) for step in range(1, 5)]
    assert at("[wo|]man") == ["woman", "man", "woman", "man"]
    assert at("[[a|b]:c:2]") == ["a", "b", "c", "c"]
    assert at("[[a:b:2]|c]") == ["a", "c", "b", "c"]


@settings(deadline=None)
@given(words, words, st.integers(1, 40), st.floats(0.001, 0.999).map(lambda share: round(share, 3)))
def test_a_share_of_the_steps_means_the_same_for_any_number_of_them(one, two, steps, share):
    heard = [prompt_syntax.prompt_at(f"[{one}:{two}:{share}]", step, steps) for step in range(1, steps + 1)]
    first = int(share * steps)
    assert heard == [one] * first + [two] * (steps - first)


def test_and_joins_prompts_with_weights():
    assert prompt_syntax.split_and("a cat :1.2 AND a dog AND a penguin:-.5") == [
        ("a cat", 1.2),
        ("a dog", 1.0),
        ("a penguin", -0.5),
    ]
    assert prompt_syntax.split_and("a man") == [("a man", 1.0)]
    assert prompt_syntax.split_and("SAND AND (hat:1.3)") == [("SAND", 1.0), ("(hat:1.3)", 1.0)]
    assert prompt_syntax.split_and("") == [("", 1.0)]


def test_networks_are_taken_out_of_the_text():
    text = "a man <hypernet:amir:0.8> on a horse<lora:ink>"
    assert prompt_syntax.take_networks(text) == (
        "a man  on a horse",
        [Network("hypernet", "amir", 0.8), Network("lora", "ink", 1.0)],
    )
    assert prompt_syntax.take_networks("1 < 2 > 1") == ("1 < 2 > 1", [])
    with pytest.raises(ValueError, match="<hypernet:amir:strong>: 'strong' is no number"):
        prompt_syntax.take_networks("a man <hypernet:amir:strong>")
