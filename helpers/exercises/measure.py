"""The exercises of 08_measure: a rule, a bootstrap, a verdict and a score."""

import math

import numpy as np
import pandas as pd

from helpers.compare import scores
from helpers.exercises.checks import exercise


@exercise(
    solution="def shows(found):\n    return (~found).sum(axis=1) <= 1",
    wrong="def shows(found):\n    return found.all(axis=1)",
)
def shows(function):
    """Write the rule: which pictures lack at most one of the telling features, whether there are four or five?"""
    for features in (4, 5):
        counts = [features, features - 1, features - 1, features - 2, 1, 0]
        found = pd.DataFrame([np.roll(np.arange(features) < count, place) for place, count in enumerate(counts)])
        answer = np.asarray(function(found))
        if answer.shape != (len(found),):
            return "Give one True or False for each row, that is for each picture: add up along axis 1."
        for count, yes in zip(counts, answer):
            if bool(yes) != (count >= features - 1):
                return f"A picture with {count} of {features} gets {bool(yes)}. The rule is: at most one is missing."


@exercise(
    solution="def draw(values, rng):\n    return rng.choice(values, len(values))",
    wrong="def draw(values, rng):\n    return rng.permutation(values)",
)
def draw(function):
    """Write one draw of the bootstrap: as many values as there are, each picked at random from all of them."""
    values, rng = np.arange(100, 120), np.random.default_rng(0)
    draws = [np.asarray(function(values, rng)) for _ in range(20)]
    if any(draw.shape != values.shape for draw in draws):
        return f"From {len(values)} values each draw takes {len(values)}."
    if not all(np.isin(draw, values).all() for draw in draws):
        return "Only values that are there may be drawn."
    if all(len(set(draw)) == len(values) for draw in draws):
        return "Every value came exactly once: put each back before the next is drawn (rng.choice does)."
    if all((draw == draws[0]).all() for draw in draws):
        return "All draws are alike: use the random numbers of `rng`."


@exercise(
    solution='affected = of_net.loc[of_net["low"] > 0, "measure"].tolist()',
    wrong='affected = of_net.loc[~(of_net["low"] > 0), "measure"].tolist()',
)
def affected(prompts, rows):
    """Which class words are affected, by the rule that the whole interval of the difference lies above zero?

    rows: DataFrame measure (the prompt), low.
    """
    given, truth = set(prompts), set(rows.loc[rows["low"] > 0, "measure"])
    if unknown := sorted(given - set(rows["measure"])):
        return f"{unknown[0]!r} is none of the prompts: write them as the figure does, in a list."
    if too_many := sorted(given - truth):
        low = rows.set_index("measure")["low"][too_many[0]]
        return f"The interval of {too_many[0]!r} begins at {low:.2f}: is all of it above zero?"
    if given != truth:
        return f"You named {len(given)} of {len(truth)}: in which other panel does the whole line lie right of zero?"


@exercise(
    solution="likeness = (generated @ real_ones.T).mean()",
    wrong="likeness = (generated @ real_ones.T).max()",
)
def likeness(answer, generated, real_ones):
    """What is CLIP-I of these pictures, computed from the two tables of features?"""
    if math.isclose(float(answer), float((generated @ real_ones.T).max()), rel_tol=1e-6):
        return "That is the one closest pair. The score is a mean over all pairs."
    if not np.isclose(answer, scores.fidelity(generated, real_ones).mean(), rtol=1e-4):
        return "Every row has length 1, so a dot product of two rows is their cosine: take it of every pair, then the mean."
