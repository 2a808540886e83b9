"""LoRA (Hu et al. 2021) through peft: DreamBooth in a file of a few megabytes, for diffusers and for the web UI.

Beside every matrix of attention learn two thin ones, of `rank` rows and columns; the model itself stays. Read are also
the files of other tools: the names of kohya, diffusers (old and new), PEFT and OneTrainer, and the scales they state.
"""

import json
import math
import re
import warnings
from pathlib import Path

import torch
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from safetensors import safe_open
from torch import nn

from helpers import machine
from helpers.diffusion import checkpoint

UNET, TEXT = ("to_q", "to_k", "to_v", "to_out.0"), ("q_proj", "k_proj", "v_proj", "out_proj")
# The two thin matrices under their names in files: down is A, up is B; mid is between the two of some convolutions.
_MATRIX = re.compile(r"(.+)[._]lora(?:_linear_layer)?[._](up|down|mid|A|B)\.weight")
_PART = re.compile(r"(?:lora_)?(unet|text_encoder|te1?|clip_l)_(.+)")
_OTHER_KINDS = {
    "dora_scale|lora_magnitude_vector": "DoRA",
    r"\.hada_": "LoHa",
    r"\.lokr_": "LoKr",
    r"(^|[._])b?oft_": "OFT",
    r"\.on_input$": "(IA)^3",
    r"\.diff(_b)?$": "set of whole weight differences",
    "lora_te2|text_encoder_2|clip_g": "LoRA for Stable Diffusion XL",
    r"^(lora_)?transformer[._]|double_blocks": "LoRA for a transformer such as SD 3 or Flux",
}
_OURS = "a plain LoRA for this very model"
# PEFT takes names of layers in a header for patterns: only such as end soon, without repeats in repeats
_SOON = re.compile(r"(?!.*\)[*+?{])[^*+?{(]*+(?:[*+?{(][^*+?{(]*+){0,3}")
_MOST_PATTERNS, _LONGEST_PATTERN = 4096, 200
_FOLDER = ("adapter_model", "pytorch_lora_weights")  # what PEFT and diffusers call the file in a folder of theirs


def add(unet, text_encoder=None, *, rank=4):
    """Adds adapters to attention and freezes all else; returns the parameters that learn, float32.

    They begin at nothing: lora_B is zero. Raises ValueError if adapters are there already.
    """
    learning = []
    for part, targets in ((unet, UNET), (text_encoder, TEXT))[: 1 + (text_encoder is not None)]:
        if hasattr(part, "peft_config"):
            raise ValueError("This model has a LoRA already: load the pipeline again for a new one.")
        part.requires_grad_(False)
        part.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=[*targets]))
        learning += _learning(part)
    return learning


def state_dict(unet, text_encoder=None):
    """{name: tensor} under diffusers' names: unet.<layer>.lora_A.weight, and lora_B; alpha is the rank.

    Of a LoRA that was loaded, too, as it is at strength 1. Raises ValueError if there is none, or more than one.
    """
    # transformers 5.6 dropped text_model. from these names; files have it
    prefixes = {"unet": unet} | ({"text_encoder.text_model": text_encoder} if text_encoder is not None else {})
    names = {name for part in prefixes.values() for name in getattr(part, "peft_config", {})}
    if len(names) != 1:
        raise ValueError(f"There are {len(names)} LoRAs on this model, not one: add or load the one to save, alone.")
    (adapter,), tensors = names, {}
    for prefix, part in prefixes.items():
        for layer, module in part.named_modules():
            if adapter in getattr(module, "lora_A", ()):
                name = f"{prefix}.{layer.removeprefix('text_model.')}"
                scale = module.lora_alpha[adapter] / module.r[adapter]
                tensors[f"{name}.lora_A.weight"] = module.lora_A[adapter].weight
                tensors[f"{name}.lora_B.weight"] = module.lora_B[adapter].weight * scale
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def save(path, unet, text_encoder=None):
    """Writes a .safetensors for diffusers: pipe.load_lora_weights(path) puts it on. Raises ValueError as state_dict."""
    checkpoint.save_safetensors(path, state_dict(unet, text_encoder))


def export(path, unet, text_encoder=None, dtype=torch.float16):
    """Writes a .safetensors for the web UI, in kohya's names; it goes to models/Lora, `<lora:name:1>` in a prompt.

    alpha, beside each pair of matrices, is the rank: strength 1 is as trained. Raises ValueError as state_dict.
    """
    tensors = {}
    for name, tensor in state_dict(unet, text_encoder).items():
        layer, side, _ = name.replace("text_encoder.", "te.").rsplit(".", 2)
        layer = f"lora_{layer.replace('.', '_')}"
        tensors[f"{layer}.{'lora_down' if side == 'lora_A' else 'lora_up'}.weight"] = tensor.to(dtype)
        if side == "lora_A":
            tensors[f"{layer}.alpha"] = torch.tensor(len(tensor), dtype=dtype)
    checkpoint.save_safetensors(path, tensors)


