"""Figures: losses and rates of a training, shares with their intervals, scores."""

import itertools

import numpy as np
import pandas as pd
from matplotlib import pyplot

from helpers.show.grids import COLORS, INK

# each has the colour of its place
METHODS = ("base", "hypernetwork", "dreambooth", "the world", "real photos", "lora", "textual inversion", "predicted")


def color_of(name, other=INK):
    """The same colour for a method in every figure, and for the world and photos beside them; `other` for the rest."""
    return next((color for color, method in zip(COLORS, METHODS) if str(name).lower().startswith(method)), other)


def colors_of(names):
    """{name: colour} for one figure: `color_of` for methods, and for each of the rest one that no method here has."""
    known = {name: color_of(name, None) for name in names}
    free = itertools.cycle([color for color in COLORS[3:] + COLORS[:3] if color not in known.values()] or COLORS)
    return {name: color or next(free) for name, color in known.items()}


def loss_curves(table):
    """Draw the training loss and its running mean, and the held-out loss where there is one.

    table: path of a run's loss.csv, or such a table: columns step, loss and maybe held_out_loss.
    """
    table = table if isinstance(table, pd.DataFrame) else pd.read_csv(table)
    chart, axes = figure(7, 3)
    window = max(1, len(table) // 20)
    axes.plot(table["step"], table["loss"], ".", color=COLORS[0], alpha=0.35, markersize=3, label="each step")
    axes.plot(table["step"], table["loss"].rolling(window, min_periods=1).mean(), color=COLORS[1], label="running mean")
    held_out = table.dropna(subset=["held_out_loss"]) if "held_out_loss" in table else table[:0]
    if len(held_out):
        axes.plot(held_out["step"], held_out["held_out_loss"], "o-", color=COLORS[2], label="held out")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(frameon=False)
    return chart


def share_bars(table, xlabel="share of images", limits=(0, 1)):
    """Draw one bar a row with its interval, grouped by prompt, one colour a method.

    table: columns prompt, method, mean, low, high, with the edges of stats.summarise; a row whose edges are nan or meet
    is a bar alone. limits: of the axis; None leaves them to matplotlib.
    """
    prompts, methods = list(table["prompt"].unique()), colors_of(table["method"].unique())
    chart, axes = figure(7, 0.7 + 0.28 * len(prompts) * (len(methods) + 0.6))
    step = 0.8 / len(methods)
    for i, (method, color) in enumerate(methods.items()):
        rows = table[table["method"] == method]
        y = rows["prompt"].map(prompts.index) + (i - (len(methods) - 1) / 2) * step
        wide = rows["low"] < rows["high"]  # else it is a point and no interval
        edges = rows["mean"] - rows["low"], rows["high"] - rows["mean"]
        whiskers = [edge.clip(lower=0).where(wide) for edge in edges]
        axes.barh(y, rows["mean"], step * 0.9, xerr=whiskers, color=color, ecolor=INK, capsize=2, label=method)
    axes.set(yticks=range(len(prompts)), yticklabels=prompts, xlabel=xlabel, xlim=limits)
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(methods))
    return chart


def figure(width, height, **panels):
    """(figure, axes) of so many inches, no frame at the top and right, shown by nobody yet; panels: of pyplot.subplots."""
    chart, axes = pyplot.subplots(figsize=(width, height), layout="constrained", **panels)
    pyplot.close(chart)  # else a notebook would show it a second time, below its cell
    for panel in np.ravel(axes):
        panel.spines[["top", "right"]].set_visible(False)
    return chart, axes


