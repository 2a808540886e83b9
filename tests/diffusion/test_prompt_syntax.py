"""Expected pieces: AUTOMATIC1111/stable-diffusion-webui v1.10.1, modules/prompt_parser.py."""

import itertools
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.diffusion import prompts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (red) [blue] hat", [("a ", 1), ("red", 1.1), (" ", 1), ("blue", 0.9091), (" hat", 1)]),
        ("(red: .5 )", [("red", 0.5)]),
        ("(a [b] (c:2))", [("a ", 1.1), ("b", 1), (" ", 1.1), ("c", 2.2)]),
        ("(red)(hat)", [("redhat", 1.1)]),
        (r"\(red\) \[hat\] \\ back\slash", [(r"(red) [hat] \ backslash", 1)]),
        ("(a: b)", [("a: b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),  # the one exception: there an error, here text
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 0.9091)]),
        ("one BREAK two", [("one", 1), prompts.BREAK, ("two", 1)]),
        ("(one BREAK two:1.2)", [("one", 1.2), ("BREAK", -1.2), ("two", 1.2)]),  # brackets multiply its -1 too
        (r"(a:1.5)(\:2)(b:1.5)", [("a", 1.5), ("", 2), ("b", 1.5)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
    ],
)
def test_brackets_weigh_as_in_the_web_ui(text, expected):
    assert [(piece, round(weight, 4)) for piece, weight in prompts.parse_attention(text)] == expected


words = st.text(string.ascii_letters + string.digits + " ,.'", min_size=1).filter(lambda text: "BREAK" not in text)
weights = st.floats(0.01, 9).map(lambda weight: round(weight, 2))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(words, weights), min_size=1, max_size=6))
def test_weights_written_out_are_read_back(pieces):
    read = prompts.parse_attention("".join(f"({text}:{weight})" for text, weight in pieces))
    assert [w for t, w in read for _ in t] == [w for t, w in pieces for _ in t]
    assert "".join(t for t, _ in read) == "".join(t for t, _ in pieces)


@settings(deadline=None, max_examples=50)
@given(words, st.integers(0, 8), st.integers(0, 8))
def test_nested_brackets_multiply_and_unclosed_ones_run_to_the_end(text, round_ones, square_ones):
    opening = "(" * round_ones + "[" * square_ones
    expected = [(text, pytest.approx(1.1 ** (round_ones - square_ones)))]
    assert prompts.parse_attention(opening + text + "]" * square_ones + ")" * round_ones) == expected
    assert prompts.parse_attention(opening + text) == expected


@settings(deadline=None)
@given(st.text("ab()[]:|\\1. ", max_size=30))
def test_any_text_is_read_and_no_letter_lost(text):
    read = prompts.parse_attention(text)
    letters = [letter for piece, _ in read for letter in piece if letter in "ab"]
    assert letters == [letter for letter in text if letter in "ab"]
    assert all(one[1] != two[1] for one, two in itertools.pairwise(read))
    for step in (1, 2, 10):
        prompts.prompt_at(text, step, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [dog:cat:0.5]", [(5, "a dog"), (10, "a cat")]),
        ("a [dog:cat:.29]", [(2, "a dog"), (10, "a cat")]),
        ("a [dog:cat:7]", [(7, "a dog"), (10, "a cat")]),
        ("a [ dog : cat : 3 ]", [(3, "a  dog "), (10, "a  cat ")]),
        ("a man[ on a horse:4]", [(4, "a man"), (10, "a man on a horse")]),
        ("a man[ on a horse::4]", [(4, "a man on a horse"), (10, "a man")]),
        ("[[red:blue:2] (hat:1.2):cap:8]", [(2, "red (hat:1.2)"), (8, "blue (hat:1.2)"), (10, "cap")]),
        ("([dog:cat:5]:1.3)", [(5, "(dog:1.3)"), (10, "(cat:1.3)")]),
        ("[[dog]:5]", [(5, ""), (10, "[dog]")]),
        ("a [blurry, bad] man", [(10, "a [blurry, bad] man")]),
        ("[a:b:c:5]", [(10, "[a:b:c:5]")]),
        ("[a:-5]", [(10, "a")]),  # the web UI's grammar reads signs and exponents
        ("[a:b:5e-1]", [(5, "a"), (10, "b")]),
        ("a [dog:cat:5", [(10, "a [dog:cat:5")]),
        ("[a (b:5] c", [(10, "[a (b:5] c")]),
        (r"\[dog:5\]", [(10, r"\[dog:5\]")]),
        (r"[do\]g:5]", [(5, ""), (10, r"do\]g")]),
    ],
)
def test_editing_changes_the_prompt_at_its_step(text, expected):
    holds = [next(prompt for last, prompt in expected if step <= last) for step in range(1, 11)]
    assert [prompts.prompt_at(text, step, 10) for step in range(1, 11)] == holds


@pytest.mark.parametrize(
    ("text", "expected"), [("[wo|]man", "woman man woman man"), ("[[a|b]:c:2]", "a b c c"), ("[[a:b:2]|c]", "a c b c")]
)
def test_alternatives_take_turns_may_be_empty_and_nest(text, expected):
    assert [prompts.prompt_at(text, step, 4) for step in range(1, 5)] == expected.split()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a man # who?", "a man"),
        ("# first\na man\n#second\n# third\non a horse", "a man on a horse"),
        ("a man, # hat:1.2)\n(red:1.3)", "a man, (red:1.3)"),
        ("#", ""),
        ("a man", "a man"),
    ],
)
def test_a_comment_goes_to_the_end_of_its_line(text, left):
    """As modules/processing_scripts/comments.py there; the tokenizer makes no difference between line breaks and spaces."""
    assert prompts.without_comments(text).split() == left.split()


def test_and_joins_prompts_with_weights():
    parts = [("a cat", 1.2), ("a dog", 1.0), ("a penguin", -0.5)]
    assert prompts.split_and("a cat :1.2 AND a dog AND a penguin:-.5") == parts
    assert prompts.split_and("SAND AND (hat:1.3)") == [("SAND", 1.0), ("(hat:1.3)", 1.0)]
    assert prompts.split_and("") == [("", 1.0)]


def test_networks_are_taken_out_of_the_text():
    networks = [prompts.Network("hypernet", "amir", 0.8), prompts.Network("lora", "ink", 1.0)]
    assert prompts.take_networks("a man <hypernet:amir:0.8> on a horse<lora:ink>") == ("a man  on a horse", networks)
    assert prompts.take_networks("1 < 2 > 1") == ("1 < 2 > 1", [])
    with pytest.raises(ValueError, match="no number"):
        prompts.take_networks("a man <hypernet:amir:strong>")
