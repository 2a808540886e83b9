"""How good the pocket model is, on scenes and prompts that it has never seen.

    python -m pocket.evaluate                  writes data/pocket/evaluation.json and prints the table
    python -m pocket.evaluate --only reader    measures these figures anew and keeps the others
    python -m pocket.evaluate --guidance 5     prints them for another guidance and writes nothing

512 scenes each: what the reader reads off drawn and off decoded pictures, how well the VAE rebuilds them, and,
for prompts that spell a scene out, how often the reader finds in the generated picture what was asked. Expressions are
asked for in prompts of their own, for portraits.
The paper's ten prompts go to docs/pocket_paper_prompts.jpg and 64 portraits to docs/pocket_portraits.jpg, for people to
judge: no program here says whether a face is whole.
"""

import argparse
import json
import random
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from helpers import diffusion, show
from helpers.diffusion import models
from pocket.assemble import POCKET, load_part
from pocket.describe import spell_out
from pocket.reader import FACE, load_reader
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.train_blip import caption_scores
from pocket.train_vae import decoded, psnr
from pocket.visible import truth

DOCS = POCKET.parents[1] / "docs"
WHOLE = ("kind", "context", "place", "style")


def right(reading, scenes):
    """DataFrame of True, False, or missing where the scene does not show the attribute; a column for each that is read."""
    rows = []
    for i, scene in enumerate(scenes):
        shown = {attribute: word for attribute, word in truth(scene).items() if attribute in reading}
        rows.append({attribute: reading[attribute][i] == word for attribute, word in shown.items()})
    return pd.DataFrame(rows).astype("boolean")


def share(column):
    """Percent of a boolean column that is True, missing left out."""
    return round(100 * float(column.dropna().astype(float).mean()), 1)


def reader_figures(reader, count):
    scenes = [numbered_scene("test_everyone", i) for i in range(count)]
    drawn = pictures("test_everyone", count)
    portraits = np.array([scene.context == "portrait" for scene in scenes])
    table = right(reader.read(as_images(drawn)), scenes)
    again = right(reader.read(as_images(decoded(load_part("vae"), drawn))), scenes)
    shown = {"portraits": table[portraits], "all": table, "decoded portraits": again[portraits], "decoded": again}
    return {f"reader, {which}": {name: share(rows[name]) for name in table} for which, rows in shown.items()}


def as_images(arrays):
    return [Image.fromarray(array) for array in arrays]


def vae_figures(count):
    decibels = psnr(load_part("vae"), pictures("test", count)).numpy()
    photos = np.array([numbered_scene("test", i).style == "photo" for i in range(count)])
    return {
        "vae psnr, dB": {"photo": round(float(decibels[photos].mean()), 2), "all": round(float(decibels.mean()), 2)}
    }


def generated_figures(pipe, reader, split, count, **settings):
    """What the reader finds of what a spelled-out prompt asks, in percent, seed i for prompt i."""
    scenes = [numbered_scene(split, i) for i in range(count)]
    prompts = [spell_out(scene) for scene in scenes]
    images = diffusion.generate(pipe, prompts, list(range(count)), **settings)
    table = right(reader.read(images), scenes)
    figures = {name: share(table[name]) for name in table if name not in FACE}  # the prompts do not ask for those
    figures["all of " + ", ".join(WHOLE)] = share(table[list(WHOLE)].all(axis=1))
    return {f"generated, {split}": figures}, images


def expression_figures(pipe, reader, count, **settings):
    """What the reader finds of an expression that the prompt asks for, in percent: portraits in the style of a photo."""
    numbers = [i for i in range(30 * count) if shows_expression(numbered_scene("test", i))][:count]
    scenes = [numbered_scene("test", i) for i in numbers]
    images = diffusion.generate(pipe, [spell_out(scene, expression=True) for scene in scenes], numbers, **settings)
    table = right(reader.read(images), scenes)
    return {"generated, expressions": {name: share(table[name]) for name in FACE if name in table}}


PICTURES = ("prompts", "portraits")  # sections that draw for people and measure nothing


def shows_expression(scene):
    return (scene.context, scene.style) == ("portrait", "photo") and "expression" in truth(scene)


