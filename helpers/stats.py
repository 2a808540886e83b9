"""Statistics without torch: how sure a number may be, how far two series differ, how far people agree.

What is drawn again is the groups, not the single values: ten pictures of one prompt are not ten prompts.
"""

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

NO_LIMITS = (-np.inf, np.inf)


def interval(values, groups=None, statistic=np.mean, draws=2000, seed=0, level=0.95, limits=None):
    """(low, high) of a statistic of `values`, by the cluster bootstrap.

    values: (n,) or (n, ...). groups: (n,) labels of what was sampled together, such as the prompt; (n, k) for k
    crossed labels, such as prompt and seed, which are then drawn independently (Owen 2007, pigeonhole bootstrap);
    None: each value stands alone. statistic: of an array of rows like `values`; returns a float.
    The percentiles are widened for few groups as Student's t is (Hesterberg 2015, expanded percentile interval).
    (nan, nan), which says "not known", if any label has a single value only: one prompt says nothing about others; and
    if all draws come out alike, but for a mean of values that cannot leave `limits`, which then has that of `bounded`.
    limits: the least and the greatest value there can be; None: 0 and 1 if there are no other values, else none.
    Own code, as scipy.stats.bootstrap draws single values and no groups.
    Raises ValueError if there are no values, or not as many labels as values.
    """
    values = np.asarray(values)
    if not len(values):
        raise ValueError("There are no values to draw from.")
    table = np.asarray(range(len(values)) if groups is None else groups, dtype=object)
    if len(table) != len(values):
        raise ValueError(f"There are {len(values)} values but labels for {len(table)}.")
    columns = table.reshape(len(table), -1).astype(str).T
    labels = [np.unique(column, return_inverse=True)[1] for column in columns]  # the number of each value's group
    fewest = min(column.max() for column in labels) + 1
    if fewest < 2:
        return float("nan"), float("nan")
    drawn = _drawn(values, labels, statistic, draws, np.random.default_rng(seed))
    tail = stats.norm.cdf(np.sqrt(fewest / (fewest - 1)) * stats.t.ppf((1 - level) / 2, fewest - 1))
    low, high = known(*np.quantile(drawn, [tail, 1 - tail]))
    if np.isnan(low) and statistic is np.mean:
        limits = limits or ((0, 1) if np.isin(values, (0, 1)).all() else NO_LIMITS)
        low, high = bounded(values.mean(), fewest, *limits, level)
    return float(low), float(high)


def bounded(mean, n, least, most, level=0.95):
    """(low, high) of the mean of n values that were all alike, though each may lie anywhere between least and most.

    Wilson's interval, scaled: no variable between two limits spreads more than a share does (Popoviciu 1935). It is wide.
    (nan, nan), which says "not known", without limits.
    """
    if not np.isfinite(most - least):
        return float("nan"), float("nan")
    return tuple(least + (most - least) * end for end in wilson((mean - least) / (most - least), n, level))


def known(low, high):
    """The ends of intervals, NaN for both where they meet: draws that are all alike do not make a number certain.

    low, high: floats or arrays, such as the columns of a table; returns two arrays.
    """
    meet = np.isclose(np.asarray(low, float), np.asarray(high, float), rtol=1e-9, atol=1e-12)
    return np.where(meet, np.nan, low), np.where(meet, np.nan, high)


def _drawn(values, labels, statistic, draws, rng):
    """The statistic of `draws` new samples: a value stands in as often as the product of its groups' counts."""
    counts = np.ones((draws, len(values)), int)
    for column in labels:
        size = column.max() + 1
        counts *= rng.multinomial(size, np.full(size, 1 / size), draws)[:, column]
    counts = counts[counts.any(axis=1)]  # crossed labels with empty cells may meet nowhere
    if statistic is np.mean and values.ndim == 1:
        return counts @ values.astype(float) / counts.sum(axis=1)
    return [statistic(np.repeat(values, row, axis=0)) for row in counts]


