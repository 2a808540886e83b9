"""The one training loop, a generator: what is learnt, shown and logged stays with the caller.

    for step in training.train(run, hypernetwork.parameters(), loss, batches, steps=300, learning_rate=2e-3):
        print(step.number, step.loss)

Every part of a step draws its random numbers from (seed, number of the part) alone, so a run killed at any moment
continues on a CPU bit for bit, on a GPU up to the order of its sums, and several processes (`accelerate launch -m
tools.train`) do what one would do.
"""

import functools
import time
from dataclasses import dataclass

import torch
from accelerate.utils import set_seed
from PIL import Image

from helpers.diffusion import device
from helpers.training import optimizers
from helpers.training.run import Run, put_back, read
from helpers.training.steps import cosine, learnable, moves_alone, precision_of, rates_of, scaler_for, update

WINDOW, TOO_FAR = 50, 3  # diverged: the last 50 losses are on average three times the first 50


class Diverged(FloatingPointError):
    """The loss is a number still, but has grown for good."""


@dataclass(frozen=True)
class Step:
    """What a training yields after each update; number 0 comes before the first one."""

    number: int
    loss: float | None  # None at number 0
    held_out_loss: float | None  # None where it was not measured
    learning_rate: float | None
    seconds: float  # of training so far, previews and held-out losses left out
    preview: Image.Image | None = None
    held_out: dict | None = None  # the held-out loss by photo, where the caller's function gives it


