"""Will it fit: a forecast, without a GPU, of the peak memory of a training on one, and of its room on disk.

The real U-Net takes one real step on tensors that are shapes without content (PyTorch's FakeTensorMode), and a `Ledger`
counts their bytes. What that cannot show, CUDA itself and its libraries, is one constant.
"""

import contextlib
import functools
import json
import shutil
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary
from transformers import CLIPTextConfig, CLIPTextModel

from helpers import diffusion, machine, training
from helpers.diffusion import device
from helpers.methods import hypernetwork, lora
from helpers.training import optimizers, steps

BLOCK = 512  # bytes: CUDA's allocator hands out no less
LIGHT = 'train a LoRA, "The light variant" of notebook 04'
GB = 1e9
CUDA = 1.0 * GB  # CUDA's own context, cuDNN's and cuBLAS's workspaces: see benchmarks/memory.py
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

    weights: int  # what lies there before the first step
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


STAND_INS = {
    optimizers.adamw_8bit: EightBit,
    optimizers.in_backward_8bit: functools.partial(optimizers.in_backward_8bit, kind=EightBit),
    optimizers.on_host: functools.partial(optimizers.on_host, kind=EightBit),
}


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
    optimizer=optimizers.adamw, accumulate=1, text_encoder=False, rank=4, preview=0,
):  # fmt: skip
    """The Forecast of a training. method: "dreambooth", "lora" or "hypernetwork".

    unet_config: None is SD 1.x at 512 pixels. batch_size: photos a step, each with a class image if `prior`.
    precision: what autocast computes in. optimizer, accumulate: as for training.train. text_encoder: True, or its
    config as a dict, if it learns too. rank: of a LoRA. preview: bytes that `preview` returns.
    """
    networks = _blueprints(unet_config or SD1_UNET, method, precision, text_encoder, rank, checkpointing)
    photos = batch_size * (2 if prior and method != "hypernetwork" else 1)
    with shapes_only() as ledger:
        for network in networks:
            network.to_empty(device="cpu").train()
        weights, text = ledger.now, networks[1] if text_encoder else None
        parameters = steps.learnable(p for network in networks for p in network.parameters())
        loss, scaler = functools.partial(_loss, networks[0], text, precision), torch.amp.GradScaler(enabled=False)
        mover = STAND_INS.get(optimizer, optimizer)(parameters)
        fill(mover, parameters)
        before = ledger.peak = ledger.now
        steps.update(parameters, loss, [photos] * accumulate, mover, scaler, 1e-6, accumulate)
        alone, averages = isinstance(mover, optimizers.InBackward), optimizers.state_bytes(mover)
        gradients = 0 if alone else sum(p.nbytes for p in parameters)
        averages = max(averages) if alone and mover.offload else sum(averages)
        activations = max(ledger.peak - before, preview) - gradients  # between steps there are no gradients
    return Forecast(weights, gradients, averages, activations)


def preview(vae_config=None, side=64, *on_device):
    """The bytes that a picture made between two steps takes beside what learns: see `forecast`.

    vae_config: a VAE's; None is SD 1.x's. side: of the latents. on_device: networks that come back to the GPU for it.
    The most is taken while a picture is decoded, one at a time as `load_pipeline` has it on a GPU.
    """
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(vae_config or SD1_VAE)
    norms_as_on_gpu(vae)
    with shapes_only() as ledger, torch.no_grad(), as_on_gpu(torch.float16, cache=False):
        vae.to_empty(device="cpu")
        before = ledger.now
        vae.decode(torch.empty(1, vae.config.latent_channels, side, side))
    return ledger.peak - before + sum(p.nbytes for network in on_device for p in network.parameters())


def gpu_bytes():
    """The memory of the GPU that this program may have: what is free, and what it holds already. None without one."""
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() if torch.cuda.is_available() else None


