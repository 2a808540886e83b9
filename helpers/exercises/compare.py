"""The exercises of notebook 05 that check themselves."""

import math

import numpy as np

from helpers.compare import scores
from helpers.exercises.checks import exercise


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


@exercise(solution="weight = 1 / 1.1 / 1.1", wrong="weight = 0.8")
def weight(answer):
    """What does a word weigh that stands in [[two square brackets]]?"""
    if not math.isclose(float(answer), 1 / 1.21, abs_tol=0.0051):
        return "One square bracket divides by 1.1; the second divides what is left once more."
