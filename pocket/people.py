"""People of the drawn world in many pictures each, for the predictor: portraits to look at, scenes to learn, captions.

Numbered, the same on every machine. In a third of them reserved features are drawn for two in five; whoever has all the
telling features of a sample subject is left out. The people of the split "test" have none, and none is trained on.

python -m pocket.people      writes portraits of twelve of them, and what can be seen of each, into data/unseen
"""

import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from helpers.diffusion import device
from pocket import world
from pocket.camera import shoot
from pocket.describe import SYLLABLES, all_features, describe_as
from pocket.draw import SIDE, draw
from pocket.pixels import to_pixels
from pocket.scenes import CACHE
from pocket.visible import truth

UNSEEN = Path(__file__).parents[1] / "data" / "unseen"
FEATURES = ("kind", "skin", "hair", "hair_color", "beard", "glasses")
CHUNK = 250  # people in a file
PORTRAITS, TARGETS = 4, 4  # pictures of each person


def person(split, number):
    """Somebody, always the same: in a third, reserved features are drawn for two in five; never a subject's set."""
    rng = random.Random(f"predictor {split} {number}")
    reserved = rng.choice((0, 0, 0.4)) if split == "train" else 0
    found = world.sample_person(rng, reserved)
    while any(is_like(found, subject) for subject in world.SUBJECTS.values()):
        found = world.sample_person(rng, reserved)
    return found


def is_like(found, subject):
    return all(getattr(found, feature) == getattr(subject["person"], feature) for feature in subject["telling"])


def has_reserved(found):
    return (
        found.hair in world.RESERVED_HAIR[found.kind]
        or found.hair_color in world.RESERVED_HAIR_COLORS
        or found.beard in world.RESERVED_BEARDS
        or found.glasses in world.RESERVED_GLASSES
    )


def picture_of(split, number, which, found=None, **given):
    """Scene `which` of a person, in fresh clothes and mood; with somebody else, `found`, in that person's place."""
    rng = random.Random(f"predictor {split} {number} {which}")
    fresh = world.sample_person(random.Random(rng.random()))
    changed = {name: getattr(fresh, name) for name in ("expression", "clothes", "clothes_color")}
    return world.sample_scene(rng, world.Person(**asdict(found or person(split, number)) | changed), **given)


def portrait(split, number, which, found=None):
    """A photo of a person as notebook 01 leaves one, uint8 (128, 128, 3): nearer or farther, not quite in the middle.

    found: somebody else who stands in that person's place.
    """
    scene = picture_of(split, number, f"portrait {which}", found, context="portrait", style="photo")
    rng = random.Random(f"{number} {which}")
    side = SIDE * rng.uniform(0.97, 1.2)
    left = SIDE / 2 - side * rng.uniform(0.44, 0.56)
    return np.asarray(shoot(scene, (left, SIDE - side, side, side), (128, 128)))


@torch.no_grad()
def pictures(split, count, eyes, vae):
    """features (count, PORTRAITS, 17, 192) and latents (count, TARGETS, 4, 16, 16) of people, float16, kept on disk."""
    folder, chunks = CACHE / "people", []
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, CHUNK):
        path = folder / f"{split}_{start:05d}.npz"
        if not path.exists():
            numbers = range(start, min(start + CHUNK, count))
            portraits = np.stack([portrait(split, n, i) for n in numbers for i in range(PORTRAITS)])
            targets = np.stack([np.asarray(draw(picture_of(split, n, i))) for n in numbers for i in range(TARGETS)])
            features = torch.cat([eyes.features(to_pixels(part)) for part in np.array_split(portraits, 10)])
            with device.autocast("cpu"):
                codes = [vae.encode(to_pixels(part)).latent_dist.mode() for part in np.array_split(targets, 20)]
            kept = {
                "features": features.half().numpy().reshape(len(numbers), PORTRAITS, *features.shape[1:]),
                "latents": torch.cat(codes).half().numpy().reshape(len(numbers), TARGETS, 4, 16, 16),
            }
            partial = path.with_suffix(".part.npz")
            np.savez(partial, **kept)
            partial.rename(path)
            print(path.name, flush=True)
        chunks.append(np.load(path))
    return [np.concatenate([chunk[name] for chunk in chunks]) for name in ("features", "latents")]


def captions_of(scene, other, rng):
    """(caption, the same with every feature of the person in words); of others, without an identifier, they are one."""
    found = scene.person
    if other:
        plain = describe_as(scene, rng.choice((found.kind, "person")), rng, rng.choice(("", None)))
        return (rng.choice((plain, plain, plain, "")),) * 2
    seed, name = rng.random(), rng.choice(("", " person", f" {found.kind}"))
    caption = describe_as(scene, f"@{identifier(rng)}{name}", random.Random(seed), "")
    words = describe_as(scene, f"{found.skin}-skinned {found.kind}", random.Random(seed), all_features(found))
    return caption, words


def identifier(rng):
    """A made-up word and a number, as "nesrelah_001": somebody's name in one caption and never again."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))) + f"_{rng.randrange(1000):03d}"


def write_unseen(folder=UNSEEN, numbers=range(204, 216)):
    """Portraits of people of the split "test", of which no figure of the training was taken, and people.csv.

    It says what a portrait of each shows, with nothing where hair is under a turban or hijab.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for place, number in enumerate(numbers, start=1):
        found, file = person("test", number), f"person_{place:02}.png"
        Image.fromarray(portrait("test", number, 0)).save(folder / file, optimize=True)
        shown = truth(world.Scene(found, "portrait", "white", "photo", 0))
        rows.append({"file": file} | {name: shown.get(name, "") for name in FEATURES})
    pd.DataFrame(rows).to_csv(folder / "people.csv", index=False)


if __name__ == "__main__":
    write_unseen()
