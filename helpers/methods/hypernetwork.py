"""Hypernetworks as the AUTOMATIC1111 web UI defines them: what they are made of, and their place in a U-Net.

For every width of attention context there are two small networks, one for the keys and one for the values. Each bends
the context before the U-Net's own to_k and to_v read it: x + strength * f(x).
"""

import contextlib
import functools
import itertools
import warnings
import weakref

from torch import nn

# In torch's and the web UI's list, though no hypernetwork could be made with them, there or here
REFUSED = ("multiheadattention", "threshold", "glu")
ACTIVATIONS = {
    name.lower(): getattr(nn, name) for name in nn.modules.activation.__all__ if name.lower() not in REFUSED
} | {"swish": nn.Hardswish}  # the web UI's "swish" is Hardswish, not SiLU
INITS = {  # Kaiming's is that of ReLU, before leaky ReLU too: the web UI counts no slope
    "Normal": functools.partial(nn.init.normal_, std=0.01),
    "XavierUniform": nn.init.xavier_uniform_,
    "XavierNormal": nn.init.xavier_normal_,
    "KaimingUniform": nn.init.kaiming_uniform_,
    "KaimingNormal": nn.init.kaiming_normal_,
}

# The config a file carries beside its weights, under the web UI's own keys, with its defaults for a new net.
CONFIG = {
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


class Hypernetwork(nn.Module):
    """A (keys, values) pair of modules for each context width.

    widths: as from `widths_of(unet)`; 768, 320, 640 and 1280 for SD 1.x.
    config: any of CONFIG, such as layer_structure=[1, 2, 1] or activation_func="swish".
    """

    def __init__(self, widths, **config):
        super().__init__()
        if unknown := config.keys() - CONFIG.keys():
            raise TypeError(f"Unknown config {sorted(unknown)}: use {', '.join(CONFIG)}.")
        self.config = CONFIG | config
        self.config["dropout_structure"] = self.config["dropout_structure"] or _usual_dropout(self.config)
        for name in ("layer_structure", "dropout_structure"):
            self.config[name] = [float(value) for value in self.config[name]]  # the web UI writes floats
        self.config["use_dropout"] = bool(self.config["use_dropout"] or any(self.config["dropout_structure"]))
        pair = lambda width: nn.ModuleList(HypernetworkModule(width, self.config) for _ in range(2))
        self.layers = nn.ModuleDict({str(width): pair(width) for width in widths})

    @property
    def widths(self):
        return [int(width) for width in self.layers]

    @contextlib.contextmanager
    def on(self, unet, strength=1.0):
        """The U-Net with this network on it; off it again afterwards."""
        attach(unet, self.eval(), strength)
        try:
            yield unet
        finally:
            detach(unet, self)

    def set_strength(self, strength):
        """How far the context is bent outside training: 0 not at all, 1 as trained."""
        for keys, values in self.layers.values():
            keys.multiplier = values.multiplier = float(strength)


def _usual_dropout(config):
    """0.3 between the layers, nothing after the last: what the web UI means by use_dropout alone."""
    count = len(config["layer_structure"])
    if not config["use_dropout"] or count < 3:
        return [0.0] * count
    return [0.0] + [0.3] * (count - 3) + [0.3 if config["last_layer_dropout"] else 0.0, 0.0]


class HypernetworkModule(nn.Module):
    """A residual network on contexts (..., width); config as in CONFIG. Raises ValueError for one that cannot be."""

    def __init__(self, width, config):
        super().__init__()
        structure = config["layer_structure"]
        if structure[0] != 1 or structure[-1] != 1:
            raise ValueError(f"The layer structure {structure} must begin and end with 1, as in 1, 2, 1.")
        if len(config["dropout_structure"]) != len(structure):
            raise ValueError(f"The dropout structure {config['dropout_structure']} must be as long as {structure}.")
        self.multiplier = 1.0
        self.linear = nn.Sequential(*self._layers(width, structure, config))
        for layer in self.linear:
            if isinstance(layer, nn.Linear | nn.LayerNorm):
                _initialize(layer, config["weight_initialization"])

    @staticmethod
    def _layers(width, structure, config):
        last, name = len(structure) - 2, config["activation_func"]
        if name not in (None, "linear", *ACTIVATIONS):
            raise ValueError(f"The activation {name!r} cannot be used: take linear, {', '.join(sorted(ACTIVATIONS))}.")
        for i, (size_in, size_out) in enumerate(itertools.pairwise(structure)):
            yield nn.Linear(int(width * size_in), int(width * size_out))
            if name in ACTIVATIONS and (i < last or config["activate_output"]):
                yield ACTIVATIONS[name]()
            if config["is_layer_norm"]:  # also after the last layer, as there
                yield nn.LayerNorm(int(width * size_out))
            if config["use_dropout"] and config["dropout_structure"][i + 1] > 0:
                yield nn.Dropout(config["dropout_structure"][i + 1])

    def forward(self, x):
        """x + multiplier * f(x); in training always at full strength."""
        wide = x.float()  # as its weights are; autocast may multiply them in 16 bits, as it does the U-Net's
        return (wide + self.linear(wide) * (1.0 if self.training else self.multiplier)).to(x.dtype)


def _initialize(layer, init):
    """As the web UI: N(0, 0.01) by default and always for a LayerNorm (so it does not start at 1), biases 0."""
    if init not in INITS:
        raise ValueError(f"Unknown weight initialization {init!r}: use {', '.join(INITS)}.")
    nn.init.zeros_(layer.bias)
    INITS["Normal" if isinstance(layer, nn.LayerNorm) else init](layer.weight)


_ATTACHED = weakref.WeakKeyDictionary()  # U-Net -> {hypernetwork: hook handles}, in the order attached


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

    Several act one after another, each at its own strength; attaching one again only sets its strength. Widths that it
    lacks pass unchanged. Warns where two of one config act, as after a cell that ran twice. Raises ValueError if it is for another model, or the U-Net's projections are fused.
    """
    _check_fit(unet, hypernetwork)
    hypernetwork.to(unet.device).set_strength(strength)
    for parameter in hypernetwork.parameters():
        parameter.beside = unet.dtype  # what training.steps then multiplies in
    here = _ATTACHED.setdefault(unet, {})
    if hypernetwork in here:
        return
    if any(other.config == hypernetwork.config for other in here):
        name = hypernetwork.config["name"]
        warnings.warn(f"Two hypernetworks {name!r} act now: if a cell ran twice, detach the first one.", stacklevel=2)
    cache, layers = {}, hypernetwork.layers  # cache: which of the pair -> (the text, what it makes of it)
    handles = [
        layer.register_forward_pre_hook(functools.partial(_bend, layers[str(layer.in_features)][which], which, cache))
        for layer, which in _projections(unet)
        if str(layer.in_features) in layers
    ]
    text = str(unet.config.cross_attention_dim)
    if text in layers and not here:  # the first alone meets the text as it came
        handles.append(unet.register_forward_pre_hook(_bend_text(layers[text], cache), with_kwargs=True))
    here[hypernetwork] = handles


def _check_fit(unet, hypernetwork):
    ours, text = widths_of(unet), unet.config.cross_attention_dim
    foreign = sorted(set(hypernetwork.widths) - set(ours))
    if text not in hypernetwork.widths and foreign:
        raise ValueError(
            f"This hypernetwork is for widths {hypernetwork.widths}, this U-Net has {ours}, of which {text} is the "
            "text's: it is for another model (SD 1.x has 768 there, SD 2.x 1024), so attach it to that one."
        )
    if any(getattr(module, "fused_projections", False) for module in unet.modules()):
        raise ValueError("This U-Net's keys and values are fused into one layer: call unfuse_qkv_projections() first.")


def _bend_text(pair, cache):
    """A hook before the U-Net: the text is bent once a pass, not again before each cross-attention.

    Not under gradient checkpointing, which must meet the same work the second time, nor where dropout draws anew.
    """
    chance = any(isinstance(layer, nn.Dropout | nn.RReLU) for layer in pair.modules())

    def hook(unet, inputs, named):
        text = named["encoder_hidden_states"] if "encoder_hidden_states" in named else inputs[2]
        cache.clear()
        if not (unet.is_gradient_checkpointing or chance and pair.training):
            cache.update({which: (text, module(text)) for which, module in enumerate(pair)})

    return hook


def _bend(module, which, cache, layer, inputs):
    """A hook before a to_k or to_v, the last two."""
    text, bent = cache.get(which, (None, None))
    return (bent if inputs[0] is text else module(inputs[0]),)


def detach(unet, hypernetwork=None):
    """Takes a hypernetwork off, or all of them: without any the U-Net is bit for bit what it was."""
    here = _ATTACHED.get(unet, {})
    for network in [*here] if hypernetwork is None else [hypernetwork]:
        for handle in here.pop(network, ()):
            handle.remove()
