"""The one loop that trains every part of the pocket model, by the clock, and resumes where it was."""

import csv
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.optim.swa_utils import AveragedModel

from helpers.diffusion import device
from pocket.scenes import CACHE


def fit(name, model, batch_loss, held_out, minutes, rate, *, ema=0.999, report_every=120, shards=1):
    """Train `model` for `minutes` of work in all and return its averaged copy (EMA).

    batch_loss(number) -> scalar loss of batch `number`;  held_out(model) -> dict of figures, logged to
    <name>.csv. Each step learns from `shards` batches at once, each on a core of its own.
    The rate warms up over 200 steps and falls to 0 on a cosine over the time given. A checkpoint is
    written at every report; the next call goes on from it, also with more minutes than before.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    average = AveragedModel(model, multi_avg_fn=_moving_average(ema))
    step, spent = _resume(name, model, average, optimizer)
    gradients = _sharded(batch_loss, parameters, shards)
    clock, reported, losses = time.monotonic(), spent, []
    while spent < minutes * 60:
        progress = spent / (minutes * 60)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * progress))
        losses.append(gradients(step))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(model)
        step += 1
        now = time.monotonic()
        spent, clock = spent + now - clock, now
        if spent - reported > report_every or spent >= minutes * 60:
            _save(name, model, average, optimizer, step, spent)
            row = {"step": step, "minutes": round(spent / 60, 2), "loss": sum(losses) / len(losses)}
            _log(name, row | held_out(average.module))
            reported, losses, clock = spent, [], time.monotonic()
    return average.module.eval()


def _sharded(batch_loss, parameters, shards):
    """A function of the step that fills the gradients with the mean over its shards and returns the mean loss.

    Two threads with a batch and a core each do a third more than two cores that share every operation,
    and suffer less when something else wants a core. With several shards batch_loss must draw its
    noise from a generator of its own: the global one belongs to all threads.
    """
    pool = ThreadPoolExecutor(shards, initializer=lambda: torch.set_num_threads(1)) if shards > 1 else None

    def gradients_of(number):
        with device.autocast("cpu"):
            loss = batch_loss(number)
        return loss.item(), torch.autograd.grad(loss, parameters, allow_unused=True)

    def gradients(step):
        torch.manual_seed(step)
        numbers = range(step * shards, (step + 1) * shards)
        losses, found = zip(*(pool.map if pool else map)(gradients_of, numbers))
        used, *parts = zip(*(row for row in zip(parameters, *found) if row[1] is not None))
        # fused AdamW on a processor takes numbers as they lie in memory: a gradient must lie there as its weights do
        total = [torch.empty_like(parameter).copy_(gradient) for parameter, gradient in zip(used, parts[0])]
        for part in parts[1:]:
            torch._foreach_add_(total, part)
        if shards > 1:
            torch._foreach_div_(total, shards)
        for parameter, gradient in zip(used, total):
            parameter.grad = gradient
        return sum(losses) / shards

    return gradients


def _moving_average(ema):
    """Exponential moving average that follows closely at first, so that early weights are forgotten."""

    def update(averaged, current, updates):
        decay = min(ema, (1 + float(updates)) / (10 + float(updates)))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    return update


def _resume(name, model, average, optimizer):
    path = CACHE / f"{name}.pt"
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["spent"]


def _save(name, model, average, optimizer, step, spent):
    partial = CACHE / f"{name}.part"
    parts = {"model": model, "average": average, "optimizer": optimizer}
    torch.save({key: part.state_dict() for key, part in parts.items()} | {"step": step, "spent": spent}, partial)
    partial.rename(CACHE / f"{name}.pt")


def _log(name, row):
    path = CACHE / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})
    print(name, json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
