"""Time to likeness: the first moment at which 60 % of 32 pictures show the person, for every method here, in one run.

    python -m benchmarks.likeness                      writes docs/likeness.csv and draws docs/likeness.png
    python -m benchmarks.likeness --methods predicted LoRA      these alone; the rows of the others stay
    ... --write README.md                              puts the table into a text, between <!-- likeness table --> and its end

Seconds are those of getting ready (photos and prompts encoded, class images made where a method wants them) and of
training; making and counting pictures is left out. Each method has the settings of its notebook, but for 16 class
images for whichever wants some, and is asked with the prompt that it learnt. It goes on from one of its checks to the
next until enough pictures show the person or its steps are over. "from nothing" is what the prediction saves: the same
training from a LoRA that is zero. Those two go on to 90 %. diffusers' loop is that of benchmarks/dreambooth.py, at that
script's defaults, and once more at the learning rate of notebook 04.
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import dreambooth as peer
from benchmarks import marked
from helpers import diffusion, machine, photos, show, stats, training
from helpers.compare import scores
from helpers.diffusion import checkpoint
from helpers.methods import dreambooth, hypernetwork, lora, predictor, textual_inversion
from helpers.show import figures
from helpers.training import optimizers

CONFIG = diffusion.model_config("pocket")
PLAN, SAMPLER = CONFIG.dreambooth, {"guidance_scale": CONFIG.guidance_scale, "num_inference_steps": 20}
CLASS_PROMPT = "a photo of a person"
TUNE_STEPS, TUNE_RATE, CLASS_IMAGES = 40, 1e-3, 16  # as the notebook on predicted weights has them
OUT = machine.REPO / "docs" / "likeness.csv"


class Task:
    """One person, their photos, and a clock that runs while a method works: `with task.clock()`."""

    def __init__(self, subject, pictures, folder):
        self.subject, self.folder, self.seconds = subject, Path(folder), 0.0
        self.seeds = list(range(1000, 1000 + pictures))
        self.who = f"{machine.subjects.identifier(subject)} {machine.subjects.class_of(subject)}"
        self.place = photos.prepared_folder(subject)
        self.paths = photos.split(photos.squares_in(self.place), 4)[0]
        self.scorer = scores.load_scorers("pocket", [subject])[subject]

    @contextlib.contextmanager
    def clock(self):
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began

    def images(self):
        return [photos.open_photo(path) for path in self.paths]

    def class_images(self, pipe):
        """Paths of pictures of the class, made anew: a method that wants them has to wait for them."""
        sampler = SAMPLER | {"guidance_scale": PLAN["class_guidance"]}
        folder = tempfile.mkdtemp(dir=self.folder)
        return dreambooth.class_images(pipe, CLASS_PROMPT, folder, CLASS_IMAGES, 1, weights=CONFIG.weights, **sampler)


def steps(task, run, checks):
    """Takes the steps of a training, under the clock, up to the last of `checks` or its end; gives the number at each."""
    with contextlib.closing(run):
        for check in checks:
            number = -1
            while number < check:
                with task.clock():
                    step = next(run, None)
                if step is None:
                    return
                number = getattr(step, "number", step)
            yield number


def predicted(task):
    """Weights from one photo; nothing is trained."""
    pipe, net = diffusion.load_pipeline("pocket"), predictor.load()
    with task.clock(), torch.no_grad():
        gates = net(net.see(task.images()[:1]))
    with net.on(pipe.unet, gates):
        yield 0, pipe, f"a photo of {task.who}"


def _paired(task, parameters_of, steps_in_all, rate, checks, text_encoder=False):
    """Notebook 04's training of whatever parameters_of(pipe) gives, with class images."""
    pipe = diffusion.load_pipeline("pocket")
    with task.clock():
        others = task.class_images(pipe)
        torch.manual_seed(1)
        parameters = parameters_of(pipe)
        prompts = [[prompt] * len(paths) for prompt, paths in ((task.who, task.paths), (CLASS_PROMPT, others))]
        encode_text = dreambooth.PromptEncoder(pipe, [task.who, CLASS_PROMPT], text_encoder)
        images = [[photos.open_photo(path) for path in paths] for paths in (task.paths, others)]
        latents = [diffusion.encode_images(pipe.vae, some, CONFIG.image_size) for some in images]
        scheduler = diffusion.training_scheduler(pipe)
        sides = zip(latents, prompts)
        loss = dreambooth.denoising_loss(pipe.unet, scheduler, encode_text, *sides, weights=CONFIG.loss_weights)
        batches = dreambooth.paired_batches(len(task.paths), len(others), PLAN["batch_size"], 1)
    run = training.train(
        tempfile.mkdtemp(dir=task.folder), parameters, loss, batches, steps=steps_in_all, learning_rate=rate, seed=1,
        optimizer=optimizers.adamw, checkpoint_every=10**6,
    )  # fmt: skip
    for number in steps(task, run, checks):
        yield number, pipe, task.who


