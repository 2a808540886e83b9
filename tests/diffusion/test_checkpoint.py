import hashlib
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import web_ui
from conftest import sd1_text_encoder, sd1_unet, sd1_vae
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from helpers import diffusion
from helpers.diffusion import checkpoint

pytestmark = pytest.mark.slow

# SHA-256 of the names and shapes in v1-5-pruned: UNET-v1-SD.txt, VAE-v1-SD.txt and CLIP-v1-SD.txt in
# github.com/arenasys/stable-diffusion-webui-model-toolkit/tree/master/components, a line "name [shape]" for each weight
PUBLISHED = {
    checkpoint.UNET: "0a32647aed4bb212446e9e375fac2dd5772d5be1c772a0b06f58610a786aea6c",
    checkpoint.VAE: "240432d78215782456548801f5ad9d65371e87418c0228981c16434327af7890",
    checkpoint.TEXT: "9108aaedac707a081ee413323093355cb8dfac175a6057ecb4adcd570711ddac",
}


def test_names_and_shapes_are_those_of_the_original_sd1():
    with torch.device("meta"):
        pipe = SimpleNamespace(unet=sd1_unet(), vae=sd1_vae(), text_encoder=sd1_text_encoder())
    shapes = {name: ",".join(map(str, tensor.shape)) for name, tensor in checkpoint.state_dict(pipe).items()}
    for prefix, published in PUBLISHED.items():
        own = {name: shapes.pop(name) for name in list(shapes) if name.startswith(prefix)}
        listing = "\n".join(sorted(f"{name.removeprefix(prefix)} [{shape}]" for name, shape in own.items()))
        assert hashlib.sha256(listing.encode()).hexdigest() == published, listing
    assert not shapes


def tiny_pipe(seed=0, **unet):
    """A pipeline of SD 1's kind, small, with levels without attention and attention in the VAE."""
    torch.manual_seed(seed)
    settings = {
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "norm_num_groups": 4,
        "cross_attention_dim": 12,
        "attention_head_dim": 2,
        "sample_size": 8,
    }
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=4,
        sample_size=16,
    )
    sizes = {"vocab_size": 30, "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2}
    text = CLIPTextConfig(**sizes, num_attention_heads=2, max_position_embeddings=7, bos_token_id=1, eos_token_id=2)
    parts = {"unet": UNet2DConditionModel(**settings | unet), "vae": vae, "text_encoder": CLIPTextModel(text)}
    return StableDiffusionPipeline(
        **parts,
        tokenizer=None,
        scheduler=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def weights(pipe):
    return {
        f"{part}.{name}": tensor
        for part in ("unet", "vae", "text_encoder")
        for name, tensor in getattr(pipe, part).state_dict().items()
    }


def same_weights(one, two, change=lambda tensor: tensor):
    one, two = weights(one), weights(two)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], change(tensor), rtol=0, atol=0)


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_diffusers_reads_the_exported_pocket_exactly(pocket_pipeline, tmp_path, suffix):
    """Its own converter knows nothing of ours: right names, right places."""
    path = tmp_path / f"model.{suffix}"
    checkpoint.export(path, pocket_pipeline, torch.float32)
    config = {"config": str(diffusion.POCKET), "local_files_only": True}
    same_weights(pocket_pipeline, StableDiffusionPipeline.from_single_file(str(path), **config))


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_what_is_exported_comes_back(tmp_path, suffix):
    pipe = tiny_pipe()
    for dtype in (torch.float32, torch.float16):
        other = tiny_pipe(seed=1)
        checkpoint.export(tmp_path / f"model.{suffix}", pipe, dtype)
        checkpoint.load_into(other, tmp_path / f"model.{suffix}")
        same_weights(pipe, other, lambda tensor, dtype=dtype: tensor.to(dtype).float())


