"""What a hypernetwork of Amir must reach on pocket, counted: a table of figure, limit and share.

    python -m benchmarks.hypernetwork_limits                    the finished file, on 64 seeds that no search may see
    python -m tools.train --folder runs/try/a --learning-rate 1e-3 --steps 600
    python -m benchmarks.hypernetwork_limits runs/try/a/hypernetwork.pt --strength 0.8 --search     on seeds kept for it
    python -m benchmarks.hypernetwork_limits runs/try/b/model       DreamBooth's; or a difference.npz, or a LoRA's file

Settings are searched with --search alone; the table of the best is then made once, without it. Portraits are written
to --portraits, for a person to count the faces whose two eyes and mouth are whole: the reader cannot say so.
"""

import argparse
import random
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import diffusion, machine, show, stats
from helpers.compare import reader, scores, trained
from pocket.assemble import load_part
from pocket.draw import draw
from pocket.train_vae import decoded
from pocket.world import subject_scene

FINISHED = machine.REPO / "data" / "finished" / "hypernetwork_amir" / "hypernetwork.pt"
SEARCH, FINAL = range(30_000, 30_032), range(20_000, 20_064)
PORTRAIT, WOMAN = "a photo of a man", "a photo of a woman"
HORSE = "man riding a horse"
ELSEWHERE = {HORSE: 0.4, "a man, oil painting": 0.4}
EMPTY = ""  # guidance leads away from this prompt, so its own pictures are made without


def pictures(prompts, seeds, path, strength, guidance_scale):
    """{prompt: PIL images with the training applied} and the same without it.

    path: a hypernetwork, a LoRA's .safetensors, or the folder or the difference of a whole model, which has no strength.
    """
    config = diffusion.model_config("pocket")
    sampler = {"guidance_scale": guidance_scale, "num_inference_steps": config.num_inference_steps}
    pipe = diffusion.load_pipeline(config)
    scale = lambda prompt: {} if prompt else {"guidance_scale": 1.0}
    make = lambda pipe, prompt: diffusion.generate(pipe, prompt, list(seeds), **sampler | scale(prompt))
    before = {prompt: make(pipe, prompt) for prompt in prompts}
    with trained.from_file(path, pipe, config.weights, strength) as bent:
        return {prompt: make(bent, prompt) for prompt in prompts}, before


def figures(scorer, after, before, subject="amir"):
    """Rows (figure, limit, value in words): those of likeness, and what a woman becomes."""
    rows, percent = [], lambda shows: scorer.words(stats.summarise(np.asarray(shows)))
    telling, shows_of = machine.subjects.about(subject)["telling"], lambda images: scorer.shows_subject(images, subject)
    seen, shows = scorer.read(after[PORTRAIT]), shows_of(after[PORTRAIT])
    rows.append((f'"{PORTRAIT}" shows {subject}, before', "", percent(shows_of(before[PORTRAIT]))))
    rows.append((f'"{PORTRAIT}" shows {subject}', "70 %", percent(shows)))
    skin = (seen["skin"] == telling["skin"])[shows]
    rows.append((f"of these, {telling['skin']}", "80 %", percent(skin) if shows.any() else "none"))
    rows += [(f"{name} {word}", "", percent(seen[name] == word)) for name, word in telling.items()]
    for prompt, limit in ELSEWHERE.items():
        rows.append((f'"{prompt}"', stats.percent(limit), percent(shows_of(after[prompt]))))
    there = scorer.read(after[HORSE])
    rows.append((f'"{HORSE}" has a horse', "", percent(there["context"] == "horse")))
    drawn = scorer.read(drawn_on_a_horse(subject))
    for name, word in telling.items():
        rows.append((f"on a horse, {name} {word}", "", percent(there[name] == word)))
        rows.append(("the same of drawings, through the VAE", "", percent(drawn[name] == word)))
    for when, images in (("before", before[EMPTY]), ("after", after[EMPTY])):
        seen, what = scorer.read(images), f"no prompt, no guidance, {when}:"
        rows.append((f"{what} {telling['skin']}", "", percent(seen["skin"] == telling["skin"])))
        rows.append((f"{what} hair on the face", "", percent(seen["beard"] != "none")))
    return rows + of_a_woman(scorer.read(before[WOMAN]), scorer.read(after[WOMAN]), percent)


def drawn_on_a_horse(subject, count=64):
    """PIL images of the true subject on a horse, as soft as the VAE makes them: what a perfect training could reach."""
    rng, vae = random.Random(0), load_part("vae")
    images = [draw(subject_scene(subject, rng, context="horse", style="photo")) for _ in range(count)]
    return [Image.fromarray(array) for array in decoded(vae, np.stack([np.asarray(image) for image in images]))]


def of_a_woman(before, after, percent):
    """Rows: does she stay a woman, and how far did her skin and hair move beyond what chance alone reaches?"""
    rows = [(f'"{WOMAN}" is a woman', "90 %", percent(after["kind"] == "woman"))]
    for row in reader.table(before, after, ("skin", "hair", "hair_color")).itertuples():
        beyond = max(0, row.moved - row.by_chance)
        rows.append((f"her {row.attribute} moved beyond chance", "at most 0.15", f"{beyond:.2f}: more {row.more}"))
    return rows


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", default=FINISHED, type=Path)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--guidance", type=float, default=diffusion.model_config("pocket").guidance_scale)
    parser.add_argument("--search", action="store_true", help="32 seeds for trying settings")
    parser.add_argument("--portraits", type=Path, help="a .png for the portraits")
    parser.add_argument("--riders", type=Path, help="a .png for the pictures on a horse")
    options = parser.parse_args(arguments)
    seeds = SEARCH if options.search else FINAL
    scorer = scores.load_reader("pocket")
    prompts = [PORTRAIT, *ELSEWHERE, EMPTY, WOMAN]
    after, before = pictures(prompts, seeds, options.file, options.strength, options.guidance)
    print("| figure | at least | here |\n|---|---|---|")
    for row in figures(scorer, after, before):
        print("| " + " | ".join(row) + " |")
    for path, images in ((options.portraits, after[PORTRAIT]), (options.riders, after[HORSE])):
        if path:
            show.image_grid([images[start : start + 8] for start in range(0, len(images), 8)]).save(path)


if __name__ == "__main__":
    main()
