"""What a hypernetwork is made of: a pair of small networks a width, with the web UI's layers and starts."""

import inspect
import itertools

from torch import nn

# Classes of torch's that the web UI's list holds too, though no hypernetwork could be made with them, there or here
REFUSED = {
    "multiheadattention": "is no activation, and the web UI hides it",
    "threshold": "needs two numbers that the file has no place for",
    "glu": "halves the width, so that the next layer does not fit",
}
ACTIVATIONS = {
    name.lower(): kind
    for name, kind in inspect.getmembers(nn.modules.activation, inspect.isclass)
    if kind.__module__ == nn.modules.activation.__name__ and name.lower() not in REFUSED
} | {"swish": nn.Hardswish}  # the web UI's "swish" is Hardswish, not SiLU
INITS = {
    "XavierUniform": nn.init.xavier_uniform_,
    "XavierNormal": nn.init.xavier_normal_,
    "KaimingUniform": nn.init.kaiming_uniform_,
    "KaimingNormal": nn.init.kaiming_normal_,
}


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
        self.facts["use_dropout"] = bool(self.facts["use_dropout"] or any(self.facts["dropout_structure"]))
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


class HypernetworkModule(nn.Module):
    """A residual network on contexts (..., width); facts as in `helpers.hypernetwork.FACTS`.

    Raises ValueError for an unknown activation or initialization, or a structure not from 1 to 1.
    """

    def __init__(self, width, facts):
        super().__init__()
        structure = facts["layer_structure"]
        if structure[0] != 1 or structure[-1] != 1:
            raise ValueError(f"layer structure {structure} must begin and end with 1, as in 1, 2, 1")
        if len(facts["dropout_structure"]) != len(structure):
            raise ValueError(f"dropout structure {facts['dropout_structure']} must be as long as {structure}")
        self.multiplier = 1.0
        self.linear = nn.Sequential(*self._layers(width, structure, facts))
        for layer in self.linear:
            if isinstance(layer, nn.Linear | nn.LayerNorm):
                _initialize(layer, facts["weight_initialization"], facts["activation_func"])

    @staticmethod
    def _layers(width, structure, facts):
        activation, last = _activation(facts["activation_func"]), len(structure) - 2
        for i, (size_in, size_out) in enumerate(itertools.pairwise(structure)):
            yield nn.Linear(int(width * size_in), int(width * size_out))
            if activation and (i < last or facts["activate_output"]):
                yield activation()
            if facts["is_layer_norm"]:  # also after the last layer, as there
                yield nn.LayerNorm(int(width * size_out))
            if facts["use_dropout"] and facts["dropout_structure"][i + 1] > 0:
                yield nn.Dropout(facts["dropout_structure"][i + 1])

    def forward(self, x):
        """x + multiplier * f(x); in training always at full strength."""
        return x + self.linear(x) * (1.0 if self.training else self.multiplier)


def _activation(name):
    if name in (None, "linear"):
        return None
    if name in REFUSED:
        raise ValueError(f"the activation {name!r} {REFUSED[name]}: choose another, such as relu")
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: use linear, {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]


def _initialize(layer, init, activation):
    """As the web UI: N(0, 0.01) by default and always for a LayerNorm (so it does not start at 1), biases 0."""
    nn.init.zeros_(layer.bias)
    if init == "Normal" or isinstance(layer, nn.LayerNorm):
        nn.init.normal_(layer.weight, std=0.01)
    elif init not in INITS:
        raise ValueError(f"unknown weight initialization {init!r}: use Normal, {', '.join(INITS)}")
    elif init.startswith("Kaiming"):
        INITS[init](layer.weight, nonlinearity="leaky_relu" if activation == "leakyrelu" else "relu")
    else:
        INITS[init](layer.weight)
