"""Fixtures: the pocket pipeline, and folders of Stable Diffusion 1.x in its real shapes with random weights."""

import copy
import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from helpers import models

SD1_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "projection_dim": 768,
}


@pytest.fixture(scope="session")
def pocket_pipeline():
    """The pocket model, loaded once. Tests that train or attach must use `pipe`."""
    return models.load_pipeline("pocket")


@pytest.fixture
def pipe(pocket_pipeline):
    """The pocket pipeline with a U-Net of its own, free to be trained."""
    components = pocket_pipeline.components | {"unet": copy.deepcopy(pocket_pipeline.unet)}
    components.pop("image_encoder", None)
    fresh = StableDiffusionPipeline(**components, requires_safety_checker=False)
    fresh.set_progress_bar_config(disable=True)
    return fresh


def sd1_unet():
    """SD 1.5's own U-Net: widths 320 to 1280, text of 768; only the pictures are smaller, 64 pixels."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(320, 640, 1280, 1280),
        cross_attention_dim=768,
        attention_head_dim=8,
    )


def sd1_vae():
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )


def sd1_text_encoder():
    return CLIPTextModel(CLIPTextConfig(**SD1_TEXT))


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory):
    """SD 1.5 in full, random weights in fp16 (2.1 GB on disk): only for tests marked slow. Removed at the end."""
    folder = tmp_path_factory.mktemp("sd1")
    torch.manual_seed(0)
    parts = {"unet": sd1_unet, "vae": sd1_vae, "text_encoder": sd1_text_encoder}
    for name, build in parts.items():  # one at a time: never more than one part in memory
        build().half().save_pretrained(folder / name)
    CLIPTokenizer.from_pretrained(models.POCKET / "tokenizer").save_pretrained(folder / "tokenizer")
    PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    index = json.loads((models.POCKET / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "PNDMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def tiny_dino(tmp_path_factory):
    """A folder with a ViT of random weights that takes milliseconds, as SD15_DINO names one."""
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    ViTModel(ViTConfig(**sizes, image_size=32, patch_size=16), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
