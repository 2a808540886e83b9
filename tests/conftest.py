"""Fixtures: the pocket pipeline, and folders of Stable Diffusion 1.x in its real shapes with random weights."""

import contextlib
import copy
import json
import shutil
import sys

import forks
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from jupyter_client.provisioning import local_provisioner
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from helpers import diffusion

LONGEST = ("test_stranger", "test_notebooks", "test_benchmarks", "test_train", "test_notebooks_on_gpu")
SHARED = {"lab", "sd1_folder"}  # fixtures that take long to make: whoever wants one, in whatever file, shares a worker


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Marks tests that need a browser, and which share a worker: those of a file, but for the models of two long walks.

    What takes longest comes first, so that the workers end together.
    """
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker("browser")
        alone = item.path.stem in ("test_stranger", "test_notebooks_on_gpu") and "slow" in item.keywords
        model = item.callspec.id.rsplit("-", 1)[0] if alone else ""  # without the notebook's number
        shared = SHARED.intersection(item.fixturenames)
        group = shared.pop() if shared else f"{item.path.parent.name}/{item.path.stem} {model}"
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def quick_kernels():
    """Kernels of notebooks fork from a process that has the libraries; not where a GPU is, which survives no fork."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux" and not torch.accelerator.is_available():
            patch.setattr(local_provisioner, "launch_kernel", forks.launch_kernel)
        yield


@pytest.fixture(scope="session")
def pocket_pipeline():
    """The pocket model, loaded once. Tests that train or attach must use `pipe`."""
    return diffusion.load_pipeline("pocket")


@pytest.fixture
def pipe(pocket_pipeline):
    """The pocket pipeline with a U-Net of its own, free to be trained."""
    components = pocket_pipeline.components | {"unet": copy.deepcopy(pocket_pipeline.unet)}
    components.pop("image_encoder", None)
    fresh = StableDiffusionPipeline(**components, requires_safety_checker=False)
    fresh.set_progress_bar_config(disable=True)
    return fresh


def small_unet(text=16, attention_head_dim=8, **more):
    """A U-Net of Stable Diffusion's kind that takes milliseconds, for 8 x 8 latents and text so wide."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=text,
        attention_head_dim=attention_head_dim,
        **more,
    )


def tiny_pipeline():
    """A whole pipeline of random weights that takes milliseconds: pictures of 16 pixels, pocket's tokenizer."""
    unet, tokenizer = small_unet(), CLIPTokenizer.from_pretrained(diffusion.POCKET / "tokenizer")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(16, 16),
            layers_per_block=1,
            norm_num_groups=4,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), **sizes)),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DPMSolverMultistepScheduler(beta_schedule="scaled_linear", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def tiny(monkeypatch):
    """tiny_pipeline, in float32 on every processor."""
    monkeypatch.setattr(diffusion.device, "autocast", lambda *_, **__: contextlib.nullcontext())
    return tiny_pipeline()


def sd1_unet():
    """SD 1.5's own U-Net: widths 320 to 1280, text of 768; only the pictures are smaller, 64 pixels."""
    from helpers.methods import memory  # seconds, which other tests need not wait

    return UNet2DConditionModel(**memory.SD1_UNET | {"sample_size": 8})


def sd1_vae():
    from helpers.methods import memory  # seconds, which other tests need not wait

    return AutoencoderKL(**memory.SD1_VAE, sample_size=512)


def sd1_text_encoder():
    from helpers.methods import memory  # seconds, which other tests need not wait

    return CLIPTextModel(CLIPTextConfig(**memory.SD1_TEXT, projection_dim=768))


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory):
    """SD 1.5 in full, random weights in fp16 (2.1 GB on disk): only for tests marked slow. Removed at the end."""
    folder = tmp_path_factory.mktemp("sd1")
    torch.manual_seed(0)
    parts = {"unet": sd1_unet, "vae": sd1_vae, "text_encoder": sd1_text_encoder}
    for name, build in parts.items():  # one at a time: never more than one part in memory
        build().half().save_pretrained(folder / name)
    CLIPTokenizer.from_pretrained(diffusion.POCKET / "tokenizer").save_pretrained(folder / "tokenizer")
    PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    index = json.loads((diffusion.POCKET / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "PNDMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    yield folder
    shutil.rmtree(folder)


def write_small_sd15(folder, image_size=64):
    """SD 1.x's layout, every block and layer of it, but thin, with one head and random weights."""
    from helpers.methods import memory  # seconds, which other tests need not wait

    torch.manual_seed(0)
    pipe, tokenizer = tiny_pipeline(), CLIPTokenizer.from_pretrained(diffusion.POCKET / "tokenizer")
    unet = {
        "block_out_channels": (32, 32, 64, 64),
        "cross_attention_dim": 32,
        "attention_head_dim": 1,
        "sample_size": image_size // 8,
    }
    text = {
        "vocab_size": len(tokenizer),
        "bos_token_id": 0,
        "eos_token_id": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
    }
    noise = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    parts = {
        "unet": UNet2DConditionModel(**memory.SD1_UNET | unet),
        "vae": AutoencoderKL(**memory.SD1_VAE | {"block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4}),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**memory.SD1_TEXT | text)),
        "scheduler": PNDMScheduler(skip_prk_steps=True, **noise),
    }
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"} | parts
    type(pipe)(**parts, requires_safety_checker=False).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_dino(tmp_path_factory):
    """A folder with a ViT of random weights that takes milliseconds, as SD15_DINO names one."""
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    ViTModel(ViTConfig(**sizes, image_size=32, patch_size=16), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
