"""The one training loop, a generator: what is learnt, shown and logged stays with the caller.

    for step in training.train(run, hypernetwork.parameters(), loss, batches, steps=300, learning_rate=2e-3):
        print(step.number, step.loss)

A run is a folder: settings.json, loss.csv, previews/, checkpoints/, card.md. Step n draws its random
numbers from (seed, n) alone, so a run killed at any moment continues bit for bit.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from helpers import runs, runtime, schedules

MAX_GRAD_NORM = 1.0  # as in diffusers' DreamBooth


@dataclass(frozen=True)
class Step:
    """What a training yields after each update; number 0 comes before the first one."""

    number: int
    loss: float | None  # None at number 0
    held_out_loss: float | None  # None where it was not measured
    learning_rate: float | None
    seconds: float  # of training so far, previews and held-out losses left out
    preview: Image.Image | None = None


def cosine(progress):
    """Falls from 1 to 0 along half a cosine; progress in 0..1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress):
    """Stays 1, as in the paper's runs."""
    return 1.0


def shuffled(count, batch_size, seed):
    """A function of the step number that gives `batch_size` indices below `count`.

    Every index comes once an epoch, in an order of its own each epoch; epochs follow without a gap.
    """

    def batch(step):
        places = range(step * batch_size, (step + 1) * batch_size)
        return [_order(count, seed, place // count)[place % count] for place in places]

    return batch


def _order(count, seed, epoch):
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()


def train(
    run,
    parameters,
    loss,
    batches,
    *,
    steps,
    learning_rate,
    schedule=cosine,
    seed=0,
    held_out_loss=None,
    preview=None,
    watch_every=50,
    checkpoint_every=100,
    settings=None,
):
    """Trains `parameters` (float32) in the folder `run`; a generator of Step, the first before any update.

    loss: function of a batch to a scalar tensor, under `runtime.autocast`. batches: as `shuffled` makes.
    learning_rate: a number, which `schedule` scales; or a text in the web UI's syntax, "2e-3:100, 5e-4:300",
    in place of both: the training then ends with its last rate, if that is before `steps`.
    held_out_loss: function to a float; preview: function to a PIL image; both every `watch_every` steps.
    settings: whatever else made this run (prompts, photos, model), for settings.json.
    A finished run only gets its weights back; one with other settings is renamed, with a warning.
    Raises FloatingPointError if the loss is no longer a number.
    """
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    told = {"steps": steps, "learning_rate": learning_rate, "schedule": schedule.__name__, "seed": seed}
    run = runs.Run(run, told | (settings or {}), parameters)
    steps, rate_of = _rates(learning_rate, schedule, steps)
    optimizer = torch.optim.AdamW(parameters)
    scaler = torch.amp.GradScaler(enabled=_needs_scaling(parameters))
    done, seconds = run.resume(optimizer, scaler)
    for number in range(done + 1, steps + 1):
        value = rate = None
        if number > 0:
            began = time.perf_counter()
            runtime.seed_everything(seed * 1_000_003 + number)
            rate = rate_of(number)
            value = _update(parameters, loss, batches(number - 1), optimizer, scaler, rate)
            seconds += time.perf_counter() - began
        watched = number % watch_every == 0 or number == steps
        held_out = _held_out(held_out_loss, parameters) if watched and held_out_loss else None
        step = Step(number, value, held_out, rate, seconds, preview() if watched and preview else None)
        run.log(step)
        if number == steps or number % checkpoint_every == 0:
            run.checkpoint(step, optimizer, scaler, finished=number == steps)
        yield step


def _rates(learning_rate, schedule, steps):
    """(how many steps there will be, a function from the number of an update to its rate)."""
    if isinstance(learning_rate, str):
        segments = schedules.parse(learning_rate, steps)
        return segments[-1].last, lambda number: schedules.rate_at(segments, number)
    return steps, lambda number: learning_rate * schedule((number - 1) / steps)


def _update(parameters, loss, batch, optimizer, scaler, rate):
    """One step down the gradient of `loss`; returns the loss as a float."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    with runtime.autocast(parameters[0].device):
        value = loss(batch)
    if not torch.isfinite(value):
        raise FloatingPointError(
            f"the loss has become {value.item()}: delete this run's folder and lower learning_rate"
        )
    scaler.scale(value).backward()
    scaler.unscale_(optimizer)  # before clipping, or the limit would act on scaled gradients
    torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return value.item()


def _held_out(held_out_loss, parameters):
    with torch.no_grad(), runtime.autocast(parameters[0].device):
        return held_out_loss()


def _needs_scaling(parameters):
    """Only float16, on older GPUs, loses small gradients."""
    device = parameters[0].device
    return device.type == "cuda" and runtime.half_precision(device) == torch.float16


def restore_best(run, parameters):
    """Puts the weights with the lowest held-out loss of a run back; returns (step number, that loss)."""
    best = torch.load(Path(run) / "checkpoints" / "best.pt", map_location="cpu", weights_only=True)
    runs.put_back([parameter for parameter in parameters if parameter.requires_grad], best["weights"])
    return best["number"], best["held_out_loss"]
