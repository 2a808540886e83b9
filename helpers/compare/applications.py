"""What personal models are for, from the paper's list: icons, and a film that walks from one scene to another."""

import html
import itertools
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from IPython.display import HTML
from PIL import Image, ImageDraw, ImageOps
from tqdm.auto import tqdm

from helpers import diffusion, machine, show


def progress_bar(words):
    """A bar for the `progress` of diffusion.generate, with a few words beside it."""
    bar = tqdm(desc=words)

    def progress(done, total):
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return progress


def icon(image, size=64):
    """A round picture with nothing around it: RGBA, size x size pixels. The middle is kept."""
    square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    mask = Image.new("L", (4 * size, 4 * size))
    ImageDraw.Draw(mask).ellipse((0, 0, 4 * size - 1, 4 * size - 1), fill=255)
    square.putalpha(mask.resize((size, size), Image.Resampling.LANCZOS))
    return square


def slerp(start, end, share):
    """The point at `share`, 0..1, of the arc from one noise to another, of any shape (Shoemake 1985).

    A straight line would pass through quieter noise than the model ever met; the arc keeps its loudness.
    """
    cosine = torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if torch.sin(angle) < 1e-6:
        return torch.lerp(start, end, share)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


def walk(pipe, scenes, seeds, frames, **sampler):
    """PIL images on the way from the noise of each seed to the next, and back to the first.

    scenes: a prompt, or one for each seed. Between two scenes both are asked for, each the more the nearer it is
    (AND in a prompt: composable diffusion, Liu et al. 2022). frames: how many between two seeds; sampler: as for
    diffusion.generate. Raises ValueError for fewer than two seeds, or another number of scenes.
    """
    scenes = [scenes] * len(seeds) if isinstance(scenes, str) else scenes
    if len(seeds) < 2 or len(scenes) != len(seeds):
        raise ValueError("A walk leads from one seed to another: give at least two, and one scene or one for each.")
    stops = [*zip(scenes, seeds)]
    prompts, noise = [], []
    for (scene, seed), (next_scene, next_seed) in itertools.pairwise([*stops, stops[0]]):
        ends = diffusion.initial_noise(pipe, seed), diffusion.initial_noise(pipe, next_seed)
        for share in (step / frames for step in range(frames)):
            both = f"{scene} :{1 - share:.4f} AND {next_scene} :{share:.4f}"
            prompts.append(both if share and scene != next_scene else scene)
            noise.append(slerp(*ends, share))
    # one seed for all: a sampler that adds noise on the way adds the same to each frame
    return diffusion.generate(pipe, prompts, [seeds[0]] * len(noise), noise=torch.stack(noise), **sampler)


def show_gif(path, words):
    """An animation in a notebook, with `words` as its text alternative."""
    source = show.data_url(Path(path).read_bytes(), kind="GIF")
    return HTML(f'<img src="{source}" alt="{html.escape(words)}">')


def save_film(path, images, milliseconds=120):
    """Writes an animation, a GIF that repeats for ever or an MP4 by the path's ending; returns its path.

    Raises ValueError without images, or for another ending.
    """
    path = Path(path)
    if not images:
        raise ValueError("There are no images to animate.")
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"A film is written as .gif or .mp4, not as {path.name}.")
    with machine.atomic_write(path) as partial:
        if path.suffix == ".gif":
            first, *others = [image.convert("RGB").quantize(128) for image in images]
            first.save(partial, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
        else:
            pixels = np.stack([image.convert("RGB") for image in images])
            settings = {"plugin": "FFMPEG", "fps": 1000 / milliseconds}
            settings |= {"macro_block_size": 2}  # even sides, as H.264 wants
            partial.write_bytes(iio.imwrite("<bytes>", pixels, extension=".mp4", **settings))  # .part says no format
    return path