def test_text_encoder_names_keep_text_model_whatever_transformers_calls_them(tmp_path):
    pipe = tiny_pipe()
    path = tmp_path / "model.safetensors"
    checkpoint.export(path, pipe, torch.float32)
    names = [name for name in load_file(path) if name.startswith("cond_stage_model.")]
    assert names and all(name.startswith("cond_stage_model.transformer.text_model.") for name in names)
    assert load_file(path)["cond_stage_model.transformer.text_model.embeddings.position_ids"].tolist() == [[*range(7)]]
    plain = pipe.text_encoder.state_dict()
    older = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in plain.items()}
    newer = {name.removeprefix("text_model."): tensor for name, tensor in plain.items()}
    for states in (older, newer):
        encoder = SimpleNamespace(state_dict=lambda states=states: states, config=pipe.text_encoder.config)
        as_was = checkpoint.state_dict(SimpleNamespace(unet=pipe.unet, vae=pipe.vae, text_encoder=encoder))
        assert as_was.keys() == load_file(path).keys()


def test_files_of_other_converters_are_understood(tmp_path):
    """Without text_model. and position ids, with an EMA copy beside the weights, VAE attention as matrices."""
    pipe, other = tiny_pipe(), tiny_pipe(seed=1)
    tensors = {name.replace("text_model.", ""): tensor for name, tensor in checkpoint.state_dict(pipe).items()}
    tensors = {n: t[:, :, 0, 0] if ".attn_1." in n and t.ndim == 4 else t for n, t in tensors.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items() if "position_ids" not in name}
    save_file(tensors | {"model_ema.decay": torch.ones(1)}, tmp_path / "other.safetensors")
    checkpoint.load_into(other, tmp_path / "other.safetensors")
    same_weights(pipe, other)
    torch.save({"state_dict": tensors, "global_step": 4040}, tmp_path / "old.ckpt")
    checkpoint.load_into(other := tiny_pipe(seed=2), tmp_path / "old.ckpt")
    same_weights(pipe, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "nest", [lambda t: t, lambda t: {"state_dict": t}, lambda t: {"state_dict": t | {"state_dict": {}, "x": "NAI"}}]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_16_bits_are_read_however_they_are_nested_and_packed(tmp_path, dtype, nest, legacy):
    pipe, other = tiny_pipe(), tiny_pipe(seed=1)
    tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in checkpoint.state_dict(pipe).items()}
    torch.save(nest(tensors), tmp_path / "model.ckpt", _use_new_zipfile_serialization=not legacy)
    checkpoint.load_into(other, tmp_path / "model.ckpt")
    same_weights(pipe, other, lambda tensor: tensor.to(dtype).float())


def test_a_file_of_another_structure_changes_nothing(tmp_path):
    pipe, path = tiny_pipe(), tmp_path / "model.safetensors"
    checkpoint.export(path, pipe)
    for others in ({"layers_per_block": 1}, {"layers_per_block": 3}, {"cross_attention_dim": 24}):
        other = tiny_pipe(seed=1, **others)
        before = {name: tensor.clone() for name, tensor in weights(other).items()}
        with pytest.raises(ValueError, match="model.safetensors is no such model as this one: it"):
            checkpoint.load_into(other, path)
        assert all(torch.equal(tensor, before[name]) for name, tensor in weights(other).items())


