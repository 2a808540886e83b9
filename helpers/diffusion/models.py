"""The table of models, and loading one: pipeline, captioner, CLIP. Nothing else asks which model it is."""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from packaging.version import Version
from transformers import BlipForConditionalGeneration, BlipProcessor, CLIPModel, CLIPProcessor

from helpers import machine
from helpers.diffusion.device import computes_in, find_device

# else transformers looks, in a thread, for a converted copy of BLIP, CLIP and DINO, may fetch it too, and may ask for one
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "true"
diffusers.utils.logging.disable_progress_bar()  # bars for half a second each; downloads keep theirs
transformers.utils.logging.disable_progress_bar()
POCKET = machine.REPO / "data" / "pocket"


@dataclass(frozen=True)
class ModelConfig:
    """Where the weights of a model are, how to generate, and how long and fast to train by each method."""

    name: str
    weights: str  # folder, single .safetensors or .ckpt file, or hub id
    captioner: str
    clip: str
    image_size: int  # pixels a side
    guidance_scale: float
    num_inference_steps: int
    hypernetwork: dict
    dreambooth: dict
    textual_inversion: dict
    needs: str  # in words, for people
    loss_weights: str = "equal"  # of timesteps, as the base was trained: see diffusion.loss_scale
    variant: str | None = None  # "fp16" where the hub offers half-sized files


REVISIONS = {  # the commits on the hub that these names stand for, so that everybody has the same weights, always
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    "stabilityai/sd-x2-latent-upscaler": "1f2883b22f62cfb29323770ba9cfdcf601757bd3",  # earlier ones are pickles alone
    "Salesforce/blip-image-captioning-base": "82a37760796d32b1411fe092ab5d4e227313294b",
    "facebook/dino-vits16": "abe3b354cb6a9b6f146096b14a4a9d7eecbcb4bd",
    "openai/clip-vit-base-patch32": "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
}
HYPERNETWORK = {"paper_steps": 10_000, "activation": "relu"}  # with "linear", the web UI's own, more horses were lost
MODELS = {
    "pocket": ModelConfig(
        name="pocket",
        weights=str(POCKET),
        captioner=str(POCKET / "blip"),
        clip=str(POCKET / "clip"),
        image_size=128,
        guidance_scale=3.0,  # at 5 a face says less of what was asked, and more faces lack an eye: pocket/README.md
        num_inference_steps=20,
        hypernetwork=HYPERNETWORK | {"steps": 300, "learning_rate": 2e-3, "batch_size": 4},
        dreambooth={
            "steps": 300,
            "paper_steps": 4_040,
            "learning_rate": 3e-4,  # at 4e-4 her figurines turned into portraits
            "lora_learning_rate": 4e-3,  # at 8e-3 and fewer steps her figurines became portraits
            "batch_size": 4,
            "class_images": 32,
            "class_guidance": 3.0,  # at 5 most people turned black-haired, at 2 like her: docs/measured.md
            "text_encoder": True,  # as the notebook of the paper's fork does
            "details": {"steps": 60, "learning_rate": 5e-4, "batch_size": 4},  # of the second step
        },
        textual_inversion={  # the best of three short trials, and weak: see docs/measured.md
            "steps": 200,
            "learning_rate": 1e-2,
            "batch_size": 4,
            "vectors": 4,
            "prompts": "captions",  # in which the word stands for the class; the paper's templates have words pocket lacks
        },
        needs="any computer with 4 GB of memory",
        loss_weights="snr",
    ),
    "sd15": ModelConfig(
        name="sd15",
        weights="stable-diffusion-v1-5/stable-diffusion-v1-5",
        captioner="Salesforce/blip-image-captioning-base",
        clip="openai/clip-vit-base-patch32",
        image_size=512,
        guidance_scale=7.5,
        num_inference_steps=25,
        # 2,000 and 800 steps: what people report as enough for 20 photos (peers: 5e-6 to 5e-5, 1e-6 to 2e-6)
        hypernetwork=HYPERNETWORK | {"steps": 2_000, "learning_rate": 2e-5, "batch_size": 1},
        dreambooth={
            "steps": 800,
            "paper_steps": 4_040,
            "learning_rate": 2e-6,
            "lora_learning_rate": 1e-4,
            "batch_size": 1,
            "class_images": 200,
            "class_guidance": 7.5,  # as its peers; less was not measured here
            "text_encoder": False,  # True is said to be better for faces, and takes more memory
            "details": {"steps": 200, "learning_rate": 1e-5, "batch_size": 1},  # not measured here
        },
        # the steps of diffusers' README and the rate it makes of 5e-4 by scaling; not measured here
        textual_inversion={"steps": 3_000, "learning_rate": 2e-3, "batch_size": 1, "vectors": 2, "prompts": "paper"},
        needs="a GPU: 8 GB; DreamBooth of the whole U-Net is fast from 16 GB on; 4 GB to download",
        variant="fp16",
    ),
}


