"""Will it fit: a forecast of the peak memory of a training on a GPU, before it starts, and without a GPU.

The real U-Net takes one real training step, on tensors that have a shape and no content (memory_ledger), after
the optimizer has made room for what it keeps. What that cannot show, CUDA itself and its libraries, is one constant.
"""

import functools
from dataclasses import asdict, dataclass, replace

import pandas as pd
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from helpers import diffusion, training
from helpers.methods import hypernetwork, lora, memory_ledger
from helpers.training import optimizers, updates

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
        return sum(asdict(self).values())

    @property
    def safe(self):
        """The bytes that will do even where the forecast misses: the peak and a tenth."""
        return int(self.peak * (1 + MARGIN))

    def __str__(self):
        parts = (f"{part} {size / GB:.1f}" for part, size in asdict(self).items())
        return f"{self.peak / GB:.1f} GB = " + " + ".join(parts)


class EightBit(torch.optim.Optimizer):
    """Keeps as many bytes as bitsandbytes' AdamW8bit and, like its kernels on a GPU, works in place.

    Two averages, each a byte a number and 4 bytes for every 256 numbers; of fewer than 4,096 numbers in 32 bits.
    """

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.0})

    def step(self):
        for parameter in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            if not self.state[parameter]:
                count = parameter.numel()
                size = 8 * count if count < 4096 else 2 * count + 8 * -(-count // 256)
                self.state[parameter]["averages"] = torch.empty(size, dtype=torch.uint8, device=parameter.device)


# From fastest to leanest: what training.train and forecast take for each
SETTINGS = {
    "plain": {"checkpointing": False, "optimizer": optimizers.adamw},
    "checkpointing": {"checkpointing": True, "optimizer": optimizers.adamw},
    "in backward": {"checkpointing": True, "optimizer": optimizers.in_backward},
    "8 bit": {"checkpointing": True, "optimizer": optimizers.adamw_8bit},
    "8 bit in backward": {"checkpointing": True, "optimizer": optimizers.in_backward_8bit},
    "on host": {"checkpointing": True, "optimizer": optimizers.on_host},
}
STAND_INS = {  # so that a forecast needs no bitsandbytes
    optimizers.adamw_8bit: EightBit,
    optimizers.in_backward_8bit: functools.partial(optimizers.in_backward_8bit, kind=EightBit),
    optimizers.on_host: functools.partial(optimizers.on_host, kind=EightBit),
}


def choose(available, **others):
    """The first of SETTINGS that fits into `available` bytes with a margin; None if none does. others: as for forecast."""
    fits = (name for name, settings in SETTINGS.items() if forecast(**settings | others).safe <= available)
    return next(fits, None)


def table(names=tuple(SETTINGS), available=None, **others):
    """The forecasts of some of SETTINGS in GB: DataFrame, a row each; `fits`: into `available` bytes, with a margin."""
    rows = {name: forecast(**SETTINGS[name] | others) for name in names}
    found = pd.DataFrame({name: asdict(row) | {"peak": row.peak} for name, row in rows.items()}).T.div(GB).round(1)
    return found if available is None else found.assign(fits=[row.safe <= available for row in rows.values()])


def forecast(
    unet_config=None, method="dreambooth", *, batch_size=1, prior=True, precision=torch.float16, checkpointing=True,
    optimizer=optimizers.adamw, accumulate=1, text_encoder=False, rank=4, preview=0,
):  # fmt: skip
    """The Forecast of a training. method: "dreambooth", "lora" or "hypernetwork".

    unet_config: a U-Net's; None is SD 1.x at 512 pixels. batch_size: photos a step, each with a class image if
    `prior`. precision: what autocast computes in. optimizer: as for training.train. accumulate: batches a step.
    text_encoder: True, or its config as a dict, if it learns too. rank: of a LoRA. preview: bytes that pictures made
    between steps take, as `preview` says.
    """
    networks = _blueprints(unet_config or SD1_UNET, method, precision, text_encoder, rank, checkpointing)
    photos = batch_size * (2 if prior and method != "hypernetwork" else 1)
    with memory_ledger.shapes_only() as ledger:
        for network in networks:
            network.to_empty(device="cpu").train()
        weights, text = ledger.now, networks[1] if text_encoder else None
        parameters = updates.learnable(p for network in networks for p in network.parameters())
        loss = functools.partial(_loss, networks[0], text, precision)
        mover = STAND_INS.get(optimizer, optimizer)(parameters)
        found = _account(ledger, parameters, mover, loss, [photos] * accumulate, weights)
    return replace(found, activations=max(found.activations, preview - found.gradients))  # between steps there are none


def preview(vae_config=None, side=64, *on_device):
    """The bytes that a picture made between two steps takes beside what learns: see `forecast`.

    vae_config: a VAE's; None is SD 1.x's. side: of the latents. on_device: networks that come back to the GPU for it. The
    most is taken while a picture is decoded, one at a time as models.load_pipeline has it on a GPU.
    """
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(vae_config or SD1_VAE)
    memory_ledger.norms_as_on_gpu(vae)
    with memory_ledger.shapes_only() as ledger, torch.no_grad(), memory_ledger.as_on_gpu(torch.float16, cache=False):
        vae.to_empty(device="cpu")
        before = ledger.now
        vae.decode(torch.empty(1, vae.config.latent_channels, side, side))
    return ledger.peak - before + sum(p.nbytes for network in on_device for p in network.parameters())


def _account(ledger, parameters, optimizer, loss, batches, weights):
    """The Forecast of one step, after the optimizer has made room for what it keeps."""
    fill(optimizer, parameters)
    alive, ledger.peak = ledger.now, ledger.now
    updates.update(parameters, loss, batches, optimizer, torch.amp.GradScaler(enabled=False), 1e-6, len(batches))
    alone, states = isinstance(optimizer, optimizers.InBackward), optimizers.state_bytes(optimizer)
    gradients = 0 if alone else sum(p.nbytes for p in parameters)
    kept = max(states) if alone and optimizer.offload else sum(states)
    return Forecast(weights, gradients, kept, ledger.peak - alive - gradients)


def gpu_bytes():
    """The memory of the GPU here that this program may have: what is free, and what it holds already. None without one."""
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() if torch.cuda.is_available() else None


def fill(optimizer, parameters):
    """Lets an optimizer keep what it keeps from its first step on; `parameters` are a list."""
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
            torch.nn.Module.to(network, torch.float32 if whole else precision)  # what learns needs all 32 bits
            memory_ledger.norms_as_on_gpu(network.requires_grad_(whole))
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
    with memory_ledger.as_on_gpu(precision):
        side, width = unet.config.sample_size, unet.config.cross_attention_dim
        latents = torch.empty(photos, unet.config.in_channels, side, side)
        noise, timesteps = torch.randn_like(latents), torch.zeros(photos, dtype=torch.long)
        prompts = torch.zeros(photos, 77, dtype=torch.long)
        prompt_embeds = torch.empty(photos, 77, width) if text is None else text(prompts)[0]
        return diffusion.latents.diffusion_loss(unet, DDPMScheduler(), latents, noise, timesteps, prompt_embeds)
