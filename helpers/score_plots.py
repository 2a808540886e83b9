"""Figures of scores: a forest plot of means or differences, bars of what a class is made of."""

import numpy as np

from helpers.plots import COLORS, INK, color_of, figure


def forest(table, measures=None, label="maker", value="mean", zero=None, shown=None):
    """One panel a measure, one line a row: a dot with its interval. Methods keep their colour in every panel.

    table: columns measure, low, high, and those named by `label` and `value`. zero: where to draw the line of
    no difference. shown: {label: what to write instead}. A row without an interval is a dot alone.
    Raises ValueError for a table without rows.
    """
    if not len(table):
        raise ValueError("There are no scores to draw.")
    measures = list(measures or table["measure"].unique())
    names = list(table[label].unique())
    chart, axes = figure(3.4 * len(measures) + 1, 0.9 + 0.42 * len(names))
    chart.delaxes(axes)
    panels = chart.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for panel, measure in zip(panels, measures):
        rows = table[table["measure"] == measure].set_index(label)
        for place, name in enumerate(name for name in names if name in rows.index):
            row, color = rows.loc[name], color_of(name, names.index(name))
            panel.plot([row["low"], row["high"]], [names.index(name)] * 2, color=color, linewidth=2.5)
            panel.plot(row[value], names.index(name), "o", color=color, markersize=7)
        if zero is not None:
            panel.axvline(zero, color=INK, linewidth=0.8, linestyle=":")
        panel.set(title=measure, yticks=range(len(names)), yticklabels=[(shown or {}).get(n, n) for n in names])
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.spines[["top", "right"]].set_visible(False)
    return chart


def stacked_bars(groups, limit=5):
    """One bar a group, cut into the shares of its words, each piece with its word: what a class is made of.

    groups: {label: Series of shares by word}. Beyond the `limit` most frequent words the rest is "others".
    """
    total = sum(shares.sort_index() for shares in _aligned(groups.values()))
    words = list(total.sort_values(ascending=False).index[:limit])
    chart, axes = figure(8, 0.5 + 0.5 * len(groups))
    left = np.zeros(len(groups))
    for i, word in enumerate([*words, "others"]):
        widths = np.array([_share(shares, word, words) for shares in groups.values()])
        bars = axes.barh(range(len(groups)), widths, left=left, color=(COLORS[i % len(COLORS)], 0.5), edgecolor="white")
        labels = [f"{word}\n{width:.0%}" if width > 0.09 else "" for width in widths]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color=INK)
        left += widths
    axes.set(yticks=range(len(groups)), yticklabels=list(groups), xlim=(0, 1), xlabel="share of pictures")
    axes.invert_yaxis()
    return chart


def _aligned(several):
    several = list(several)
    index = sorted({word for shares in several for word in shares.index})
    return [shares.reindex(index, fill_value=0) for shares in several]


def _share(shares, word, words):
    return 1 - sum(shares.get(each, 0) for each in words) if word == "others" else shares.get(word, 0)
