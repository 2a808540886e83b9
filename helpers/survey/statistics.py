"""Numbers that respect the rater: answers of one person are alike, so persons are what is counted.

Tables are long, as answers.read_answers returns them: respondent, item, prompt_id, method, question, value, position, ...
"""

import itertools

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
from scipy.sparse import csgraph
from statsmodels.genmod.cov_struct import Exchangeable
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.stats import contingency_tables, multitest

from helpers.stats import alpha, alpha_interval, bounded, known, percent, raw_agreement, share_interval
from helpers.survey.design import QUESTIONS, RATED, SCALE, in_order


def screens(table):
    """One row for each screen that a rater answered; where the position is not known, the item tells them apart."""
    return table.drop_duplicates(["respondent", "position", "item"])


def first_answers(table, question, values):
    """The answers to a question that are among `values`; of a picture that was shown twice only the first counts."""
    rows = table[(table["question"] == question) & table["value"].isin(values)]
    return rows.sort_values("position", kind="stable").drop_duplicates(["respondent", "item"])


def satisfied(table):
    """Yes and no as 1 and 0, "undecided" left out: columns respondent, prompt_id, method, value, position."""
    rows = first_answers(table, "satisfied", ("yes", "no"))[["respondent", "prompt_id", "method", "value", "position"]]
    return rows.assign(value=(rows["value"] == "yes").astype(int))


def satisfaction(table):
    """share_interval for every method: DataFrame with index method; with one rater low, high and effect are nan."""
    groups, shares = dict(list(satisfied(table).groupby("method"))), {}
    for name in in_order(groups):
        who, values = groups[name]["respondent"], groups[name]["value"]
        one = {"share": values.mean(), "answers": len(values), "raters": 1}
        shares[name] = share_interval(who, values) if who.nunique() > 1 else one
    return pd.DataFrame(shares, index=["share", "low", "high", "answers", "raters", "effect"], dtype=float).T


def effect_in_words(shares):
    """A sentence a method on its design effect: how many independent answers its answers are worth. shares: of satisfaction()."""
    sentences = []
    for row in shares.itertuples():
        words = f"{row.answers:.0f} answers are worth {row.answers / row.effect:.0f}"
        if row.effect == 1:
            words = f"these {row.raters:.0f} raters differ by no more than chance alone would let them"
        words = "not known, there is one rater" if np.isnan(row.effect) else f"{row.effect:.2f}; {words}"
        sentences.append(f"Design effect of {row.Index}: {words}.")
    return sentences


def rating_means(table, question):
    """Likeness or match by method: DataFrame mean, low, high (95 %), raters; index method.

    Every rater's own mean counts once; the interval is Student's over the raters, or that of stats.bounded if all means
    are alike. "undecided", repeats and methods that fewer than two raters judged are left out.
    """
    rows = first_answers(table, question, SCALE[:-1])
    own = rows.assign(value=rows["value"].astype(int)).pivot_table(index="respondent", columns="method", values="value")
    own = own.loc[:, in_order(own.columns[own.count() > 1])]
    mean, half = own.mean(), stats.t.ppf(0.975, own.count() - 1) * own.sem()
    means = pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half, "raters": own.count()})
    for name in means.index[half < 1e-9]:  # everybody says 5
        means.loc[name, ["low", "high"]] = bounded(mean[name], own[name].count(), 1, 5)
    return means


def scale_counts(table, question):
    """How often each point of a scale was chosen: DataFrame, methods in rows, 1 to 5 and undecided in columns."""
    rows = first_answers(table, question, SCALE)
    counts = pd.crosstab(rows["method"], rows["value"]).reindex(columns=list(SCALE), fill_value=0)
    return counts.loc[in_order(counts.index)]


def blocks(table):
    """One row for each rater and prompt that has an answer for every method; columns are the methods, values 0 or 1."""
    wide = satisfied(table).pivot_table(index=["respondent", "prompt_id"], columns="method", values="value")
    return wide.dropna().astype(int)[in_order(wide.columns)]


def cochran_q(wide, draws=2000, seed=0):
    """Do the methods differ at all? dict statistic, p_textbook, p_raters. wide: as blocks() returns it.

    The textbook takes rater and prompt as independent blocks (Cochran 1950); for p_raters each draw shuffles the methods
    of a whole rater at once, which keeps that person's answers together. Raises ValueError without a complete block or if all agree.
    """
    _comparable(wide)
    result = contingency_tables.cochrans_q(wide.to_numpy())
    sums = wide.groupby(level="respondent").sum().to_numpy()
    rng, spread = np.random.default_rng(seed), sums.sum(axis=0).var()
    shuffled = [rng.permuted(sums, axis=1).sum(axis=0).var() for _ in range(draws)]
    p = (1 + np.sum(np.array(shuffled) >= spread - 1e-9)) / (1 + draws)
    return {"statistic": float(result.statistic), "p_textbook": float(result.pvalue), "p_raters": float(p)}


