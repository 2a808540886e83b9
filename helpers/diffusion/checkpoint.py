"""A whole pipeline as one file with the names of the original Stable Diffusion 1.x, and back; files for the web UI.

The web UI and most other tools read this layout (CompVis' latent-diffusion). All names follow from the pipeline's own
structure, so a smaller model is exported by the same rules. .pt and .ckpt pass the web UI's safety check.
"""

import re
import zipfile
from pathlib import Path

import safetensors.torch
import torch

from helpers.machine import atomic_write

ALLOWED = re.compile(r"[^/]+/(data/\d+|version|data\.pkl)")  # what may be inside, in modules/safe.py of March 2023
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
POSITIONS = "embeddings.position_ids"  # in every original file; transformers no longer keeps it
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_NAMES = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "downsamplers.0": "downsample",
    "upsamplers.0": "upsample",
    "resnets": "block",
}


def save_pt(path, data):
    """Writes what torch.load reads, without the extra files the web UI refuses. The same data gives the same bytes.

    data: CPU tensors and plain values in dicts, lists and tuples; of a view its whole storage is written.
    torch.save adds .format_version and more: the archive's list of contents is written again without them.
    """
    with atomic_write(path) as partial:
        with partial.open("wb") as file:  # given a name, torch would write it into the archive
            torch.save(data, file)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.filelist[:] = [member for member in archive.filelist if ALLOWED.fullmatch(member.filename)]
            archive.comment = b""  # any change of it has the list written


def load_pt(path, mmap=False):
    """Reads a .pt of tensors and plain values and executes nothing; mmap leaves tensors on disk until they are used.

    Raises ValueError if it is no such file, or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # bytes that are no .pt lead torch into any error at all
        called = re.search(r"GLOBAL (\S+)", str(error))
        code = f" (it wants to call {called[1]}, which was not done)" if called else ""
        advice = "take it again from a source you trust."
        raise ValueError(f"{path} is not a readable .pt of plain tensors{code}: {advice}") from error


def save_safetensors(path, tensors, metadata=None):
    """Writes a dict of tensors as safetensors, atomically.

    metadata: {name: text} for the header, one entry at most, as the library writes several in any order.
    """
    with atomic_write(path) as partial:
        safetensors.torch.save_file(tensors, partial, metadata or {"format": "pt"})
        partial.chmod(partial.parent.stat().st_mode & 0o666)  # not for the owner alone, as the library has it


def load_safetensors(path):
    """{name: tensor} of a .safetensors. Raises ValueError if it is no such file."""
    try:
        return safetensors.torch.load_file(path)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a readable .safetensors: take it again from its source.") from error


def export(path, pipe, dtype=torch.float16):
    """Writes the pipeline's U-Net, VAE and text encoder to `path`, a .ckpt or .safetensors file.

    dtype: torch.float16 (2.1 GB for SD 1.x) or torch.float32 (4.3 GB).
    Needs as much memory as the file has bytes where weights must be converted or come from a GPU, else none.
    Raises ValueError for SD 2 and XL, or weights that `dtype` cannot hold.
    """
    path, tensors = Path(path), state_dict(pipe)
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"{dtype} is not what the web UI reads: use torch.float16 or torch.float32.")
    for name, tensor in tensors.items():
        if not tensor.abs().max() <= torch.finfo(dtype).max:
            raise ValueError(f"{name} holds numbers that are no {dtype}: take an earlier checkpoint of the training.")
    if path.suffix not in (".ckpt", ".safetensors"):
        raise ValueError(f"{path} must end in .ckpt or .safetensors.")
    tensors = {name: t.to("cpu", dtype if t.is_floating_point() else None).contiguous() for name, t in tensors.items()}
    if path.suffix == ".ckpt":
        save_pt(path, {"state_dict": tensors})
    else:
        save_safetensors(path, tensors)


def state_dict(pipe):
    """{original name: tensor} of the three networks; the tensors are the pipeline's own, in their own precision."""
    length = pipe.text_encoder.config.max_position_embeddings
    return _places(pipe) | {TEXT + POSITIONS: torch.arange(length).unsqueeze(0)}