def shuffled(count, batch_size, seed):
    """A function of the batch's number that gives `batch_size` indices below `count`.

    Every index comes once an epoch, in an order of its own each epoch; epochs follow without a gap.
    """
    places = lambda number: range(number * batch_size, (number + 1) * batch_size)
    return lambda number: [_order(count, seed, place // count)[place % count] for place in places(number)]


def _order(count, seed, epoch):
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator).tolist()


def train(
    run, parameters, loss, batches, *, steps, learning_rate, schedule=cosine, seed=0, accumulate=1,
    optimizer=torch.optim.AdamW, held_out_loss=None, preview=None, watch_every=50, checkpoint_every=None, keep=1,
    checkpoints=None, result=None, settings=None,
):  # fmt: skip
    """Trains `parameters` (float32) in the folder `run`; a generator of Step, the first before any update.

    loss: function of a batch to a scalar tensor, under `device.autocast`. batches: as `shuffled` makes.
    learning_rate: a number, which `schedule` scales; or "2e-3:100, 5e-4:300" as in the web UI, in place of
    both: the training then ends with its last rate, if that is before `steps`.
    accumulate: batches a step. optimizer: function of the parameters. checkpoint_every: steps, by default some
    minutes, more for large models. keep: checkpoints kept on disk. checkpoints: their folder, by default run/checkpoints.
    result: function to the weights that a finished run has left, or None; read where its checkpoints have gone.
    held_out_loss: function to a float or {photo: float}; preview: to a PIL image; both every `watch_every`.
    settings: whatever else made this run (prompts, photos, model), for settings.json.
    A finished run only gets its weights back; one with other settings is renamed, with a warning. Leaving
    the loop saves a checkpoint. Raises FloatingPointError if the training diverges, OSError on a full disk,
    RuntimeError if another process has begun to train there or the folder is gone, ValueError if an optimizer that
    moves within the backward pass meets several parts or processes, or weights that moved before have no checkpoint.
    """
    parameters = learnable(parameters)
    for parameter in parameters:
        optimizers.remove_hook(parameter)  # of the optimizer of a training that was stopped
    optimize = optimizer(parameters)
    moves_alone(optimize, accumulate)  # raises now, before another run's folder is touched
    usual = {"steps": steps, "learning_rate": learning_rate, "schedule": schedule.__name__, "seed": seed}
    usual |= {"accumulate": accumulate} if accumulate > 1 else {}
    if optimizer is not torch.optim.AdamW:
        usual["optimizer"] = getattr(optimizer, "__name__", type(optimizer).__name__)
    text = isinstance(learning_rate, str)
    rates = rates_of(learning_rate, steps) if text else [learning_rate * schedule(i / steps) for i in range(steps)]
    run = Run(run, usual | (settings or {}), parameters, optimize, scaler_for(parameters), keep, checkpoints, result)
    learn = functools.partial(_learn, run, loss, batches, rates, accumulate, seed)
    measure = functools.partial(_measure, parameters, held_out_loss, preview)
    yield from _steps(run, len(rates), learn, measure, watch_every, checkpoint_every)


def _steps(run, last, learn, measure, watch_every, checkpoint_every):
    """Takes the steps that are left and keeps the run's folder; a checkpoint also where it is interrupted."""
    try:
        run.resume(last)
        device.reset_peak_memory()
        began = run.number
        if began == last and run.taken is None:
            run.finish(took_steps=False)
        for number in range(run.number + (run.taken is None), last + 1):
            if number > run.number:
                run.take(number, *(learn(number) if number else (None, None)))
            watched = device.state().is_main_process and (number % watch_every == 0 or number == last)
            held_out, by_photo, preview = measure() if watched else (None, None, None)
            loss, rate = run.taken
            step = Step(number, loss, held_out, rate, run.seconds, preview, by_photo)
            run.log(step)
            _stop_if_lost(run.losses)
            if number < last and run.is_due(checkpoint_every):
                run.checkpoint()
            if number == last:
                run.finish(took_steps=last > began)
            yield step
    except (KeyboardInterrupt, GeneratorExit, RuntimeError):
        run.checkpoint_if_whole()
        raise
    except (OSError, ValueError):
        run.owner.check()  # raises the reason, if that is another process
        raise
    except FloatingPointError as error:
        good = run.good_until(run.number - (WINDOW if isinstance(error, Diverged) else 0))
        raise type(error)(f"After step {run.number} {error}. {good}") from error
    finally:
        for parameter in run.parameters:  # else the weights hold the optimizer, and it them: nothing would be freed
            optimizers.remove_hook(parameter)
        run.owner.leave()


def _learn(run, loss, batches, rates, accumulate, seed, number):
    """Takes step `number`; returns (loss, learning rate)."""
    began, rate = time.perf_counter(), rates[number - 1]
    run.parameters[0]._learnt_in = run.folder.resolve()
    parts = _parts(batches, number, accumulate, seed)
    value = update(run.parameters, loss, parts, run.optimizer, run.scaler, rate, accumulate)
    run.seconds += time.perf_counter() - began
    return value, rate


def _parts(batches, number, accumulate, seed):
    """The batches of step `number` that fall to this process, each met with random numbers of its own."""
    first, state = (number - 1) * accumulate, device.state()
    for part in range(first + state.process_index, first + accumulate, state.num_processes):
        set_seed((seed * 1_000_003 + part + 1) % 2**32)  # NumPy takes no more
        yield batches(part)


def _measure(parameters, held_out_loss, preview):
    """(mean held-out loss, {photo: loss}, preview), each None where the caller gave no function for it."""
    mean = by_photo = None
    if held_out_loss:
        with torch.no_grad(), device.autocast(parameters[0].device, precision=precision_of(parameters)):
            mean = held_out_loss()
    if isinstance(mean, dict):
        by_photo, mean = mean, sum(mean.values()) / len(mean)
    return mean, by_photo, preview() if preview else None


def _stop_if_lost(losses):
    """Raises Diverged where the mean of the newest losses is TOO_FAR above that of the first."""
    began, now = sum(losses[:WINDOW]) / WINDOW, sum(losses[-WINDOW:]) / WINDOW
    if len(losses) >= 2 * WINDOW and now > TOO_FAR * began > 0:
        raise Diverged(f"the loss has grown from {began:.3g} to {now:.3g}: the training diverges")


def restore(checkpoint, parameters):
    """Puts the weights of a checkpoint file, run/checkpoints/000100.pt or best.pt, back; returns its step number."""
    saved = read(checkpoint)
    put_back(learnable(parameters), saved["weights"])
    return saved["number"]
