"""What the class images of DreamBooth do to subject and class: notebook 04, trained once for each guidance of theirs.

    python -m benchmarks.class_guidance 2 3 5        minutes for each number; runs/class_guidance_*
    python -m tools.train --method dreambooth --class-prompt "a photo of a woman" --folder runs/women
    python -m benchmarks.class_guidance runs/women        the same of a training by that command; --guidance 1: without

Runs the notebook's own cells until its model is saved. Then the reader counts, on seeds that no training saw, who shows
Nesrelah, and how far the class has moved from what the base model makes of the same seeds: reader.distance of each
attribute, 0 to 1, beside how far chance alone takes it.
"""

import argparse
from pathlib import Path

import pandas as pd

from helpers import diffusion, machine, stats
from helpers.compare import reader, scores
from tools import notebooks

SUBJECT = ("nesrelah_001 person", "nesrelah_001 on a horse", "chibi nesrelah_001 figurine")
CLASS = ("a photo of a person", "a photo of a woman", "a photo of a man")
ATTRIBUTES = ("kind", "skin", "hair_color")


def guidance_or_folder(text):
    """One of the two, as text. Raises ValueError for anything else."""
    return text if Path(text).is_dir() else f"{float(text):g}"


def trained(which):
    """The folder of a run's model; of a guidance, of that which notebook 04 saves with such class images, made once."""
    if Path(which).is_dir():
        return Path(which) / "model"
    (path,) = notebooks.FOLDER.glob("04_*.ipynb")
    notebook, runs = notebooks.read(path), machine.RUNS / f"class_guidance_{which}"
    last = next(i for i, cell in enumerate(notebook.cells) if "dreambooth.keep(RUN" in cell.source)
    notebook.cells = notebook.cells[: last + 1]
    settings = {"RUNS_DIR": str(runs), "CLASS_GUIDANCE": which, "LENGTH": "short", "SUBJECT": "nesrelah"}
    notebooks.execute(path, notebook, **settings)
    return runs / "dreambooth_nesrelah" / "model"


def seen(weights, images, guidance_scale, scorer):
    """{prompt: what the reader sees in that many pictures, with `shows_subject`: whether Nesrelah}; weights: of a pipeline."""
    config, pipe, readings = diffusion.model_config("pocket"), diffusion.load_pipeline(str(weights)), {}
    for prompt in (*SUBJECT, *CLASS):
        seeds = list(range(7000, 7000 + images))
        sampler = {"guidance_scale": guidance_scale, "num_inference_steps": config.num_inference_steps}
        pictures = diffusion.generate(pipe, prompt, seeds, **sampler)
        readings[prompt] = (
            scorer.read(pictures).set_axis(seeds).assign(shows_subject=scorer.shows_subject(pictures, "nesrelah"))
        )
    return readings


def compared(before, after, scorer):
    """One row a prompt: shows_subject in words, and for the class "moved (by chance), more of what". DataFrame."""
    rows = {}
    for prompt, table in after.items():
        rows[prompt] = {"shows_subject": scorer.words(stats.summarise(table["shows_subject"].to_numpy()))}
        if prompt in CLASS:
            moves = reader.table(before[prompt], table, ATTRIBUTES).set_index("attribute")
            in_words = "{0.moved:.2f} ({0.by_chance:.2f}), more {0.more}".format
            rows[prompt] |= {name: in_words(row) for name, row in moves.iterrows()}
            rows[prompt]["black hair"] = f"{(table['hair_color'] == 'black').mean():.0%}"
    return pd.DataFrame(rows).T.fillna("")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = "the guidance of class images, a number; or the folder of a run"
    parser.add_argument("which", type=guidance_or_folder, nargs="+", help=which)
    parser.add_argument("--images", type=int, default=64, help="of each prompt")
    config, scorer = diffusion.model_config("pocket"), scores.load_reader("pocket")
    parser.add_argument(
        "--guidance", type=float, default=config.guidance_scale, help="of the pictures that are counted"
    )
    options = parser.parse_args()
    how = options.images, options.guidance, scorer
    before = seen(config.weights, *how)
    print("black hair before:", {p: f"{(before[p]['hair_color'] == 'black').mean():.0%}" for p in CLASS})
    for which in options.which:
        print(
            f"\nclass images: {which}\n{compared(before, seen(trained(which), *how), scorer).to_string()}", flush=True
        )


if __name__ == "__main__":
    main()