def test_what_is_no_model_is_refused_and_nothing_in_it_is_run(tmp_path):
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"state_dict": web_ui.Evil()}))
    (tmp_path / "text.safetensors").write_text("hello")
    checkpoint.export(tmp_path / "cut.ckpt", tiny_pipe())
    checkpoint.export(tmp_path / "cut.safetensors", tiny_pipe())
    for name in ("cut.ckpt", "cut.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    torch.save([1, 2], tmp_path / "list.ckpt")
    pipe = tiny_pipe()
    for name in ("evil.ckpt", "text.safetensors", "cut.ckpt", "cut.safetensors", "list.ckpt"):
        with pytest.raises(ValueError, match=name):
            checkpoint.load_into(pipe, tmp_path / name)
    for name in ("nowhere.ckpt", "nowhere.safetensors"):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            checkpoint.load_into(pipe, tmp_path / name)


def test_what_cannot_be_exported_leaves_the_old_file(tmp_path):
    pipe, path = tiny_pipe(), tmp_path / "model.ckpt"
    path.write_text("old")
    with pytest.raises(ValueError, match="bfloat16 is not what the web UI reads"):
        checkpoint.export(path, pipe, torch.bfloat16)
    with pytest.raises(ValueError, match="SD 2 and XL"):
        checkpoint.export(path, tiny_pipe(use_linear_projection=True))
    with pytest.raises(ValueError, match=r"must end in \.ckpt or \.safetensors"):
        checkpoint.export(tmp_path / "model.bin", pipe)
    for value in (float("nan"), 1e6):
        torch.nn.init.constant_(pipe.unet.conv_in.bias, value)
        with pytest.raises(ValueError, match=r"input_blocks\.0\.0\.bias holds numbers that are no torch.float16"):
            checkpoint.export(path, pipe)
    assert [file.name for file in tmp_path.iterdir()] == ["model.ckpt"] and path.read_text() == "old"


def test_the_ckpt_passes_the_web_ui_s_safety_check(tmp_path):
    for dtype in (torch.float16, torch.float32):
        checkpoint.export(tmp_path / "model.ckpt", tiny_pipe(), dtype)
        web_ui.accepts(tmp_path / "model.ckpt")


def test_torch_and_safetensors_read_what_is_written_from_its_place_on_disk(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "matrix": base,
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(3, dtype=torch.float16),
        "brain": torch.ones(5, dtype=torch.bfloat16),
        "whole": torch.tensor([1, 2**40]),
    }
    views = {"turned": base.T, "part": base[1:3, ::2]}
    checkpoint.save_safetensors(tmp_path / "a.safetensors", tensors)
    checkpoint.save_pt(tmp_path / "a.pt", {"all": OrderedDict(tensors | views), "pair": (1, [None, "x"])})
    mapped = torch.load(tmp_path / "a.pt", weights_only=True, mmap=True)
    loaded = checkpoint.load_pt(tmp_path / "a.pt")
    assert loaded["pair"] == (1, [None, "x"]) and isinstance(loaded["all"], OrderedDict)
    for read in (load_file(tmp_path / "a.safetensors") | views, loaded["all"], mapped["all"]):
        assert read.keys() == (tensors | views).keys()
        for name, tensor in (tensors | views).items():
            assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor), name
    aligned = [mapped["all"][name].data_ptr() % 64 == 0 for name in tensors if tensors[name].numel()]
    assert all(aligned)


def test_the_same_weights_give_the_same_bytes_under_any_name(tmp_path):
    pipe = tiny_pipe()
    for suffix in ("ckpt", "safetensors"):
        for name in ("one", "two"):
            checkpoint.export(tmp_path / f"{name}.{suffix}", pipe)
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    tmp_path.chmod(0o755)
    checkpoint.export(tmp_path / "one.safetensors", pipe)
    assert (tmp_path / "one.safetensors").stat().st_mode & 0o777 == 0o644, "who may read the folder may read the file"


class ModelCheckpoint:
    """Lightning's, as it lies in the first Stable Diffusion's checkpoints: the class, and an object of it with a state."""

    def __init__(self):
        self.best_model_path, self.monitor = "/home/someone", "val"


class AttributeDict(dict):
    """Lightning's, of hyper-parameters."""


