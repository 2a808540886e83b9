"""A whole pipeline as one file with the names of the original Stable Diffusion 1.x, and back; files for the web UI.

The web UI and most other tools read this layout (CompVis' latent-diffusion). All names follow from the pipeline's own
structure, so a smaller model is exported by the same rules. .pt and .ckpt pass the web UI's safety check.
"""

import re
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import safetensors.torch
import torch
from transformers import CLIPTextModel

from helpers.machine import atomic_write

ALLOWED = re.compile(r"[^/]+/(data/\d+|version|data\.pkl)")  # what may be inside, in modules/safe.py of March 2023
PLAIN = re.compile(  # of Python itself, and no call of anything
    r"builtins\.(bool|dict|float|frozenset|int|list|str|tuple)|argparse\.Namespace|collections\.defaultdict"
    r"|datetime\.\w+|pathlib\.[\w.]+|typing\.\w+"
)
MOST_EXTRAS = 100  # names of classes in one file
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


def is_whole(value):
    """Whether a value is a plain tensor with a number of its own at each place: others may claim any memory."""
    plain = torch.is_tensor(value) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and not value.is_quantized and value.untyped_storage().nbytes() >= value.nbytes


class _Object:
    """Stands for an object that a checkpoint brings and nobody needs, such as a callback: an empty dict."""

    def __new__(cls, *arguments):
        return OrderedDict()


class _Number:
    """Stands for a number or a type of NumPy's, and for nothing in particular."""

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        pass


def load_pt(path, mmap=False, extras=False):
    """Reads a .pt of tensors and plain values and executes nothing; mmap leaves tensors on disk until they are used.

    extras: whether objects of other packages may be in it, as a trainer leaves them: something empty stands there, and
    their code is not even imported. Names of Python's own, by which a pickle does harm, are refused all the same.
    Raises ValueError if it is no such file, or holds anything else.
    """
    stand_ins = {}
    while True:
        try:
            with torch.serialization.safe_globals([(kind, name) for name, kind in stand_ins.items()]):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        except Exception as error:  # bytes that are no .pt lead torch into any error at all
            called = re.search(r"GLOBAL (\S+)", str(error))
            name = called and (called[1] if "." in called[1] else f"builtins.{called[1]}")
            if extras and called and _is_harmless(name) and name not in stand_ins and len(stand_ins) < MOST_EXTRAS:
                stand_ins[name] = _Number if name.startswith("numpy.") else _Object
                continue
            code = f" (it wants to call {called[1]}, which was not done)" if called else ""
            advice = "take it again from a source you trust."
            raise ValueError(f"{path} is not a readable .pt of plain tensors{code}: {advice}") from error


def _is_harmless(name):
    """Whether a name in a pickle is that of a container or path of Python's, or of another package's."""
    return bool(PLAIN.fullmatch(name)) or name.split(".")[0] not in sys.stdlib_module_names


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
    Raises ValueError, before anything is written, for SD 2 and XL, weights that `dtype` cannot hold, or a LoRA on it.
    """
    path, tensors = Path(path), state_dict(pipe)
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"{dtype} is not what the web UI reads: use torch.float16 or torch.float32.")
    largest = [tensor.abs().max().to(pipe.unet.device, torch.float32) for tensor in tensors.values()]
    for name, number in zip(tensors, torch.stack(largest).tolist()):  # a GPU is waited for once
        if not number <= torch.finfo(dtype).max:
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
    stored, places = read(path), _places(pipe)
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


def read(path):
    """{name: tensor} of a .safetensors, .ckpt, .pt or .bin, left on disk until used; the rest of a pickle is left out.

    Raises ValueError if it is unreadable.
    """
    if Path(path).suffix == ".safetensors":
        return load_safetensors(path)
    data = load_pt(path, mmap=True, extras=True)
    data = data.get("state_dict", data) if isinstance(data, dict) else {}
    items = data.items() if isinstance(data, dict) else ()
    return {name: value for name, value in items if isinstance(name, str) and is_whole(value)}


def check_bare(pipe):
    """Raises ValueError if U-Net, VAE or text encoder have other weights than their configs say: under a LoRA, say."""
    for name in ("unet", "vae", "text_encoder"):
        part = getattr(pipe, name)
        with torch.device("meta"):
            bare = CLIPTextModel(part.config) if name == "text_encoder" else part.from_config(part.config)
        shapes = [{_plain(key): tensor.shape for key, tensor in one.state_dict().items()} for one in (part, bare)]
        if strange := {key for key, _ in shapes[0].items() ^ shapes[1].items()} - {POSITIONS}:
            raise ValueError(
                f"The {name} is not as its config says, there is something at {min(strange)}: if that is a LoRA, call "
                "pipe.fuse_lora(), which bakes it in, and then pipe.unload_lora_weights(), which takes it off."
            )


def _places(pipe):
    """{original name: the pipeline's tensor}, viewed in the original's shape."""
    check_bare(pipe)
    if pipe.unet.config.use_linear_projection or hasattr(pipe, "text_encoder_2"):
        raise ValueError("This is no Stable Diffusion 1.x: export SD 2 and XL, with other names, by another tool.")
    tokenizer = getattr(pipe, "tokenizer", None)  # networks alone have no words
    if tokenizer and (words := {*tokenizer.added_tokens_encoder} - {*tokenizer.all_special_tokens}):
        raise ValueError(
            f"There are new words on this model, such as {min(words)}: take them off, they have own files."
        )
    unet, vae, text = (part.state_dict() for part in (pipe.unet, pipe.vae, pipe.text_encoder))
    attends = {name.split(".attentions.")[0] for name in unet if ".attentions." in name}
    each, levels = pipe.unet.config.layers_per_block, len(pipe.vae.config.block_out_channels)
    places = {UNET + original_unet_name(name, each, attends): tensor for name, tensor in unet.items()}
    vae = {_vae_name(name, levels): tensor for name, tensor in vae.items()}
    matrices = {name for name, tensor in vae.items() if ".attn_1." in name and tensor.ndim == 2}  # there convolutions
    places |= {VAE + name: t[:, :, None, None] if name in matrices else t for name, t in vae.items()}
    text = {_plain(name): tensor for name, tensor in text.items()}  # without TEXT the web UI silently loads nothing
    return places | {TEXT + name: tensor for name, tensor in text.items() if name != POSITIONS}


def _plain(name):
    """A name in a text encoder without text_model., which transformers 5.6 dropped."""
    return name.removeprefix("text_model.")


def original_unet_name(name, layers_per_block, attends):
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
