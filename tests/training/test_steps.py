import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import training


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.001:100, 0.00001:1000, 1e-5:10000", [(0.001, 100), (0.00001, 1000), (1e-5, 10000)]),
        (" 5e-5 : 100,1e-5:-1", [(5e-5, 100), (1e-5, 20000)]),
        ("5e-5:100, 1e-5", [(5e-5, 100), (1e-5, 20000)]),
        ("1e-3:50, 1e-4:30000, 1e-5:40000", [(1e-3, 50), (1e-4, 20000)]),  # past the end: capped, the rest unused
        ("1e-3:-1, not read", [(1e-3, 20000)]),
        ("1e-3:100, 1e-4:50", [(1e-3, 100)]),  # the second never gets a turn
        ("5e-5:100, 1e-5:1000,", [(5e-5, 100), (1e-5, 1000)]),  # an end or a gap is passed over
        ("5e-5:100,, 1e-5:1000 , ", [(5e-5, 100), (1e-5, 1000)]),
        (2e-3, [(2e-3, 20000)]),
    ],
)
def test_it_reads_what_the_web_ui_reads(text, expected):
    assert [(rate, last) for rate, _, last in training.stretches(text, 20000)] == expected


@pytest.mark.parametrize(
    ("text", "done", "expected"),
    [
        ("2e-3:100, 5e-4:-1", 0, [(2e-3, 1, 100), (5e-4, 101, 300)]),
        ("2e-3:100, 5e-4:900, 1e-4", 0, [(2e-3, 1, 100), (5e-4, 101, 300)]),
        ("2e-3:100, 5e-4:50, 1e-4", 0, [(2e-3, 1, 100), (1e-4, 101, 300)]),
        ("2e-3:100, 5e-4:200, 1e-4", 150, [(5e-4, 151, 200), (1e-4, 201, 300)]),
        ("2e-3:100, 5e-4:200, 1e-4", 299, [(1e-4, 300, 300)]),
    ],
)
def test_the_stretches_are_what_the_training_meets(text, done, expected):
    assert training.stretches(text, 300, done) == expected


@pytest.mark.parametrize("text", ["", "fast", "1e-3:", "1e-3:1.5", "1e-3:0", "1e-3:-2", "-1:5", "nan", "inf:3"])
def test_what_is_no_schedule_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="5e-5 up to step 100"):
        training.stretches(text, 100)


parts = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 60)), min_size=1, max_size=5)


@settings(deadline=None)
@given(parts, st.integers(1, 60), st.data())
def test_every_step_has_the_first_rate_whose_end_it_has_not_passed(parts, max_steps, data):
    text = ", ".join(f"{rate}:{step}" for rate, step in parts)
    done = data.draw(st.integers(0, max_steps - 1))
    reach = min(max_steps, max(step for _, step in parts))
    if done >= reach:
        with pytest.raises(ValueError, match="ends before"):
            training.stretches(text, max_steps, done)
        return
    rates = [next(rate for rate, end in parts if step <= end) for step in range(1, reach + 1)]
    assert training.rates_of(text, max_steps) == rates
    spans = training.stretches(text, max_steps, done)
    assert [rate for rate, first, last in spans for _ in range(first, last + 1)] == rates[done:]
