"""Will it fit: a forecast, without a GPU, of the peak memory of a training on one.

The real U-Net takes one real step on tensors that are shapes without content (PyTorch's FakeTensorMode), and a `Ledger`
counts their bytes. What that cannot show, CUDA itself and its libraries, is one constant.
"""

import contextlib
import functools
import weakref
from dataclasses import asdict, dataclass

import pandas as pd
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary
from transformers import CLIPTextConfig, CLIPTextModel

from helpers import training
from helpers.diffusion import device
from helpers.methods import hypernetwork, lora, textual_inversion
from helpers.training import optimizers, steps

BLOCK = 512  # bytes: CUDA's allocator hands out no less
LIGHT = 'train a LoRA, "The light variant" of notebook 05'
GB = 1e9
CUDA = 1.0 * GB  # CUDA's own context, cuDNN's and cuBLAS's workspaces: see benchmarks/memory.py
HOST = 3.0 * GB  # Python, PyTorch, CUDA's libraries, opened photos: a round number, not measured on a GPU yet
MARGIN = 0.1  # a T4's published figures are missed by up to 7 %
SD1_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
SD1_UNET = {"sample_size": 64, "cross_attention_dim": 768}  # all else as diffusers has it from the start
SD1_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
# From fastest to leanest: what training.train and forecast take for each
SETTINGS = {
    "plain": {"checkpointing": False, "optimizer": optimizers.adamw},
    "checkpointing": {"checkpointing": True, "optimizer": optimizers.adamw},
    "in backward": {"checkpointing": True, "optimizer": optimizers.in_backward},
    "8 bit": {"checkpointing": True, "optimizer": optimizers.adamw_8bit},
    "8 bit in backward": {"checkpointing": True, "optimizer": optimizers.in_backward_8bit},
    "on host": {"checkpointing": True, "optimizer": optimizers.on_host},
}


@dataclass(frozen=True)
class Forecast:
    """Bytes on the GPU at the moment when most are in use; `peak` is their sum, `safe` a tenth more."""

    weights: int  # what is there before the first step
    gradients: int  # of all weights that learn; 0 where they never exist at once
    optimizer: int
    activations: int  # and whatever else is alive at that moment
    cuda: int = int(CUDA)

    @property
    def peak(self):
        return sum(asdict(self).values())

    @property
    def safe(self):
        return int(self.peak * (1 + MARGIN))

    def __str__(self):
        parts = (f"{part} {size / GB:.1f}" for part, size in asdict(self).items())
        return f"{self.peak / GB:.1f} GB = " + " + ".join(parts)


