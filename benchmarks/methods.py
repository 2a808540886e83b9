"""Which method for whom: what each makes of the same photos of the same two people on pocket, counted with intervals.

    python -m benchmarks.methods                 of the trainings that are finished; writes docs/methods.csv and .png
    python -m benchmarks.methods --train         trains what is missing before, by tools.train, with its usual settings
    python -m benchmarks.methods --methods       measures nothing, draws and says what the table has
    ... --write README.md docs/measured.md       puts verdicts and table into these texts

A row that was measured stays until its method is measured again. Weights are predicted on the spot, from one photo.
Bytes on disk and minutes are of one training. The reader counts the pictures that show the person and the parts of the
prompt that it finds; intervals are over prompts and seeds that no training saw. How far the class moved is the mean
distance of what the reader sees in pictures of the class word, before and after, 0 to 1, beside what chance alone does.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import marked
from helpers import diffusion, machine, photos, show, stats
from helpers.compare import reader, scores, table2, trained
from helpers.diffusion import checkpoint
from helpers.machine import subjects
from helpers.methods import predictor
from tools import train

SENTENCES = (  # "man" stands for the subject, by the name, class or new word that each method has
    "a photo of a man", "a man riding a horse", "a man at the beach", "an oil painting of a man", "chibi man figurine",
)  # fmt: skip
MEASURES = {  # measure: (whether less is better, for whom that counts most)
    "MB on disk": (True, "keeps many people, or sends them by mail"),
    "minutes": (True, "cannot wait"),
    "shows the person": (False, "wants the likeness above all"),
    "keeps the prompt": (False, "asks for other places, styles and things"),
    "class moved": (True, "needs everybody else to stay as they were"),
}
FIRST_SEED = 9000  # beyond those of all trainings and notebooks
OUT = machine.REPO / "docs"
COLUMNS = ["method", "subject", "title", "measure", "mean", "low", "high", "by_chance"]


def found(names, folder, model="pocket", training=False, steps=None):
    """The finished trainings of these methods on the subjects, after training what is missing, if that is asked for.

    folder: where weights are predicted into, a folder for each subject.
    """
    whole = [(method, subject) for method in names for subject in subjects.chosen()]
    for method, subject in whole if training else ():
        model_of = trained.find(model).get(f"{method}_{subject}")
        if method != "predicted" and (model_of is None or model_of.missing):
            train.main(["--method", method, "--subject", subject, *(["--steps", str(steps)] if steps else [])])
    models = trained.find(model)
    models |= {f"predicted_{s}": predicted(s, Path(folder) / s, model) for m, s in whole if m == "predicted"}
    ready = [models[f"{m}_{s}"] for m, s in whole if f"{m}_{s}" in models and not models[f"{m}_{s}"].missing]
    print("left out, not trained:", *({f"{m}_{s}" for m, s in whole} - {model.name for model in ready}) or {"none"})
    return ready


def predicted(subject, folder, model="pocket"):
    """A TrainedModel whose weights are predicted from the first photo of a subject that is not held out; in 16 bits."""
    folder.mkdir(parents=True)
    net, word = predictor.load(), f"{subjects.identifier(subject)} {subjects.class_of(subject)}"
    path, weights = (
        photos.split(photos.squares_in(photos.prepared_folder(subject)), 4)[0][0],
        folder / "lora.safetensors",
    )
    photo, began = photos.open_photo(path), time.perf_counter()
    with torch.no_grad():
        change = net.lora(net(net.see([photo])))
    seconds = time.perf_counter() - began
    checkpoint.save_safetensors(weights, {name: tensor.half() for name, tensor in change.items()})
    machine.write_csv(folder / "loss.csv", pd.DataFrame({"seconds": [seconds]}))
    base = diffusion.model_config(model).weights
    return trained.TrainedModel(f"predicted_{subject}", "predicted", subject, word, str(weights), base, folder)


def measured(model, base, seeds, scorer, sampler):
    """[(measure, mean, low, high, by chance)] of one trained model."""
    prompts = pd.DataFrame([(text, seed) for text in SENTENCES for seed in seeds], columns=["prompt_id", "seed"])
    asked = [trained.address(text, model.word) for text in prompts["prompt_id"]]
    people, seeds = f"a photo of {subjects.with_article(subjects.class_of(model.subject))}", list(seeds)
    with trained.applied(model, base) as pipe:
        images = diffusion.generate(pipe, asked, prompts["seed"].tolist(), **sampler)
        after = scorer.read(diffusion.generate(pipe, people, seeds, **sampler))
    before = scorer.read(diffusion.generate(base, people, seeds, **sampler))
    plain = [trained.address(text, subjects.class_of(model.subject)) for text in prompts["prompt_id"]]
    shows = scorer.shows_subject(images, model.subject).astype(float)
    keeps = reader.right(prompts.assign(prompt=plain), scorer.read(images))
    rows = [("MB on disk", table2.bytes_of(model.weights) / 1e6)]
    rows += [("minutes", pd.read_csv(model.run / "loss.csv")["seconds"].iloc[-1] / 60)]
    for name, values in (("shows the person", shows), ("keeps the prompt", keeps.to_numpy())):
        rows.append((name, values.mean(), *stats.interval(values, scores.clusters(prompts), limits=(0, 1))))
    return [*rows, ("class moved", *moved(before, after))]


def moved(before, after):
    """(mean distance over the reader's attributes, low, high, by chance); before, after: what it saw, seed by seed."""
    pairs = np.stack([side[[*reader.ATTRIBUTES]].to_numpy(object) for side in (before, after)], axis=1)
    mean = lambda rows: float(np.mean([reader.distance(*rows[:, :, i].T) for i in range(rows.shape[2])]))
    chance = np.mean([reader.by_chance(*pairs[:, :, i].T) for i in range(pairs.shape[2])])
    return mean(pairs), *stats.interval(pairs, statistic=mean, draws=500), chance


def able(table):
    """The methods that show one of the people more often than chance alone would: the rest is small or quick for nothing."""
    shows = table[table["measure"] == "shows the person"]
    return set(shows.loc[shows["low"] > 0, "method"])


def among_the_best(table, measure):
    """Of the methods that are `able`: the best in a measure, or those whose intervals reach the best for each subject."""
    less, rows = MEASURES[measure][0], table[(table["measure"] == measure) & table["method"].isin(able(table))]
    best = rows.groupby("subject")["mean"].agg("min" if less else "max")
    edge = rows["low" if less else "high"].fillna(rows["mean"])
    there = rows["subject"].map(best)
    good = (edge <= there) if less else (edge >= there)
    return {method for method, all_good in good.groupby(rows["method"]).all().items() if all_good}


def sentence(table, method):
    """What a method does and who should take it, by the numbers of this table."""
    own = table[table["method"] == method]
    facts = [
        f"{measure}: " + ", ".join(map(_words, own[own["measure"] == measure].itertuples())) for measure in MEASURES
    ]
    return f"{method}, {verdict(table, method)}. " + "; ".join(facts) + "."


def verdict(table, method):
    """Who should take a method: whoever wants what it is among the best in, for every subject it learnt."""
    if method not in able(table):
        return "for nobody here: it shows neither person for certain, however small or quick it is"
    strong = [whom for measure, (_, whom) in MEASURES.items() if method in among_the_best(table, measure)]
    return "for whoever " + ", or ".join(strong) if strong else "the best in none of the five, so for nobody here"


def texts(table):
    """{name: lines of Markdown} for benchmarks.marked: verdicts, a line a method, and all there is in the table."""
    verdicts = [f"* **{method}** is {verdict(table, method)}.\n" for method in table["method"].unique()]
    lines = [["method", "of", *MEASURES], ["---"] * (2 + len(MEASURES))]
    for (method, subject), rows in table.groupby(["method", "subject"], sort=False):
        cells = {row.measure: _words(row).removeprefix(f"{subject} ") for row in rows.itertuples()}
        lines.append([method, subjects.title(subject), *(cells[measure] for measure in MEASURES)])
    return {"verdicts": "".join(verdicts), "table": "".join(f"| {' | '.join(line)} |\n" for line in lines)}


def _words(row):
    if row.measure in ("shows the person", "keeps the prompt"):
        return f"{row.subject} {stats.percent(row.mean, row.low, row.high)}"
    return f"{row.subject} {row.mean:.2g}" + ("" if np.isnan(row.low) else f" ({stats.between(row.low, row.high)})")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=list(trained.METHODS), help="default: all there are")
    parser.add_argument("--images", type=int, default=16, help="seeds of each prompt")
    parser.add_argument("--train", action="store_true", help="what is missing")
    parser.add_argument("--steps", type=int, help="of these trainings; default: as in the table of models")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of methods.csv and methods.png")
    parser.add_argument("--write", nargs="*", default=[], help="texts with the marks <!-- methods NAME -->")
    options = parser.parse_args(arguments)
    table = measure(options)
    chart = show.forest(table, list(MEASURES), label="title")
    chart.axes[0].set_xscale("log")
    with machine.atomic_write(options.out / "methods.png") as partial:
        chart.savefig(partial, format="png", dpi=120)
    for path in options.write:
        marked.fill(path, "methods", texts(table))
    for method in table["method"].unique():
        print(sentence(table, method))


def measure(options):
    """The table of COLUMNS with what the options ask for measured anew; each model's rows are kept as they come."""
    config, path = diffusion.model_config("pocket"), options.out / "methods.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    sampler = {"guidance_scale": config.guidance_scale, "num_inference_steps": config.num_inference_steps}
    base, scorer = diffusion.load_pipeline(config), scores.load_reader("pocket")
    with tempfile.TemporaryDirectory() as folder:
        for model in found(options.methods, folder, training=options.train, steps=options.steps):
            seeds = range(FIRST_SEED, FIRST_SEED + options.images)
            who = model.method, model.subject, model.title
            rows = [(*who, *row) for row in measured(model, base, seeds, scorer, sampler)]
            rows = [row + (np.nan,) * (len(COLUMNS) - len(row)) for row in rows]  # bytes and minutes have no interval
            others = table[table["title"] != model.title].to_records(index=False).tolist()
            table = pd.DataFrame([*others, *rows], columns=COLUMNS)
            order = table["method"].map(list(trained.TITLES.values()).index)
            table = table.iloc[np.lexsort([table.index, table["subject"], order])].reset_index(drop=True)
            machine.write_csv(path, table)
    return table


if __name__ == "__main__":
    main()