def test_what_a_trainer_leaves_beside_the_weights_is_not_needed(tmp_path, monkeypatch):
    """Nothing of it is imported: these modules are not even there."""
    extras = {"callbacks": {ModelCheckpoint: {"best": np.float64(0.1)}, "one": ModelCheckpoint()}, "epoch": np.int64(3)}
    extras |= {"hyper_parameters": AttributeDict(lr=1e-4), "loops": Path("somewhere"), "array": np.ones(2)}
    for kind in (ModelCheckpoint, AttributeDict):
        monkeypatch.setattr(kind, "__module__", "lightning_of_nowhere")
        monkeypatch.setitem(sys.modules, kind.__module__, sys.modules[__name__])
    pipe, other = tiny_pipe(), tiny_pipe(seed=1)
    data = {"state_dict": dict(checkpoint.state_dict(pipe)), "global_step": 470_000} | extras
    torch.save(data, tmp_path / "zip.ckpt")
    torch.save(data, tmp_path / "legacy.ckpt", _use_new_zipfile_serialization=False)
    monkeypatch.setitem(sys.modules, ModelCheckpoint.__module__, None)
    for name in ("zip", "legacy"):
        checkpoint.load_into(other, tmp_path / f"{name}.ckpt")
        same_weights(pipe, other)
        other = tiny_pipe(seed=1)
    with pytest.raises(ValueError, match="wants to call"):
        checkpoint.load_pt(tmp_path / "zip.ckpt")


@pytest.mark.parametrize("module", ["os", "builtins", "subprocess", "pickle"])
def test_what_could_do_harm_is_refused_beside_the_weights_too(tmp_path, capsys, module):
    torch.save({"state_dict": {}, "more": web_ui.Evil()}, tmp_path / "evil.ckpt")
    path = tmp_path / f"{module}.ckpt"
    with zipfile.ZipFile(tmp_path / "evil.ckpt") as archive, zipfile.ZipFile(path, "w") as other:
        for member in archive.namelist():
            data = archive.read(member).replace(b"__builtin__\nprint", module.encode() + b"\nprint")
            other.writestr(member, data.replace(b"builtins\nprint", module.encode() + b"\nprint"))
    with pytest.raises(ValueError, match="print, which was not done"):
        checkpoint.load_into(tiny_pipe(), path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [
        [1, 2],
        {1: torch.zeros(2), (2, 3): "x"},
        {"state_dict": None},
        {"state_dict": [torch.zeros(2)]},
        {"state_dict": {checkpoint.UNET + "out.0.bias": torch.zeros(1).expand(2**40)}},
        {"state_dict": {checkpoint.UNET + "out.0.bias": "a text", checkpoint.VAE + "x": torch.zeros(2, device="meta")}},
        {"state_dict": {checkpoint.UNET + "out.0.bias": torch.zeros(8).to_sparse()}},
    ],
)
def test_a_malformed_checkpoint_is_refused_in_one_sentence(tmp_path, data):
    torch.save(data, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match=r"odd\.ckpt is no such model.*it has no") as error:
        checkpoint.load_into(tiny_pipe(), tmp_path / "odd.ckpt")
    assert "\n" not in str(error.value)


def test_no_export_with_a_name_missing(tmp_path):
    """Whatever took it away, nothing is written."""
    pipe = tiny_pipe()
    del pipe.unet.conv_out.bias
    pipe.unet.conv_out.register_parameter("bias", None)
    with pytest.raises(ValueError, match=r"unet.*conv_out\.bias"):
        checkpoint.export(tmp_path / "model.ckpt", pipe)
    assert not [*tmp_path.iterdir()]


def test_sd1_in_full_size_goes_out_and_diffusers_reads_it(sd1_folder, tmp_path):
    pipe = StableDiffusionPipeline.from_pretrained(sd1_folder)
    for suffix in ("ckpt", "safetensors"):
        path = tmp_path / f"model.{suffix}"
        checkpoint.export(path, pipe)
        assert 1.9 < path.stat().st_size / 2**30 < 2.1
        config = {"config": str(sd1_folder), "local_files_only": True}
        same_weights(pipe, StableDiffusionPipeline.from_single_file(str(path), **config), torch.Tensor.float)
        path.unlink()
