"""Endless numbered scenes, and their pictures kept on disk so that every training reads them once.

Scene `i` of a split is always the same scene, on every machine:
    train     what the diffusion model, CLIP and BLIP learn from
    everyone  the same world with the subjects' reserved features mixed in, for the VAE and the reader
    small     as `everyone`, but mostly small faces, and reserved features on two of five: for the reader alone
    faces     as `everyone`, but no small faces: for what reads expressions, and for the upscaler
    test      as `train`, never trained on;  `test_everyone` as `everyone`, never trained on
    held_out  combinations that training leaves out
"""

import argparse
import os
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from pocket.draw import draw
from pocket.world import sample_scene

CACHE = Path(os.environ.get("POCKET_CACHE", Path(__file__).parents[1] / "runs" / "pocket"))
CHUNK = 500
SPLITS = {
    "train": {},
    "everyone": {"reserved": 0.15},
    "small": {"reserved": 0.4, "context_weights": (10, 30, 15, 10, 10, 15, 10)},
    "faces": {"reserved": 0.15, "context_weights": (60, 0, 0, 10, 10, 10, 10)},
    "test": {},
    "test_everyone": {"reserved": 0.15},
    "held_out": {"held_out": True},
}


def scene(split, index):
    """The scene with this number in this split of SPLITS."""
    return sample_scene(random.Random(f"{split} {index}"), **SPLITS[split])


def pictures(split, count, size=128):
    """Pictures of scenes 0 to count - 1, uint8 (count, size, size, 3), drawn on all cores where missing.

    Drawn in chunks that are renamed into place when whole, so a killed drawing goes on where it was.
    """
    chunks = chunks_of("scenes" if size == 128 else f"scenes_{size}", split, count)
    missing = [chunk for chunk in chunks if not chunk.exists()]
    if missing:
        with ProcessPoolExecutor() as pool:
            list(pool.map(_draw_chunk, missing, [size] * len(missing)))
    return np.concatenate([np.load(chunk, mmap_mode="r") for chunk in chunks])[:count]


def chunks_of(kind, split, count):
    """The files that hold something of scenes 0 to count - 1, CHUNK in each; their folder is made."""
    folder = CACHE / kind / split
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / f"{start:07d}.npy" for start in range(0, count, CHUNK)]


def keep(path, images):
    """Save an array, whole or not at all."""
    partial = path.with_suffix(".part.npy")
    np.save(partial, images)
    partial.rename(path)


def _draw_chunk(path, size):
    split, start = path.parent.name, int(path.stem)
    keep(path, np.stack([np.asarray(draw(scene(split, i), size)) for i in range(start, start + CHUNK)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the scenes of a split ahead of training.")
    parser.add_argument("split", choices=SPLITS)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    print(pictures(options.split, options.count).shape)