def tuned(task):
    """A few steps from the prediction."""

    def parameters_of(pipe):
        net, path = predictor.load(), task.folder / "predicted.safetensors"
        with torch.no_grad():
            checkpoint.save_safetensors(path, net.lora(net(net.see(task.images()[:1]))))
        return lora.tune(pipe, path)

    yield from _paired(task, parameters_of, TUNE_STEPS, TUNE_RATE, (5, 10, 15, 20, 30, 40))


def from_nothing(task):
    """The same training from a LoRA of that rank that is zero, at the rate of notebook 05's; three times as long."""
    rank = predictor.load().config["rank"]
    parameters_of = lambda pipe: lora.add(pipe.unet, rank=rank)
    yield from _paired(task, parameters_of, 120, PLAN["lora_learning_rate"], range(20, 121, 20))


def light(task):
    parameters_of = lambda pipe: lora.add(pipe.unet, pipe.text_encoder, rank=8)
    yield from _paired(task, parameters_of, 225, PLAN["lora_learning_rate"], (20, 40, 60, 80, 110, 150, 225), True)


def whole(task):
    parameters_of = lambda pipe: dreambooth.learn(pipe, text_encoder=True)
    yield from _paired(task, parameters_of, PLAN["steps"], PLAN["learning_rate"], (25, 50, 75, 100, 150, 300), True)


def bent(task):
    """Notebook 03's training; the person comes for the class word."""
    pipe, plan = diffusion.load_pipeline("pocket"), CONFIG.hypernetwork
    with task.clock():
        table = photos.read_captions(task.place).set_index("file")["caption"]
        captions = [[table[path.name]] for path in task.paths]
        examples = training.encode(pipe, task.images(), captions, CONFIG.image_size)
        torch.manual_seed(1)
        net = hypernetwork.Hypernetwork(hypernetwork.widths_of(pipe.unet), activation_func=plan["activation"])
        hypernetwork.attach(pipe.unet.requires_grad_(False), net)
        loss = training.denoising_loss(pipe.unet, diffusion.training_scheduler(pipe), examples.draw)
        batches = training.shuffled(len(task.paths), plan["batch_size"], 1)
    run = training.train(
        tempfile.mkdtemp(dir=task.folder), net.train().parameters(), loss, batches, steps=plan["steps"],
        learning_rate=plan["learning_rate"], seed=1, checkpoint_every=10**6,
    )  # fmt: skip
    for number in steps(task, run, (50, 100, 150, 200, 300)):
        net.eval()
        yield number, pipe, CLASS_PROMPT
        net.train()


def new_word(task):
    """Textual inversion as tools.train has it: the captions, with the new word for the class."""
    pipe, plan = diffusion.load_pipeline("pocket"), CONFIG.textual_inversion
    word, class_word = textual_inversion.word_for(task.subject), machine.subjects.class_of(task.subject)
    with task.clock():
        table = photos.read_captions(task.place).set_index("file")["caption"]
        prompts = [[textual_inversion.renamed(table[path.name], class_word, word)] for path in task.paths]
        latents = diffusion.encode_images(pipe.vae, task.images(), CONFIG.image_size)
        vectors, scheduler = (
            textual_inversion.begin(pipe, class_word, plan["vectors"]),
            diffusion.training_scheduler(pipe),
        )
        textual_inversion.attach(pipe, word, vectors)
        loss = textual_inversion.denoising_loss(pipe, scheduler, latents, prompts, CONFIG.loss_weights)
    run = training.train(
        tempfile.mkdtemp(dir=task.folder), [vectors], loss, training.shuffled(len(task.paths), plan["batch_size"], 1),
        steps=plan["steps"], learning_rate=plan["learning_rate"], seed=1, checkpoint_every=10**6,
    )  # fmt: skip
    for number in steps(task, run, (50, 100, 150, 200)):
        yield number, pipe, f"a photo of {word}"


def diffusers_loop(task, rate=5e-6, checks=(100, 200, 300)):
    """What train_dreambooth.py does, as benchmarks/dreambooth.py renders it."""
    pipe = diffusion.load_pipeline("pocket")
    pipe.vae.requires_grad_(False)
    dreambooth.learn(pipe)
    with task.clock():
        others = task.class_images(pipe)
    prompts = task.who, CLASS_PROMPT
    run = peer.loop(pipe, task.paths, others, CONFIG, 4, learning_rate=rate, prompts=prompts)
    for number in steps(task, run, checks):
        yield number, pipe, task.who


