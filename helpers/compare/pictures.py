"""The comparison: pictures of each method made once, kept with their settings, and listed in images.csv."""

import pandas as pd

from helpers import machine, photos
from helpers.compare import trained
from helpers.diffusion import device, kept

COLUMNS = ["file", "model", "method", "subject", "prompt_id", "prompt", "seed"]


def folder():
    """Where the comparison lies."""
    return machine.RUNS / "compare"


def pictures(model, base, prompts, seeds, **sampler):
    """A table with a row for each prompt and seed, the seeds of the first prompt first: COLUMNS, `image`, `withheld`.

    model: of trained.find; base: the base pipeline; prompts: {prompt_id: prompt}; sampler: guidance_scale and
    num_inference_steps. A picture made before is read from runs/compare/images/<model>, unless weights, sampler or
    safety checker have changed. All are listed in images.csv but those that the safety checker withheld. Processes
    that were launched together share the work. Raises FileNotFoundError for a run that is missing.
    """
    table = _rows(model, prompts, seeds)
    _make(model, base, table, sampler)
    images = [kept.read(folder() / file) for file in table["file"]]
    table = table.assign(image=images, withheld=[kept.withheld(image) for image in images])
    if device.state().is_main_process:
        _list(table)
    return table


def ten_prompts(models, base, seeds, **sampler):
    """The paper's ten prompts about each person, by the base model and by whatever learnt that person.

    Returns {subject: {model's name: table as of `pictures`}}. models: those of trained.find that are ready.
    """
    models, pages = list(models), {}
    prompts = pd.read_csv(machine.REPO / "data" / "prompts.csv")
    for subject in dict.fromkeys(model.subject for model in models if model.subject):
        for model in trained.about(models, subject):
            own_words = trained.prompts_for(prompts, model, subject)
            table = pictures(model, base, own_words, seeds, **sampler)
            pages.setdefault(subject, {})[model.name] = table
            device.state().print(f"{model.name}, ten prompts: {len(table)} pictures", flush=True)
    return pages


def class_words(models, base, seeds, **sampler):
    """The class words, a horse and the names of the subjects, by every model: {model's name: table as of `pictures`}."""
    models, tables = list(models), {}
    for model in models:
        tables[model.name] = pictures(model, base, trained.words_for(model, models), seeds, **sampler)
        device.state().print(f"{model.name}, class words: {len(tables[model.name])} pictures", flush=True)
    return tables


def _rows(model, prompts, seeds):
    """The table of pictures to be: COLUMNS."""
    who = (model.name, model.method, model.subject)
    pairs = [(*pair, seed) for pair in prompts.items() for seed in seeds]
    rows = [(f"images/{who[0]}/{kept.file_name(prompt, seed)}", *who, key, prompt, seed) for key, prompt, seed in pairs]
    return pd.DataFrame(rows, columns=COLUMNS)


def _make(model, base, table, sampler):
    """Make the pictures of a table that are not there yet, or were made with other settings."""
    weights = {"weights": machine.weights_id(model.weights), "base": machine.weights_id(model.base)}
    if device.state().is_main_process:
        place = folder() / "images" / model.name
        kept.drop_outdated(place, weights | {"safety_checker": kept.is_checked(base)} | sampler)
    listed = {folder() / row.file: (row.prompt, row.seed) for row in table.itertuples()}
    if missing := kept.missing(listed):
        network = model.name if model.method == "hypernetwork" else None
        with trained.applied(model, base) as pipe:
            added = model.method in trained.ADDED  # to the base
            names = {"model": model.name, "hypernetwork": network, "weights": model.base if added else model.weights}
            kept.make(pipe, missing, **names, **sampler)


def passed(tables):
    """{name: table} without what the safety checker withheld, for it must not be scored; says how many those are."""
    if count := sum(int(table["withheld"].sum()) for table in tables.values()):
        print(f"{count} of {sum(map(len, tables.values()))} pictures were withheld: they are left out of all scores.")
    return {name: table[~table["withheld"]] for name, table in tables.items()}


def subject_photos(subject):
    """The prepared photos of a subject, PIL images: {"all", "training", "held out"}, as split.json parts them."""
    place = photos.prepared_folder(subject)
    pairs, path = photos.load_prepared(place), place / "split.json"
    held = machine.read_json(path)["validation"] if path.exists() else []
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
    machine.write_csv(folder() / "images.csv", rows.sort_values(["model", "prompt_id", "seed"], kind="stable"))


def grid_rows(tables, prompts):
    """Rows of pictures for show.image_grid: for each table of pictures one row a seed, one column a prompt."""
    rows = []
    for table in tables:
        for _, group in table.groupby("seed", sort=False):
            images = group.drop_duplicates("prompt_id").set_index("prompt_id")["image"]
            rows.append([images.get(key) for key in prompts])
    return rows
