"""Checks and solutions of the exercises of notebook 06: the size of a study, and answers that belong to raters."""

import numpy as np

from helpers.exercises.checks import exercise
from helpers.survey import simulation


@exercise(solution="raters = 34", wrong="raters = 20")
def enough(raters):
    """How many raters, with six pictures of each method, tell 80 % from 90 % in four of five studies?"""
    if not isinstance(raters, int | np.integer) or raters < 2:
        return "A number of raters is a whole number of 2 or more."
    power = simulation.power(0.8, 0.9, raters, 6)
    if power < 0.78:
        return f"With {raters} raters the difference is found in {power:.0%} of the studies: that is too seldom."
    if simulation.power(0.8, 0.9, max(2, raters - 10), 6) > 0.82:
        return "That is enough, but ten raters fewer would do as well."


@exercise(
    solution="def mean_of_raters(answers):\n    return np.nanmean(np.nanmean(answers, axis=1))",
    wrong="def mean_of_raters(answers):\n    return np.nanmean(answers)",
)
def mean_of_raters(function):
    """Write the mean in which every rater counts once, however many questions they left open (NaN)."""
    answers = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, np.nan, np.nan, np.nan]])
    mean = float(function(answers))
    if np.isnan(mean):
        return "An open question is NaN, and NaN swallows every sum: numpy has means that leave it out."
    if abs(mean - 0.8) < 1e-9:
        return "The rater who answered all four questions has counted four times: take each rater's own mean first."
    if abs(mean - 0.5) > 1e-9:
        return "One rater said yes four times, one said no once and left the rest open: the mean of the two is 0.5."
