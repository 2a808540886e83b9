"""LoRA (Hu et al. 2021) through peft: DreamBooth in a file of a few megabytes, for diffusers and for the web UI.

Beside every matrix of attention learn two thin ones, of `rank` rows and columns; the model itself stays.
"""

import torch
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch import nn

from helpers.diffusion import checkpoint
from helpers.methods import lora_file

UNET, TEXT = ("to_q", "to_k", "to_v", "to_out.0"), ("q_proj", "k_proj", "v_proj", "out_proj")


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
        cast_training_params(part)
        learning += [parameter for parameter in part.parameters() if parameter.requires_grad]
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
    path: as for `lora_file.read`, and raises ValueError as that does, before the pipeline changes.
    """
    layers = lora_file.read(path, pipe)
    if "subject" in {name for names in pipe.get_list_adapters().values() for name in names}:
        pipe.unload_lora_weights()
    for part, pairs in layers.items():
        _put_on(getattr(pipe, part), pairs)
    pipe.set_adapters(["subject"], [float(strength)])


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