def mcnemar_pairs(wide, draws=2000, seed=0):
    """Every two methods: difference of the shares, exact McNemar p, the same by Holm, and by raters.

    p_raters swaps the two methods of whole raters at random (a sign-flip test), again with Holm. Raises ValueError
    without a complete block or if all agree.
    """
    _comparable(wide)
    rows = []
    for first, second in itertools.combinations(wide.columns, 2):
        one, two = wide[first], wide[second]
        exact = contingency_tables.mcnemar([[0, (one > two).sum()], [(two > one).sum(), 0]], exact=True).pvalue
        by_rater = (two - one).groupby(level="respondent").sum().to_numpy()
        flipped = np.random.default_rng(seed).choice([-1, 1], (draws, len(by_rater))) @ by_rater
        p = (1 + np.sum(np.abs(flipped) >= abs(by_rater.sum()) - 1e-9)) / (1 + draws)
        rows.append((first, second, (two - one).mean(), exact, p))
    pairs = pd.DataFrame(rows, columns=["first", "second", "difference", "p_exact", "p_raters"])
    for name in ("exact", "raters"):
        pairs[f"holm_{name}"] = multitest.multipletests(pairs[f"p_{name}"], method="holm")[1]
    return pairs


def _comparable(wide):
    if wide.empty or wide.shape[1] < 2:
        raise ValueError("No rater judged every method on one prompt, so the methods cannot be compared within raters.")
    if wide.to_numpy().min() == wide.to_numpy().max():
        raise ValueError("All answers agree, so there is no difference to test.")


def gee(table, reference="base"):
    """Odds of being satisfied against a reference method: DataFrame odds_ratio, low, high, p; index method.

    Generalised estimating equations, exchangeable within a rater (Liang and Zeger 1986), with the covariance of
    Mancl and DeRouen (2001), which few raters need. Raises ValueError if a method has only one kind of answer.
    """
    rows = satisfied(table)
    same = rows.groupby("method")["value"].nunique() < 2
    if same.any():
        raise ValueError(f"All answers on {same.idxmax()} agree: its odds have no finite value; ask more raters.")
    others = [method for method in in_order(rows["method"].unique()) if method != reference]
    design = np.column_stack([np.ones(len(rows)), *(rows["method"] == method for method in others)]).astype(float)
    model = GEE(rows["value"].to_numpy(), design, rows["respondent"].to_numpy(), None, Binomial(), Exchangeable())
    fit = model.fit(cov_type="bias_reduced")
    low, high = known(*np.exp(fit.conf_int()[1:]).T)  # they meet where nobody judged the two methods differently
    columns = {"odds_ratio": np.exp(fit.params[1:]), "low": low, "high": high, "p": fit.pvalues[1:]}
    return pd.DataFrame(columns, index=others)


def ratings(table, question):
    """The answers to a question as numbers: one row a rater, one column a picture, NaN where there is none.

    1 to 5 as they are, yes and no as 1 and 0; "undecided" is missing; the first answer counts.
    """
    rows = first_answers(table, question, QUESTIONS[question])
    numbers = pd.to_numeric(rows["value"].replace({"yes": "1", "no": "0"}), errors="coerce")
    return rows.assign(value=numbers).pivot(index="respondent", columns="item", values="value")


def agreement(table):
    """How far raters agree: DataFrame alpha, low, high, same (stats.raw_agreement), chance; index question.

    Nominal for yes and no, ordinal for the scales. A question of which no picture was judged twice is left out.
    """
    rows = {}
    for question, level in (("satisfied", "nominal"), ("likeness", "ordinal"), ("match", "ordinal")):
        given = ratings(table, question)
        if (given.count() > 1).any():
            rows[question] = alpha(given, level), *alpha_interval(given, level), *raw_agreement(given)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["alpha", "low", "high", "same", "chance"])


def paradox_in_words(found):
    """A sentence for each question that nearly all answered alike, where alpha misleads. found: as of agreement()."""
    return [
        f"{row.Index}: two answers are the same in {percent(row.same)} of cases, but in {percent(row.chance)} any two would "
        "be, since nearly all answers are alike. Alpha counts only what is beyond that, so it says little here: it may be "
        "near 0 although raters agree."
        for row in found[found["chance"] > 0.8].itertuples()
    ]


