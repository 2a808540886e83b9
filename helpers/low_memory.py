"""AdamW for small GPUs: each weight moves inside the backward pass, and its averages may take 8 bits, on the host.

As soon as the gradient of a weight is known the weight is moved and the gradient forgotten, so that the
gradients never exist all at once (Lv et al. 2023, "LOMO"). What this gives up is clipping, which needs them all.
"""

from functools import partial

import torch
import torch.nn.functional as F

BLOCK = 256  # numbers that share one scale in 8 bits (Dettmers et al. 2022 took 2,048 at first, 256 later)
CHUNK = 2**22  # numbers worked on at a time: what is unpacked to 32 bits stays under 150 MB
WORK = 6.25  # 32-bit numbers alive at most for each of those, with 8-bit averages


class LeanAdamW(torch.optim.Optimizer):
    """torch.optim.AdamW, number by number, without ever holding all gradients.

    bits: 32 gives exactly AdamW; 8 keeps both averages in a byte each. host: keep them in the computer's
    memory instead of the GPU's. in_backward: False waits with all steps to the end, as usual, and can clip.
    """

    def __init__(
        self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, *, bits=32, host=False,
        in_backward=True,
    ):  # fmt: skip
        if bits not in (8, 32):
            raise ValueError(f"bits can be 32 or 8, not {bits}")
        told = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, told | {"loss_scale": 2.0**16 if in_backward else 1.0})
        self.bits, self.host, self.in_backward = bits, host, in_backward
        for number, group in enumerate(self.param_groups):
            for parameter in group["params"]:
                let_go(parameter)  # of another optimizer, from a training that was stopped
                if in_backward:
                    parameter._mover = parameter.register_post_accumulate_grad_hook(partial(self._move, number))

    @property
    def loss_scale(self):
        """What the loss is multiplied by, for float16 loses small gradients; a power of two, so nothing else is rounded.

        updates.update halves it where a gradient became too large. It stands in the groups, which a checkpoint keeps.
        """
        return self.param_groups[0]["loss_scale"]

    @loss_scale.setter
    def loss_scale(self, value):
        self.param_groups[0]["loss_scale"] = value

    def step(self, closure=None):
        """Moves every weight that has a gradient: none is left if they moved in the backward pass."""
        for number, group in enumerate(self.param_groups):
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(number, parameter)

    def load_state_dict(self, state_dict):
        """As saved, in its own precision: torch would turn bytes into the parameters' float32."""
        super().load_state_dict(state_dict | {"state": {}})
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, saved in state_dict["state"].items():
            place = self._place(parameters[index])
            self.state[parameters[index]] = {
                name: value.to(place) if isinstance(value, torch.Tensor) else value for name, value in saved.items()
            }

    def _place(self, parameter):
        return torch.device("cpu") if self.host else parameter.device

    def prepare(self):
        """Makes room for all averages now; otherwise each comes with its first gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                self._begun(parameter)

    def _begun(self, parameter):
        state = self.state[parameter]
        if not state:
            state |= {"step": 0} | _average("exp_avg", parameter, self) | _average("exp_avg_sq", parameter, self)
        return state

    @torch.no_grad()
    def _move(self, number, parameter):
        """One AdamW update of one parameter (Loshchilov and Hutter 2019), a chunk at a time."""
        state, group = self._begun(parameter), self.param_groups[number]  # groups are new ones after a resume
        state["step"] += 1
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        weights, gradients = parameter.view(-1), parameter.grad.reshape(-1)
        for start in range(0, weights.numel(), CHUNK):
            part = slice(start, start + CHUNK)
            self._update(group, state, part, weights[part], gradients[part])
        parameter.grad = None

    def _update(self, group, state, part, weights, gradients):
        """AdamW of one part of a parameter, in place."""
        (beta1, beta2), step = group["betas"], state["step"]
        gradients = (gradients / self.loss_scale).nan_to_num_(0, 0, 0)
        average, square = self._read(state, part, gradients)
        average.lerp_(gradients, 1 - beta1)
        square.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
        self._write(state, part, average, square)
        denominator = (square.sqrt() / (1 - beta2**step) ** 0.5).add_(group["eps"])
        weights.addcdiv_(average, denominator, value=-group["lr"] / (1 - beta1**step))

    def _read(self, state, part, like):
        if self.bits == 32:
            return state["exp_avg"][part].to(like.device), state["exp_avg_sq"][part].to(like.device)
        average = unpack(*_packed(state, "exp_avg", part, like.device), power=2)
        square = unpack(*_packed(state, "exp_avg_sq", part, like.device), power=4)
        return average[: like.numel()], square[: like.numel()]

    def _write(self, state, part, average, square):
        for name, value, power in (("exp_avg", average, 2), ("exp_avg_sq", square, 4)):
            if self.bits == 32:
                state[name][part] = value.to(state[name].device)
                continue
            codes, scales = pack(value, power)
            state[name][part.start : part.start + codes.numel()] = codes.view(-1).to(state[name].device)
            state[f"{name}_scale"][_blocks(part)] = scales.to(state[name].device)


def let_go(parameter):
    """A weight that an optimizer moved in the backward pass waits for a step again."""
    if hasattr(parameter, "_mover"):
        parameter._mover.remove()
        del parameter._mover


def eight_bit(parameters):
    """AdamW with averages of 8 bits, 2 bytes a weight instead of 8; no further library, on any device."""
    return LeanAdamW(parameters, bits=8, in_backward=False)


def in_backward(parameters):
    """The same, moving each weight within the backward pass: no room for gradients either."""
    return LeanAdamW(parameters, bits=8)


def on_host(parameters):
    """The same, with the averages in the computer's memory: the GPU holds the weights and one gradient."""
    return LeanAdamW(parameters, bits=8, host=True)


