"""One step down the gradient: precision, accumulation, clipping, several processes."""

import contextlib
import functools

import torch
from accelerate.utils import reduce
from torch.utils.checkpoint import checkpoint

from helpers import diffusion
from helpers.training import optimizers

MAX_GRAD_NORM = 1.0  # as in diffusers' DreamBooth


def _as_at_first():
    """What a checkpointed layer runs in, the first and the second time.

    PyTorch brings autocast back for the second time, but not the way `runtime.autocast` does attention on a CPU.
    """
    now = torch.overrides._get_current_function_mode()
    again = (
        diffusion.device.AttentionInFloat32()
        if isinstance(now, diffusion.device.AttentionInFloat32)
        else contextlib.nullcontext()
    )
    return contextlib.nullcontext(), again


def checkpoint_gradients(*networks):
    """Gradient checkpointing: activations are computed again in the backward pass instead of kept.

    About half the memory for a third more time. networks: a U-Net of diffusers, a text encoder of transformers; they
    are put into training mode.
    """
    told = {"use_reentrant": False, "context_fn": _as_at_first}
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")  # the second until transformers 5.2x
    for network in networks:
        network.train()
        if hasattr(network, "enable_gradient_checkpointing"):  # diffusers
            network.enable_gradient_checkpointing(functools.partial(checkpoint, **told))
        else:
            getattr(network, next(name for name in names if hasattr(network, name)))(told)


def learnable(parameters):
    """Those of `parameters` that are not frozen. Raises ValueError if there is none, or one has only 16 bits."""
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    if not parameters:
        raise ValueError("nothing is there to learn: every parameter is frozen (requires_grad is False)")
    if half := next((p.dtype for p in parameters if p.dtype in (torch.float16, torch.bfloat16)), None):
        raise ValueError(f"weights that learn must be float32, not {half}: call .float() on the model first")
    return parameters


def scaler_for(parameters):
    """The GradScaler of a training: at work only in float16, on older GPUs, which loses small gradients."""
    device = parameters[0].device
    return torch.amp.GradScaler(device.type, enabled=_needs_scaling(device))


def _needs_scaling(device):
    return diffusion.device.computes_in(device) == torch.float16


def moves_alone(optimizer, accumulate=1):
    """Whether an optimizer moves each weight in the backward pass (optimizers.InBackward).

    Raises ValueError if it does and a step has several parts: every part, and every process, would take a
    step of its own.
    """
    alone = isinstance(optimizer, optimizers.InBackward)
    if alone and (accumulate > 1 or diffusion.device.state().num_processes > 1):
        raise ValueError(
            "This optimizer moves the weights within the backward pass, so nothing can be added up before: "
            "use it with accumulate=1 in one process, or take optimizers.adamw or adamw_8bit."
        )
    return alone


def update(parameters, loss, parts, optimizer, scaler, rate, count=1):
    """One step down the gradient of the mean loss of `parts`, `count` batches; returns that loss as a float.

    With several processes each brings some of the `count`, and all take the same step. An optimizer that
    `moves_alone` takes one batch, and nothing is clipped.
    Raises FloatingPointError if loss or gradient is not a number. The weights are still as they were then,
    but for a gradient under an optimizer that moves alone: some have moved already, so go back to a checkpoint.
    """
    alone, total = moves_alone(optimizer, count), 0.0
    for group in optimizer.param_groups:
        group["lr"] = rate
    for batch in parts:
        with diffusion.device.autocast(parameters[0].device):
            value = loss(batch) / count
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss has become {value.item()}")
        optimizer.midway = alone  # read by runs.Run: an interrupt now must not save these weights
        if alone:
            _check(optimizer.backward(value, scaler), scaler)
        else:
            scaler.scale(value).backward()
        total += value.item()
    if not alone:
        total = descend(parameters, torch.tensor(total, device=parameters[0].device), optimizer, scaler)
    optimizer.midway = False
    return total


def _check(finite, scaler):
    """Raises FloatingPointError where gradients are not finite and no scaler can try again, with a smaller scale."""
    if not (finite or scaler.is_enabled() and scaler.get_scale() >= 1):
        raise FloatingPointError("the gradient has become infinite or not a number")


def add_up(parameters, total):
    """Gives every process the sum of all gradients; returns the sum of all losses. One process keeps its own.

    One weight after the other, for accelerate's `reduce` makes a copy: of all gradients at once it would be 3.4 GB.
    """
    if diffusion.device.state().num_processes == 1:
        return total
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = reduce(parameter.grad, "sum")
    return reduce(total, "sum")


def descend(parameters, total, optimizer, scaler):
    """Adds up what the processes found, clips it and moves the weights; returns the loss of all."""
    total = add_up(parameters, total)
    scaler.unscale_(optimizer)  # before clipping, or the limit would act on scaled gradients
    norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
    _check(torch.isfinite(norm), scaler)
    optimizer.midway = True
    scaler.step(optimizer)  # notebook 03: line 11 of Algorithm 1; notebook 04: line 12 of Algorithm 2
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return total.item()