def model_config(name):
    """The config of a model: "pocket", "sd15", or any other SD 1.x / 2.x folder, file or hub id as an sd15-like config.

    A hub id may name a commit: owner/name@0123abc.
    SD15_WEIGHTS, SD15_CAPTIONER and SD15_CLIP in the environment replace where sd15's parts come from.
    Raises ValueError if `name` is neither in the table, nor on disk, nor shaped like a hub id.
    """
    if isinstance(name, ModelConfig):
        return name
    if name == "pocket":
        return MODELS[name]
    config = MODELS["sd15"]
    parts = {part: os.environ.get(f"SD15_{part.upper()}", getattr(config, part)) for part in ("captioner", "clip")}
    config = replace(config, **parts)
    weights = os.environ.get("SD15_WEIGHTS", config.weights) if name == "sd15" else str(name)
    if weights == config.weights:
        return config
    if not Path(weights).exists() and (weights.count("/") != 1 or Path(weights).suffix in (".safetensors", ".ckpt")):
        raise ValueError(f"No model {weights!r}: use one of {', '.join(MODELS)}, a folder, a file or an owner/name.")
    return replace(config, name=last_part(name), weights=weights, variant=None)


def last_part(model):
    """A path without the folders around it, which may tell whose computer it was; a hub id or a name stays as it is."""
    path = Path(model).expanduser()
    return path.name if path.is_absolute() or path.exists() else str(model)


def load_pipeline(name):
    """A StableDiffusionPipeline ready to generate: float32 on a CPU, Apple's GPU and a GTX 16, else float16, as on disk.

    (bfloat16 has three bits less; only `device.autocast` multiplies in it.) name: as for `model_config`, or a config.
    Warns of a hub id without a commit. A safety checker is kept where the folder has one. Raises OSError if the weights are missing, cut short or
    something else.
    """
    config, device = model_config(name), find_device()
    dtype = torch.float32 if device.type == "cpu" or computes_in(device) == torch.float32 else torch.float16
    try:
        pipe = _read(config, {_dtype_keyword(diffusers, "0.42"): dtype})
    except Exception as error:  # libraries four layers deep raise whatever they like
        raise OSError(_reason(config.weights, error)) from error
    # diffusers 0.39 ignores the newer keyword with a log line and would load twice the memory
    assert pipe.unet.dtype == dtype, f"loaded as {pipe.unet.dtype}, not {dtype}"
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.to(memory_format=torch.channels_last)  # decodes nearly twice as fast on a processor
    if device.type != "cpu":
        pipe.vae.enable_slicing()  # picture by picture: eight at once take 5 GB
    return pipe.to(device)


def _read(config, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if Path(config.weights).is_file():
            return StableDiffusionPipeline.from_single_file(config.weights, **settings)
        source, revision = at_revision(config.weights)
        return StableDiffusionPipeline.from_pretrained(source, variant=config.variant, **revision, **settings)


def at_revision(source):
    """(folder or hub id, {"revision": commit} or {}) of a folder, owner/name or owner/name@commit."""
    if Path(source).exists():
        return source, {}
    name, _, revision = source.partition("@")
    revision = revision or REVISIONS.get(name)
    if not revision:
        warnings.warn(
            f"{name} is taken as it is on the hub today: to have it so again, write {name}@<commit>.", stacklevel=4
        )
    return name, {"revision": revision} if revision else {}


def _reason(source, error, variable="SD15_WEIGHTS", kind="Stable Diffusion"):
    """Why a model cannot be loaded, and what to do."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
    if Path(source).exists():
        return f"{source} is not a whole {kind} ({reason}): a download cut short? Take it again."
    return (
        f"{source} did not come from the Hugging Face hub ({reason}): check its name and your connection and run again, "
        f"which goes on where it was cut, or set {variable} to a folder or a file on disk."
    )


def load_captioner(name):
    """(BlipProcessor, BlipForConditionalGeneration) in float32 on the device, ready to caption. Raises OSError as above."""
    return _pair(BlipProcessor, BlipForConditionalGeneration, model_config(name).captioner, "SD15_CAPTIONER", "BLIP")


def load_clip(name):
    """(CLIPProcessor, CLIPModel) in float32 on the device, ready to score. Raises OSError as above."""
    return _pair(CLIPProcessor, CLIPModel, model_config(name).clip, "SD15_CLIP", "CLIP")


def _pair(processor, network, weights, variable, kind):
    try:
        source, revision = at_revision(weights)
        loaded = network.from_pretrained(source, dtype=torch.float32, **revision)
        return processor.from_pretrained(source, **revision), loaded.to(find_device()).eval()
    except Exception as error:  # as above
        raise OSError(_reason(weights, error, variable, kind)) from error


def _dtype_keyword(library, renamed_in):
    return "dtype" if Version(library.__version__) >= Version(renamed_in) else "torch_dtype"