def forest(table, measures=None, label="model", value="mean", zero=None, shown=None, one_axis=False):
    """One panel a measure, one line a row: a dot with its interval. Methods keep their colour in every panel.

    table: columns measure, low, high, and those named by `label` and `value`. zero: where to draw the line of
    no difference. shown: {label: what to write instead}. A row without an interval is a dot alone.
    one_axis: all panels have the same limits, for measures in the same unit.
    Raises ValueError for a table without rows.
    """
    if not len(table):
        raise ValueError("There are no scores to draw.")
    measures = list(measures or table["measure"].unique())
    names, colors = list(table[label].unique()), colors_of(table[label].unique())
    panels = {"ncols": len(measures), "sharex": one_axis, "sharey": True}
    chart, axes = figure(3.4 * len(measures) + 1, 0.9 + 0.42 * len(names), **panels)
    for panel, measure in zip(np.ravel(axes), measures):
        rows = table[table["measure"] == measure].set_index(label)
        for place, name in enumerate(name for name in names if name in rows.index):
            row, color = rows.loc[name], colors[name]
            panel.plot([row["low"], row["high"]], [names.index(name)] * 2, color=color, linewidth=2.5)
            panel.plot(row[value], names.index(name), "o", color=color, markersize=7)
        if zero is not None:
            panel.axvline(zero, color=INK, linewidth=0.8, linestyle=":")
        panel.set(title=measure, yticks=range(len(names)), yticklabels=[(shown or {}).get(n, n) for n in names])
        panel.set_ylim(len(names) - 0.5, -0.5)
    return chart


def stacked_bars(groups, words=None, limit=5):
    """One bar a group, cut into the shares of its words, each piece with its word: what a class is made of.

    groups: {label: Series of shares by word}. words: in their order, which gives each its colour; None: by how frequent
    they are here. Beyond the first `limit` of them the rest is "others".
    """
    table = pd.DataFrame(groups).fillna(0).sort_index()
    words = (table.sum(axis=1).sort_values(ascending=False).index if words is None else pd.Index(words))[:limit]
    table = table.reindex(table.index.union(words), fill_value=0)
    shares = table.loc[words].T.assign(others=1 - table.loc[words].sum())
    chart, axes = figure(8, 0.5 + 0.5 * len(groups))
    left = np.zeros(len(groups))
    for i, (word, widths) in enumerate(shares.items()):
        bars = axes.barh(range(len(groups)), widths, left=left, color=(COLORS[i % len(COLORS)], 0.5), edgecolor="white")
        labels = [f"{word}\n{width:.0%}" if width > 0.09 else "" for width in widths]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color=INK)
        left += widths
    axes.set(yticks=range(len(groups)), yticklabels=list(groups), xlim=(0, 1), xlabel="share of pictures")
    axes.invert_yaxis()
    return chart


def held_out_curves(table):
    """Draw the held-out loss of each photo as a change from its start, and their mean, in bold.

    table: as a run's held_out.csv: step, then one column a photo.
    """
    photos = table.drop(columns="step")
    change = 100 * (photos / photos.iloc[0] - 1)
    chart, axes = figure(7, 3)
    for i, name in enumerate(change):
        axes.plot(table["step"], change[name], "os^vDP"[i % 6] + "-", color=COLORS[i % 6], alpha=0.8, label=name, lw=1)
    axes.plot(table["step"], change.mean(axis=1), color=INK, lw=2.5, label="mean")
    axes.axhline(0, color=INK, lw=0.5)
    axes.set(xlabel="step", ylabel="change of the loss, %")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return chart


def rate_curve(rates):
    """Draw learning rates over a training, one line a schedule; a line ends where its schedule does.

    rates: {label: the rate of each step from 1 on}.
    """
    chart, axes = figure(7, 2.6)
    for i, (label, values) in enumerate(rates.items()):
        steps = range(1, len(values) + 1)
        axes.plot(steps, values, color=COLORS[i % 6], ls=["-", "--", ":", "-."][i % 4], lw=2, label=label)
    axes.set(xlabel="step", ylabel="learning rate", yscale="log", xlim=(0, max(map(len, rates.values()))))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1)
    return chart


def arrows(before, after, targets):
    """Draw points of the plane before and after, an arrow between the two, and their targets: arrays (n, 2)."""
    chart, axes = figure(5, 4)
    axes.plot(*targets.T, "o", color=COLORS[2], label="target", markersize=9, fillstyle="none")
    axes.plot(*before.T, ".", color=COLORS[0], label="before")
    axes.plot(*after.T, "x", color=COLORS[1], label="after")
    for (x, y), (u, v) in zip(before.tolist(), after.tolist()):
        axes.annotate("", (u, v), (x, y), arrowprops={"arrowstyle": "->", "color": COLORS[0], "alpha": 0.4})
    axes.set_aspect("equal")
    axes.legend(frameon=False)
    return chart