def unknown_in_words(table):
    """What cannot be told from such answers: a list of sentences, empty after a whole study."""
    judged = satisfied(table).groupby("method")["respondent"].nunique()
    alone = ", ".join(in_order(judged.index[judged < 2]))
    pairs, pictures = duels(table), table[table["question"].isin(RATED)]
    twice = pictures.groupby("item")["respondent"].nunique()
    endless = len(pairs) > 0 and not _distinguished(*_cells(pairs)[:2])
    said = {
        f"How sure the share of {alone} is: fewer than two raters judged it.": len(alone) > 0,
        "Whether the methods differ within raters: nobody judged every method on one prompt.": blocks(table).empty,
        "Whether raters agree: no picture was judged by two of them.": not (twice > 1).any(),
        "Which of two pictures is better: no pair was decided.": pairs.empty,
        "How much stronger the best in pairs is: some methods never lost a duel to the others.": endless,
    }
    return [words for words, unknown in said.items() if unknown]


def alpha_of_words(table):
    """Krippendorff's nominal alpha of tags or codes: DataFrame of words, a row a person, a column an item, or NaN.

    Raises ValueError as alpha does.
    """
    words = sorted(table.melt()["value"].dropna().unique())
    return alpha(table.map(words.index, na_action="ignore").to_numpy(float), "nominal")


def duels(table):
    """The forced pairs: DataFrame respondent, left, right, winner; winner is a method or "tie"; undecided left out."""
    rows = table[(table["question"] == "pair") & (table["value"] != "undecided")]
    sides = rows["method"].str.split("+", expand=True).reindex(columns=[0, 1])
    winner = np.select([rows["value"] == "left", rows["value"] == "right"], [sides[0], sides[1]], "tie")
    return rows[["respondent"]].assign(left=sides[0], right=sides[1], winner=winner)


def bradley_terry(table, draws=200, level=0.95, seed=0):
    """Strengths of the methods from duels(): DataFrame strength (log, sum 0), low, high; intervals draw whole raters.

    Davidson (1970): wins go as p_i, ties as nu * sqrt(p_i p_j). A weak pull to 0 (a normal prior of SD 10) keeps a
    method that won every duel finite; how much stronger it is nobody can tell, so low and high are then nan, as they
    are with one rater. Raises ValueError without any duel.
    """
    methods, cells, cell = _cells(table)
    _, rater = np.unique(table["respondent"], return_inverse=True)
    rng, raters, drawn = np.random.default_rng(seed), rater.max() + 1, []
    for _ in range(draws):
        times = np.bincount(rng.integers(raters, size=raters), minlength=raters)  # each rater is drawn
        drawn.append(_fit(methods, cells, np.bincount(cell, times[rater], len(cells))))
    edges = pd.DataFrame(drawn).quantile([(1 - level) / 2, (1 + level) / 2])
    low, high = known(edges.iloc[0], edges.iloc[1]) if _distinguished(methods, cells) else (np.nan, np.nan)
    return pd.DataFrame({"strength": _fit(methods, cells, np.bincount(cell)), "low": low, "high": high})


def _distinguished(methods, cells):
    """Whether the duels bound every strength: each method wins over each other one, if need be by way of others.

    Ford (1957): only then has the likelihood its highest point at finite strengths. Ties count once some methods won
    against each other both ways: before, more ties may always be taken for a larger nu.
    """
    left, right, outcome = cells.T
    seen = np.zeros((3, len(methods), len(methods)))
    seen[outcome, left, right] = 1
    wins, ties = seen[0] + seen[1].T, seen[2]
    groups = lambda graph: csgraph.connected_components(graph, connection="strong")[0]
    return groups(wins) < len(methods) and groups(wins + ties + ties.T) == 1


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
    data = np.stack(scores, axis=1), outcome, weights[weights > 0]
    fit = optimize.minimize(_davidson, np.zeros(len(unit)), data, jac=True, method="L-BFGS-B", tol=1e-12)
    return pd.Series(fit.x[: len(methods)] - fit.x[: len(methods)].mean(), methods)


def _davidson(x, design, outcome, weights):
    """Negative log-likelihood of the pairs, and its gradient; design @ x are the log-odds of each outcome."""
    logs = special.log_softmax(design @ x, axis=1)
    miss = (np.eye(logs.shape[1])[outcome] - np.exp(logs)) * weights[:, None]
    loss = -weights @ logs[np.arange(len(outcome)), outcome]
    return loss + (x**2).sum() / 200, x / 100 - np.tensordot(miss, design)
