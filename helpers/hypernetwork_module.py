"""The small network of a hypernetwork, for one width of context: the web UI's layers, activations and starts."""

import inspect
import itertools

from torch import nn

ACTIVATIONS = {
    name.lower(): kind
    for name, kind in inspect.getmembers(nn.modules.activation, inspect.isclass)
    if kind.__module__ == nn.modules.activation.__name__
} | {"swish": nn.Hardswish}  # the web UI's "swish" is Hardswish, not SiLU
INITS = {
    "XavierUniform": nn.init.xavier_uniform_,
    "XavierNormal": nn.init.xavier_normal_,
    "KaimingUniform": nn.init.kaiming_uniform_,
    "KaimingNormal": nn.init.kaiming_normal_,
}


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
