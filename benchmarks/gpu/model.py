"""Stable Diffusion 1.5 of random weights, made on the spot, and one of a tenth of its width for a CPU."""

from dataclasses import asdict, dataclass
from unittest import mock

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from helpers import diffusion
from helpers.methods import memory


@dataclass(frozen=True)
class Scale:
    """The sizes of a model, and how much of everything is measured."""

    unet: dict
    vae: dict
    text: dict
    image_size: int
    warm: int  # steps before the clock starts
    timed: int  # steps that count
    losses: int  # steps of each precision
    batches: tuple  # pictures at once
    sampler_steps: int

    def __str__(self):
        return f"{self.image_size} pixels"

    @property
    def side(self):
        return self.unet["sample_size"]

    @property
    def width(self):
        return self.unet["cross_attention_dim"]


SD15 = Scale(memory.SD1_UNET, memory.SD1_VAE, memory.SD1_TEXT, 512, 3, 8, 50, (1, 4, 8), 10)
TENTH = Scale(  # a tenth of the width, and one level instead of four
    memory.SD1_UNET
    | {
        "sample_size": 8,
        "block_out_channels": (32,),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "cross_attention_dim": 64,
    },
    {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    },
    {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    16, 0, 2, 2, (1,), 2,
)  # fmt: skip


def pipeline(scale):
    """A StableDiffusionPipeline as `diffusion.load_pipeline` gives it: made where it will compute, without a file.

    Pocket's tokenizer, since a real one would have to be downloaded; no safety checker.
    """
    with mock.patch.object(diffusion.models, "_read", lambda config, settings: _made(scale, *settings.values())):
        return diffusion.load_pipeline("sd15")


def _made(scale, dtype):
    torch.manual_seed(0)
    with torch.device(diffusion.device.find_device()):
        networks = {
            "unet": UNet2DConditionModel.from_config(scale.unet),
            "vae": AutoencoderKL.from_config(scale.vae | {"sample_size": scale.image_size}),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**scale.text)),
        }
    for network in networks.values():
        torch.nn.Module.to(network, dtype).requires_grad_(False).eval()
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "skip_prk_steps": True}
    return StableDiffusionPipeline(
        **networks,
        tokenizer=CLIPTokenizer.from_pretrained(diffusion.POCKET / "tokenizer"),
        scheduler=PNDMScheduler(**schedule, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def settings_of(scale):
    """A Scale as JSON has it."""
    return asdict(scale)