def load(pipe, path, strength=1.0):
    """Puts a LoRA file, of whichever tool, on a pipeline; `strength` 0 is the model as it was, below 0 the opposite.

    Each layer becomes W + strength * alpha / rank * up @ down, with the alpha and the rank that the file states for it.
    path: as for `read`, and raises ValueError as that does, before the pipeline changes.
    """
    layers = read(path, pipe)
    if "subject" in {name for names in pipe.get_list_adapters().values() for name in names}:
        pipe.unload_lora_weights()
    for part, pairs in layers.items():
        _put_on(getattr(pipe, part), pairs)
    pipe.set_adapters(["subject"], [float(strength)])


def tune(pipe, path):
    """Puts a LoRA file on a pipeline to train it further and freezes all else; returns the parameters, float32.

    Raises as `load`.
    """
    for part in (pipe.unet, pipe.text_encoder):
        part.requires_grad_(False)
    load(pipe, path)
    return [p for part in (pipe.unet, pipe.text_encoder) for p in _learning(part)]


def _learning(part):
    cast_training_params(part)
    learning = [parameter for parameter in part.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.beside = part.dtype  # what training.steps then multiplies in
    return learning


def _put_on(part, pairs):
    """Adds {layer: (down, up)} of any ranks as adapters of one rank: zeros fill up the lower ones.

    For libraries err, each in its own way, where ranks and alphas differ by layer.
    """
    rank = max(len(down) for down, _ in pairs.values())
    part.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(pairs)), "subject")
    for layer, (down, up) in pairs.items():
        module = part.get_submodule(layer)
        for weight, given in ((module.lora_A["subject"].weight, down), (module.lora_B["subject"].weight, up)):
            nn.init.zeros_(weight)
            with torch.no_grad():
                weight[: given.shape[0], : given.shape[1]] = given


def read(path, pipe):
    """{"unet": {layer: (down, up)}, ...}: the matrices of a file in float32, up times alpha / rank, as the model shapes them.

    path: a .safetensors, .bin or .pt, or a folder in which PEFT or diffusers put one. layer: as in named_modules().
    alpha is the one beside the matrices, else that of the header or of PEFT's adapter_config.json, else the rank.
    Warns of embeddings in the file, which are left out. Raises ValueError if the file is unreadable, no LoRA, a kind of
    adapter other than LoRA, or for another model.
    """
    path = _file(Path(path))
    tensors, configs = _known(checkpoint.read(path), path), _configs(path)
    places, layers, pairs = _places(pipe), {}, {}
    for name, tensor in tensors.items():
        found = _MATRIX.fullmatch(name)
        layer, side = found.groups() if found else (name.removesuffix(".alpha"), "alpha")
        if not (place := _find(layer, places)) or not (found or name.endswith(".alpha")):
            raise ValueError(f"{path} has {name}, for which this model has no place: choose {_OURS}.")
        given, side = layers.setdefault(place, {}), {"A": "down", "B": "up"}.get(side, side)
        if side in given:
            raise ValueError(f"{path} has {name} twice, under two names: take it again from its source.")
        given[side] = tensor.float()
    for (part, layer, shape), given in layers.items():
        pairs.setdefault(part, {})[layer] = _pair(given, shape, configs.get(part, {}), layer, path)
    return pairs


def _file(path):
    found = [path / f"{stem}{suffix}" for stem in _FOLDER for suffix in (".safetensors", ".bin")]
    return next((file for file in found if file.is_file()), path)


def _known(tensors, path):
    """The tensors under one spelling of their names. Raises ValueError for another kind of adapter, or for none."""
    for pattern, kind in _OTHER_KINDS.items():
        if name := next((name for name in tensors if re.search(pattern, name)), None):
            raise ValueError(f"{path} is a {kind}, by its tensor {name}, which is not applied here: choose {_OURS}.")
    if not any("lora" in name for name in tensors):
        raise ValueError(f"{path} holds no LoRA: choose a file whose tensors have lora in their names.")
    words = sorted({name.split(".")[1] for name in tensors if name.startswith("bundle_emb.")})
    if words:
        warnings.warn(f"{path} brings embeddings, too, which are left out: {', '.join(words)}.", stacklevel=4)
    return {_spelt(name): tensor for name, tensor in tensors.items() if not name.startswith("bundle_emb.")}


def _spelt(name):
    """A name as diffusers would write it today, but for the words before and the letters of the matrix."""
    name = name.removeprefix("base_model.model.").replace(".processor.", ".").replace(".default.", ".")
    name = re.sub(r"\bto_([qkv]|out)_lora\.", r"to_\1.lora.", name)  # of early 2023
    if ".self_attn.to_" in name:
        return re.sub(r"\.to_([qkv]|out)\.", r".\1_proj.", name)
    return name.replace(".to_out.lora.", ".to_out.0.lora.")


