"""Time and memory of exporting and importing a full-size SD 1.x with random weights.

    python -m benchmarks.checkpoint [ckpt|safetensors]

Memory is the most this process held above what it held with the model loaded; on Colab there are 12 GB for all.
"""

import functools
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from helpers.diffusion import checkpoint
from helpers.methods import memory


def pipeline():
    """The three networks of SD 1.5 in 16 bits, as a pipeline on a GPU has them; random weights."""
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel.from_config(memory.SD1_UNET), AutoencoderKL.from_config(memory.SD1_VAE)
        text = CLIPTextModel(CLIPTextConfig(**memory.SD1_TEXT, vocab_size=49408, projection_dim=768))
    parts = {"unet": unet, "vae": vae, "text_encoder": text}
    for part in parts.values():
        torch.nn.Module.to(part, torch.float16).to_empty(device="cpu")
        for tensor in part.parameters():
            tensor.data.random_(-1000, 1000).mul_(1e-4)
    return SimpleNamespace(**parts)


def resident():
    """Bytes of this process that are its own in memory now; pages of files it maps do not count: they can go."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def watch(work):
    """(seconds, the most bytes above the beginning) of a function."""
    began, most, done = resident(), [0], threading.Event()

    def sample():
        while not done.wait(0.01):
            most[0] = max(most[0], resident() - began)

    watcher = threading.Thread(target=sample)
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return seconds, most[0]


def main(kinds):
    pipe = pipeline()
    print(f"model in memory: {resident() / 1e9:.2f} GB")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for kind in kinds:
            path = Path(folder) / f"model.{kind}"
            works = {"export": (checkpoint.export, path, pipe), "import": (checkpoint.load_into, pipe, path)}
            for name, work in works.items():
                seconds, most = watch(functools.partial(*work))
                print(f"{name} {path.name}: {seconds:.1f} s, {most / 1e9:.2f} GB beside the model", flush=True)
            print(f"{path.stat().st_size / 1e9:.2f} GB on disk")
            path.unlink()


if __name__ == "__main__":
    main(sys.argv[1:] or ["ckpt", "safetensors"])
