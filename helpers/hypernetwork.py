"""Hypernetworks as the AUTOMATIC1111 web UI defines them: their place in a U-Net.

For every width of attention context there are two small networks, one for the keys and one for the
values. Each bends the context before the U-Net's own to_k and to_v read it: x + strength * f(x).
"""

import weakref

from torch import nn

from helpers.hypernetwork_file import keep_copy, load, save  # noqa: F401  (a hypernetwork's files, offered here too)
from helpers.hypernetwork_module import FACTS, Hypernetwork  # noqa: F401

_ATTACHED = weakref.WeakKeyDictionary()  # U-Net -> [(hypernetwork, hook handles)], in the order attached


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

    Several may be attached, each with its own strength: they act one after another. Attaching one again
    only sets its strength. Widths the hypernetwork lacks pass unchanged.
    Raises ValueError if it was made for another model, or the U-Net's projections are fused.
    """
    _check_fit(unet, hypernetwork)
    hypernetwork.to(unet.device).set_strength(strength)
    here = _ATTACHED.setdefault(unet, [])
    if any(other is hypernetwork for other, _ in here):
        return
    heard = {}  # which of the pair: (the text, what it makes of it)
    text = str(unet.config.cross_attention_dim)
    handles = [
        layer.register_forward_pre_hook(_bend(hypernetwork.layers[str(layer.in_features)][which], which, heard))
        for layer, which in _projections(unet)
        if str(layer.in_features) in hypernetwork.layers
    ]
    if text in hypernetwork.layers and not here:  # the first alone meets the text as it came
        handles.append(unet.register_forward_pre_hook(_hear(hypernetwork.layers[text], heard), with_kwargs=True))
    here.append((hypernetwork, handles))


def _check_fit(unet, hypernetwork):
    ours, text = widths_of(unet), unet.config.cross_attention_dim
    foreign = sorted(set(hypernetwork.widths) - set(ours))
    if text not in hypernetwork.widths and foreign:
        raise ValueError(
            f"this hypernetwork is for widths {hypernetwork.widths}, this U-Net has {ours}, of which {text} is the "
            "text: it was made for another model (SD 1.x has 768 there, SD 2.x 1024), attach it to that one"
        )
    if any(getattr(module, "fused_projections", False) for module in unet.modules()):
        raise ValueError("this U-Net's keys and values are fused into one layer: call unfuse_qkv_projections() first")


def _hear(pair, heard):
    """A hook before the U-Net: the text is bent once a pass, not again before each cross-attention.

    Not under gradient checkpointing, whose blocks must find the same work when they are computed a second time; nor
    where chance takes part (dropout): there each attention draws its own.
    """
    chance = any(isinstance(layer, nn.Dropout | nn.RReLU) for layer in pair.modules())

    def hook(unet, inputs, named):
        text = named["encoder_hidden_states"] if "encoder_hidden_states" in named else inputs[2]
        heard.clear()
        if not (unet.is_gradient_checkpointing or chance and pair.training):
            heard.update({which: (text, _bent(module, text)) for which, module in enumerate(pair)})

    return hook


def _bend(module, which, heard):
    """A hook before a to_k or to_v."""

    def hook(layer, inputs):
        text, bent = heard.get(which, (None, None))
        return (bent if inputs[0] is text else _bent(module, inputs[0]),)

    return hook


def _bent(module, context):
    # Its weights are float32; autocast may multiply them in 16 bits, as it does the U-Net's.
    return module(context.float()).to(context.dtype)


def attached(unet):
    """The hypernetworks of a U-Net, in the order in which they act."""
    return [hypernetwork for hypernetwork, _ in _ATTACHED.get(unet, [])]


def detach(unet, hypernetwork=None):
    """Takes a hypernetwork off, or all of them: without any the U-Net is bit for bit what it was."""
    stay = []
    for other, handles in _ATTACHED.pop(unet, []):
        if hypernetwork is not None and other is not hypernetwork:
            stay.append((other, handles))
            continue
        for handle in handles:
            handle.remove()
    if stay:
        _ATTACHED[unet] = stay
