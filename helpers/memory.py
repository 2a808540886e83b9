"""Will it fit: the peak memory of a training on a GPU, foretold before it starts, and without a GPU.

The real U-Net takes one real training step, on tensors that have a shape and no content (memory_ledger), after
the optimizer has made room for what it keeps. What that cannot show, CUDA itself and its libraries, is one constant.
"""

import functools
from dataclasses import dataclass, replace

import pandas as pd
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from helpers import diffusion, dreambooth, hypernetwork, lora, low_memory, memory_ledger, updates

GB = 1e9
CUDA = 1.0 * GB  # CUDA's own context, cuDNN's and cuBLAS's workspaces: see benchmarks/memory.py
MARGIN = 0.1  # a T4's published figures are missed by up to 7 %
SD1_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
SD1_UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD1_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}


@dataclass(frozen=True)
class Forecast:
    """Bytes on the GPU at the moment when most are in use; `peak` is their sum."""

    weights: int  # what lies there before the first step
    gradients: int  # of all weights that learn; 0 where they never exist at once
    optimizer: int
    activations: int  # and whatever else is alive at that moment
    cuda: int = int(CUDA)

    @property
    def peak(self):
        return self.weights + self.gradients + self.optimizer + self.activations + self.cuda

    @property
    def safe(self):
        """The bytes that will do even where the forecast misses: the peak and a tenth."""
        return int(self.peak * (1 + MARGIN))

    def __str__(self):
        parts = ("weights", "gradients", "optimizer", "activations", "cuda")
        return f"{self.peak / GB:.1f} GB = " + " + ".join(f"{part} {getattr(self, part) / GB:.1f}" for part in parts)


# From fastest to leanest: what training.train and foretell take for each
SETTINGS = {
    "plain": {"checkpointing": False, "optimizer": dreambooth.adamw},
    "checkpointing": {"checkpointing": True, "optimizer": dreambooth.adamw},
    "8 bit": {"checkpointing": True, "optimizer": low_memory.eight_bit},
    "in backward": {"checkpointing": True, "optimizer": low_memory.in_backward},
    "on host": {"checkpointing": True, "optimizer": low_memory.on_host},
}


def choose(available, **others):
    """The first of SETTINGS that fits into `available` bytes with a margin; None if none does. others: as for foretell."""
    fits = (name for name, settings in SETTINGS.items() if foretell(**settings | others).safe <= available)
    return next(fits, None)


def table(names=tuple(SETTINGS), available=None, **others):
    """The forecasts of some of SETTINGS in GB: DataFrame, a row each; `fits`: into `available` bytes, with a margin."""
    rows = {name: foretell(**SETTINGS[name] | others) for name in names}
    parts = ("weights", "gradients", "optimizer", "activations", "cuda", "peak")
    found = pd.DataFrame({p: [getattr(row, p) / GB for row in rows.values()] for p in parts}, index=list(rows)).round(1)
    return found if available is None else found.assign(fits=[row.safe <= available for row in rows.values()])


def foretell(
    unet_config=None,
    method="dreambooth",
    *,
    batch_size=1,
    prior=True,
    precision=torch.float16,
    checkpointing=True,
    optimizer=dreambooth.adamw,
    accumulate=1,
    text_encoder=False,
    rank=4,
    beside=0,
    preview=0,
    cache=True,
):
    """The Forecast of a training. method: "dreambooth", "lora" or "hypernetwork".

    unet_config: a U-Net's; None is SD 1.x at 512 pixels. batch_size: photos a step, each with a class image if
    `prior`. precision: what autocast computes in. optimizer: as for training.train. accumulate: batches a step.
    text_encoder: True, or its config as a dict, if it learns too. beside: bytes of networks that stay on the GPU
    and do not learn. preview: bytes that pictures made between steps take, as told by `preview`. cache: whether
    autocast keeps its 16-bit copies of weights through the forward pass.
    """
    networks = _blueprints(unet_config or SD1_UNET, method, precision, text_encoder, rank, checkpointing)
    photos = batch_size * (2 if prior and method != "hypernetwork" else 1)
    with memory_ledger.shapes_only() as ledger:
        for network in networks:
            network.to_empty(device="cpu").train()
        weights, text = ledger.now, networks[1] if text_encoder else None
        parameters = updates.learnable(p for network in networks for p in network.parameters())
        loss = functools.partial(_loss, networks[0], text, precision, cache)
        told = _account(ledger, parameters, optimizer(parameters), loss, [photos] * accumulate, weights + beside)
    return replace(told, activations=max(told.activations, preview - told.gradients))  # between steps there are none


