"""Figures of a training: the held-out loss of each photo, the learning rate, and what came of a toy."""

import pandas as pd

from helpers import schedules
from helpers.plots import COLORS, INK, figure


def held_out_curves(table):
    """Draw the held-out loss of each photo as a change from its start, and their mean, in bold.

    table: path of a run's held_out.csv, or such a table: step, then one column a photo.
    """
    table = table if isinstance(table, pd.DataFrame) else pd.read_csv(table)
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


def rate_curve(texts, steps):
    """Draw learning rates over a training, one line a schedule in the web UI's syntax; a line ends where it stops.

    texts: strings such as "2e-3:100, 5e-4:200, 1e-4". Raises ValueError for one that is no schedule.
    """
    chart, axes = figure(7, 2.6)
    for i, text in enumerate(texts):
        segments = schedules.parse(text, steps)
        numbers = range(1, segments[-1].last + 1)
        rates = [schedules.rate_at(segments, number) for number in numbers]
        axes.plot(numbers, rates, color=COLORS[i % 6], ls=["-", "--", ":", "-."][i % 4], lw=2, label=text)
    axes.set(xlabel="step", ylabel="learning rate", yscale="log", xlim=(0, steps))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1)
    return chart


def arrows(before, after, wished):
    """Draw points of the plane before and after, an arrow between the two, and where they were wished to be.

    Three arrays or tensors (n, 2).
    """
    chart, axes = figure(5, 4)
    for name, points, mark, color in [
        ("wished", wished, "o", COLORS[2]),
        ("before", before, ".", COLORS[0]),
        ("after", after, "x", COLORS[1]),
    ]:
        size = 9 if mark == "o" else 6
        axes.plot(
            *points.T, mark, color=color, label=name, markersize=size, fillstyle="none" if mark == "o" else "full"
        )
    for (x, y), (u, v) in zip(before.tolist(), after.tolist()):
        axes.annotate("", (u, v), (x, y), arrowprops={"arrowstyle": "->", "color": COLORS[0], "alpha": 0.4})
    axes.set_aspect("equal")
    axes.legend(frameon=False)
    return chart
