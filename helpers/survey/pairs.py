"""Answers as a table of ratings, and what pairs say together (Bradley-Terry with ties)."""

import numpy as np
import pandas as pd
from scipy import optimize, special

from helpers import stats
from helpers.survey import statistics
from helpers.survey.design import QUESTIONS, in_order


def ratings(table, question):
    """The answers to a question as numbers: one row a rater, one column a picture, NaN where there is none.

    1 to 5 as they are, yes and no as 1 and 0; "undecided" is missing; the first answer counts.
    """
    rows = statistics.first_answers(table, question, QUESTIONS[question])
    numbers = pd.to_numeric(rows["value"].replace({"yes": "1", "no": "0"}), errors="coerce")
    return rows.assign(value=numbers).pivot(index="respondent", columns="item", values="value")


def alpha_of_words(table):
    """Krippendorff's nominal alpha of tags or codes: DataFrame of words, a row a person, a column an item, or NaN.

    Raises ValueError as alpha does.
    """
    words = sorted(table.melt()["value"].dropna().unique())
    return stats.alpha(table.map(words.index, na_action="ignore").to_numpy(float), "nominal")


def duels(table):
    """The forced pairs: DataFrame respondent, left, right, winner; winner is a method or "tie"; undecided left out."""
    rows = table[(table["question"] == "pair") & (table["value"] != "undecided")]
    sides = rows["method"].str.split("+", expand=True).reindex(columns=[0, 1])
    winner = np.select([rows["value"] == "left", rows["value"] == "right"], [sides[0], sides[1]], "tie")
    columns = {"respondent": rows["respondent"], "left": sides[0], "right": sides[1], "winner": winner}
    return pd.DataFrame(columns)


def bradley_terry(table):
    """Strengths of the methods from duels(): (Series of log-strengths that sum to 0, log of the tie parameter).

    Davidson (1970): wins go as p_i, ties as nu * sqrt(p_i p_j). A weak pull to 0 (a normal prior of SD 10) keeps a
    method that won every duel finite. Raises ValueError without any duel.
    """
    methods, cells, cell = _cells(table)
    return _fit(methods, cells, np.bincount(cell))


def bradley_terry_intervals(table, draws=200, level=0.95, seed=0):
    """Log-strength of each method with an interval by drawing whole raters: DataFrame strength, low, high."""
    methods, cells, cell = _cells(table)
    _, rater = np.unique(table["respondent"], return_inverse=True)
    rng, raters, drawn = np.random.default_rng(seed), rater.max() + 1, []
    for _ in range(draws):
        times = np.bincount(rng.integers(raters, size=raters), minlength=raters)  # each rater is drawn
        drawn.append(_fit(methods, cells, np.bincount(cell, times[rater], len(cells)))[0])
    edges = pd.DataFrame(drawn).quantile([(1 - level) / 2, (1 + level) / 2])
    strengths = _fit(methods, cells, np.bincount(cell))[0]
    return pd.DataFrame({"strength": strengths, "low": edges.iloc[0], "high": edges.iloc[1]})


def _cells(table):
    """The methods, the different (left, right, outcome) there are, and for each duel which of them it is."""
    if table.empty:
        raise ValueError("There are no decided pairs to compare the methods by: make a plan with pairs.")
    methods = in_order(set(table["left"]) | set(table["right"]))
    left, right = (pd.Categorical(table[side], methods).codes for side in ("left", "right"))
    outcome = np.select([table["winner"] == table["left"], table["winner"] == table["right"]], [0, 1], 2)
    cells, cell = np.unique(np.column_stack([left, right, outcome]), axis=0, return_inverse=True)
    return methods, cells, cell.ravel()


def _fit(methods, cells, weights):
    """The strengths at the highest likelihood; weights: how often each cell was seen."""
    left, right, outcome = cells[weights > 0].T
    ties = 2 in outcome
    unit = np.eye(len(methods) + ties)
    scores = [unit[left], unit[right]] + ([(unit[left] + unit[right]) / 2 + unit[-1]] if ties else [])
    known = np.stack(scores, axis=1), outcome, weights[weights > 0]
    fit = optimize.minimize(_davidson, np.zeros(len(unit)), known, jac=True, method="L-BFGS-B", tol=1e-12)
    strengths = pd.Series(fit.x[: len(methods)] - fit.x[: len(methods)].mean(), methods)
    return strengths, float(fit.x[-1]) if ties else float("-inf")


def _davidson(x, design, outcome, weights):
    """Negative log-likelihood of the pairs, and its gradient; design @ x are the log-odds of each outcome."""
    scores = design @ x
    logs = scores - special.logsumexp(scores, axis=1, keepdims=True)
    miss = (np.eye(scores.shape[1])[outcome] - np.exp(logs)) * weights[:, None]
    loss = -weights @ logs[np.arange(len(outcome)), outcome]
    return loss + (x**2).sum() / 200, x / 100 - np.tensordot(miss, design)
