import collections
import pickle
import re
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from helpers import hypernetwork, webui
from helpers.hypernetwork import Hypernetwork, attach, detach, widths_of
from helpers.hypernetwork_module import ACTIVATIONS, HypernetworkModule

SD1_WIDTHS = [768, 320, 640, 1280]


def grown(widths=(160, 96, 192, 256), **facts):
    """A hypernetwork away from its quiet start, so that it bends visibly."""
    torch.manual_seed(0)
    made = Hypernetwork(widths, **facts)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.eval()


def predict(unet, rows=2):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(rows, 4, 16, 16, generator=generator)
    embeds = torch.randn(rows, 77, 160, generator=generator)
    with torch.no_grad():
        return unet(latents, torch.tensor([10, 900])[:rows], embeds).sample


# The maths


def test_the_default_module_is_x_plus_two_plain_layers():
    module = HypernetworkModule(6, Hypernetwork([6]).facts)
    x = torch.randn(2, 5, 6)
    (a, b), (c, d) = ((module.linear[i].weight, module.linear[i].bias) for i in range(2))
    expected = x + (x @ a.T + b) @ c.T + d
    torch.testing.assert_close(module(x), expected)
    assert a.shape == (12, 6) and c.shape == (6, 12) and not b.any() and not d.any()


@settings(max_examples=40, deadline=None)
@given(
    structure=st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), max_size=2).map(lambda middle: [1.0, *middle, 1.0]),
    activation=st.sampled_from(["linear", "relu", "swish", "tanh", "leakyrelu", "elu", "sigmoid"]),
    layer_norm=st.booleans(),
    activate_output=st.booleans(),
    strength=st.floats(0, 2),
)
def test_every_structure_follows_the_equations(structure, activation, layer_norm, activate_output, strength):
    """Layer by layer, written out again with functions instead of modules."""
    facts = {"layer_structure": structure, "activation_func": activation, "is_layer_norm": layer_norm}
    net = grown([8], **facts, activate_output=activate_output)
    net.set_strength(strength)
    function = {"linear": lambda x: x, "swish": F.hardswish, "leakyrelu": F.leaky_relu}.get(activation)
    function = function or getattr(torch, activation, None) or getattr(F, activation)
    module = net.layers["8"][0]
    x = torch.randn(3, 8)
    weights, y = iter(module.parameters()), x
    for i in range(len(structure) - 1):
        y = F.linear(y, next(weights), next(weights))
        y = function(y) if activate_output or i < len(structure) - 2 else y
        y = F.layer_norm(y, y.shape[-1:], next(weights), next(weights)) if layer_norm else y
    torch.testing.assert_close(module(x), x + strength * y, atol=1e-5, rtol=1e-4)


def test_strength_acts_only_outside_training():
    net = grown([6])
    x, module = torch.randn(4, 6), net.layers["6"][1]
    full = module(x)
    net.set_strength(0)
    torch.testing.assert_close(module(x), x)
    torch.testing.assert_close(module.train()(x), full)


def test_names_in_the_file_follow_the_place_in_the_sequence():
    def names(**facts):
        return list(Hypernetwork([4], **facts).layers["4"][0].state_dict())

    assert names() == ["linear.0.weight", "linear.0.bias", "linear.1.weight", "linear.1.bias"]
    assert names(activation_func="relu")[2] == "linear.2.weight"
    assert names(is_layer_norm=True)[2] == "linear.1.weight" and len(names(is_layer_norm=True)) == 8


def test_dropout_stands_where_the_structure_says():
    facts = {"layer_structure": [1, 2, 2, 1], "use_dropout": True}
    module = Hypernetwork([4], **facts, dropout_structure=[0, 0.1, 0.2, 0]).layers["4"][0]
    assert [(i, layer.p) for i, layer in enumerate(module.linear) if isinstance(layer, nn.Dropout)] == [
        (1, 0.1),
        (3, 0.2),
    ]
    assert Hypernetwork([4], **facts).facts["dropout_structure"] == [0.0, 0.3, 0.0, 0.0]
    assert Hypernetwork([4], **facts, last_layer_dropout=True).facts["dropout_structure"] == [0.0, 0.3, 0.3, 0.0]