def fill(optimizer, parameters):
    """Lets an optimizer make the averages that it has from its first step on; `parameters` are a list."""
    alone = isinstance(optimizer, optimizers.InBackward)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
        if alone:
            optimizer.move(parameter)
    if not alone:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _blueprints(unet_config, method, precision, text_encoder, rank, checkpointing):
    """[U-Net, text encoder if it learns, hypernetwork if there is one] without memory; frozen but for what learns."""
    if method not in ("dreambooth", "lora", "hypernetwork"):
        raise ValueError(f"There is no method {method!r}: use dreambooth, lora or hypernetwork.")
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
    return networks


def _loss(unet, text, precision, photos):
    """The DreamBooth loss of a batch of shapes."""
    with as_on_gpu(precision):
        side, width = unet.config.sample_size, unet.config.cross_attention_dim
        latents = torch.empty(photos, unet.config.in_channels, side, side)
        noise, timesteps = torch.randn_like(latents), torch.zeros(photos, dtype=torch.long)
        prompts = torch.zeros(photos, 77, dtype=torch.long)
        prompt_embeds = torch.empty(photos, 77, width) if text is None else text(prompts)[0]
        return diffusion.latents.diffusion_loss(unet, DDPMScheduler(), latents, noise, timesteps, prompt_embeds)


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


class _PlainAttention(TorchFunctionMode):
    """Attention in the precision of its inputs: device.autocast turns it to float32 on a CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            with torch._C.DisableTorchFunction():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def norms_as_on_gpu(module):
    """Autocast on CUDA computes norms in float32 and leaves their results so; that of the CPU does not."""
    for part in module.modules():
        if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
            part.register_forward_pre_hook(lambda norm, inputs: (inputs[0].to(norm.weight.dtype),))


@contextlib.contextmanager
def shapes_only():
    """A Ledger within which all tensors are shapes: nothing is computed, and no memory is used."""
    device.cpu_has_bf16()  # timed and remembered now, for shapes take no time
    with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger:
        yield ledger


@contextlib.contextmanager
def as_on_gpu(precision, cache=True):
    """Autocast as on a GPU, for shapes on the CPU; cache: of the 16-bit copies of weights, until autocast ends."""
    half = precision != torch.float32
    with _PlainAttention(), torch.autocast("cpu", precision if half else torch.bfloat16, half, cache):
        yield


def check_disk(folder, pipe, learning, optimizer=optimizers.adamw, settings=None):
    """The bytes a DreamBooth run may still need in `folder`. Raises OSError if there is less room.

    learning: how many weights learn. optimizer, settings: as training.train's: a run of these goes on from its bytes.
    """
    networks = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    whole = 2 * sum(p.numel() for part in networks for p in part.parameters())  # the model in 16 bits
    checkpoint = learning * (4 + _bytes_each(optimizer))
    # the next checkpoint, or the next best weights, before the old ones go
    training = max(2 * checkpoint + 4 * learning, checkpoint + 2 * 4 * learning)
    # last and best weights, the model, once more while it is replaced, two files for the web UI
    done = 2 * 4 * learning + 4 * whole
    needed = max(0, max(training, done) - _already_there(Path(folder), settings or {}))
    place = next(p for p in [Path(folder), *Path(folder).parents] if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OSError(
            f"{folder} has room for {free / GB:.1f} GB, and this training may need {needed / GB:.1f} GB more: make "
            f"room, set RUNS_DIR to a larger disk, or {LIGHT}."
        )
    return needed


def _already_there(folder, settings):
    """The bytes that a run with these settings finds in its folder; another's is set aside, and stays."""
    path = folder / "settings.json"
    before = machine.read_json(path) if path.exists() else {}
    if any(before.get(name) != value for name, value in json.loads(json.dumps(settings)).items()):
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _bytes_each(optimizer):
    """The bytes of an optimizer's averages for each number of a large weight; optimizer: as training.train's."""
    weight = nn.Parameter(torch.zeros(2**20))
    mover = optimizer([weight])
    fill(mover, [weight])
    optimizers.remove_hook(weight)
    return sum(optimizers.state_bytes(mover)) / weight.numel()


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
