"""The paper's second table beside ours, all of it read from the run folders."""

from pathlib import Path

import pandas as pd

from helpers import machine

LEARNING = 16  # bytes a weight that learns: itself, its gradient and AdamW's two moments, in float32
PAPER = {  # as the paper tells it
    "hypernetwork": {
        "memory": "8 GB",
        "trained on": "a personal computer",
        "steps": "10,000",
        "on disk": "about 80 MB",
        "the class": "affected by the subject",
    },
    "DreamBooth": {
        "memory": "24 GB",
        "trained on": "Google Colab",
        "steps": "4,040",
        "on disk": "2 GB",
        "the class": "stays distinct",
    },
}


def column(model, observed="", unet_parameters=0):
    """One column of the table for a finished model: a dict of steps, minutes, memory, trained on, on disk, the class.

    observed: what was seen of the class, in words; unet_parameters: of the frozen U-Net, for a
    prediction of memory where the run folder tells no measured peak. What is not known says so.
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
        "on disk": _size(size(model.weights)),
        "the class": observed or "not looked at",
    }


def table(found, observed=None, unet_parameters=0):
    """Rows the config, columns each method in the paper and each model here: DataFrame of words.

    found: trained_models, such as those of trained_models.find without the base; observed: {model's name: what the class did}.
    """
    columns = {(method, "the paper"): config for method, config in PAPER.items()}
    for model in found:
        columns[model.method, f"here, {model.subject}"] = column(
            model, (observed or {}).get(model.name, ""), unet_parameters
        )
    wanted = ["memory", "trained on", "steps", "minutes", "on disk", "the class"]
    whole = pd.DataFrame(columns).reindex(wanted).fillna("")
    whole.columns = pd.MultiIndex.from_tuples(whole.columns)
    return whole[sorted(whole.columns, key=lambda pair: (list(PAPER).index(pair[0]), pair[1] != "the paper"))]


def save(path, whole):
    """Writes the table as CSV, one row a method: method, where (paper or here), and the config as columns."""
    with machine.atomic_write(path) as partial:
        whole.T.rename_axis(["method", "where"]).reset_index().to_csv(partial, index=False)


def size(result):
    """Bytes of a file, or of all files in a folder."""
    result = Path(result)
    paths = [path for path in result.rglob("*") if path.is_file()] if result.is_dir() else [result]
    return sum(path.stat().st_size for path in paths)


def _memory(model, unet_parameters):
    """(peak memory in words, where it was trained): as the run tells it, else the least that weights alone take.

    The forecast with activations, of which notebook 04 tells, takes too long to make for a table.
    """
    settings = machine.read_json(model.run / "settings.json")
    path = model.run / "memory.json"
    told = machine.read_json(path) if path.exists() else settings
    where = {"cpu": "a processor, no GPU"}.get(device := settings.get("versions", {}).get("device", ""), device)
    if peak := told.get("peak_bytes"):
        return f"{_size(peak)}, {told.get('how', 'measured')}", where or "not told"
    frozen = 2 * unet_parameters if model.method == "hypernetwork" else 0
    least = frozen + LEARNING * settings.get("parameters", 0)
    return f"above {_size(least)}, predicted", where or "not told"


def _size(count):
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
