"""Two processes on two cards: the same hypernetwork steps as one process takes, whose parts they share."""

import functools
import subprocess
import sys

import torch

from benchmarks.gpu import model, training_rows
from helpers import machine, training
from helpers.diffusion import device

PARTS = 2  # of a step


def both(bench):
    """One process that takes both parts of each step, then two that take one each, where there are two cards."""
    yield {"processes": 1}, functools.partial(share_row, bench)
    if device.find_device().type == "cuda" and torch.cuda.device_count() < 2:
        return
    yield {"processes": 2}, functools.partial(launched_row, bench)


def share_row(bench, row):
    with training_rows.rested(bench.pipe), training_rows.hypernetwork_on(bench.pipe.unet) as net:
        loss, batches = training_rows.prepared_loss(bench, bench.scale.side, alone=True)
        with training.offloaded(bench.pipe.vae, bench.pipe.text_encoder):
            parameters, adamw = [*net.parameters()], torch.optim.AdamW
            training_rows.timed(bench.scale, row, parameters, loss, batches, adamw, accumulate=PARTS)


def launched_row(bench, row):
    """Starts this command twice, and ends both if their time is over."""
    path = bench.folder / "processes.json"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(PARTS)]
    command += ["--main_process_port", "0", "-m", "benchmarks.gpu", "--share", str(path)]
    command += ["--tenth"] if bench.scale == model.TENTH else []
    started = subprocess.Popen(command, cwd=machine.REPO, stderr=subprocess.PIPE, text=True)
    try:
        errors = started.communicate()[1]
    finally:
        if started.poll() is None:  # out of time: asked, and not killed, the launcher ends its two processes
            started.terminate()
    if started.returncode:
        raise RuntimeError(errors.strip().splitlines()[-1] if errors.strip() else "the processes ended with an error")
    row |= machine.read_json(path)


def share(scale, path):
    """What each of the two processes does; the first writes its row as JSON."""
    from benchmarks.gpu.parts import Bench

    row = {}
    try:
        share_row(Bench(model.pipeline(scale), scale, None), row)
        if device.state().is_main_process:
            machine.write_json(path, row)
    finally:
        device.state().destroy_process_group()
