import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from helpers import diffusion, training
from helpers.methods import lora

SETTINGS = {"guidance_scale": 3, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def learnt():
    """A pocket pipeline with a LoRA of rank 3 on U-Net and text encoder, no longer nothing."""
    pipe = diffusion.load_pipeline("pocket")
    torch.manual_seed(0)
    parameters = lora.add(pipe.unet, pipe.text_encoder, rank=3)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    return pipe


@pytest.fixture(scope="module")
def picture(learnt):
    return draw(learnt)


def draw(pipe):
    return np.asarray(diffusion.generate(pipe, "nesrelah_001 person", [1], **SETTINGS)[0], dtype=int)


def test_it_begins_as_the_model_was_and_only_it_learns():
    pipe = diffusion.load_pipeline("pocket")
    before, weight = draw(pipe), pipe.unet.conv_in.weight.clone()
    parameters = lora.add(pipe.unet, rank=4)
    assert np.array_equal(draw(pipe), before)
    attentions = sum(hasattr(module, "to_k") for module in pipe.unet.modules())
    assert len(parameters) == attentions * 4 * 2 and all(p.dtype == torch.float32 for p in parameters)
    learning = [p for p in pipe.unet.parameters() if p.requires_grad]
    assert {id(p) for p in learning} == {id(p) for p in parameters}
    assert sum(p.numel() for p in parameters) < 0.03 * sum(p.numel() for p in pipe.unet.parameters())
    embeds = diffusion.encode_prompts(pipe, ["a person"])
    draw_one = lambda batch: (torch.randn(1, 4, 16, 16), embeds)
    training.denoising_loss(pipe.unet, diffusion.training_scheduler(pipe), draw_one)(None).backward()
    assert all(p.grad is not None for p in parameters) and pipe.unet.conv_in.weight.grad is None
    assert torch.equal(pipe.unet.conv_in.weight, weight)
    with pytest.raises(ValueError, match="has a LoRA already"):
        lora.add(pipe.unet)


@pytest.mark.slow
@pytest.mark.parametrize("write", [lora.save, lora.export])
def test_both_files_make_the_same_picture(learnt, picture, tmp_path, write):
    path = tmp_path / "subject.safetensors"
    write(path, learnt.unet, learnt.text_encoder)
    fresh = diffusion.load_pipeline("pocket")
    before = draw(fresh)
    lora.load(fresh, path)
    assert np.abs(draw(fresh) - picture).mean() <= (0.1 if write is lora.save else 2)  # the web UI's has 16 bits
    assert np.abs(before - picture).mean() > 5
    lora.load(fresh, path, strength=0)
    assert np.abs(draw(fresh) - before).mean() <= 0.1
    fresh.unload_lora_weights()
    assert np.array_equal(draw(fresh), before)


@pytest.mark.slow
@pytest.mark.parametrize("text", [False, True])
def test_diffusers_itself_reads_what_is_saved(learnt, tmp_path, text):
    """pipe.load_lora_weights, without anything of ours."""
    path = tmp_path / "subject.safetensors"
    lora.save(path, learnt.unet, learnt.text_encoder if text else None)
    fresh, ours = diffusion.load_pipeline("pocket"), diffusion.load_pipeline("pocket")
    fresh.load_lora_weights(path)
    lora.load(ours, path)
    assert np.abs(draw(fresh) - draw(ours)).mean() <= 0.1


def test_the_web_ui_finds_kohya_s_names(learnt, tmp_path):
    """The patterns of the web UI's networks.py: it takes a layer apart by its name, with text_model in the text's."""
    path = tmp_path / "subject.safetensors"
    lora.export(path, learnt.unet, learnt.text_encoder)
    tensors = load_file(path)
    layers = {name.split(".")[0] for name in tensors}
    unet = r"lora_unet_(down_blocks_\d+|up_blocks_\d+|mid_block)_attentions_\d+_transformer_blocks_0_attn[12]_"
    unet += r"(to_q|to_k|to_v|to_out_0)"
    text = r"lora_te_text_model_encoder_layers_\d+_self_attn_(q_proj|k_proj|v_proj|out_proj)"
    assert all(re.fullmatch(f"{unet}|{text}", layer) for layer in layers)
    for layer in layers:
        down, up = tensors[f"{layer}.lora_down.weight"], tensors[f"{layer}.lora_up.weight"]
        assert down.shape[0] == up.shape[1] == 3 and tensors[f"{layer}.alpha"].item() == 3.0
        assert down.dtype == torch.float16
    attentions = sum(hasattr(module, "to_k") for module in learnt.unet.modules())
    assert len(layers) == 4 * attentions + 4 * learnt.text_encoder.config.num_hidden_layers


def test_names_are_the_same_whatever_transformers_calls_them(learnt):
    names = lora.state_dict(learnt.unet, learnt.text_encoder)
    text = [name for name in names if name.startswith("text_encoder")]
    assert text and all(name.startswith("text_encoder.text_model.encoder.layers.") for name in text)


def test_what_is_no_lora_is_refused(tmp_path, pocket_pipeline):
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ValueError, match="text.safetensors is not a readable"):
        lora.load(pocket_pipeline, tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match="holds no LoRA"):
        lora.load(pocket_pipeline, diffusion.POCKET / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(FileNotFoundError):
        lora.load(pocket_pipeline, tmp_path / "nowhere.safetensors")


def test_a_file_says_nothing_but_its_weights(learnt, tmp_path):
    lora.export(tmp_path / "subject.safetensors", learnt.unet)
    with safe_open(tmp_path / "subject.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
