"""LoRA (Hu et al. 2021) through peft: DreamBooth in a file of a few megabytes, for diffusers and for the web UI.

Beside every matrix of attention learn two thin ones, of `rank` rows and columns; the model itself stays.
"""

import diffusers
import torch
from diffusers.training_utils import cast_training_params
from diffusers.utils import convert_state_dict_to_kohya
from packaging.version import Version
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from helpers.diffusion import checkpoint

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
    """{name: tensor} under diffusers' names: unet.<layer>.lora_A.weight, and lora_B."""
    tensors = {f"unet.{name}": tensor for name, tensor in get_peft_model_state_dict(unet).items()}
    text = get_peft_model_state_dict(text_encoder) if text_encoder is not None else {}
    # transformers 5.6 dropped text_model. from these names; files have it
    tensors |= {f"text_encoder.text_model.{name.removeprefix('text_model.')}": text[name] for name in text}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def save(path, unet, text_encoder=None):
    """Writes a .safetensors for diffusers: pipe.load_lora_weights(path) puts it on."""
    checkpoint.save_safetensors(path, state_dict(unet, text_encoder))


def export(path, unet, text_encoder=None, dtype=torch.float16):
    """Writes a .safetensors for the web UI, in kohya's names; it goes to models/Lora, `<lora:name:1>` in a prompt.

    alpha, beside each pair of matrices, is the rank: strength 1 is as trained.
    """
    tensors = convert_state_dict_to_kohya(state_dict(unet, text_encoder))
    # diffusers names the text encoder as in XL, which has two
    tensors = {name.replace("lora_te1_", "lora_te_"): tensor.to(dtype) for name, tensor in tensors.items()}
    checkpoint.save_safetensors(path, tensors)


def load(pipe, path, strength=1.0):
    """Puts a LoRA file, diffusers' or the web UI's, on a pipeline; `strength` 0 is the model as it was.

    Raises ValueError if the file is no LoRA.
    """
    tensors = checkpoint.load_safetensors(path)
    if not any("lora" in name for name in tensors):
        raise ValueError(f"{path} holds no LoRA: choose a file whose tensors have lora in their names.")
    if "subject" in pipe.get_list_adapters().get("unet", []):
        pipe.unload_lora_weights()
    _put_on(pipe, *pipe.lora_state_dict(tensors))
    pipe.set_adapters(["subject"], [float(strength)])


def _put_on(pipe, state, alphas):
    """pipe.load_lora_weights in two parts, each only where the file has something for it."""
    if Version(diffusers.__version__) < Version("0.42") and not hasattr(pipe.text_encoder, "text_model"):
        # older diffusers do not know that transformers 5.6 dropped text_model. from the layers' names
        plain = lambda names: {k.replace("text_encoder.text_model.", "text_encoder."): v for k, v in names.items()}
        state, alphas = plain(state), alphas and plain(alphas)
    put = {"network_alphas": alphas, "adapter_name": "subject", "_pipeline": pipe}
    pipe.load_lora_into_unet(state, unet=pipe.unet, **put)
    if any(name.startswith("text_encoder.") for name in state):
        pipe.load_lora_into_text_encoder(state, text_encoder=pipe.text_encoder, **put)