def preview(vae_config=None, side=64, *fetched):
    """The bytes that a picture made between two steps takes beside what learns: see `foretell`.

    vae_config: a VAE's; None is SD 1.x's. side: of the latents. fetched: networks that come back to the GPU for it. The
    most is taken while a picture is decoded, one at a time as models.load_pipeline has it on a GPU.
    """
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(vae_config or SD1_VAE)
    memory_ledger.norms_as_on_gpu(vae)
    with memory_ledger.shapes_only() as ledger, torch.no_grad(), memory_ledger.as_on_gpu(torch.float16, cache=False):
        vae.to_empty(device="cpu")
        before = ledger.now
        vae.decode(torch.empty(1, vae.config.latent_channels, side, side))
    return ledger.peak - before + sum(p.nbytes for network in fetched for p in network.parameters())


def _account(ledger, parameters, optimizer, loss, batches, weights):
    """The Forecast of one step, after the optimizer has made room for what it keeps."""
    if isinstance(optimizer, low_memory.LeanAdamW):
        optimizer._update = _outline
    fill(optimizer, parameters)
    alive, ledger.peak = ledger.now, ledger.now
    scaler = torch.amp.GradScaler(enabled=False)
    updates.update(parameters, loss, batches, optimizer, scaler, 1e-6, len(batches))
    states = low_memory.state_bytes(optimizer)
    gradients = 0 if getattr(optimizer, "in_backward", False) else sum(p.nbytes for p in parameters)
    kept = 0 if getattr(optimizer, "host", False) else states
    return Forecast(weights, gradients, kept, ledger.peak - alive - gradients)


def gpu_bytes():
    """The memory of the GPU here that this program may have: what is free, and what it holds already. None without one."""
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() if torch.cuda.is_available() else None


def fill(optimizer, parameters):
    """Lets an optimizer keep what it keeps from its first step on; `parameters` are a list."""
    if hasattr(optimizer, "prepare"):
        return optimizer.prepare()
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _outline(group, state, part, weights, gradients):
    """In place of LeanAdamW._update: the memory it works in, without its hundred thousand operations."""
    torch.empty(int(low_memory.WORK * weights.numel()))


def _blueprints(unet_config, method, precision, text_encoder, rank, checkpointing):
    """[U-Net, text encoder if it learns, hypernetwork if there is one] without memory; frozen but for what learns."""
    if method not in ("dreambooth", "lora", "hypernetwork"):
        raise ValueError(f"no method {method!r}: use dreambooth, lora or hypernetwork")
    whole = method == "dreambooth"
    with torch.device("meta"):
        networks = [UNet2DConditionModel.from_config(unet_config)]
        if text_encoder:
            networks.append(CLIPTextModel(CLIPTextConfig(**(SD1_TEXT if text_encoder is True else text_encoder))))
        for network in networks:
            torch.nn.Module.to(network, torch.float32 if whole else precision)  # what learns needs all 32 bits
            memory_ledger.norms_as_on_gpu(network.requires_grad_(whole))
        if checkpointing:
            updates.checkpoint_gradients(*networks)
        if method == "lora":
            lora.add(*networks, rank=rank)
        if method == "hypernetwork":
            networks.append(hypernetwork.Hypernetwork(hypernetwork.widths_of(networks[0])))
            hypernetwork.attach(networks[0], networks[-1])
    return networks


def _loss(unet, text, precision, cache, photos):
    """The DreamBooth loss of a batch of shapes."""
    with memory_ledger.as_on_gpu(precision, cache):
        side, width = unet.config.sample_size, unet.config.cross_attention_dim
        latents = torch.empty(photos, unet.config.in_channels, side, side)
        noise, timesteps = torch.randn_like(latents), torch.zeros(photos, dtype=torch.long)
        heard = torch.empty(photos, 77, width) if text is None else text(torch.zeros(photos, 77, dtype=torch.long))[0]
        return diffusion.diffusion_loss(unet, DDPMScheduler(), latents, noise, timesteps, heard)
