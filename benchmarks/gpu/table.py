"""What was measured, as tables; and the places in our texts that take their figures from them.

A text has them between <!-- gpu NAME --> and <!-- /gpu -->, with NAME one of BLOCKS. Where the file lacks what a block
needs, the text stays as it is, and says "predicted".
"""

import itertools

import pandas as pd

from benchmarks import marked
from helpers import diffusion

GB = 1e9
TITLES = {
    "device": "The machine, and which kernel attention takes",
    "guided": "Seconds of a step with guidance",
    "settings": "Trainings: seconds a step, and memory beside the forecast, in GB",
    "pictures": "Pictures a second",
    "peers": "Seconds a step, beside peers",
    "precision": "Losses of the same steps in three precisions",
    "saving": "Saving and reading",
    "resume": "Stopped and taken up, beside a training that went through",
    "processes": "Two processes",
}
HIDDEN = ("where", "losses")
MEMORY = ("allocator", "reserved", "on the card", "forecast", "peak")  # columns of bytes


def line(part, row):
    """A row as it is printed while the others are still to come."""
    return f"{part}: " + ", ".join(f"{name} {_cell(name, value)}" for name, value in row.items() if name not in HIDDEN)


def text(results):
    """All tables in Markdown, a heading each; a part that was not run, or gave no row, is left out."""
    made = results["made"]
    told = f"{made['card']}, PyTorch {made['torch']}, {made['date']}; random weights of Stable Diffusion 1.5's shape, "
    parts = [f"Measured by `python -m benchmarks.gpu` on {told}{made['scale']['image_size']} pixels.\n"]
    for name, title in TITLES.items():
        if rows := _rows(name, results):
            parts.append(f"### {title}\n\n{_markdown(rows)}\n")
    return "\n".join(parts)


def _rows(name, results):
    """The rows of a part as they are shown."""
    rows = [dict(row) for row in results.get(name, [])]
    if name == "settings":
        predicted = {(row.get("method"), row.get("setting")): row.get("peak") for row in results.get("forecast", [])}
        for row in rows:
            row["forecast"] = predicted.get((row.get("method"), row.get("setting")))
    if name == "precision":
        exact = next((row["losses"] for row in rows if row.get("precision") == "float32"), [])
        for row in rows:
            pairs = list(zip(row.get("losses", []), exact))
            row |= {"steps": len(row.get("losses", [])), "last loss": (row.get("losses") or [None])[-1]}
            row["furthest from float32"] = max((abs(a / b - 1) for a, b in pairs if b), default=None)
    return [{name: value for name, value in row.items() if name not in HIDDEN} for row in rows]


def _markdown(rows):
    """A Markdown table; rows of other columns than those before begin a new one."""
    tables = []
    for _, group in itertools.groupby(rows, key=lambda row: tuple(name for name in row if name != "error")[:2]):
        group = list(group)
        names = list(dict.fromkeys(name for row in group for name in row))
        if len(group) == 1 and len(names) > 6:
            tables.append("\n".join(f"* {name}: {_cell(name, value)}" for name, value in group[0].items()))
            continue
        lines = [names, ["---"] * len(names)]
        lines += [[_cell(name, row.get(name)) for name in names] for row in group]
        tables.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join(tables)


def _cell(name, value):
    """A value in words: bytes in GB, other numbers to three digits."""
    if value is None or isinstance(value, float) and pd.isna(value):
        return ""
    if isinstance(value, int) and ("bytes" in name or name in MEMORY):
        return f"{value / GB:.2f} GB"
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/")


def _seconds(results, part, column="seconds a step", **what):
    """A figure of one row of a part, or None: not run, cut, or failed."""
    rows = [row for row in results.get(part, []) if what.items() <= row.items()]
    return rows[0].get(column) if rows else None


def minutes(results):
    """How long the steps of notebooks 03 and 04 and a picture take, in a sentence; None where one was not measured."""
    config = diffusion.model_config("sd15")
    small = _seconds(results, "settings", method="hypernetwork", setting="plain")
    whole = _seconds(results, "settings", method="dreambooth", setting="in backward")
    step = _seconds(results, "guided", "seconds", kind="pure", batch=8)
    if None in (small, whole, step):
        return None
    trainings = [config.hypernetwork["steps"] * small / 60, config.dreambooth["steps"] * whole / 60]
    return (
        f"On a {results['made']['card']} a picture of {config.num_inference_steps} steps takes "
        f"{config.num_inference_steps * step / 8:.1f} s, eight at a time, the {config.hypernetwork['steps']:,} steps of "
        f"notebook 03 {trainings[0]:.0f} minutes and the {config.dreambooth['steps']:,} of notebook 04 "
        f"{trainings[1]:.0f}, measured with random weights (`python -m benchmarks.gpu`). "
        "The other minutes on a T4 are for Stable Diffusion 1.5, too, and predicted.\n"
    )


def memory(results):
    """The forecasts beside what the card held, as a table; None without both."""
    if not results.get("forecast") or not results.get("settings"):
        return None
    return f"On a {results['made']['card']}, measured by `python -m benchmarks.gpu`:\n\n{_markdown(_rows('settings', results))}\n"


BLOCKS = {"minutes": minutes, "memory": memory, "all": text}


def write(path, results):
    """Puts the figures into a text, atomically. Raises ValueError if it has no place for them."""
    if results["made"]["scale"]["image_size"] != diffusion.model_config("sd15").image_size:
        raise ValueError(
            "These figures are of a model of a tenth of the width: run `python -m benchmarks.gpu` on a GPU first."
        )
    marked.fill(path, "gpu", {name: block(results) for name, block in BLOCKS.items()})
