"""AdamW (Loshchilov and Hutter 2019), from fastest to leanest: functions of the parameters to an optimizer."""

import torch


def adamw(parameters):
    """torch.optim.AdamW, its arithmetic in one pass over memory; its averages take 8 bytes a weight."""
    return torch.optim.AdamW(parameters, fused=True)


def adamw_8bit(parameters):
    """bitsandbytes' AdamW, its averages in 8 bits (Dettmers et al. 2022): 2.03 bytes a weight.

    On NVIDIA, AMD and Intel GPUs and on CPUs. Raises ImportError where bitsandbytes is missing.
    """
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ImportError(
            "8-bit AdamW needs bitsandbytes: run `pip install bitsandbytes`, or take optimizers.adamw, "
            "which needs 6 bytes more for each weight that learns."
        ) from error
    return AdamW8bit(parameters, weight_decay=0.01)


def in_backward(parameters):
    """As `adamw`, but each weight moves within the backward pass: there is no room for gradients, and no clipping."""
    return InBackward(parameters, adamw)


def in_backward_8bit(parameters, kind=adamw_8bit):
    """As `in_backward`, with averages in 8 bits."""
    return InBackward(parameters, kind)


def on_host(parameters, kind=adamw_8bit):
    """As `in_backward_8bit`, with the averages in the computer's memory, but for those of the weight that moves.

    Not bitsandbytes' PagedAdamW8bit, whose averages are all on the GPU after a resume, and are never freed.
    """
    return InBackward(parameters, kind, offload=True)


class InBackward:
    """One optimizer for each weight, which moves it as soon as its gradient is known, and forgets the gradient.

    So gradients never exist all at once (Lv et al. 2023, "LOMO"); clipping would need them all.
    kind: function of [parameter] to an optimizer. offload: keeps its state in the computer's memory between steps.
    """

    def __init__(self, parameters, kind, offload=False):
        self.each = {parameter: kind([parameter]) for parameter in parameters}
        self.offload, self.scale, self.finite = offload, None, True
        for parameter in self.each:
            remove_hook(parameter)  # of another optimizer, from a training that was stopped
            parameter._mover = parameter.register_post_accumulate_grad_hook(self.move)

    def backward(self, loss, scaler):
        """The backward pass and the step; returns whether all gradients were finite. A weight with another stays."""
        one = torch.ones((), device=loss.device)
        self.scale, self.finite = scaler.scale(one) if scaler.is_enabled() else None, one.bool()
        scaler.scale(loss).backward()
        if scaler.is_enabled():  # it shrinks and grows its scale by a gradient that stands for all
            proxy = torch.nn.Parameter(one)
            proxy.grad = torch.where(self.finite, 0.0, torch.inf)
            scaler.unscale_(torch.optim.SGD([proxy]))  # looks; a step would wait for the GPU
            scaler.update()
        return bool(self.finite)  # but for this a step in 32 bits does not wait for the GPU

    @torch.no_grad()
    def move(self, parameter):
        """One step of one weight, by its gradient."""
        optimizer, finite = self.each[parameter], parameter.grad.sum().isfinite()
        self.finite = finite & self.finite
        self._move_state(optimizer, parameter.device)
        if getattr(optimizer, "_step_supports_amp_scaling", False):  # GradScaler's own protocol: the GPU does both
            optimizer.grad_scale, optimizer.found_inf = self.scale, (~finite).float()
            optimizer.step()
        elif finite:  # bitsandbytes counts steps on the CPU, and waits for the GPU after each weight anyway
            if self.scale is not None:
                parameter.grad.div_(self.scale)
            optimizer.step()
        self._move_state(optimizer, "cpu")
        parameter.grad = None

    def _move_state(self, optimizer, device):
        for state in optimizer.state.values() if self.offload else ():
            state.update({name: value.to(device) for name, value in state.items() if torch.is_tensor(value)})

    @property
    def param_groups(self):
        return [group for optimizer in self.each.values() for group in optimizer.param_groups]

    def state_dict(self):
        return {"each": [optimizer.state_dict() for optimizer in self.each.values()]}

    def load_state_dict(self, saved):
        for optimizer, state in zip(self.each.values(), saved["each"], strict=True):
            optimizer.load_state_dict(state)
            self._move_state(optimizer, "cpu")


def states(optimizer):
    """What an optimizer keeps of each weight: a list of dicts, empty before its first step."""
    parts = optimizer.each.values() if isinstance(optimizer, InBackward) else [optimizer]
    return [state for part in parts for state in part.state.values()]


def off_disk(optimizer):
    """Copies into memory what a file that was read still holds of an optimizer's state, for the file may go."""
    for state in states(optimizer):
        held = {name: value for name, value in state.items() if torch.is_tensor(value) and value.device.type == "cpu"}
        state.update({name: value.clone() for name, value in held.items()})


def remove_hook(parameter):
    """A weight that InBackward moved waits for a step again."""
    if hasattr(parameter, "_mover"):
        parameter._mover.remove()
        del parameter._mover
