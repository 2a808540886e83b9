"""The paper's second table beside ours, all of it read from the run folders."""

from pathlib import Path

import pandas as pd

from helpers import machine
from helpers.compare import trained
from helpers.methods import difference

LEARNING = 16  # bytes a weight that learns: itself, its gradient and AdamW's two moments, in float32
ROWS = ["memory", "trained on", "steps", "minutes", "on disk", "the class"]
PAPER = {  # as the paper gives them, row by row; of minutes it says nothing
    "hypernetwork": ("8 GB", "a personal computer", "10,000", "", "about 80 MB", "affected by the subject"),
    "DreamBooth": ("24 GB", "Google Colab", "4,040", "", "2 GB", "stays distinct"),
}


def column(model, observed="", unet_parameters=0):
    """One column of the table for a trained model: a dict of memory, trained on, steps, minutes, on disk, the class.

    observed: what was seen of the class, in words; unet_parameters: of the frozen U-Net, for a prediction of memory
    where the run folder has no measured peak. What is not known says so.
    """
    if model.missing:
        return {"steps": model.missing}
    last = pd.read_csv(model.run / "loss.csv").iloc[-1]
    peak, where = _memory(model, unet_parameters)
    return {
        "memory": peak,
        "trained on": where,
        "steps": f"{int(last['step']):,}",
        "minutes": f"{last['seconds'] / 60:.1f}",
        "on disk": _size(bytes_of(model.weights)) + _packed(model.weights),
        "the class": observed or "not looked at",
    }


def table(models, observed=None, unet_parameters=0):
    """A row for each property, a column for each method in the paper and each model here: DataFrame of words.

    models: of trained.find, without the base; observed: {model's name: what the class did}.
    """
    columns = {(method, "the paper"): dict(zip(ROWS, words)) for method, words in PAPER.items()}
    for model in models:
        words = (observed or {}).get(model.name, "")
        columns[model.method, f"here, {model.subject}"] = column(model, words, unet_parameters)
    whole = pd.DataFrame(columns).reindex(ROWS).fillna("")
    whole.columns = pd.MultiIndex.from_tuples(whole.columns)
    order = [*PAPER, *trained.EXTRA]
    return whole[sorted(whole.columns, key=lambda pair: (order.index(pair[0]), pair[1] != "the paper"))]


def save(path, whole):
    """Writes the table as CSV, one row a method: method, where (paper or here), and the properties."""
    machine.write_csv(path, whole.T.rename_axis(["method", "where"]).reset_index())


def bytes_of(weights):
    """Bytes of a file, or of all files in a folder."""
    paths = [Path(weights), *Path(weights).rglob("*")]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _packed(weights):
    return ", as a difference from the base" if Path(weights).name == difference.NAME else ""


def _memory(model, unet_parameters):
    """(peak memory, where it was trained) in words: as the run says, else the least that weights alone take."""
    settings = machine.read_json(model.run / "settings.json")
    path = model.run / "memory.json"
    measured = machine.read_json(path) if path.exists() else settings
    where = {"cpu": "a processor, no GPU"}.get(device := settings.get("versions", {}).get("device", ""), device)
    if peak := measured.get("peak_bytes"):
        return f"{_size(peak)}, {measured.get('how', 'measured')}", where or "not known"
    frozen = 2 * unet_parameters if model.method in trained.ADDED else 0
    least = frozen + LEARNING * settings.get("parameters", 0)
    return f"above {_size(least)}, predicted", where or "not known"


def _size(count):
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