def paired_difference(a, b, groups=None, statistic=np.mean, draws=2000, seed=0, level=0.95):
    """How far a lies above b, pair by pair: dict difference, low, high, effect, higher, pairs.

    a, b: (n,) values of the same prompts and seeds; groups and the rest as for `interval`. Both are drawn together.
    effect: Cohen's d of the differences, mean over standard deviation (nan where all are the same). Where all are the
    same, low and high are nan too, for scores; for yes and no, as 1 and 0, they are those of `bounded`.
    higher: the share of pairs in which a is above b, ties counted half; 0.5 is no difference.
    Raises ValueError if a and b are not of one length, or empty.
    """
    a, b = (np.asarray(side, float) for side in (a, b))
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"Pairs need two lists of one length; these have {a.shape} and {b.shape}.")
    both = np.column_stack([a, b])
    apart = lambda rows: statistic(rows[:, 0]) - statistic(rows[:, 1])
    quick = (a - b, np.mean) if statistic is np.mean else (both, apart)
    limits = (-1, 1) if np.isin(both, (0, 1)).all() else NO_LIMITS  # of two yes-or-no answers, else of two scores
    low, high = interval(quick[0], groups, quick[1], draws, seed, level, limits)
    spread = np.std(a - b, ddof=1) if len(a) > 1 else 0
    effect = np.mean(a - b) / spread if spread > 1e-12 else np.nan
    found = {"difference": apart(both), "low": low, "high": high, "effect": effect}
    found["higher"] = np.mean((a > b) + 0.5 * (a == b))
    return {name: float(value) for name, value in found.items()} | {"pairs": len(a)}


def wilson(share, n, level=0.95):
    """Wilson's (low, high) for a share of n answers, which need not be whole in number (Wilson 1927).

    Unlike the textbook interval it holds for a dozen answers, and for none and for all of them.
    """
    low, high = proportion_confint(share * n, n, 1 - level, method="wilson")
    return max(0.0, low), min(1.0, high)  # before statsmodels 0.15 they may lie a rounding error beyond


def share_interval(respondents, values, level=0.95):
    """A share with Wilson's interval, widened by the design effect: dict share, low, high, answers, raters, effect.

    respondents: who gave each answer; values: 0 or 1. The design effect is the variance of the share between raters
    (linearised ratio, Cochran 1977, eq. 11.12) over that of independent answers; it is never taken below 1. The
    quantile is Student's with raters - 1 degrees of freedom. If all answers agree, each rater counts once, since then
    nothing shows how alike one person's answers are. Raises ValueError with fewer than two raters.
    """
    _, rater = np.unique(np.asarray(respondents), return_inverse=True)
    values = np.asarray(values, float)
    raters, n = rater.max(initial=-1) + 1, len(values)
    if raters < 2:
        raise ValueError(f"An interval needs at least two raters; here is {raters}.")
    share = values.mean()
    if share in (0, 1):
        effect = n / raters
    else:
        residual = np.bincount(rater, values - share)
        effect = max(1, raters / (raters - 1) * (residual**2).sum() / (n * share * (1 - share)))
    tail = (1 + level) / 2
    worth = n / effect * (stats.norm.ppf(tail) / stats.t.ppf(tail, raters - 1)) ** 2
    low, high = wilson(share, worth, level)
    return {"share": share, "low": low, "high": high, "answers": n, "raters": int(raters), "effect": float(effect)}


def summarise(values, level=0.95):
    """Mean of what a scorer says of some images, with its interval: dict images, mean, low, high.

    values: bools (Wilson's interval) or floats (Student's t; NaN for a single image or if all are alike).
    The interval speaks of further seeds of this one trained model, not of another training.
    Raises ValueError if there are no values.
    """
    values = np.asarray(values)
    if not len(values):
        raise ValueError("There are no images to count: make some first.")
    mean, low, high = float(values.mean()), float("nan"), float("nan")
    if values.dtype == bool:
        low, high = wilson(mean, len(values), level)
    elif len(values) > 1:
        half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
        low, high = known(mean - half, mean + half)
    return {"images": len(values), "mean": mean, "low": float(low), "high": float(high)}


