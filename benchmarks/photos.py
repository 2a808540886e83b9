"""Photos per second: photos.prepare beside the same crop and resize in the web UI's order of work, in one run.

    python -m benchmarks.photos --count 1000

Draws photos of 12 megapixels (a few, under many names), prepares them both ways to 512 pixels, and prints seconds,
photos per second and the peak of memory over all processes. Ours also finds faces, measures, and compares.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from helpers import photos

SIZE, DIFFERENT = 512, 8


def photo(seed):
    """A picture of 4000 x 3000 pixels with soft shapes and the noise of a small sensor."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((4000, 3000), Image.BICUBIC)
    noise = rng.normal(0, 6, (1500, 2000, 1)).repeat(2, 0).repeat(2, 1)
    return Image.fromarray((np.asarray(shapes, np.float32) + noise).clip(0, 255).astype(np.uint8))


def write_photos(folder, count):
    """Fill a folder with `count` JPEGs, every second one lying on its side as phones store it."""
    exif = Image.Exif()
    for number in range(count):
        path = folder / f"IMG_{number:05d}.jpg"
        if number < DIFFERENT:
            exif[0x0112] = 6 if number % 2 else 1
            photo(number).save(path, quality=92, exif=exif)
        else:
            os.link(folder / f"IMG_{number % DIFFERENT:05d}.jpg", path)
    return sum(path.stat().st_size for path in folder.iterdir()) / count / 2**20


def like_the_web_ui(folder, out):
    """Open, turn, convert, fill the square, cut the middle, save: AUTOMATIC1111's preprocess.py and resize_image(1)."""
    out.mkdir()
    for path in sorted(folder.iterdir()):
        image = ImageOps.exif_transpose(Image.open(path, formats=["JPEG"])).convert("RGB")
        scale = SIZE / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.LANCZOS)
        left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
        image.crop((left, top, left + SIZE, top + SIZE)).save(out / f"{path.stem}.png")


class Memory(threading.Thread):
    """Watches the memory of this process and its children, shared pages counted once (Linux)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.over = 0, threading.Event()

    def run(self):
        while not self.over.wait(0.2):
            self.peak = max(self.peak, sum(map(proportional, family(os.getpid()))))


def family(process):
    """A process and all that it started."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        children = []
    return [process, *(each for child in children for each in family(int(child)))]


def proportional(process):
    """The bytes that a process takes, each shared page divided by its users; 0 where /proc does not tell."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def timed(what, count, work):
    """Do the work and print how fast it was; returns photos per second."""
    memory, began, before = Memory(), time.perf_counter(), os.times()
    memory.start()
    work()
    memory.over.set()
    seconds, after = time.perf_counter() - began, os.times()
    cores = sum(after[:4]) - sum(before[:4])
    print(f"{what:12}{seconds:8.1f} s, {count / seconds:6.2f} photos/s, {cores / count:5.2f} CPU s a photo,", end=" ")
    print(f"peak {memory.peak / 2**20:5.0f} MB in all")
    return count / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "raw"
        folder.mkdir()
        print(f"{options.count} photos of 12 megapixels, {write_photos(folder, options.count):.1f} MB each")
        theirs = timed("web UI", options.count, lambda: like_the_web_ui(folder, Path(place) / "theirs"))
        out = Path(place) / "ours"
        run = {"processes": options.processes, "progress": tqdm}
        ours = timed("ours", options.count, lambda: photos.prepare(folder, out, SIZE, **run))
        timed("ours, again", options.count, lambda: photos.prepare(folder, out, SIZE))
    print(f"ours is {ours / theirs:.1f} times as fast")


if __name__ == "__main__":
    main()
