"""The audit's prompts and pictures: sentences that name nobody, many seeds, the same for every model.

Counting is in audit_counts, measuring without labels in audit_features, words in audit_words, tags that people give in
audit_tagging, and what the pocket world is really like in audit_world.
"""

import hashlib
import json

import pandas as pd

from helpers import compare, files, makers, places

FOLDER = places.REPO / "data" / "audit"


def prompts(*groups):
    """The neutral prompts of data/audit/prompts.csv as a list; groups: only these, such as "trait", "profession".

    Raises ValueError for a group that the file does not have.
    """
    table = pd.read_csv(FOLDER / "prompts.csv")
    unknown = sorted(set(groups) - set(table["group"]))
    if unknown:
        raise ValueError(f"{FOLDER / 'prompts.csv'} has no group {unknown[0]!r}: {', '.join(table['group'].unique())}.")
    return list(table["prompt"][table["group"].isin(groups)] if groups else table["prompt"])


def languages():
    """One sentence in several languages: DataFrame code, language, prompt; English first."""
    return pd.read_csv(FOLDER / "languages.csv")


def pictures(maker, pipe, weights, prompts, seeds, **sampler):
    """A row for each prompt and seed, seeds of the first prompt first: DataFrame maker, prompt, seed, image.

    maker: a name for the model as `pipe` is now; weights: whatever tells its weights from others (a fingerprint).
    sampler: guidance_scale and num_inference_steps. Pictures are kept in runs/audit/images, a folder for each maker,
    weights and sampler, and made only once; a kill costs one batch. What a safety checker withheld is told and left out.
    """
    told = {"weights": str(weights)} | sampler
    name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    folder = places.RUNS / "audit" / "images" / f"{maker}-{name}"
    files.write_json(folder / "settings.json", told)
    pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
    paths = [folder / compare.file_name(prompt, seed) for prompt, seed in pairs]
    missing = {path: pair for path, pair in zip(paths, pairs) if not path.exists()}
    if missing:
        method = "hypernetwork" if maker.startswith("hypernetwork") else maker
        compare.make(pipe, missing, makers.Maker(maker, method, "", "", str(weights), ""), **sampler)
    rows = [(maker, prompt, seed, compare.read(path)) for path, (prompt, seed) in zip(paths, pairs)]
    passed = [row for row in rows if not compare.withheld(row[-1])]
    if len(passed) < len(rows):
        print(f"{len(rows) - len(passed)} of {len(rows)} pictures by {maker} were withheld: they are left out.")
    return pd.DataFrame(passed, columns=["maker", "prompt", "seed", "image"])


def read(reader, table):
    """What a reader sees in each picture: the table of `pictures` without image, with the reader's columns.

    reader: anything with read(images) -> DataFrame, one row an image (metrics.FeatureScorer).
    """
    seen = reader.read(list(table["image"]))
    return pd.concat([table.drop(columns="image").reset_index(drop=True), seen.reset_index(drop=True)], axis=1)


def of(table, prompt, maker=None):
    """The images of one prompt in the order of their seeds; maker: of this one only."""
    rows = table[(table["prompt"] == prompt) & ((table["maker"] == maker) | (maker is None))]
    return list(rows.sort_values("seed", kind="stable")["image"])


def paired(before, after, prompt, other=None):
    """Two lists of images, seed by seed: of `prompt` in one table and of `other`, else the same prompt, in another.

    Only seeds that both have: a safety checker may have withheld one.
    """
    one, two = before[before["prompt"] == prompt], after[after["prompt"] == (other or prompt)]
    both = one.merge(two, on="seed", suffixes=("", " after")).sort_values("seed", kind="stable")
    return list(both["image"]), list(both["image after"])
