"""Figures of the survey. Each returns its figure; answers that nobody gave are stamped as simulated."""

import numpy as np

from helpers import show
from helpers.show import figures
from helpers.survey import design, statistics

SCALE_COLORS = ("#b35806", "#f1a340", "#d8d8de", "#92b6de", "#2f62a8", "white")  # 1 to 5, then undecided


def stamp(chart, table):
    """Write "simulated answers" on a figure if its table has any; returns the figure."""
    if table is not None and (table["source"] == "simulated").any():
        chart.supxlabel("simulated answers", x=0.99, ha="right", color="#a8281c", fontsize=9)
    return chart


def draws(values, title, *, mark=None, label="observed", bins=30, answers=None):
    """Many draws of a number as a histogram, with one marked. answers: the table that they come from, for the stamp."""
    chart, axes = figures.figure(6, 2.4)
    axes.hist(values, bins, color=show.COLORS[0], alpha=0.7)
    if mark is not None:
        axes.axvline(mark, color=show.COLORS[1], linewidth=2, label=f"{label} {mark:.2f}")
        axes.legend(frameon=False)
    axes.set(xlabel=title, ylabel="draws")
    return stamp(chart, answers)


def intervals(table, xlabel, *, limits=None, marks=None, answers=None):
    """One dot and whisker a row. table: columns low, high and the first one before them, in that order of rows.

    marks: {row name: x} drawn as open diamonds, such as the paper's shares; answers: the long table, for the stamp.
    """
    chart, axes = figures.figure(6, 0.9 + 0.33 * len(table))
    middle = table[next(name for name in table if name not in ("low", "high"))].to_numpy(float)
    for y, (value, row) in enumerate(zip(middle, table.itertuples())):
        axes.plot([row.low, row.high], [y, y], color=show.COLORS[2], linewidth=3, solid_capstyle="round")
        axes.plot(value, y, "o", color=show.COLORS[2], markersize=7)
        if marks and row.Index in marks:
            axes.plot(marks[row.Index], y, "D", color=show.INK, markersize=7, fillstyle="none")
    axes.set(yticks=range(len(table)), yticklabels=[str(name) for name in table.index], xlabel=xlabel, xlim=limits)
    axes.set_ylim(len(table) - 0.4, -0.6)
    return stamp(chart, answers)


def shares(table, method_shares, paper=None):
    """Satisfaction by method with its intervals; paper: {method: share} as open diamonds."""
    xlabel = "satisfied (95 % interval" + ("; diamonds: the paper)" if paper else ")")
    return intervals(method_shares[["share", "low", "high"]], xlabel, limits=(0, 1), marks=paper, answers=table)


def scales(table, question):
    """How often each point of a scale was chosen, by method: stacked bars with the counts written in."""
    counts = statistics.scale_counts(table, question)
    chart, axes = figures.figure(6, 1.1 + 0.42 * len(counts))
    left = np.zeros(len(counts))
    for value, color in zip(design.SCALE, SCALE_COLORS):
        width = (counts[value] / counts.sum(axis=1)).to_numpy()
        axes.barh(range(len(counts)), width, 0.7, left, color=color, edgecolor=show.INK, linewidth=0.4, label=value)
        for y, (count, share, start) in enumerate(zip(counts[value], width, left)):
            if share > 0.04:
                ink = "white" if value in "15" else show.INK
                axes.text(start + share / 2, y, count, ha="center", va="center", fontsize=8, color=ink)
        left += width
    axes.set(yticks=range(len(counts)), yticklabels=counts.index, xlabel=f"{question}: share of answers", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8)
    return stamp(chart, table)


def many_intervals(table, truth, kind=""):
    """The intervals of many studies side by side; those that miss the truth stand out.

    table: as simulation.intervals returns it; kind: "" for the honest ones, "pooled_" for the others.
    """
    chart, axes = figures.figure(6, 2.6)
    rows = table.head(60)
    low, high = rows[f"{kind}low"], rows[f"{kind}high"]
    missed = ~((low <= truth) & (truth <= high))
    for group, color, name in ((~missed, show.COLORS[2], "holds the truth"), (missed, show.COLORS[1], "misses it")):
        label = f"{name}: {group.sum()}"
        axes.vlines(rows.index[group], low[group], high[group], color=color, linewidth=3, label=label)
    axes.axhline(truth, color=show.INK, linewidth=1)
    axes.set(xlabel="study", ylabel="share", ylim=(min(0.4, low.min()), 1.02))
    axes.legend(frameon=False, ncols=2, loc="lower right")
    return chart


def study_sizes(table):
    """How wide the interval is: table with columns raters, items, half_width and pooled_half_width, in 0 to 1."""
    chart, axes = figures.figure(6, 3)
    for i, (items, rows) in enumerate(table.groupby("items")):
        color = show.COLORS[i % len(show.COLORS)]
        axes.plot(rows["raters"], rows["half_width"], "o-", color=color, label=f"{items} pictures each")
        axes.plot(rows["raters"], rows["pooled_half_width"], ":", color=color)
    axes.set(xlabel="raters", ylabel="half of the interval", ylim=(0, None))
    axes.legend(frameon=False, title="dotted: if answers were people")
    return chart