class EightBit(torch.optim.Optimizer):
    """As many bytes as bitsandbytes' AdamW8bit: two averages, each a byte a number and 4 bytes for every 256 numbers;
    of fewer than 4,096 numbers in 32 bits. For forecasts, which take no bitsandbytes."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.0})

    def step(self):
        for weight in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            count = weight.numel()
            size = 8 * count if count < 4096 else 2 * count + 8 * -(-count // 256)
            if not self.state[weight]:
                self.state[weight]["averages"] = torch.empty(size, dtype=torch.uint8, device=weight.device)


MOVING_8BIT = (optimizers.in_backward_8bit, optimizers.on_host)
STAND_INS = {kind: functools.partial(kind, kind=EightBit) for kind in MOVING_8BIT} | {optimizers.adamw_8bit: EightBit}


def choose(available, **others):
    """The first of SETTINGS that fits into `available` bytes with a margin, or None. others: as for forecast."""
    return next((name for name in SETTINGS if forecast(**SETTINGS[name] | others).safe <= available), None)


def table(names=tuple(SETTINGS), available=None, **others):
    """The forecasts of some of SETTINGS in GB: DataFrame, a row each; `fits`: into `available` bytes, with a margin."""
    rows = {name: forecast(**SETTINGS[name] | others) for name in names}
    sizes = pd.DataFrame({name: asdict(row) | {"peak": row.peak} for name, row in rows.items()}).T.div(GB).round(1)
    return sizes if available is None else sizes.assign(fits=[row.safe <= available for row in rows.values()])


def forecast(
    unet_config=None, method="dreambooth", *, batch_size=1, prior=True, precision=torch.float16, checkpointing=True,
    optimizer=optimizers.adamw, accumulate=1, text_encoder=False, rank=4, preview=0, held_out=False,
):  # fmt: skip
    """The Forecast of a training. method: "dreambooth", "lora", "textual_inversion" or "hypernetwork".

    unet_config: None is SD 1.x at 512 pixels. batch_size: photos a step, each with a class image if `prior`.
    precision: what autocast computes in. optimizer, accumulate: as for training.train. text_encoder: True, or its
    config as a dict, if it learns too, or a word of it by textual inversion does. rank: of a LoRA. preview: bytes that
    `preview` returns. held_out: whether the loss of held-out photos is measured between two steps, eight examples at a time.
    """
    text_encoder = text_encoder or method == "textual_inversion"
    networks = _blueprints(unet_config or SD1_UNET, method, precision, text_encoder, rank, checkpointing)
    photos = batch_size * (2 if prior and method in ("dreambooth", "lora") else 1)
    with shapes_only() as ledger:
        for network in networks:
            network.to_empty(device="cpu").train()
        weights, text = ledger.now, networks[1] if text_encoder else None
        parameters = steps.learnable(p for network in networks for p in network.parameters())
        loss, scaler = _loss(networks[0], text, precision), torch.amp.GradScaler(enabled=False)
        mover = STAND_INS.get(optimizer, optimizer)(parameters)
        averages = fill(mover, parameters)
        before = ledger.peak = ledger.now
        steps.update(parameters, loss, [photos] * accumulate, mover, scaler, 1e-6, accumulate)
        alone = isinstance(mover, optimizers.InBackward)
        gradients = 0 if alone else sum(p.nbytes for p in parameters)
        averages = max(averages) if alone and mover.offload else sum(averages)
        taken, ledger.peak = ledger.peak - before, ledger.now
        if held_out:
            with torch.no_grad():
                loss(8)
        between = max(preview, ledger.peak - before)  # between steps there are no gradients
        activations = max(taken, between) - gradients
    return Forecast(weights, gradients, averages, activations)


def preview(vae_config=None, side=64, *on_device):
    """The bytes that a picture made between two steps takes beside what learns: see `forecast`.

    vae_config: a VAE's; None is SD 1.x's. side: of the latents. on_device: networks that come back to the GPU for it.
    The most is taken while a picture is decoded, one at a time as `load_pipeline` has it on a GPU.
    """
    with shapes_only() as ledger, torch.no_grad(), as_on_gpu(torch.float16, cache=False):
        vae = norms_as_on_gpu(AutoencoderKL.from_config(vae_config or SD1_VAE))
        before = ledger.peak = ledger.now
        vae.decode(torch.empty(1, vae.config.latent_channels, side, side))
    return ledger.peak - before + sum(p.nbytes for network in on_device for p in network.parameters())


def host(pipe, learning, optimizer=optimizers.adamw, offloaded=()):
    """The bytes of the computer's own memory that a training on a GPU takes at its fullest, by count.

    learning: how many weights learn. offloaded: networks that wait there. The best weights wait in 16 bits for the next
    checkpoint, twice while new ones come; a checkpoint is written and read a tensor at a time. Before and after the
    training the whole model is there in 16 bits: loaded, or on its way into a file.
    """
    sample = nn.Parameter(torch.zeros(2**20))
    mover = STAND_INS.get(optimizer, optimizer)([sample])
    (averages,) = fill(mover, [sample])
    optimizers.remove_hook(sample)
    kept = averages / sample.numel() if getattr(mover, "offload", False) else 0
    count = lambda networks: sum(p.numel() for network in networks for p in network.parameters())
    whole = 2 * count(part for part in pipe.components.values() if isinstance(part, nn.Module))
    return int(HOST + max(whole, 2 * count(offloaded) + learning * (kept + 2 * 2)))


def gpu_bytes():
    """The memory of the GPU that this program may have: what is free, and what it holds already. None without one."""
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() if torch.cuda.is_available() else None


def fill(optimizer, parameters):
    """Lets an optimizer make the averages that it has from its first step on; their bytes, one number a weight."""
    (0 * sum(parameter.sum() for parameter in parameters)).backward()  # no gradient but 0
    alone = isinstance(optimizer, optimizers.InBackward)  # then its weights have taken their step by now
    if not alone:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    states = optimizers.states(optimizer)
    return [sum(value.nbytes for value in state.values() if torch.is_tensor(value)) for state in states]


def _blueprints(unet_config, method, precision, text_encoder, rank, checkpointing):
    """[U-Net, text encoder if it learns, hypernetwork or new word] without memory; frozen but for what learns."""
    if method not in ("dreambooth", "lora", "textual_inversion", "hypernetwork"):
        raise ValueError(f"There is no method {method!r}: use dreambooth, lora, textual_inversion or hypernetwork.")
    whole = method == "dreambooth"
    with torch.device("meta"):
        networks = [UNet2DConditionModel.from_config(unet_config)]
        if text_encoder:
            networks.append(CLIPTextModel(CLIPTextConfig(**(SD1_TEXT if text_encoder is True else text_encoder))))
        for network in networks:
            nn.Module.to(network, torch.float32 if whole else precision)  # what learns needs all 32 bits
            norms_as_on_gpu(network.requires_grad_(whole))
        if checkpointing:
            training.checkpoint_gradients(*networks)
        if method == "lora":
            lora.add(*networks, rank=rank)
        if method == "hypernetwork":
            networks.append(hypernetwork.Hypernetwork(hypernetwork.widths_of(networks[0])))
            hypernetwork.attach(networks[0], networks[-1])
        if method == "textual_inversion":
            table = networks[-1].get_input_embeddings()
            networks.append(nn.Embedding(1, table.embedding_dim))  # one vector or four: some thousand bytes
            table.register_forward_hook(textual_inversion.live(networks[-1], 0, 1))
    return networks


def _loss(unet, text, precision):
    """A function of a number of photos to their denoising loss, in shapes."""

    def draw(photos):
        latents = torch.empty(photos, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
        prompts = torch.zeros(photos, 77, dtype=torch.long)
        return latents, text(prompts)[0] if text else torch.empty(photos, 77, unet.config.cross_attention_dim)

    return as_on_gpu(precision)(training.denoising_loss(unet, DDPMScheduler(), draw))


class Ledger(TorchDispatchMode):
    """Counts the memory of every tensor made within it: `now` and `peak`, in bytes."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._counted = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return args[0].dtype == torch.bool or 1.0  # a shape has no content: every check passes, every number is 1
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.untyped_storage() not in self._counted:
                storage = value.untyped_storage()
                size = self._counted[storage] = -(-storage.nbytes() // BLOCK) * BLOCK
                weakref.finalize(storage, self._add, -size)
                self._add(size)
        return result

    def _add(self, size):
        self.now += size
        self.peak = max(self.peak, self.now)


def norms_as_on_gpu(module):
    """Autocast on CUDA computes norms in float32 and leaves their results so; that of the CPU does not."""
    for part in module.modules():
        if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
            part.register_forward_pre_hook(lambda norm, inputs: (inputs[0].to(norm.weight.dtype),))
    return module


@contextlib.contextmanager
def shapes_only():
    """A Ledger within which all tensors are shapes: nothing is computed, and no memory is used.

    Attention is in the precision of its inputs, as on a GPU: what `device.autocast` does to it on a CPU is left out.
    """
    device.cpu_has_bf16()  # timed and remembered now, for shapes take no time
    with torch._C.DisableTorchFunction(), FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger:
        yield ledger


def as_on_gpu(precision, cache=True):
    """Autocast as on a GPU, for shapes on the CPU; cache: of the 16-bit copies of weights, until autocast ends."""
    half = precision != torch.float32
    return torch.autocast("cpu", precision if half else torch.bfloat16, half, cache)


def check_gpu(forecast, available=None, **others):
    """Raises MemoryError if a forecast, with a margin, is more than the GPU has free; says what would fit.

    available: bytes; else those of the GPU here; without one everything passes. others: as for `choose`.
    """
    available = gpu_bytes() if available is None else available
    if available is not None and forecast.safe > available:
        fitting = choose(available, **others)
        advice = f"choose {fitting!r}" if fitting else f"{LIGHT}, or a hypernetwork"
        raise MemoryError(
            f"This training needs about {forecast.peak / GB:.1f} GB, {forecast.safe / GB:.1f} GB to be safe, and the "
            f"GPU has {available / GB:.1f} GB free: {advice}."
        )
