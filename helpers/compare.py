"""The comparison: pictures of each method made once, kept with their settings, and listed in images.csv."""

import functools
import hashlib
import re
from pathlib import Path

import pandas as pd
from PIL import Image

from helpers import files, makers, photos, png_info, runtime, sampling

BATCH = 8  # pictures made, then saved, at a time
COLUMNS = ["file", "maker", "method", "subject", "prompt_id", "prompt", "seed"]


def fingerprint(weights):
    """A short name for weights that changes with them; a hub id, which is not on disk, stays as it is."""
    weights = Path(weights)
    if not weights.exists():
        return weights.as_posix()
    parts = ("text_encoder", "unet", "vae")  # what makes the pictures; a captioner beside them does not
    paths = [path for part in parts for path in sorted((weights / part).glob("*.safetensors"))]
    return _fingerprint(*[(path, path.stat().st_mtime_ns) for path in ([weights] if weights.is_file() else paths)])


@functools.lru_cache
def _fingerprint(*dated):
    """files.fingerprint, computed once as long as the dates of the files stay."""
    return files.fingerprint([path for path, _ in dated])


def folder():
    """Where the comparison lies."""
    return runtime.RUNS / "compare"


def pictures(maker, base, wishes, seeds, **sampler):
    """A table with a row for each wish and seed, the seeds of the first wish first: COLUMNS, `image` and `withheld`.

    maker: of makers.find; base: the base pipeline; wishes: {prompt_id: prompt}; sampler: guidance_scale and
    num_inference_steps. A picture made before is read from runs/compare/images/<maker>; if weights, sampler or
    safety checker have changed since, that maker's pictures are made again. All are listed in
    runs/compare/images.csv, but for those that the safety checker withheld: a card is nothing to judge.
    Processes that were launched together share the work. Raises FileNotFoundError for a run that is missing.
    """
    place = folder() / "images" / maker.name
    table = pd.DataFrame(
        [(f"images/{maker.name}/{file_name(prompt, seed)}", maker.name, maker.method, maker.subject, key, prompt, seed)
         for key, prompt in wishes.items() for seed in seeds],
        columns=COLUMNS,
    )  # fmt: skip
    weights = {"weights": fingerprint(maker.weights), "base": fingerprint(maker.base)}
    paths = [folder() / file for file in table["file"]]

    def missing():
        _forget_others(place, weights | {"safety_checker": checked(base)} | sampler)
        return {path: (row.prompt, row.seed) for path, row in zip(paths, table.itertuples()) if not path.exists()}

    if wanted := runtime.from_first(missing):
        with makers.at_work(maker, base) as pipe:
            make(pipe, wanted, maker, **sampler)
    images = [read(path) for path in paths]
    table = table.assign(image=images, withheld=[withheld(image) for image in images])
    if runtime.state().is_main_process:
        _list(table)
    return table


def checked(pipe):
    """Whether a safety checker looks at what a pipeline makes."""
    return getattr(pipe, "safety_checker", None) is not None


def withheld(image):
    """Whether a picture that was read from disk is only the card of one that the safety checker withheld."""
    return "Withheld" in png_info.read_text(image.info.get("parameters", ""))[2]


def passed(tables):
    """{name: table} without what the safety checker withheld, for it must not be scored; says how many those are."""
    if count := sum(int(table["withheld"].sum()) for table in tables.values()):
        print(f"{count} of {sum(map(len, tables.values()))} pictures were withheld: they are left out of all scores.")
    return {name: table[~table["withheld"]] for name, table in tables.items()}


def make(pipe, wanted, maker, **sampler):
    """Make and keep pictures; wanted: {path: (prompt, seed)}. Each PNG tells its settings. A kill costs one batch.

    Of several processes each makes some of the batches, the same that one process would make: so they differ in no bit.
    """
    paths, state = list(wanted), runtime.state()
    network = maker.name if maker.method == "hypernetwork" else None
    weights = maker.base if network else maker.weights
    known = {"model_hash": fingerprint(weights)[:10]} if weights and Path(weights).exists() else {}
    with state.split_between_processes([paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]) as batches:
        for batch in batches:
            prompts, seeds = zip(*(wanted[path] for path in batch))
            images = sampling.generate(pipe, prompts, seeds, **sampler)
            for path, prompt, seed, image in zip(batch, prompts, seeds, images):
                told = {"seed": int(seed), "size": image.size, "model": maker.name, "hypernetwork": network} | known
                told |= {"withheld": "by the safety checker"} if "withheld" in image.info else {}
                png_info.save(path, image, png_info.write_text(prompt, "", png_info.settings(pipe, **told, **sampler)))
    state.wait_for_everyone()


def file_name(prompt, seed):
    """A name that people can read and that no other prompt has."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower())[:40].strip("-")
    return f"{words}-{hashlib.sha256(prompt.encode()).hexdigest()[:6]}-seed{seed}.png"


def _forget_others(place, settings):
    """Remove the pictures of a folder that were made with other settings.

    Where only the safety checker was taken off since, its cards go and what it let pass stays.
    """
    path = place / "settings.json"
    before = files.read_json(path) if path.exists() else settings
    if before != settings:
        taken_off = before == settings | {"safety_checker": True}
        for image in place.glob("*-seed*.png"):
            if not taken_off or withheld(read(image)):
                image.unlink()
    files.write_json(path, settings)


def read(path):
    """A picture on disk: RGB, with the texts of its PNG in `info`."""
    with Image.open(path) as image:
        return image.convert("RGB")


def subject_photos(subject):
    """The prepared photos of a subject, PIL images: {"all", "training", "held out"}, as split.json parts them."""
    place = photos.prepared_folder(subject)
    pairs, path = photos.load_prepared(place), place / "split.json"
    held = files.read_json(path)["validation"] if path.exists() else []
    return {
        "all": [image for _, image in pairs],
        "training": [image for file, image in pairs if file.name not in held],
        "held out": [image for file, image in pairs if file.name in held],
    }


def listed():
    """The table of all pictures of the comparison: COLUMNS; empty where there are none yet."""
    path = folder() / "images.csv"
    return pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame(columns=COLUMNS)


def _list(table):
    """Adds rows to images.csv; rows whose picture is gone or withheld leave it."""
    rows = pd.concat([listed(), table[COLUMNS]]).drop_duplicates(["file", "prompt_id"], keep="last")
    cards = set(table.loc[table["withheld"], "file"])
    rows = rows[[file not in cards and (folder() / file).exists() for file in rows["file"]]]
    with files.atomic_write(folder() / "images.csv") as partial:
        rows.sort_values(["maker", "prompt_id", "seed"], kind="stable").to_csv(partial, index=False)


def grid_rows(tables, wishes):
    """Rows of pictures for plots.image_grid: for each table of pictures one row a seed, one column a wish."""
    rows = []
    for table in tables:
        for seed in table["seed"].unique():
            found = table[table["seed"] == seed].drop_duplicates("prompt_id").set_index("prompt_id")["image"]
            rows.append([found.get(key) for key in wishes])
    return rows
