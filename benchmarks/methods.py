"""Which method for whom: what each makes of the same photos of the same two people on pocket, counted with intervals.

    python -m benchmarks.methods                 of the trainings that are finished; writes methods.csv and methods.png
    python -m benchmarks.methods --train         trains what is missing before, by tools.train, with its usual settings

Bytes on disk and minutes are of one training. The reader counts the pictures that show the person and the parts of the
prompt that it finds; intervals are over prompts and seeds that no training saw. How far the class moved is the mean
distance of what the reader sees in pictures of the class word, before and after, 0 to 1, beside what chance alone does.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import diffusion, machine, show, stats
from helpers.compare import reader, scores, table2, trained
from helpers.machine import subjects
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


def found(names, model="pocket", training=False, steps=None):
    """The finished trainings of these methods on the subjects, after training what is missing, if that is asked for."""
    whole = [(method, subject) for method in names for subject in subjects.chosen()]
    for method, subject in whole if training else ():
        model_of = trained.find(model).get(f"{method}_{subject}")
        if method != "predicted" and (model_of is None or model_of.missing):  # that is its notebook's alone
            train.main(["--method", method, "--subject", subject, *(["--steps", str(steps)] if steps else [])])
    models = trained.find(model)
    ready = [models[f"{m}_{s}"] for m, s in whole if f"{m}_{s}" in models and not models[f"{m}_{s}"].missing]
    print("left out, not trained:", *({f"{m}_{s}" for m, s in whole} - {model.name for model in ready}) or {"none"})
    return ready


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


def among_the_best(table, measure):
    """The methods that are the best in a measure, or whose intervals reach the best for each subject."""
    less, rows = MEASURES[measure][0], table[table["measure"] == measure]
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
    strong = [whom for measure, (_, whom) in MEASURES.items() if method in among_the_best(table, measure)]
    verdict = "for whoever " + ", or ".join(strong) if strong else "the best in none of the five, so for nobody here"
    return f"{method}, {verdict}. " + "; ".join(facts) + "."


def _words(row):
    if row.measure in ("shows the person", "keeps the prompt"):
        return f"{row.subject} {stats.percent(row.mean, row.low, row.high)}"
    return f"{row.subject} {row.mean:.2g}" + ("" if np.isnan(row.low) else f" ({stats.between(row.low, row.high)})")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(trained.METHODS), help="default: all there are")
    parser.add_argument("--images", type=int, default=16, help="seeds of each prompt")
    parser.add_argument("--train", action="store_true", help="what is missing")
    parser.add_argument("--steps", type=int, help="of these trainings; default: as in the table of models")
    parser.add_argument(
        "--out", type=Path, default=machine.RUNS / "compare", help="folder of methods.csv and methods.png"
    )
    options = parser.parse_args(arguments)
    models, config = (
        found(options.methods, training=options.train, steps=options.steps),
        diffusion.model_config("pocket"),
    )
    base, scorer = diffusion.load_pipeline(config), scores.load_reader("pocket")
    sampler = {"guidance_scale": config.guidance_scale, "num_inference_steps": config.num_inference_steps}
    seeds, rows = range(FIRST_SEED, FIRST_SEED + options.images), []
    for model in models:
        rows += [
            (model.method, model.subject, model.title, *row) for row in measured(model, base, seeds, scorer, sampler)
        ]
    columns = ["method", "subject", "title", "measure", "mean", "low", "high", "by_chance"]
    table = pd.DataFrame(rows, columns=columns)
    machine.write_csv(options.out / "methods.csv", table)
    chart = show.forest(table, list(MEASURES), label="title")
    chart.axes[0].set_xscale("log")
    with machine.atomic_write(options.out / "methods.png") as partial:
        chart.savefig(partial, format="png", dpi=120)
    for method in table["method"].unique():
        print(sentence(table, method))


if __name__ == "__main__":
    main()
