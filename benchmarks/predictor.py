"""What a predictor shows of people it has never seen, counted by the reader with intervals over people.

python -m benchmarks.predictor data/pocket/predictor/model.safetensors --people 64

From portraits of each person come weights, from these a picture for each prompt; beside it the base without them, and the
same prompts with the weights of the next person. An attribute counts where the picture would show it (pocket/visible.py).
"""

import argparse

import numpy as np
import torch
from PIL import Image

from helpers import diffusion, photos, stats
from helpers.compare import reader as drifts
from helpers.diffusion import models
from helpers.methods import predictor
from pocket.assemble import load_part
from pocket.people import FEATURES, person, portrait
from pocket.visible import truth
from pocket.world import SUBJECTS, Scene

PROMPTS = {  # prompt: context, place and style as the reader calls them; None is not asked for
    "a photo of {} person": ("portrait", None, "photo"),
    "a photo of {} person riding a horse": ("horse", None, "photo"),
    "a photo of {} person at the beach": ("portrait", "beach", "photo"),
    "an oil painting of {} person": ("portrait", None, "oil painting"),
}
NAME = "nesrelah_001"  # any identifier will do; this one is the course's


def expected(found, asked):
    """{attribute: word} that a picture of this person for this prompt must show."""
    context, place, style = asked
    words = truth(Scene(found, context, place or "white", style, 0))
    return {name: words[name] for name in FEATURES if name in words}


def pictures(pipe, net, gates, prompt, batch=8):
    """One picture a person, gates (people, layers, rank) or None for the base; seed i for person i."""
    settings, images = models.model_config("pocket"), []
    sampler = {"guidance_scale": settings.guidance_scale, "num_inference_steps": settings.num_inference_steps}
    count = len(gates)
    for start in range(0, count, batch):
        seeds = list(range(start, min(start + batch, count)))
        with torch.no_grad(), net.on(pipe.unet, gates[seeds]):
            images += diffusion.generate(pipe, prompt.format(NAME), seeds, batch_size=batch, **sampler)
    return images


def count(reader, images, people, asked):
    """Prints the share of people with each attribute right, of all that is visible, and of context, place and style."""
    reading = reader.read(images)
    right = {name: [] for name in (*FEATURES, "all visible", "as asked")}
    for i, found in enumerate(people):
        hits = {name: reading[name][i] == word for name, word in expected(found, asked).items()}
        for name, hit in hits.items():
            right[name].append(hit)
        right["all visible"].append(all(hits.values()))
        said = zip(("context", "place", "style"), asked)
        right["as asked"].append(all(reading[name][i] == word for name, word in said if word))
    return "  ".join(f"{name} {words(values)}" for name, values in right.items())


def words(values):
    low, high = stats.interval(values)
    return f"{100 * np.mean(values):.0f} ({100 * low:.0f} to {100 * high:.0f})"


def gates_of(net, portraits):
    with torch.no_grad():
        return torch.cat([net(net.see([Image.fromarray(array) for array in arrays])) for arrays in portraits])


def subjects(net, pipe, reader, images, photo_count):
    """How often the two sample subjects come from their own photos, with no training on them."""
    for name, subject in SUBJECTS.items():
        squares = [image for _, image in photos.load_prepared(f"data/prepared/{name}")][:photo_count]
        with torch.no_grad():
            gates = net(net.see(squares)).expand(images, -1, -1)
        reading = reader.read(pictures(pipe, net, gates, "a photo of {} person"))
        each = {feature: (reading[feature] == getattr(subject["person"], feature)) for feature in subject["telling"]}
        shares = "  ".join(f"{feature} {100 * hits.mean():.0f}" for feature, hits in each.items())
        print(f"{name} from {len(squares)} photos: all {words(np.all(list(each.values()), 0))}  {shares}", flush=True)


def drift(net, pipe, reader, gates, people):
    """What "a photo of a person" becomes with the weights of each: the mix of all, and how like that person.

    The mix alone would not show a class that has turned into the person: different people are as varied as before.
    """
    prompt = "a photo of a person"
    made = {"base": pictures(pipe, net, 0 * gates, prompt), "predicted": pictures(pipe, net, gates, prompt)}
    for row in drifts.table(*map(reader.read, made.values())).itertuples():
        print(f"{prompt}, {row.attribute}: moved {row.moved:.2f}, by chance {row.by_chance:.2f}", flush=True)
    for name, images in made.items():
        print(
            f"{prompt}, {name}, like the person: {count(reader, images, people, ('portrait', None, 'photo'))}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a predictor's .safetensors")
    parser.add_argument("--people", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="how many of the prompts")
    parser.add_argument("--photos", type=int, default=1, help="portraits of each person, 1 to 4")
    parser.add_argument("--first", type=int, default=0, help="number of the first person")
    parser.add_argument("--plain", action="store_true", help="the prediction alone, without base and others beside it")
    options = parser.parse_args()
    net, pipe, reader = predictor.load(options.weights), diffusion.load_pipeline("pocket"), load_part("reader")
    numbers = range(options.first, options.first + options.people)
    people = [person("test", number) for number in numbers]
    gates = gates_of(net, [[portrait("test", n, i) for i in range(options.photos)] for n in numbers])
    for prompt, asked in list(PROMPTS.items())[: options.prompts]:
        rows = (
            {"predicted": gates}
            if options.plain
            else {"base": 0 * gates, "another's": gates.roll(1, 0), "predicted": gates}
        )
        for name, these in rows.items():
            found = count(reader, pictures(pipe, net, these, prompt), people, asked)
            print(f"{prompt.format('V')}, {name}: {found}", flush=True)
    drift(net, pipe, reader, gates, people)
    for photo_count in (1, 4):
        subjects(net, pipe, reader, options.people // 2, photo_count)


if __name__ == "__main__":
    main()
