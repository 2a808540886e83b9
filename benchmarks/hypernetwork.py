"""Hypernetwork training beside a plain rendering of the web UI's loop.

    python -m benchmarks.hypernetwork                    # steps a second and their ratios, on pocket
    python -m benchmarks.hypernetwork --memory           # peak memory of each loop, each in a process of its own

The loops take turns, so that a busy machine slows all of them; processor time is printed beside wall time.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F

from helpers import diffusion, photos, training
from helpers.methods import hypernetwork


def material(pipe, config):
    """(Examples, scheduler) of the prepared photos of amir with their captions."""
    folder = photos.prepared_folder("amir")
    table = photos.read_captions(folder)
    images = [photos.open_photo(folder / file) for file in table["file"]]
    prompts = [[caption] for caption in table["caption"]]
    return training.encode(pipe, images, prompts, config.image_size), diffusion.training_scheduler(pipe)


def fresh(unet):
    """A hypernetwork at its start, the same each time."""
    torch.manual_seed(1)
    return hypernetwork.Hypernetwork(hypernetwork.widths_of(unet)).train()


def attach_plainly(unet, net):
    """The net before every to_k and to_v, each on its own, as the web UI computes it; returns the hooks' handles."""
    bend = lambda module: lambda layer, inputs: (module(inputs[0]),)
    return [
        layer.register_forward_pre_hook(bend(net.layers[str(layer.in_features)][which]))
        for attention in unet.modules()
        if hasattr(attention, "to_k")
        for which, layer in enumerate((attention.to_k, attention.to_v))
    ]


