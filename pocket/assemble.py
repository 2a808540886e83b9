"""Write trained parts into data/pocket in diffusers' own folder layout, fp16 safetensors.

A part is written as soon as it is trained; `StableDiffusionPipeline.from_pretrained("data/pocket")`
then loads the whole with plain diffusers.
"""

import json
from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import (
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextModel,
)

from pocket import parts
from pocket.reader import Reader, load_reader
from pocket.upscaler import load_upscaler

POCKET = Path(__file__).parents[1] / "data" / "pocket"
LOADERS = {
    "vae": AutoencoderKL.from_pretrained,
    "clip": CLIPModel.from_pretrained,
    "text_encoder": CLIPTextModel.from_pretrained,
    "unet": UNet2DConditionModel.from_pretrained,
    "blip": BlipForConditionalGeneration.from_pretrained,
    "reader": load_reader,
    "upscaler": load_upscaler,
}


def load_part(name):
    """A part as it stands in data/pocket, float32, ready to use or to train further."""
    return LOADERS[name](POCKET / name).float().eval()


def save_pretrained(name, model):
    """Any part that diffusers or transformers can save, in half precision, to be loaded in single.

    transformers 5 computes in whatever type config.json names, diffusers in float32 unless told:
    both must agree, or the plain `from_pretrained` would mix the two in one pipeline. The folder a part
    came from, for those trained further, is nobody's business.
    """
    model.half().save_pretrained(POCKET / name)
    model.float()
    path = POCKET / name / "config.json"
    config = json.loads(path.read_text().replace('"float16"', '"float32"'))
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n")


def save_tokenizer(tokenizer, folder):
    """The tokenizer, with vocab.json and merges.txt beside it for older readers."""
    tokenizer.save_pretrained(folder)
    bpe = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(bpe["vocab"], ensure_ascii=False))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in bpe["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")


def save_clip(clip, tokenizer):
    save_pretrained("clip", clip)
    save_tokenizer(tokenizer, POCKET / "clip")
    size = {"height": parts.IMAGE_SIZE, "width": parts.IMAGE_SIZE}
    CLIPImageProcessorPil(size={"shortest_edge": parts.IMAGE_SIZE}, crop_size=size).save_pretrained(POCKET / "clip")


def save_text_encoder(text_encoder):
    """The text encoder, its keys under `text_model.` as SD 1.x files have them.

    transformers 5.6 and later drop that prefix on saving and read both; transformers 4 would take a
    file without it for one with every tensor missing.
    """
    save_pretrained("text_encoder", text_encoder)
    path = POCKET / "text_encoder" / "model.safetensors"
    weights = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def save_blip(blip, tokenizer):
    save_pretrained("blip", blip)
    size = {"height": parts.IMAGE_SIZE, "width": parts.IMAGE_SIZE}
    BlipProcessor(BlipImageProcessorPil(size=size), tokenizer).save_pretrained(POCKET / "blip")


def save_reader(reader: Reader):
    folder = POCKET / "reader"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"labels": reader.labels}, indent=1) + "\n")
    save_file(
        {name: tensor.half().contiguous() for name, tensor in reader.state_dict().items()}, folder / "model.safetensors"
    )


def save_pipeline(tokenizer):
    """What makes the parts one pipeline: model_index.json, the scheduler and the tokenizer."""
    pipe = StableDiffusionPipeline(
        vae=load_part("vae"),
        text_encoder=load_part("text_encoder"),
        tokenizer=tokenizer,
        unet=load_part("unet"),
        scheduler=parts.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_config(POCKET)
    pipe.scheduler.save_pretrained(POCKET / "scheduler")
    save_tokenizer(tokenizer, POCKET / "tokenizer")
