"""The pictures of an audit, the prompts that ask for them, and the words for people."""

import hashlib
import json
import random
import re

import pandas as pd

from helpers import machine
from helpers.compare import trained
from helpers.diffusion import kept

FOLDER = machine.REPO / "data" / "audit"
# words that a captioner uses for people; they tell about captioners as much as about pictures
PEOPLE = {
    "woman": ("woman", "women", "girl", "girls", "lady", "ladies", "she", "her", "female"),
    "man": ("man", "men", "boy", "boys", "guy", "guys", "he", "his", "male"),
    "person": ("person", "persons", "people", "someone", "somebody", "human", "adult", "child", "they"),
}


def prompts(*groups):
    """The neutral prompts of data/audit/prompts.csv as a list; groups: only these, such as "trait", "profession".

    Raises ValueError for a group that the file does not have.
    """
    table = pd.read_csv(FOLDER / "prompts.csv")
    unknown = sorted(set(groups) - set(table["group"]))
    if unknown:
        groups = ", ".join(table["group"].unique())
        raise ValueError(f"The file {FOLDER / 'prompts.csv'} has no group {unknown[0]!r}: choose from {groups}.")
    return list(table["prompt"][table["group"].isin(groups)] if groups else table["prompt"])


def languages():
    """One sentence in several languages: DataFrame code, language, prompt; English first."""
    return pd.read_csv(FOLDER / "languages.csv")


def pairs():
    """Sentences that differ in one word: DataFrame group, first, second, why."""
    return pd.read_csv(FOLDER / "pairs.csv")


def captions(suit, men, women, seed=1):
    """Captions of the drawn world that name clothes, of so many men and women in suits, or in other clothes: a list.

    They are worded as those that pocket learnt from: most say man or woman, some name somebody or say person.
    """
    from pocket import describe, world

    rng, found, missing = random.Random(seed), [], {"man": men, "woman": women}
    while any(missing.values()):
        scene = world.sample_scene(rng)
        caption, kind = describe.describe(scene, rng), scene.person.kind
        if " wearing " in caption and (scene.person.clothes == "suit") == suit and missing[kind]:
            missing[kind] -= 1
            found.append(caption)
    return found


def models(name):
    """The models that are audited, of compare.trained, the base first: one training of each method, finished or not."""
    found = trained.find(name)
    learnt = {method: machine.subjects.learnt_by(method) for method in ("hypernetwork", "dreambooth")}
    runs = [f"{method}_{subject}" for method, subject in learnt.items()]
    return [found[run] for run in ("base", *runs, f"predicted_{learnt['dreambooth']}") if run in found]


def ask(models, base, prompts, seeds, fewer=None, **sampler):
    """The same questions to several models: one table of `pictures`.

    models: of compare.trained, ready; base: the base model's pipeline. A model that was trained on somebody gets the
    first `fewer` of the seeds, to save time.
    """
    tables = []
    for model in models:
        with trained.applied(model, base) as pipe:
            own = seeds[:fewer] if model.subject else seeds
            tables.append(pictures(model.name, pipe, machine.weights_id(model.weights), prompts, own, **sampler))
    return pd.concat(tables, ignore_index=True)


def pictures(model, pipe, weights, prompts, seeds, **sampler):
    """A row for each prompt and seed, seeds of the first prompt first: `of_pairs` of them all."""
    return of_pairs(model, pipe, weights, [(prompt, seed) for prompt in prompts for seed in seeds], **sampler)


def of_pairs(model, pipe, weights, pairs, **sampler):
    """A row for each (prompt, seed): DataFrame model, prompt, seed, image.

    model: a name for the model as `pipe` is now; weights: whatever tells its weights from others (a fingerprint).
    sampler: guidance_scale and num_inference_steps. Pictures are kept in runs/audit/images, a folder for each model,
    weights and sampler, and made only once; a kill costs one batch. How many a safety checker withheld is printed; they are left out.
    """
    settings = {"weights": str(weights)} | sampler
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = machine.RUNS / "audit" / "images" / f"{model}-{name}"
    machine.write_json(folder / "settings.json", settings)
    paths = {folder / kept.file_name(prompt, seed): (prompt, seed) for prompt, seed in pairs}
    if missing := kept.missing(paths):
        network = model if model.startswith("hypernetwork") else None
        kept.make(pipe, missing, model=model, weights="", hypernetwork=network, **sampler)
    rows = [(model, prompt, seed, kept.read(path)) for path, (prompt, seed) in paths.items()]
    passed = [row for row in rows if not kept.withheld(row[-1])]
    if len(passed) < len(rows):
        print(f"{len(rows) - len(passed)} of {len(rows)} pictures by {model} were withheld: they are left out.")
    return pd.DataFrame(passed, columns=["model", "prompt", "seed", "image"])


def read(reader, table):
    """What a reader sees in each picture: the table of `pictures` without image, with the reader's columns.

    reader: anything with read(images) -> DataFrame, one row an image (metrics.FeatureScorer).
    """
    seen = reader.read(list(table["image"]))
    return pd.concat([table.drop(columns="image").reset_index(drop=True), seen.reset_index(drop=True)], axis=1)


def of(table, prompt, model=None):
    """The images of one prompt in the order of their seeds; model: of this one only."""
    rows = table[(table["prompt"] == prompt) & ((table["model"] == model) | (model is None))]
    return list(rows.sort_values("seed", kind="stable")["image"])


def paired(before, after, prompt, other=None):
    """Two lists of images, seed by seed: of `prompt` in one table and of `other`, else the same prompt, in another.

    Only seeds that both have: a safety checker may have withheld one.
    """
    one, two = before[before["prompt"] == prompt], after[after["prompt"] == (other or prompt)]
    both = one.merge(two, on="seed", suffixes=("", " after")).sort_values("seed", kind="stable")
    return list(both["image"]), list(both["image after"])


def mentioned(caption):
    """The groups of PEOPLE whose words stand in a caption, whole words only: a set of names."""
    words = set(re.findall(r"[^\W\d_]+", caption.lower()))
    return {name for name, listed in PEOPLE.items() if words & set(listed)}


def counts(captions):
    """In how many captions each group is mentioned: Series with "nobody" at the end for captions that mention none."""
    groups = [group for caption in captions for group in mentioned(caption) or ["nobody"]]
    return pd.Series(groups, dtype=str).value_counts().reindex([*PEOPLE, "nobody"], fill_value=0)


def called(caption):
    """What a caption calls the one it shows: "woman", "man", "both", "person" or "nobody"."""
    groups = mentioned(caption)
    return "both" if {"woman", "man"} <= groups else next((name for name in PEOPLE if name in groups), "nobody")