def peer_loop(unet, train_set, scheduler, batch_size, block):
    """The web UI's loop, a generator of losses: float32, always checkpointed, the U-Net's own weights not frozen.

    On a GPU under autocast, with a scaled loss in float16, as there.
    Nothing there freezes them, so their gradients are computed, added up and kept. The prompt of a photo is
    encoded when it changes, which with its defaults is once.
    Before every `block` of losses it yields None once the net is on the U-Net, and after them once it is off.
    """
    net, draw = fresh(unet).to(unet.device), training.shuffled(len(train_set.latents), batch_size, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    mixed = diffusion.device.autocast(unet.device) if unet.device.type != "cpu" else contextlib.nullcontext()
    scaler = training.steps.scaler_for([*net.parameters()])
    for step in range(sys.maxsize):
        if step % block == 0:
            handles = attach_plainly(unet, net)
            unet.requires_grad_(True).train().enable_gradient_checkpointing()
            yield None
        latents, prompt_embeds = train_set.draw(draw(step))
        noise, timesteps = torch.randn_like(latents), torch.randint(0, 1000, (len(latents),), device=latents.device)
        with mixed:
            prediction = unet(scheduler.add_noise(latents, noise, timesteps), timesteps, prompt_embeds).sample
            loss = F.mse_loss(prediction, diffusion.target(scheduler, latents, noise, timesteps))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        yield loss.item()
        if step % block == block - 1:
            for handle in handles:
                handle.remove()
            yield None


def our_loop(unet, train_set, scheduler, batch_size, block, folder, precision):
    """`training.train` as notebook 03 uses it, files and all; precision: "float32" or "default".

    It yields as `peer_loop` does.
    """
    net = fresh(unet)
    loss, draw = (
        training.denoising_loss(unet, scheduler, train_set.draw),
        training.shuffled(len(train_set.latents), batch_size, 1),
    )
    run = training.train(folder, net.parameters(), loss, draw, steps=100_000, learning_rate="2e-3")
    same = mock.patch.object(diffusion.device, "autocast", lambda *_, **__: contextlib.nullcontext())
    while True:
        hypernetwork.attach(unet, net)
        unet.requires_grad_(False).disable_gradient_checkpointing()
        yield None
        for _ in range(block):
            with same if precision == "float32" else contextlib.nullcontext():
                step = next(run)
            yield step.loss
        hypernetwork.detach(unet)
        yield None


class Clock:
    """Wall and processor seconds spent in a loop, and of these in U-Net, backward and optimizer."""

    def __init__(self):
        self.wall = self.cpu = self.inside = 0.0
        self.steps = 0

    @contextlib.contextmanager
    def step(self):
        """Around one step."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.process_time() - cpu
        self.steps += 1

    def around(self, function):
        """The function, its processor time counted as inside."""

        def counted(*args, **kwargs):
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.inside += time.process_time() - began

        return counted

    @contextlib.contextmanager
    def watching(self, unet):
        """Counts what the U-Net, the backward pass and AdamW take as inside."""
        backward, step = torch.Tensor.backward, torch.optim.AdamW.step
        with (
            mock.patch.object(unet, "forward", self.around(unet.forward)),
            mock.patch.object(torch.Tensor, "backward", lambda *a, **k: self.around(backward)(*a, **k)),
            mock.patch.object(torch.optim.AdamW, "step", lambda *a, **k: self.around(step)(*a, **k)),
        ):
            yield


def compare(model, rounds, block, batch_size):
    """Runs the loops in turns and prints steps a second and ratios."""
    config = diffusion.model_config(model)
    pipe = diffusion.load_pipeline(config)
    unet, (train_set, scheduler) = pipe.unet, material(pipe, config)
    with tempfile.TemporaryDirectory() as folder:
        ours = lambda precision: our_loop(
            unet, train_set, scheduler, batch_size, block, Path(folder, precision), precision
        )
        loops = {
            "the web UI's loop, float32": peer_loop(unet, train_set, scheduler, batch_size, block),
            "ours, float32": ours("float32"),
            "ours, as it is by default": ours("default"),
        }
        clocks = {name: Clock() for name in loops}
        for loop in loops.values():
            turn(unet, loop, Clock(), block)  # ours begins with a step 0 that learns nothing; all warm up
        for _ in range(rounds):
            for name, loop in loops.items():
                turn(unet, loop, clocks[name], block)
        for loop in loops.values():
            loop.close()
    peer = next(iter(clocks.values()))
    for name, clock in clocks.items():
        rate, ratio, cpu = clock.steps / clock.wall, peer.wall / clock.wall, peer.cpu / clock.cpu
        print(
            f"{name:28}{rate:6.2f} steps/s   x {ratio:.2f} ({cpu:.2f} in processor time)   "
            f"{1 - clock.inside / clock.cpu:5.1%} outside U-Net, backward and optimizer"
        )


def turn(unet, loop, clock, block):
    """One turn of a loop: `block` steps on the clock, between putting its net on and taking it off."""
    with clock.watching(unet):
        next(loop)  # puts its net on, as a training does once
        for _ in range(block):
            with clock.step():
                next(loop)
        next(loop)  # and off, for the next loop


def one_loop(model, which, steps, batch_size):
    """Runs one loop alone and prints this process's peak memory."""
    config = diffusion.model_config(model)
    pipe = diffusion.load_pipeline(config)
    train_set, scheduler = material(pipe, config)
    with tempfile.TemporaryDirectory() as folder:
        if which == "peer":
            loop = peer_loop(pipe.unet, train_set, scheduler, batch_size, steps)
        else:
            loop = our_loop(pipe.unet, train_set, scheduler, batch_size, steps, Path(folder, "run"), which)
        before = _mebibytes()
        for _ in range(steps + 1):
            next(loop)
        loop.close()
    print(f"{which:10} peak {_mebibytes():6.0f} MiB, of which {_mebibytes() - before:.0f} MiB came with the training")


def _mebibytes():
    return diffusion.device.peak_memory()["peak_bytes"] / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--block", type=int, default=4, help="steps of a loop before the next one has its turn")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--loop", choices=("peer", "float32", "default"), help="one loop alone, as --memory runs them")
    options = parser.parse_args()
    if options.loop:
        one_loop(options.model, options.loop, options.block, options.batch)
    elif options.memory:
        for which in ("peer", "float32", "default"):
            numbers = ["--block", str(options.block), "--batch", str(options.batch)]
            command = [sys.executable, "-m", "benchmarks.hypernetwork", "--model", options.model, "--loop", which]
            subprocess.run([*command, *numbers], check=True)
    else:
        compare(options.model, options.rounds, options.block, options.batch)


if __name__ == "__main__":
    main()
