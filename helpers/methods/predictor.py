"""A network that predicts the weights of another: from portraits to a low-rank change of every attention projection.

As the paper's section 2.2 and Ha et al. 2016 (arXiv 1609.09106) define a hypernetwork, and HyperDreamBooth (Ruiz et al.
2023, arXiv 2307.06949) makes one for Stable Diffusion: a feature extractor looks at one or more portraits, and a decoder
with a query for every adapted layer refines its answer in several passes.

What is predicted: for each layer two thin matrices are learnt once and shared by everybody, as a LoRA of `rank`; a person
is `rank` gates for each layer, the strengths of its rows: up @ diag(gates) @ down.
"""

import contextlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from torch import nn

from helpers.diffusion import POCKET, checkpoint
from helpers.methods import lora

WEIGHTS = POCKET / "predictor" / "model.safetensors"  # by pocket.train_predictor
SIDE = 128  # pixels of a portrait as it is looked at
WIDTHS = (3, 32, 64, 96, 160, 192)
CELLS = 4 * 4 + 1  # what is seen: features of 4 x 4 cells of the portrait, and of the whole


class Predictor(nn.Module):
    """Portraits in, weights out: `see`, then call, then `on`.

    layers: {name: (inputs, outputs)} as from `layers_of(unet)`. width: of the decoder. passes: of its refinement.
    Float32 to train in; a file holds 16 bits.
    """

    def __init__(self, layers, rank=32, width=192, passes=3):
        super().__init__()
        self.layers = {name: tuple(sizes) for name, sizes in layers.items()}
        self.config = {"layers": self.layers, "rank": rank, "width": width, "passes": passes}
        self.eyes = nn.Sequential(*(_look(a, b) for a, b in pairwise(WIDTHS)))
        self.register_buffer("mean", torch.zeros(CELLS, WIDTHS[-1]))
        self.register_buffer("spread", torch.ones(CELLS, WIDTHS[-1]))
        self.summary = nn.Sequential(nn.Linear(CELLS * WIDTHS[-1], width), nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(len(layers), width))
        self.refine, self.norm = _Refinement(width), nn.LayerNorm(width)
        self.heads = nn.Parameter(torch.randn(len(layers), width, rank) / width**0.5)
        self.answer = nn.Linear(rank, width)  # what the next pass gets of the gates so far
        self.down = nn.ParameterList(torch.randn(rank, inputs) / inputs**0.5 for inputs, _ in self.layers.values())
        self.up = nn.ParameterList(torch.zeros(outputs, rank) for _, outputs in self.layers.values())

    def see(self, images):
        """Features (1, photos, 17, 192) of one person's portraits, square PIL images, without gradients."""
        small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)) for image in images]
        pixels = torch.from_numpy(np.stack(small)).to(self.mean.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            return self.features(pixels)[None]

    def features(self, pixels):
        """What is seen in each of n portraits, (n, 3, 128, 128) in -1..1: (n, 17, 192)."""
        seen = self.eyes(pixels).flatten(2).transpose(1, 2)
        return torch.cat([seen, seen.amax(1, keepdim=True)], 1)

    def identity(self, features):
        """One vector (people, width) for each person's features (people, photos, 17, 192), in any order of photos."""
        standard = (features - self.mean) / self.spread
        return self.summary(standard.mean(1).flatten(1))

    def forward(self, features):
        """Gates (people, layers, rank) from features (people, photos, 17, 192), in all passes of the decoder."""
        tokens = self.queries + self.identity(features)[:, None]
        gates = tokens.new_zeros(*tokens.shape[:2], self.config["rank"])
        for _ in range(self.config["passes"]):
            hidden = self.norm(self.refine(tokens + self.answer(gates)))
            gates = gates + torch.einsum("plw,lwr->plr", hidden, self.heads)
        return gates

    @contextlib.contextmanager
    def on(self, unet, gates, strength=1.0):
        """The U-Net with one person's weights, gates (1, layers, rank), or with each sample's own (n, layers, rank).

        A batch of k * n samples has the n people k times over, as guidance has. Afterwards the U-Net is bit for bit
        what it was. Raises ValueError for a U-Net with other layers.
        """
        if layers_of(unet) != self.layers:
            raise ValueError("This predictor was made for a U-Net with other layers: make or load one for this U-Net.")
        hooks = zip(self.layers, self.down, self.up, (strength * gates).unbind(1))
        handles = [unet.get_submodule(name).register_forward_hook(_change(*parts)) for name, *parts in hooks]
        try:
            yield unet
        finally:
            for handle in handles:
                handle.remove()

    def lora(self, gates):
        """One person's weights as a LoRA of diffusers, {name: tensor}, for `checkpoint.save_safetensors` and tuning."""
        tensors = {}
        for name, down, up, gate in zip(self.layers, self.down, self.up, gates[0]):
            tensors[f"unet.{name}.lora_A.weight"] = down.detach().clone()
            tensors[f"unet.{name}.lora_B.weight"] = (up * gate).detach().clone()
        return tensors

    def save(self, path):
        """Writes a .safetensors in 16 bits, atomically, with the sizes in its header."""
        tensors = {name: tensor.half().cpu().contiguous() for name, tensor in self.state_dict().items()}
        checkpoint.save_safetensors(path, tensors, {"predictor": json.dumps(self.config)})


def load(path=WEIGHTS):
    """A Predictor from its file, by default pocket's, float32, ready to predict.

    Raises FileNotFoundError if there is none, ValueError if it is another file.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"{path} is missing: run `python -m pocket.train_predictor 300` or restore it from git."
        )
    tensors = checkpoint.load_safetensors(path)
    with safe_open(path, "pt") as file:
        config = (file.metadata() or {}).get("predictor")
    if config is None:
        raise ValueError(f"{path} holds no predictor: choose a file that Predictor.save wrote.")
    predictor = Predictor(**json.loads(config))
    predictor.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return predictor.eval()


def layers_of(unet):
    """{name: (inputs, outputs)} of every attention projection of a U-Net, those that a LoRA adapts."""
    return {
        name: (module.in_features, module.out_features)
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(tuple(f".{end}" for end in lora.UNET))
    }


def _change(down, up, gates):
    """A hook after a linear layer: adds what up @ diag(gates) @ down makes of its input. gates: (people, rank)."""

    def hook(layer, inputs, output):
        gate = gates.repeat(len(output) // len(gates), 1)[:, None]
        low = F.linear(inputs[0], down.to(inputs[0].dtype)) * gate
        return output + F.linear(low.to(output.dtype), up.to(output.dtype))

    return hook


def _look(inputs, outputs):
    """Two convolutions, the first of which halves the picture."""
    parts = []
    for channels, stride in ((inputs, 2), (outputs, 1)):
        parts += [nn.Conv2d(channels, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU()]
    return nn.Sequential(*parts)


class _Refinement(nn.Module):
    """One pass over the tokens of all layers (people, layers, width): they look at each other, then each thinks."""

    def __init__(self, width, heads=4):
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens):
        normed = self.before(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return tokens + self.think(self.between(tokens))
