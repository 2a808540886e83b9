"""The exercises of notebooks 10 to 12: the size of a study, its answers, and what chance does to them."""

import numpy as np

from helpers.exercises.checks import exercise
from helpers.survey import design, simulation

SOME = np.array([[1, 1, 1, 1], [0, 1, 0, 0], [1, 1, 0, 1]])  # three raters, four pictures


@exercise(
    solution="low, high = np.quantile(counts, [0.025, 0.975])",
    wrong="low, high = counts.min(), counts.max()",
)
def middle(low, high, counts):
    """Between which two counts do 95 of 100 draws lie?"""
    inside = np.mean((counts >= low) & (counts <= high))
    if inside < 0.94:
        return f"From {low:.0f} to {high:.0f} lie only {inside:.0%} of the draws."
    if np.mean((counts > low) & (counts < high)) > 0.95:
        return f"From {low:.0f} to {high:.0f} lie {inside:.0%} of the draws: a narrower range still has 95 %."


@exercise(solution="raters, pictures = 40, 3", wrong="raters, pictures = 10, 12")
def spend(raters, pictures):
    """How do you spend 120 answers on at most 40 raters, so that the interval is narrowest?"""
    if raters * pictures != 120 or not 2 <= raters <= 40:
        return "Raters times pictures must be 120, with 2 to 40 raters."
    half = simulation.precision(0.8, raters, pictures, studies=200)["half_width"]
    if raters < 40:
        return f"This says 80 % give or take {half:.1%}. There is a narrower way."


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


@exercise(solution="raters = 5", wrong="raters = 7")
def balanced(raters, key):
    """For how many raters, at least, does each picture come first, second and third equally often?"""
    level = lambda size: len(np.unique(design.places(design.make_plan(key, size, seed=0), key))) == 1
    if not level(raters):
        return f"With {raters} raters some picture comes first more often than another: look at design.places."
    if smaller := [size for size in range(1, raters) if level(size)]:
        return f"That is balanced, but so are {len(smaller)} smaller numbers."


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


@exercise(solution="p = np.mean(np.array(apart) >= observed)", wrong="p = observed")
def p_value(p, apart, observed):
    """How often are the shuffled methods at least as far apart as the real ones?"""
    if not len(apart):
        return "Nobody judged every method on one prompt, so there is nothing to count here."
    if abs(p - np.mean(np.array(apart) >= observed)) > 0.005:
        return "Count the shuffles that are as far apart as the observed answers, or farther; take their share of all."


@exercise(solution='better, worse = "DreamBooth", "base"', wrong='better, worse = "DreamBooth", "hypernetwork"')
def distinguished(better, worse, pairs):
    """Which two methods do these answers tell apart, the better one first? None, None if there are no two."""
    found = pairs[pairs["holm_raters"] < 0.05]
    ordered = [(r.second, r.first) if r.difference > 0 else (r.first, r.second) for r in found.itertuples()]
    if (better, worse) not in (ordered or [(None, None)]):
        return "Look for a Holm-corrected p-value by raters below 0.05; the sign of the difference says who is better."


@exercise(
    solution="def chance_to_win(one, other):\n    return 1 / (1 + np.exp(other - one))",
    wrong="def chance_to_win(one, other):\n    return one / (one + other)",
)
def chance_to_win(function):
    """Write the chance that a method of strength `one` wins over one of strength `other`."""
    if abs(function(1.0, 1.0) - 0.5) > 1e-9:
        return "Equal strengths have equal chances."
    if abs(function(2.0, 1.0) - function(1.0, 0.0)) > 1e-9:
        return "Only the difference of the strengths counts: 2 against 1 is as 1 against 0."
    if abs(function(1.0, 0.0) - 0.731) > 0.001:
        return f"A lead of 1 should win 73 % of the duels; yours wins {function(1.0, 0.0):.0%}."


@exercise(
    solution="def design_effect(study):\n    share, items = study.mean(), study.shape[1]\n"
    "    return study.mean(axis=1).var(ddof=1) / (share * (1 - share) / items)",
    wrong="def design_effect(study):\n    share = study.mean()\n    return study.var() / (share * (1 - share))",
)
def design_effect(function):
    """Write the variance between the raters' own shares over the one that independent answers would have."""
    share = SOME.mean()
    if abs(function(SOME) - SOME.mean(axis=1).var(ddof=1) / (share * (1 - share) / 4)) > 1e-3:
        return "Take each row's mean and their variance with ddof=1; divide by share * (1 - share) / pictures."


@exercise(
    solution="def coverage(low, high, truth):\n    return np.mean((low <= truth) & (truth <= high))",
    wrong="def coverage(low, high, truth):\n    return np.mean(low <= truth)",
)
def coverage(function):
    """Write the share of the intervals that hold the truth."""
    share = function(np.array([0.1, 0.5, 0.7, 0.9]), np.array([0.3, 0.9, 0.9, 1.0]), 0.8)
    if abs(share - 0.5) > 1e-9:
        return f"Of 0.1-0.3, 0.5-0.9, 0.7-0.9 and 0.9-1.0 two hold 0.8; you have {share:.0%}."


@exercise(solution="careless = 0.5", wrong="careless = 0.1")
def careless(careless, alpha):
    """Which share of careless answers gives an alpha like that of our raters?"""
    theirs = (1 - careless) ** 2  # two answers of one picture are both true ones
    if abs(theirs - max(alpha, 0)) > 0.06:
        return f"Such raters have an alpha of about {theirs:.2f}; ours have {alpha:.2f}."


@exercise(solution='variant = "nobody left out"', wrong='variant = "as planned"')
def furthest(variant, forks, method):
    """Which other decision moves the share of a method furthest from the planned one?"""
    shares = forks[forks["method"] == method].set_index("variant")["share"]
    away = (shares - shares["as planned"]).abs()
    if variant not in away:
        return f"Write one of these: {', '.join(away.index)}."
    if away[variant] < away.max() - 1e-9:
        return f"That moves it by {away[variant] * 100:.1f} points. Another one moves it further."


@exercise(
    solution="def odds_ratio(one, other):\n    return one / (1 - one) / (other / (1 - other))",
    wrong="def odds_ratio(one, other):\n    return one / other",
)
def odds_ratio(function):
    """Write how many times the odds of one share are those of another."""
    ratio = function(0.95, 0.80)
    if abs(ratio - 4.75) > 1e-6:
        return f"Odds are yes over no: 95 to 5 is 19, 80 to 20 is 4, so the ratio is 4.75 and not {ratio:.2f}."