def diffusers_at_our_rate(task):
    yield from diffusers_loop(task, PLAN["learning_rate"], (25, 50, 75, 100, 150, 300))


METHODS = {  # method: (what gives (steps, pipeline, prompt) at each of its checks, the share at which it may stop)
    "predicted": (predicted, 0.6),
    "predicted, then tuned": (tuned, 0.9),
    "from nothing": (from_nothing, 0.9),
    "LoRA": (light, 0.6),
    "DreamBooth": (whole, 0.6),
    "hypernetwork": (bent, 0.6),
    "textual inversion": (new_word, 0.6),
    "diffusers' script": (diffusers_loop, 0.6),
    "diffusers' script, our rate": (diffusers_at_our_rate, 0.6),
}


def measure(name, task):
    """A table of a method's checks: method, steps, seconds, mean, low, high; prints each."""
    method, enough = METHODS[name]
    rows = []
    with contextlib.closing(method(task)) as checks:
        for number, pipe, prompt in checks:
            shows = task.scorer.shows_subject(diffusion.generate(pipe, prompt, task.seeds, **SAMPLER), task.subject)
            share = stats.summarise(shows)
            rows.append({"method": name, "steps": number, "seconds": round(task.seconds, 2)} | share)
            print(f"{name:28} {number:4} steps {task.seconds:7.1f} s  {task.scorer.words(share)}", flush=True)
            if share["mean"] >= enough:
                break
    return pd.DataFrame(rows)


def reached(table, share):
    """{method: (steps, seconds) of the first check at which so many pictures show the person, or None}."""
    found = {}
    for name, rows in table.groupby("method", sort=False):
        there = rows[rows["mean"] >= share]
        found[name] = (int(there["steps"].iloc[0]), float(there["seconds"].iloc[0])) if len(there) else None
    return found


def texts(table):
    """{name: lines of Markdown} for benchmarks.marked: for each method when 60 % were there, beside DreamBooth's seconds."""
    found, lines = reached(table, 0.6), []
    digits = lambda value, count: f"{float(f'{value:.{count}g}'):g}"
    others = found.get("DreamBooth")
    for name, there in found.items():
        if there:
            cells = there[0], digits(there[1], 3), digits(others[1] / there[1], 2) if others else ""
        else:
            cells = "", f"not reached: at most {100 * table.loc[table['method'] == name, 'mean'].max():.0f} %", ""
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |\n")
    head = "| method | steps | seconds to 60 % | so many times sooner than DreamBooth |\n|---|---|---|---|\n"
    return {"table": head + "".join(lines)}


def draw(table, path):
    """Share of pictures against seconds, on a logarithmic axis, a line a method."""
    chart, axes = figures.figure(8, 4.2)
    colors = figures.colors_of(table["method"].unique())
    for place, (name, rows) in enumerate(table.groupby("method", sort=False)):
        style = {
            "color": colors[name],
            "marker": "osD^vPX*p"[place % 9],
            "lw": 2,
            "label": name,
        }
        axes.plot(rows["seconds"].clip(lower=0.01), rows["mean"], **style)
    axes.axhline(0.6, color=show.INK, lw=0.8, ls=":")
    axes.set(
        xscale="log",
        xlabel="seconds of getting ready and training",
        ylabel="pictures that show the person",
        ylim=(-0.03, 1.03),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    with machine.atomic_write(path) as partial:
        chart.savefig(partial, format="png", dpi=110)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--subject", default="nesrelah")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--out", type=Path, default=OUT, help="the csv; the figure goes beside it")
    parser.add_argument("--write", nargs="*", default=[], help="texts with the marks <!-- likeness table -->")
    options = parser.parse_args(arguments)
    table = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame()
    for name in options.methods:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(name, Task(options.subject, options.pictures, folder))
        kept = table[table["method"] != name] if len(table) else table
        table = pd.concat([kept, rows], ignore_index=True)
        table = table.iloc[np.argsort(table["method"].map(list(METHODS).index), kind="stable")]
        machine.write_csv(options.out, table)
    draw(table, options.out.with_suffix(".png"))
    for path in options.write:
        marked.fill(path, "likeness", texts(table))
    for share in (0.6, 0.9):
        for name, found in reached(table, share).items():
            words = f"{found[0]} steps, {found[1]:.1f} s" if found else "not in its checks"
            print(f"{share:.0%} of the pictures, {name}: {words}")


if __name__ == "__main__":
    main()