def load_into(pipe, path):
    """Gives a pipeline of the same structure the weights in a .ckpt or .safetensors file. Runs nothing in it.

    Extra entries (EMA copies, training state) are left out; text encoder names may lack text_model. Raises
    ValueError, before any weight changes, if the file is unreadable or is a model of another structure. Not by
    from_single_file: it refuses those names, lets a weight of the text encoder be missing without a word, and needs a
    second pipeline with a folder of its config.
    """
    stored, places = _read(path), _places(pipe)
    short = {name.replace("text_model.", ""): name for name in places if name.startswith(TEXT)}
    stored = {short.get(name, name): tensor for name, tensor in stored.items()}
    fault = [f"it has no {name}" for name in sorted(places.keys() - stored.keys())]
    extra = [name for name in sorted(stored.keys() - places.keys()) if POSITIONS not in name]
    fault += [f"it has {name}, too" for name in extra if name.startswith((UNET, VAE, TEXT))]
    fault += [  # the VAE's attention comes as matrices or as convolutions
        f"its {name} is {tuple(stored[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in places.items()
        if name in stored and stored[name].squeeze().shape != tensor.squeeze().shape
    ]
    if fault:
        raise ValueError(f"{path} is no such model as this one: {fault[0]}.")
    with torch.no_grad():
        for name, tensor in places.items():
            tensor.copy_(stored[name].reshape(tensor.shape))


def _read(path):
    """{name: tensor} of a file, left on disk until used."""
    if Path(path).suffix != ".safetensors":
        data = load_pt(path, mmap=True)
        data = data.get("state_dict", data) if isinstance(data, dict) else {}
        return {name: value for name, value in data.items() if isinstance(value, torch.Tensor)}
    return load_safetensors(path)


def _places(pipe):
    """{original name: the pipeline's tensor}, viewed in the original's shape."""
    if pipe.unet.config.use_linear_projection or hasattr(pipe, "text_encoder_2"):
        raise ValueError("This is no Stable Diffusion 1.x: export SD 2 and XL, with other names, by another tool.")
    unet, vae, text = (part.state_dict() for part in (pipe.unet, pipe.vae, pipe.text_encoder))
    attends = {name.split(".attentions.")[0] for name in unet if ".attentions." in name}
    each, levels = pipe.unet.config.layers_per_block, len(pipe.vae.config.block_out_channels)
    places = {UNET + _unet_name(name, each, attends): tensor for name, tensor in unet.items()}
    vae = {_vae_name(name, levels): tensor for name, tensor in vae.items()}
    matrices = {name for name, tensor in vae.items() if ".attn_1." in name and tensor.ndim == 2}  # there convolutions
    places |= {VAE + name: t[:, :, None, None] if name in matrices else t for name, t in vae.items()}
    # transformers 5.6 dropped text_model. from these names; without it the web UI silently loads nothing
    text = {name.removeprefix("text_model."): tensor for name, tensor in text.items()}
    return places | {TEXT + name: tensor for name, tensor in text.items() if name != POSITIONS}


def _unet_name(name, layers_per_block, attends):
    """The original counts its blocks through: input_blocks.N.part, N over resnets and resamplers alike."""
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(ours + "."):
            return theirs + _resnet_name(name.removeprefix(ours)) if "resnets" in ours else theirs + name[len(ours) :]
    block, level, kind, layer, rest = re.fullmatch(r"((?:down|up)_blocks\.(\d+))\.(\w+)\.(\d+)(\..+)", name).groups()
    if kind == "resnets":
        rest = _resnet_name(rest)
    layer = layers_per_block if "samplers" in kind else int(layer)
    index = int(level) * (layers_per_block + 1) + layer
    if block.startswith("down"):
        rest = rest.replace(".conv", ".op") if kind == "downsamplers" else rest
        return f"input_blocks.{index + 1}.{int(kind == 'attentions')}{rest}"
    part = {"resnets": 0, "attentions": 1, "upsamplers": 1 + (block in attends)}[kind]
    return f"output_blocks.{index}.{part}{rest}"


def _resnet_name(rest):
    _, part, parameter = rest.split(".")
    return f".{UNET_RESNET[part]}.{parameter}"


def _vae_name(name, levels):
    for ours, theirs in VAE_NAMES.items():
        name = re.sub(rf"\b{re.escape(ours)}\b", theirs, name)
    name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)  # the original counts the decoder's levels backwards
    return re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{levels - 1 - int(found[1])}", name)