@pytest.mark.parametrize(
    ("init", "expected"),
    [("Normal", 0.01), ("XavierNormal", (2 / 600) ** 0.5), ("XavierUniform", (2 / 600) ** 0.5), ("KaimingNormal", 0.1)],
)
def test_weights_start_as_wide_as_they_should(init, expected):
    weight = Hypernetwork([200], weight_initialization=init).layers["200"][0].linear[0].weight
    assert weight.std().item() == pytest.approx(expected, rel=0.05)


def test_swish_is_hardswish_as_in_the_web_ui():
    assert ACTIVATIONS["swish"] is nn.Hardswish and ACTIVATIONS["relu"] is nn.ReLU


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"layer_structure": [1, 2]}, "begin and end with 1"),
        ({"activation_func": "swoosh"}, "unknown activation 'swoosh'"),
        ({"weight_initialization": "Magic"}, "unknown weight initialization 'Magic'"),
        ({"use_dropout": True, "dropout_structure": [0, 0.3]}, "as long as"),
    ],
)
def test_what_cannot_be_built_is_said_in_a_sentence(facts, message):
    with pytest.raises(ValueError, match=message):
        Hypernetwork([4], **facts)


# In the U-Net


def test_it_bends_keys_and_values_of_all_attention_and_never_queries(pipe):
    """Against a U-Net whose to_k and to_v have the bend multiplied into them: W(x + f(x)), f affine."""
    unet, net = pipe.unet, grown()
    before = predict(unet)
    attach(unet, net)
    bent = predict(unet)
    detach(unet)
    assert (bent - before).abs().max() > 0.01
    with torch.no_grad():
        for layer in [module for module in unet.modules() if hasattr(module, "to_k")]:
            for name, which in (("to_k", 0), ("to_v", 1)):
                linear = getattr(layer, name)
                (a, b), (c, d) = ((p.weight, p.bias) for p in net.layers[str(linear.in_features)][which].linear)
                folded = nn.Linear(linear.in_features, linear.out_features)
                folded.weight.copy_(linear.weight + linear.weight @ c @ a)
                folded.bias.copy_(linear.weight @ (c @ b + d))
                setattr(layer, name, folded)
    torch.testing.assert_close(bent, predict(unet), atol=1e-4, rtol=1e-3)


def test_detaching_gives_the_same_unet_bit_for_bit(pipe):
    before, state = predict(pipe.unet), {k: v.clone() for k, v in pipe.unet.state_dict().items()}
    attach(pipe.unet, grown())
    predict(pipe.unet)
    detach(pipe.unet)
    assert torch.equal(predict(pipe.unet), before)
    assert all(torch.equal(state[name], value) for name, value in pipe.unet.state_dict().items())
    assert not any(module._forward_pre_hooks for module in pipe.unet.modules())


def test_no_strength_changes_nothing_and_strength_can_be_set_again(pipe):
    net, before = grown(), predict(pipe.unet)
    attach(pipe.unet, net, strength=0)
    assert torch.equal(predict(pipe.unet), before)
    attach(pipe.unet, net, strength=1)
    once = predict(pipe.unet)
    attach(pipe.unet, net, strength=1)  # the same again does not bend twice
    assert torch.equal(predict(pipe.unet), once) and not torch.equal(once, before)


def test_two_act_one_after_another(pipe):
    attach(pipe.unet, grown())
    one = predict(pipe.unet)
    attach(pipe.unet, grown())
    assert not torch.allclose(predict(pipe.unet), one)
    detach(pipe.unet)


def test_widths_it_lacks_pass_unchanged_and_a_stranger_is_refused(pipe):
    before = predict(pipe.unet)
    attach(pipe.unet, grown([160]))  # the text only
    assert not torch.allclose(predict(pipe.unet), before)
    with pytest.raises(ValueError, match=r"widths \[768\], this U-Net has \[160, 96, 192, 256\]"):
        attach(pipe.unet, Hypernetwork([768]))


def test_only_the_hypernetwork_learns(pipe):
    unet, net = pipe.unet.requires_grad_(False), Hypernetwork(widths_of(pipe.unet)).train()
    attach(unet, net)
    unet(torch.randn(1, 4, 16, 16), torch.tensor([500]), torch.randn(1, 77, 160)).sample.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
    assert all(parameter.grad is None for parameter in unet.parameters())


def test_a_deep_copy_of_the_unet_detached_is_plain(pipe):
    attach(pipe.unet, grown())
    detach(pipe.unet)
    detach(pipe.unet)  # twice does no harm


