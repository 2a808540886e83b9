"""One step: its learning rate, its gradients (precision, accumulation, clipping, several processes), its update."""

import contextlib
import functools
import math

import torch
from accelerate.utils import reduce
from torch.utils.checkpoint import checkpoint

from helpers.diffusion import device
from helpers.training import optimizers

MAX_GRAD_NORM = 1.0  # as in diffusers' DreamBooth


def cosine(progress):
    """Falls from 1 to 0 along half a cosine; progress in 0..1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress):
    """Stays 1, as in the paper's runs."""
    return 1.0


def stretches(text, max_steps, done=0):
    """[(rate, first step, last step)] of a schedule in the web UI's syntax, "5e-5:100, 1e-5:2000, 5e-6".

    A comma may end it. A step is the last one of its rate; no step, or -1, means to the end. done: steps already taken. What lies behind
    them, beyond max_steps or before its turn is left out. Where the last stretch ends sooner, training stops there.
    Raises ValueError if a part is not rate:step, or nothing is left to do.
    """
    first, rows = done + 1, []
    for part in [part for part in str(text).split(",") if part.strip()] or [str(text)]:
        rate, step = _rate_and_step(part, text)
        last = max_steps if step == -1 else min(step, max_steps)
        if last >= first:
            rows.append((rate, first, last))
            first = last + 1
        if last == max_steps:
            break
    if not rows:
        raise ValueError(f"The learning-rate schedule {text!r} ends before step {first}: add a rate for later steps.")
    return rows


def _rate_and_step(part, text):
    rate, _, step = part.partition(":")
    try:
        rate, step = float(rate), int(step) if ":" in part else -1
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf or (step < 1 and step != -1):
        raise ValueError(
            f"{part.strip()!r} in the learning-rate schedule {text!r} is not rate:step: write a number, or "
            '"5e-5:100, 1e-5:2000" for 5e-5 up to step 100 and 1e-5 up to step 2000.'
        )
    return rate, step


def rates_of(text, max_steps):
    """The rate of each step from 1 on, as floats; fewer than max_steps where the schedule ends before."""
    return [rate for rate, first, last in stretches(text, max_steps) for _ in range(first, last + 1)]


def _precision_as_before():
    """What a checkpointed layer runs in, the first and the second time: PyTorch restores autocast, not its attention."""
    kind = device.AttentionInFloat32
    again = isinstance(torch.overrides._get_current_function_mode(), kind)
    return contextlib.nullcontext(), kind() if again else contextlib.nullcontext()


def checkpoint_gradients(*networks):
    """Gradient checkpointing: activations are computed again, not kept: half the memory for a third more time.

    networks: a U-Net of diffusers, a text encoder of transformers; they are put into training mode.
    """
    settings = {"use_reentrant": False, "context_fn": _precision_as_before}
    for network in networks:
        network.train()
        if hasattr(network, "enable_gradient_checkpointing"):  # diffusers
            network.enable_gradient_checkpointing(functools.partial(checkpoint, **settings))
        elif hasattr(network, "activation_checkpointing_enable"):
            network.activation_checkpointing_enable(settings)
        else:  # transformers until 5.2
            network.gradient_checkpointing_enable(settings)


def learnable(parameters):
    """Those of `parameters` that are not frozen. Raises ValueError if there is none, or one has only 16 bits."""
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    if not parameters:
        raise ValueError("Nothing can learn: every parameter is frozen. Set requires_grad to True for some.")
    if half := next((p.dtype for p in parameters if p.dtype in (torch.float16, torch.bfloat16)), None):
        raise ValueError(f"Weights that learn must be float32, not {half}: call .float() on the model first.")
    return parameters


def precision_of(parameters):
    """What a step multiplies in: the 16-bit type of frozen weights where these learn `beside` such, else the device's.

    In another type all frozen weights would be converted anew in each step, and kept twice.
    """
    computes, beside = device.computes_in(parameters[0].device), getattr(parameters[0], "beside", None)
    return beside if {computes, beside} <= {torch.float16, torch.bfloat16} else computes


def scaler_for(parameters):
    """The GradScaler of a training: enabled only in float16, which loses small gradients."""
    return torch.amp.GradScaler(parameters[0].device.type, enabled=precision_of(parameters) == torch.float16)


def moves_alone(optimizer, accumulate=1):
    """Whether an optimizer moves each weight in the backward pass. Raises ValueError if a step then has several parts."""
    alone = isinstance(optimizer, optimizers.InBackward)
    if alone and (accumulate > 1 or device.state().num_processes > 1):
        raise ValueError(
            "This optimizer moves the weights within the backward pass, so parts cannot be added up: use it with "
            "accumulate=1 in one process, or take optimizers.adamw or adamw_8bit."
        )
    return alone


def update(parameters, loss, parts, optimizer, scaler, rate, count=1):
    """One step down the gradient of the mean loss of `parts`, `count` batches; returns that loss as a float.

    With several processes each brings some of the `count`, and all take the same step. An optimizer that
    `moves_alone` takes one batch, and clips nothing. Raises FloatingPointError if loss or gradient is not a number;
    only under an optimizer that moves alone some weights have moved then.
    """
    alone, total = moves_alone(optimizer, count), 0.0
    for group in optimizer.param_groups:
        group["lr"] = rate
    for batch in parts:
        with device.autocast(parameters[0].device, precision=precision_of(parameters)):
            value = loss(batch) / count
        number = value.item()  # waits for the GPU: once a step
        if not math.isfinite(number):
            raise FloatingPointError(f"the loss has become {number}")
        optimizer.midway = alone  # read by run.Run: an interrupt now must not save these weights, until `Run.take`
        if alone:
            _check(optimizer.backward(value, scaler), scaler)
        else:
            scaler.scale(value).backward()
        total += number
    if not alone:
        total = descend(parameters, total, optimizer, scaler)
    return total


def _check(finite, scaler):
    """Raises FloatingPointError where gradients are not finite and no scaler can try again, with a smaller scale."""
    if not (finite or scaler.is_enabled() and scaler.get_scale() >= 1):
        raise FloatingPointError("the gradient has become infinite or not a number")


def add_up(parameters, total):
    """Gives every process the sum of all gradients; returns the sum of all losses. One process keeps its own.

    One weight after the other, for accelerate's `reduce` makes a copy: of all gradients at once it would be 3.4 GB.
    """
    if device.state().num_processes == 1:
        return total
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = reduce(parameter.grad, "sum")
    return reduce(torch.tensor(total, device=parameters[0].device), "sum").item()


def descend(parameters, total, optimizer, scaler):
    """Adds up the gradients of all processes, clips them and moves the weights; returns the loss of all."""
    total = add_up(parameters, total)
    scaler.unscale_(optimizer)  # before clipping, or the limit would act on scaled gradients
    norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
    _check(torch.isfinite(norm), scaler)
    optimizer.midway = True
    scaler.step(optimizer)  # notebook 03: line 11 of Algorithm 1; notebook 04: line 12 of Algorithm 2
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return total
