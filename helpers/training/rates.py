"""Learning rates: along a cosine, constant, or in the web UI's syntax, "5e-5:100, 1e-5:2000, 5e-6"."""

import math
from dataclasses import dataclass

EXAMPLE = 'write a number, or "5e-5:100, 1e-5:2000" for 5e-5 up to step 100 and 1e-5 up to step 2000'


def cosine(progress):
    """Falls from 1 to 0 along half a cosine; progress in 0..1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress):
    """Stays 1, as in the paper's runs."""
    return 1.0


@dataclass(frozen=True)
class Segment:
    """One rate, up to and including the step `last`."""

    rate: float
    last: int


def parse(text, max_steps, done=0):
    """[Segment] of a schedule in the web UI's syntax `rate:step, rate:step`, for a training of `max_steps`.

    text: a number alone is a constant rate; no step, or -1, means to the end. done: steps already taken;
    segments that ended by then are left out. No segment passes max_steps; what comes after one that reaches
    it is never used. The last may end sooner: the web UI then stops training.
    Raises ValueError if a part is not of this form, or nothing is left to do.
    """
    segments = []
    for part in str(text).split(","):
        rate, step = _part(part, text)
        last = max_steps if step is None else min(step, max_steps)
        if last > done:
            segments.append(Segment(rate, last))
        if last == max_steps:
            break
    if not segments:
        raise ValueError(f"the learning-rate schedule {text!r} ends before step {done + 1}: add a rate for later steps")
    return segments


def _part(part, text):
    """(rate, step) of "rate:step"; the step is None for "to the end"."""
    rate, _, step = part.partition(":")
    try:
        rate, step = float(rate), int(step) if ":" in part else -1
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf or (step < 1 and step != -1):
        raise ValueError(f"{part.strip()!r} in the learning-rate schedule {text!r} is not rate:step; {EXAMPLE}")
    return rate, None if step == -1 else step


def stretches(text, max_steps, done=0):
    """[(rate, first step, last step)] as a training meets them: what never gets a turn is left out."""
    first, found = done + 1, []
    for segment in parse(text, max_steps, done):
        if segment.last >= first:
            found.append((segment.rate, first, segment.last))
            first = segment.last + 1
    return found


def rate_at(segments, step):
    """The rate of update number `step`, counted from 1. Raises ValueError past the last segment."""
    for segment in segments:
        if step <= segment.last:
            return segment.rate
    raise ValueError(f"the learning-rate schedule ends at step {segments[-1].last}, before step {step}")


def rates_of(text, max_steps):
    """The rate of each step from 1 on, as floats; fewer than max_steps where the schedule ends before."""
    segments = parse(text, max_steps)
    return [rate_at(segments, step) for step in range(1, segments[-1].last + 1)]