def paper_prompts(pipe, **settings):
    """The paper's ten prompts from eight seeds each, one labelled picture for people to judge."""
    prompts = list(pd.read_csv(POCKET.parent / "prompts.csv")["prompt"])
    rows = [diffusion.generate(pipe, prompt, list(range(1, 9)), **settings) for prompt in prompts]
    labels = [textwrap.shorten(prompt, 60, placeholder=" ...") for prompt in prompts]
    return show.image_grid(rows, labels, [f"seed {seed}" for seed in range(1, 9)])


def portraits(pipe, **settings):
    """64 plain portraits, one a seed, every other pair with glasses: for people to count the whole faces."""
    who = ("a man", "a woman", "a man with glasses", "a woman with glasses")
    prompts = [f"a photo of {who[i % len(who)]}" for i in range(64)]
    images = diffusion.generate(pipe, prompts, list(range(40_000, 40_064)), **settings)
    return show.image_grid([images[start : start + 8] for start in range(0, 64, 8)])


def seconds_for_eight(pipe, **settings):
    start = time.perf_counter()
    diffusion.generate(pipe, ["a photo of a man riding a horse"] * 8, list(range(8)), **settings)
    return round(time.perf_counter() - start, 2)


def table(figures):
    """The figures as a Markdown table: one row an attribute, one column a question."""
    columns = [name for name, value in figures.items() if isinstance(value, dict) and name != "settings"]
    rows = list(dict.fromkeys(row for name in columns for row in figures[name]))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for row in rows:
        cells = [str(figures[name].get(row, "")) for name in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines.append(
        f"\nEight images, {figures['settings']['num_inference_steps']} steps: {figures['eight images, seconds']} s."
    )
    return "\n".join(lines)


def write_readme(figures):
    """Put the table into pocket/README.md, between its two marks."""
    readme = Path(__file__).parent / "README.md"
    before, rest = readme.read_text().split("<!-- figures -->\n")
    after = rest.split("<!-- /figures -->")[1]
    readme.write_text(f"{before}<!-- figures -->\n{table(figures)}\n<!-- /figures -->{after}")


def sections(count, settings):
    """{name: a function that measures it, a dict of figures}."""
    pipe, reader = StableDiffusionPipeline.from_pretrained(POCKET), load_reader(POCKET / "reader")
    pipe.set_progress_bar_config(disable=True)
    both = ("test", "held_out")
    picture = lambda name, make: make(pipe, **settings).save(DOCS / f"pocket_{name}.jpg", quality=88) or {}
    return {
        "reader": lambda: reader_figures(reader, count),
        "vae": lambda: vae_figures(count),
        "captions": lambda: caption_scores(count),
        "generated": lambda: {
            name: row
            for split in both
            for name, row in generated_figures(pipe, reader, split, count, **settings)[0].items()
        },
        "expressions": lambda: expression_figures(pipe, reader, count // 2, **settings),
        "seconds": lambda: {"eight images, seconds": seconds_for_eight(pipe, **settings)},
        "prompts": lambda: picture("paper_prompts", paper_prompts),
        "portraits": lambda: picture("portraits", portraits),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512, help="scenes of each kind")
    parser.add_argument("--only", nargs="+", metavar="FIGURES", help="some of: reader, vae, captions, generated, ...")
    parser.add_argument("--guidance", type=float, help="instead of the model's own; the table is printed alone")
    options = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    config = models.MODELS["pocket"]
    guidance = options.guidance or config.guidance_scale
    settings = {"guidance_scale": guidance, "num_inference_steps": config.num_inference_steps}
    DOCS.mkdir(exist_ok=True)
    figures = json.loads((POCKET / "evaluation.json").read_text()) if options.only else {}
    for name, measure in sections(options.count, settings).items():
        if (not options.only or name in options.only) and not (options.guidance and name in PICTURES):
            figures |= measure()
    figures["settings"] = figures.get("settings", {}) | settings
    if not options.only:
        figures["settings"] |= {"scenes": options.count, "threads": torch.get_num_threads()}
    if not options.guidance:
        (POCKET / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n")
        write_readme(figures)
    print(table(figures))


if __name__ == "__main__":
    main()