# The file


def test_save_load_save_gives_the_same_bytes(tmp_path):
    first = grown([8, 4], activation_func="relu", is_layer_norm=True, use_dropout=True)
    hypernetwork.save(tmp_path / "a.pt", first, name="amir", step=300, sd_checkpoint_name="pocket")
    again = hypernetwork.load(tmp_path / "a.pt")
    hypernetwork.save(tmp_path / "b.pt", again)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert again.facts == first.facts and again.widths == [8, 4] and not again.training
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_the_file_is_what_the_web_ui_writes(tmp_path):
    hypernetwork.save(tmp_path / "a.pt", grown([8, 4]), name="amir", step=300)
    data = torch.load(tmp_path / "a.pt", weights_only=True)
    assert [key for key in data if type(key) is int] == [8, 4]
    assert type(data[8]) is tuple and [type(state) for state in data[8]] == [collections.OrderedDict] * 2
    assert all(tensor.dtype == torch.float32 for state in data[8] for tensor in state.values())
    assert data["layer_structure"] == [1.0, 2.0, 1.0] and type(data["layer_structure"][0]) is float
    assert (data["step"], data["name"], data["activation_func"], data["activate_output"]) == (
        300,
        "amir",
        "linear",
        False,
    )


# What the web UI's safety check of March 2023 lets a hypernetwork hold, of all it lets in.
ALLOWED = {
    "collections": ("OrderedDict",),
    "torch._utils": ("_rebuild_tensor_v2", "_rebuild_parameter"),
    "torch": tuple(f"{kind}Storage" for kind in ("Float", "Half", "Int", "Long", "Double", "Byte")),
}


class WebUIUnpickler(pickle.Unpickler):
    """Reads nothing that is not on the allow-list."""

    def persistent_load(self, saved_id):
        assert saved_id[0] == "storage"
        return torch.storage.TypedStorage(_internal=True)

    def find_class(self, module, name):
        assert name in ALLOWED.get(module, ()), f"{module}.{name} is forbidden"
        return super().find_class(module, name)


def web_ui_accepts(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert all(re.match(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$", name) for name in names), names
        with archive.open(next(name for name in names if name.endswith("/data.pkl"))) as file:
            WebUIUnpickler(file).load()


def test_the_web_ui_check_lets_the_file_in_and_keeps_torchs_own_out(tmp_path):
    hypernetwork.save(tmp_path / "ours.pt", grown([8]), name="amir")
    web_ui_accepts(tmp_path / "ours.pt")
    torch.save(webui.load_pt(tmp_path / "ours.pt"), tmp_path / "torch.pt")
    with pytest.raises(AssertionError):
        web_ui_accepts(tmp_path / "torch.pt")


def test_the_default_for_sd1_has_as_many_parameters_as_the_paper_s_80_megabytes(tmp_path):
    net = Hypernetwork(SD1_WIDTHS)
    assert sum(parameter.numel() for parameter in net.parameters()) == 21_939_840
    hypernetwork.save(tmp_path / "sd1.pt", net)
    assert 83.6 < (tmp_path / "sd1.pt").stat().st_size / 2**20 < 83.8


def test_older_files_load_as_the_web_ui_reads_them(tmp_path):
    """NovelAI's names, no facts; and silence about activate_output, which there means True."""
    torch.manual_seed(0)
    state = {"linear1.weight": torch.randn(8, 4), "linear1.bias": torch.randn(8)}
    state |= {"linear2.weight": torch.randn(4, 8), "linear2.bias": torch.randn(4)}
    torch.save({4: (state, state)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    net = hypernetwork.load(tmp_path / "old.pt")
    x = torch.randn(2, 4)
    inner = F.linear(x, state["linear1.weight"], state["linear1.bias"])
    expected = x + F.linear(inner, state["linear2.weight"], state["linear2.bias"])
    torch.testing.assert_close(net.layers["4"][0](x), expected)
    assert net.facts["activate_output"] is True and net.facts["activation_func"] is None


def test_what_is_no_hypernetwork_is_refused_by_name(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")

    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    with (tmp_path / "evil.pt").open("wb") as file:
        pickle.dump(Evil(), file)
    for name in ("text.pt", "other.pt", "evil.pt"):
        with pytest.raises(ValueError, match=name):
            hypernetwork.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        hypernetwork.load(tmp_path / "nowhere.pt")
