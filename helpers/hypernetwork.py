"""Hypernetworks as the AUTOMATIC1111 web UI defines them: the module, its place in a U-Net, its file.

For every width of attention context there are two small networks, one for the keys and one for the
values. Each bends the context before the U-Net's own to_k and to_v read it: x + strength * f(x).
"""

import sys
import weakref
from collections import OrderedDict

from torch import nn

from helpers import webui
from helpers.hypernetwork_module import HypernetworkModule

# The facts a file carries beside its weights, under the web UI's own keys, with its defaults for a new net.
FACTS = {
    "step": 0,
    "name": "hypernetwork",
    "layer_structure": [1.0, 2.0, 1.0],
    "activation_func": "linear",
    "is_layer_norm": False,
    "weight_initialization": "Normal",
    "sd_checkpoint": None,
    "sd_checkpoint_name": None,
    "activate_output": False,
    "use_dropout": False,
    "dropout_structure": None,  # one chance a layer size; None follows from use_dropout and last_layer_dropout
    "last_layer_dropout": False,
    "optional_info": None,
}
_ATTACHED = weakref.WeakKeyDictionary()  # U-Net -> [(hypernetwork, hook handles)], in the order attached


class Hypernetwork(nn.Module):
    """A (keys, values) pair of modules for each context width.

    widths: as from `widths_of(unet)`; 768, 320, 640 and 1280 for SD 1.x.
    facts: any of FACTS, such as layer_structure=[1, 2, 1] or activation_func="swish".
    """

    def __init__(self, widths, **facts):
        super().__init__()
        if unknown := facts.keys() - FACTS.keys():
            raise TypeError(f"unknown facts {sorted(unknown)}: use {', '.join(FACTS)}")
        self.facts = FACTS | facts
        self.facts["dropout_structure"] = self.facts["dropout_structure"] or _usual_dropout(self.facts)
        for name in ("layer_structure", "dropout_structure"):
            self.facts[name] = [float(value) for value in self.facts[name]]  # the web UI writes floats
        pair = lambda width: nn.ModuleList(HypernetworkModule(width, self.facts) for _ in range(2))
        self.layers = nn.ModuleDict({str(width): pair(width) for width in widths})

    @property
    def widths(self):
        return [int(width) for width in self.layers]

    def set_strength(self, strength):
        """How far the context is bent outside training: 0 not at all, 1 as trained."""
        for keys, values in self.layers.values():
            keys.multiplier = values.multiplier = float(strength)


def _usual_dropout(facts):
    """0.3 between the layers, nothing after the last: what the web UI means by use_dropout alone."""
    count = len(facts["layer_structure"])
    if not facts["use_dropout"] or count < 3:
        return [0.0] * count
    return [0.0] + [0.3] * (count - 3) + [0.3 if facts["last_layer_dropout"] else 0.0, 0.0]


def widths_of(unet):
    """The context widths of a U-Net's attention: the text's first, then those of self-attention, rising."""
    widths = {layer.in_features for layer, _ in _projections(unet)}
    text = unet.config.cross_attention_dim
    return [text, *sorted(widths - {text})]


def _projections(unet):
    """Each to_k (index 0) and to_v (index 1) of every attention layer."""
    for attention in unet.modules():
        if hasattr(attention, "to_k") and hasattr(attention, "to_v"):
            yield attention.to_k, 0
            yield attention.to_v, 1


def attach(unet, hypernetwork, strength=1.0):
    """Puts a hypernetwork before to_k and to_v of all attention, self-attention too, as the web UI does.

    Several may be attached: they act one after another. Attaching one again only sets its strength.
    Widths the hypernetwork lacks pass unchanged. Raises ValueError if it has none of the U-Net's.
    """
    if not set(hypernetwork.widths) & set(widths_of(unet)):
        raise ValueError(f"this hypernetwork is for widths {hypernetwork.widths}, this U-Net has {widths_of(unet)}")
    hypernetwork.to(unet.device).set_strength(strength)
    attached = _ATTACHED.setdefault(unet, [])
    if any(other is hypernetwork for other, _ in attached):
        return
    handles = [
        layer.register_forward_pre_hook(_bend(hypernetwork.layers[str(layer.in_features)][which]))
        for layer, which in _projections(unet)
        if str(layer.in_features) in hypernetwork.layers
    ]
    attached.append((hypernetwork, handles))


def _bend(module):
    def hook(layer, inputs):
        context = inputs[0]
        return (module(context.float()).to(context.dtype),)  # the hypernetwork stays in float32

    return hook


def detach(unet):
    """Takes every hypernetwork off: the U-Net is bit for bit what it was."""
    for _, handles in _ATTACHED.pop(unet, []):
        for handle in handles:
            handle.remove()


def save(path, hypernetwork, **facts):
    """Writes the web UI's .pt: facts (step, name, ... of FACTS) and, under each width, (keys, values) weights.

    float32, plain Python values, no optimizer state. 1, 2, 1 on SD 1.x gives 83.7 MiB.
    """
    if unknown := facts.keys() - FACTS.keys():
        raise TypeError(f"unknown facts {sorted(unknown)}: use {', '.join(FACTS)}")
    hypernetwork.facts.update(facts)
    data = {int(width): tuple(map(_state, pair)) for width, pair in hypernetwork.layers.items()}
    webui.save_pt(path, data | {name: _plain(value) for name, value in hypernetwork.facts.items()})


def _state(module):
    weights = module.state_dict().items()
    return OrderedDict((sys.intern(name), tensor.detach().cpu().float().clone()) for name, tensor in weights)


def _plain(value):
    """Equal strings as one object and lists as copies, so that pickling equal facts gives equal bytes."""
    return sys.intern(value) if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else value


def load(path):
    """A Hypernetwork from a web UI .pt, ours or theirs. Raises ValueError if the file is no hypernetwork."""
    data = webui.load_pt(path)
    widths = [key for key in data if type(key) is int] if isinstance(data, dict) else []
    if not widths:
        raise ValueError(f"{path} holds no hypernetwork: no layers are stored under whole-number widths")
    # what the web UI assumes where an older file is silent
    facts = {"activation_func": None, "activate_output": True} | {k: v for k, v in data.items() if k in FACTS}
    hypernetwork = Hypernetwork(widths, **facts)
    for width in widths:
        for module, state in zip(hypernetwork.layers[str(width)], data[width]):
            module.load_state_dict({_renamed(name): tensor for name, tensor in state.items()})
    return hypernetwork.eval()


def _renamed(name):
    """NovelAI's linear1 and linear2 are the web UI's linear.0 and linear.1."""
    return name.replace("linear1.", "linear.0.").replace("linear2.", "linear.1.")
