"""How sure a number may be: intervals and paired differences by drawing again what could have been drawn.

What is drawn again is the groups, not the single values: ten pictures of one prompt are not ten prompts.
"""

import numpy as np
from scipy import stats


def interval(values, groups=None, statistic=np.mean, draws=2000, seed=0, level=0.95):
    """(low, high) of a statistic of `values`, by the cluster bootstrap.

    values: (n,) or (n, ...). groups: (n,) labels of what was sampled together, such as the prompt; (n, k) for k
    crossed labels, such as prompt and seed, which are then drawn independently (Owen 2007, pigeonhole bootstrap);
    None: each value stands alone. statistic: of an array of rows like `values`; it may be of any kind, a float comes.
    The percentiles are widened for few groups as Student's t is (Hesterberg 2015, expanded percentile interval).
    (nan, nan) if any label has a single value only: one prompt says nothing about others.
    Raises ValueError if there are no values, or not as many labels as values.
    """
    values, labels = _checked(values, groups)
    fewest = min(column.max() for column in labels) + 1
    if fewest < 2:
        return float("nan"), float("nan")
    drawn = _drawn(values, labels, statistic, draws, np.random.default_rng(seed))
    tail = stats.norm.cdf(np.sqrt(fewest / (fewest - 1)) * stats.t.ppf((1 - level) / 2, fewest - 1))
    return tuple(float(edge) for edge in np.quantile(drawn, [tail, 1 - tail]))


def _checked(values, groups):
    """The values as an array, and for each kind of label the number of each value's group, from 0."""
    values = np.asarray(values)
    if not len(values):
        raise ValueError("There are no values to draw from.")
    table = np.arange(len(values))[:, None] if groups is None else np.asarray(groups, dtype=object)
    table = table[:, None] if table.ndim == 1 else table
    if len(table) != len(values):
        raise ValueError(f"There are {len(values)} values but labels for {len(table)}.")
    return values, [np.unique(column.astype(str), return_inverse=True)[1] for column in table.T]


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
    effect: Cohen's d of the differences, mean over standard deviation (nan where all are the same).
    higher: the share of pairs in which a is above b, ties counted half; 0.5 is no difference.
    Raises ValueError if a and b are not of one length, or empty.
    """
    a, b = (np.asarray(side, float) for side in (a, b))
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"Pairs need two lists of one length; these have {a.shape} and {b.shape}.")
    both = np.column_stack([a, b])
    apart = lambda rows: statistic(rows[:, 0]) - statistic(rows[:, 1])
    quick = (a - b, np.mean) if statistic is np.mean else (both, apart)
    low, high = interval(quick[0], groups, quick[1], draws, seed, level)
    spread = np.std(a - b, ddof=1) if len(a) > 1 else 0
    return {
        "difference": float(apart(both)),
        "low": low,
        "high": high,
        "effect": float(np.mean(a - b) / spread) if spread > 1e-12 else float("nan"),
        "higher": float(np.mean((a > b) + 0.5 * (a == b))),
        "pairs": len(a),
    }