def percent(share, low=None, high=None):
    """A share in words: "80 %", with an interval "80 % (58 to 92 %)", or "80 % (interval not known)"."""
    words = f"{share * 100:.0f} %"
    return words if low is None else f"{words} ({between(low * 100, high * 100, '.0f', ' %')})"


def between(low, high, form=".2f", unit=""):
    """An interval in words: "0.58 to 0.66", "58 to 92 %", or "interval not known" where its ends are NaN."""
    return "interval not known" if np.isnan(low) else f"{low:{form}} to {high:{form}}{unit}"


def alpha(matrix, level="ordinal"):
    """Krippendorff's alpha of a (raters, items) array with NaN for no answer; level nominal, ordinal or interval.

    Own code, as the package krippendorff is not in the suite that a learner installs; the tests compare with it.
    1 is perfect agreement, 0 what chance gives. Krippendorff, Content Analysis (2004), chapter 11.
    Raises ValueError if no item has two answers; returns NaN if all answers are equal.
    """
    return _alpha(*_counts(matrix), level)


def alpha_interval(matrix, level="ordinal", draws=500, seed=0, confidence=0.95):
    """(low, high) of alpha by drawing the pictures again and again, with replacement.

    Pictures and not raters: a rater who is drawn twice would agree with themselves. Zapf et al., BMC Medical Research
    Methodology 16 (2016) found this to hold the truth well. (nan, nan), which says "not known", if more than one draw in
    twenty has equal answers alone, or if all draws come out alike. Raises ValueError as alpha does.
    """
    values, counts = _counts(matrix)
    _alpha(values, counts, level)
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(draws):
        chosen = counts[rng.integers(len(counts), size=len(counts))]
        if (chosen.sum(axis=1) > 1).any():
            drawn.append(_alpha(values, chosen, level))
    if np.isnan(drawn).mean() > 1 - confidence:
        return float("nan"), float("nan")
    low, high = known(*np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2]))
    return float(low), float(high)


def raw_agreement(matrix):
    """How often two raters gave the same picture the same answer, and how often two answers to any: (same, chance).

    matrix: as for alpha, whose nominal value is 1 - (1 - same) / (1 - chance). Where nearly all answers are equal,
    chance is near 1 and alpha may be near 0 though raters agree: the paradox of Feinstein and Cicchetti (1990).
    Raises ValueError if no picture has two answers.
    """
    counts = _judged_twice(_counts(matrix)[1])
    n, totals = counts.sum(axis=1), counts.sum(axis=0)
    same = ((counts * (counts - 1)).sum(axis=1) / (n - 1)).sum() / n.sum()
    return float(same), float((totals * (totals - 1)).sum() / (n.sum() * (n.sum() - 1)))


def _counts(matrix):
    """The values there are, and how often each picture got each of them."""
    matrix = np.asarray(matrix, float)
    values = np.unique(matrix[~np.isnan(matrix)])
    return values, (matrix[..., None] == values).sum(axis=0)


def _judged_twice(counts):
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        raise ValueError("Agreement needs at least one picture that two raters judged.")
    return counts


def _alpha(values, counts, level):
    counts = _judged_twice(counts)
    totals = counts.sum(axis=0)
    places = {"nominal": values, "ordinal": np.cumsum(totals) - totals / 2, "interval": values}  # ordinal: middle ranks
    if level not in places:
        raise ValueError(f"There is no level {level!r}: nominal, ordinal or interval.")
    apart = np.subtract.outer(places[level], places[level])
    distance = apart != 0 if level == "nominal" else apart**2  # of a value from itself 0, so these pairs do not count
    observed = (counts / (counts.sum(axis=1, keepdims=True) - 1)).T @ counts
    chance = (np.outer(totals, totals) / (totals.sum() - 1) * distance).sum()
    return float(1 - (observed * distance).sum() / chance) if chance else float("nan")