def state_bytes(optimizer):
    """How much memory the averages of an optimizer take."""
    tensors = [value for state in optimizer.state.values() for value in state.values()]
    return sum(value.nbytes for value in tensors if isinstance(value, torch.Tensor))


def _average(name, parameter, optimizer):
    """The zeros that an average begins with; 8 bits in whole blocks, with a scale for each."""
    place, count = optimizer._place(parameter), parameter.numel()
    if optimizer.bits == 32:
        return {name: torch.zeros(count, device=place, dtype=parameter.dtype)}
    blocks = -(-count // BLOCK)
    codes = torch.zeros(blocks * BLOCK, dtype=torch.int8, device=place)
    return {name: codes, f"{name}_scale": torch.zeros(blocks, device=place)}


def _blocks(part):
    return slice(part.start // BLOCK, part.stop // BLOCK)


def _packed(state, name, part, device):
    codes, scales = state[name][part].to(device), state[f"{name}_scale"][_blocks(part)].to(device)
    return codes.view(-1, BLOCK), scales


def pack(values, power):
    """(int8 codes (blocks, 256), scales (blocks,)) of numbers, each a power of code / 127 times its block's scale.

    power: 2 for an average of gradients, 4 for one of their squares, whose range is wider. Rounded at random,
    up or down by the distance to each, so that changes smaller than a code's width add up.
    """
    count = -(-values.numel() // BLOCK) * BLOCK
    values = F.pad(values, (0, count - values.numel())).view(-1, BLOCK)
    sizes = values.abs()
    scales = sizes.amax(dim=1)
    steps = sizes.div_(scales.clamp(min=1e-38)[:, None]).pow_(1 / power).mul_(127)
    codes = steps.add_(torch.rand_like(steps)).floor_().clamp_(max=127)
    return codes.copysign_(values).to(torch.int8), scales


def unpack(codes, scales, power):
    """The numbers that `pack` packed, float32 in one row."""
    numbers = codes.float().div_(127)
    return numbers.mul_(numbers.abs().pow_(power - 1)).mul_(scales[:, None]).view(-1)
