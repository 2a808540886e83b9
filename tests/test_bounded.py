"""What others wrote is read in a time as its length, a megabyte of harm as well: the time is compared, never measured."""

import csv
import itertools
import time

import pytest

from helpers.diffusion import png_info, prompts
from helpers.photos import captions
from helpers.survey import answers, platforms

FEATURES = ["beard", "round glasses"]
HOSTILE = [  # who reads, and what is repeated, each time with another number in place of {}
    (captions.repetition, "a-"),
    (captions.repetition, "and a x{}, "),
    (captions.repetition, "and and a x{} "),
    (captions.tidy, "a - "),
    (lambda text: captions.without(text, FEATURES), "wearing x{}, y{}, z{} "),
    (lambda text: captions.without(text, FEATURES), "with a beard{} with round "),
    (png_info.read_text, "ab cd"),
    (png_info.read_text, "Steps: {}\n"),
    (png_info.read_text, "Steps: 1, ab: {}, cd: {}\n"),
    (lambda text: png_info.read_text(f"a\nSteps: 1, Sampler: a, Seed: 7, {text}"), 'ab: "{}\\"'),
    (lambda text: png_info.read_text(f"a\nSteps: 1, Sampler: a, Seed: 7\n{text}"), "Template: {}\n"),
    (prompts.take_networks, "<a:b{}"),
    (prompts.without_comments, "#{}\n"),
    (prompts.split_and, " :1"),
    (lambda text: prompts.prompt_at(text, 1, 20), "[a:b{}:{}]"),
    (lambda text: prompts.prompt_at(text, 1, 20), "(]"),
    (platforms.tag, "b2b2+b2b2/"),
    (platforms._minute, "1"),
    (platforms.SECONDS.search, "1"),
    (platforms.SECONDS.search, "1/1/1 "),
    (lambda text: answers.JSON.match(text.encode()), " "),
]


def seconds(read, unit, size):
    """Of the processor, for a text of so many letters."""
    text = "".join(unit.replace("{}", str(number)) for number in range(size // len(unit)))[:size]
    start = time.process_time()
    read(text)
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize(("read", "unit"), HOSTILE)
def test_a_megabyte_is_read_in_a_time_as_its_length(read, unit):
    for shorter, longer in itertools.pairwise([2**11, 2**14, 2**17, 2**20]):  # 8 times as long; 64 if it were quadratic
        assert seconds(read, unit, longer) < 24 * max(seconds(read, unit, shorter), 0.003), longer


@pytest.mark.parametrize("text", ["[a" * 10**6, " " * 10**6, "[" * 2000 + "a" + "]" * 2000, "(a:1.1" * 200])
def test_a_prompt_that_nobody_would_write_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match=r"The prompt has"):
        prompts.parse_attention(prompts.prompt_at(text, 1, 20))


def test_a_cell_that_is_too_long_for_csv_names_the_file(tmp_path):
    (tmp_path / "captions.csv").write_text(
        "file,caption,machine_caption,edited\n0.png," + "a" * csv.field_size_limit() + "b,x,\n"
    )
    with pytest.raises(ValueError, match=r"captions\.csv is not readable"):
        captions.read_captions(tmp_path)
