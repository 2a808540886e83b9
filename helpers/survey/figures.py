"""Figures of the survey. Each returns its figure; answers that nobody gave are stamped as simulated."""

from helpers import show
from helpers.survey import design, statistics

SHADES = ("#cdc76a", "#8f8a2e", "#4c490f")  # of one colour that no method has: from few to many
SCALE_COLORS = ("#b35806", "#f1a340", "#d8d8de", "#92b6de", "#2f62a8", "white")  # 1 to 5, then undecided


def stamp(chart, table=None):
    """Write on a figure what nobody said: "simulated answers" if its table has any, "invented raters" without a table."""
    words = "invented raters" if table is None else "simulated answers"
    if table is None or (table["source"] == "simulated").any():
        chart.supxlabel(words, x=0.99, ha="right", color="#a8281c", fontsize=9)
    return chart


def draws(values, title, *, mark=None, label="observed", bins=30, answers=None):
    """Many draws of a number as a histogram, with one marked. answers: the table that they come from, else invented raters."""
    chart, axes = show.figures.figure(6, 2.4)
    axes.hist(values, bins, color=show.COLORS[0], alpha=0.7)
    if mark is not None:
        axes.axvline(mark, color=show.COLORS[1], linewidth=2, label=f"{label} {mark:.2f}")
        axes.legend(frameon=False)
    axes.set(xlabel=title, ylabel="draws")
    return stamp(chart, answers)


def intervals(table, xlabel, *, limits=None, marks=None, answers=None):
    """One dot and whisker a row, a method in its colour.

    table: columns low, high and the first one before them, in that order of rows. Where low and high are nan it says so beside the dot.
    marks: {row name: x} drawn as open diamonds, such as the paper's shares; answers: the long table, for the stamp.
    """
    chart, axes = show.figures.figure(6, 0.9 + 0.33 * len(table))
    places, middle = range(len(table)), next(name for name in table if name not in ("low", "high"))
    colors = [show.figures.color_of(name) for name in table.index]
    axes.hlines(places, table["low"], table["high"], color=colors, linewidth=3, capstyle="round")
    axes.scatter(table[middle], places, 49, colors, zorder=3)
    for place in table["low"].isna().to_numpy().nonzero()[0]:
        where = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate("interval not known", (table[middle].iloc[place], place), **where)
    if marks:
        axes.plot(table.index.map(marks), places, "D", color=show.INK, markersize=7, fillstyle="none")
    axes.set(yticks=places, yticklabels=table.index.map(str), xlabel=xlabel, xlim=limits, ylim=(len(table) - 0.4, -0.6))
    return chart if answers is None else stamp(chart, answers)


def shares(table, method_shares, paper=None):
    """Satisfaction by method with its intervals; paper: {method: share} as open diamonds."""
    xlabel = "satisfied (95 % interval" + ("; diamonds: the paper)" if paper else ")")
    return intervals(method_shares[["share", "low", "high"]], xlabel, limits=(0, 1), marks=paper, answers=table)


def scales(table, question):
    """How often each point of a scale was chosen, by method: stacked bars with the counts written in."""
    counts = statistics.scale_counts(table, question)
    chart, axes = show.figures.figure(6, 1.1 + 0.42 * len(counts))
    parts = counts.div(counts.sum(axis=1), axis=0)
    parts.plot.barh(ax=axes, stacked=True, width=0.7, color=SCALE_COLORS, edgecolor=show.INK, linewidth=0.4)
    for value, bars in zip(design.SCALE, axes.containers):
        numbers = counts[value].astype(str).where(parts[value] > 0.04, "")
        axes.bar_label(bars, numbers, label_type="center", fontsize=8, color="white" if value in "15" else show.INK)
    axes.set(xlabel=f"{question}: share of answers", ylabel="", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8)
    return stamp(chart, table)


def many_intervals(table, truth, kind=""):
    """The intervals of many studies side by side; those that miss the truth stand out.

    table: as simulation.intervals returns it; kind: "" for the honest ones, "pooled_" for the others.
    """
    chart, axes = show.figures.figure(6, 2.6)
    rows = table.head(60)
    low, high = rows[f"{kind}low"], rows[f"{kind}high"]
    missed = ~((low <= truth) & (truth <= high))
    for group, color, name in ((~missed, show.COLORS[2], "holds the truth"), (missed, show.COLORS[1], "misses it")):
        label = f"{name}: {group.sum()}"
        axes.vlines(rows.index[group], low[group], high[group], color=color, linewidth=3, label=label)
    axes.axhline(truth, color=show.INK, linewidth=1)
    axes.set(xlabel="study", ylabel="share", ylim=(min(0.4, low.min()), 1.02))
    axes.legend(frameon=False, ncols=2, loc="lower right")
    return stamp(chart)


def study_sizes(table):
    """How wide the interval is: table with columns raters, items, half_width and pooled_half_width, in 0 to 1."""
    chart, axes = show.figures.figure(6, 3)
    wide = table.pivot(index="raters", columns="items")
    for name, style in (("half_width", "o-"), ("pooled_half_width", ":")):
        wide[name].plot(ax=axes, style=style, color=list(SHADES))
    axes.set(xlabel="raters", ylabel="half of the interval", ylim=(0, None))
    title = "pictures each; dotted: if answers were people"
    axes.legend(handles=axes.lines[: table["items"].nunique()], frameon=False, title=title)
    return stamp(chart)