def _configs(path):
    """{part: PEFT's config of it} from the header, where diffusers writes it, or from the file that PEFT puts beside."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                flat = json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))
            if not isinstance(flat, dict):
                raise TypeError("no object of names")
            configs = {
                part: {key.removeprefix(f"{part}."): flat[key] for key in flat if key.startswith(f"{part}.")}
                for part in ("unet", "text_encoder")
            }
            if any(configs.values()):
                return configs
        beside = path.with_name("adapter_config.json")
        one = machine.read_json(beside) if path.stem == _FOLDER[0] and beside.is_file() else {}
        return {"unet": one, "text_encoder": one}
    except (TypeError, ValueError) as error:
        raise ValueError(f"What {path} says of its own making is unreadable ({error}): take it again.") from error


def _places(pipe):
    """{part and layer as in files, underscores for dots: (part, layer, shape of its weight)}, in new and old names."""
    places, each = {}, pipe.unet.config.layers_per_block
    for part in ("unet", "text_encoder"):
        layers = {
            name.removesuffix(".base_layer"): tuple(module.weight.shape)
            for name, module in getattr(pipe, part).named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d) and ".lora_" not in name
        }
        attends = {name.split(".attentions.")[0] for name in layers if ".attentions." in name}
        for layer, shape in layers.items():
            place = part, layer, shape
            places[f"{part}.{layer.removeprefix('text_model.')}".replace(".", "_")] = place
            if part == "unet":  # OneTrainer's newer files, and some of kohya's, call them as the original does
                original = checkpoint.original_unet_name(f"{layer}.weight", each, attends).removesuffix(".weight")
                places[f"unet.{original}".replace(".", "_")] = place
                if layer.endswith("upsamplers.0.conv"):  # OneTrainer counts an attention before it where there is none
                    places[f"unet.{original}".replace(".1.conv", ".2.conv").replace(".", "_")] = place
    return places


def _find(layer, places):
    """(part, layer, shape) of a layer as a file calls it, or None."""
    layer = layer.replace(".", "_")
    if found := _PART.fullmatch(layer):
        part, layer = "unet" if found[1] == "unet" else "text_encoder", found[2]
    else:  # PEFT saves one part alone, and does not say which
        part = "unet" if f"unet_{layer}" in places else "text_encoder"
    return places.get(f"{part}_{layer.removeprefix('text_model_')}")


def _pair(given, shape, config, layer, path):
    """(down, up) of one layer, the scale in up. Raises ValueError if they do not fit a weight of this shape."""
    down, up = given.get("down"), given.get("up")
    if down is None or up is None:
        raise ValueError(f"{path} has only one of the two matrices of {layer}: take it again from its source.")
    if bad := [side for side, tensor in given.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{path} has values that are not numbers in {bad[0]} of {layer}: choose another file.")
    try:
        if "mid" in given:
            down = torch.einsum("nmkl,mj->njkl", given["mid"], down.flatten(1))
        if down.shape[1] != shape[1] or up.shape[:2] != (shape[0], len(down)):
            raise IndexError("other widths")
        down, up = down.reshape(len(down), *shape[1:]), up.reshape(*up.shape[:2], *[1] * (len(shape) - 2))
    except (IndexError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{path} is a LoRA for another model: {list(down.shape)} and {list(up.shape)} of {layer} do not fit its "
            f"{list(shape)}; text is 768 wide in SD 1.x, 1024 in SD 2.x and 2048 in XL. Choose {_OURS}."
        ) from error
    return down, up * _scale(given, len(down), config, layer, path)


def _scale(given, rank, config, layer, path):
    """alpha / rank of a layer; alpha / sqrt(rank) where the config says so."""
    try:
        patterns = config.get("alpha_pattern") or {}
        if len(patterns) > _MOST_PATTERNS:
            raise ValueError(f"{len(patterns)} patterns")
        fitting = (alpha for pattern, alpha in patterns.items() if _fits(pattern.removeprefix("text_model."), layer))
        stated = next(fitting, config.get("lora_alpha", rank))
        alpha = given["alpha"].item() if "alpha" in given else float(stated)
        return alpha / (math.sqrt(rank) if config.get("use_rslora") and "alpha" not in given else rank)
    except (AttributeError, ArithmeticError, RuntimeError, TypeError, ValueError, re.error) as error:
        raise ValueError(
            f"{path} states no readable alpha for {layer} ({error}): take it again from its source."
        ) from error


def _fits(pattern, layer):
    """Whether a layer is meant by a pattern of a header, as PEFT matches it: the layer's name, or how that ends."""
    if re.fullmatch(r"[\w.]+", pattern):
        return layer == pattern or layer.endswith(f".{pattern}")
    if len(pattern) > _LONGEST_PATTERN or not _SOON.fullmatch(pattern):
        raise ValueError(f"the pattern {pattern[:60]!r} is too intricate")
    return re.fullmatch(rf"(.*\.)?({pattern})", layer) is not None
