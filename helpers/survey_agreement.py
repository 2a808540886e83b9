"""Answers as a table of ratings, and what pairs say together (Bradley-Terry with ties)."""

import numpy as np
import pandas as pd
from scipy import optimize

from helpers import survey_design


def ratings(table, question):
    """The answers to a question as numbers: one row a rater, one column a picture, NaN where there is none.

    1 to 5 as they are, yes and no as 1 and 0; "undecided" is missing; the first answer counts.
    """
    rows = table[table["question"] == question].sort_values("position", kind="stable")
    rows = rows.drop_duplicates(["respondent", "item"])
    numbers = pd.to_numeric(rows["value"].replace({"yes": "1", "no": "0"}), errors="coerce")
    return rows.assign(value=numbers).pivot(index="respondent", columns="item", values="value")


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
    method that won every duel finite. Own fit, as neither choix nor statsmodels knows ties. Raises ValueError without any duel.
    """
    methods, cells, cell = _cells(table)
    return _fit(methods, cells, np.bincount(cell))


def _cells(table):
    """The methods, the different (left, right, outcome) there are, and for each duel which of them it is."""
    if table.empty:
        raise ValueError("There are no decided pairs, so nothing can be compared.")
    methods = survey_design.in_order(set(table["left"]) | set(table["right"]))
    place = {method: i for i, method in enumerate(methods)}
    left, right = table["left"].map(place).to_numpy(), table["right"].map(place).to_numpy()
    outcome = np.select([table["winner"] == table["left"], table["winner"] == table["right"]], [0, 1], 2)
    cells, cell = np.unique(np.column_stack([left, right, outcome]), axis=0, return_inverse=True)
    return methods, cells, cell.ravel()


def _fit(methods, cells, weights):
    """The strengths at the highest likelihood; weights: how often each cell was seen."""
    ties = 2 in cells[weights > 0, 2]
    start = np.zeros(len(methods) + ties)
    seen = cells[weights > 0], weights[weights > 0], ties
    fit = optimize.minimize(_davidson, start, seen, jac=True, method="L-BFGS-B", tol=1e-12)
    strengths = pd.Series(fit.x[: len(methods)] - fit.x[: len(methods)].mean(), methods)
    return strengths, float(fit.x[-1]) if ties else float("-inf")


def _davidson(x, cells, weights, ties):
    """Negative log-likelihood of the pairs, and its gradient."""
    left, right, outcome = cells.T
    scores = np.stack([x[left], x[right], (x[left] + x[right]) / 2 + (x[-1] if ties else -np.inf)], axis=1)
    top = scores.max(axis=1)
    logs = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    share = np.exp(scores - logs[:, None])
    miss = (np.eye(3)[outcome] - share) * weights[:, None]
    gradient = np.zeros_like(x)
    np.add.at(gradient, left, miss[:, 0] + miss[:, 2] / 2)
    np.add.at(gradient, right, miss[:, 1] + miss[:, 2] / 2)
    if ties:
        gradient[-1] += miss[:, 2].sum()
    loss = -(weights * (scores[np.arange(len(cells)), outcome] - logs)).sum()
    return loss + (x**2).sum() / 200, x / 100 - gradient


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
