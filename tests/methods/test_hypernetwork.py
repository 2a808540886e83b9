import collections
import copy
import itertools
import json
import pickle
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
import web_ui
from conftest import small_unet
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from toy import same

from benchmarks.hypernetwork import attach_plainly
from helpers import machine, training
from helpers.diffusion import checkpoint
from helpers.methods import hypernetwork, hypernetwork_file
from helpers.training import steps

TEXT = 16  # as wide as the text is for conftest.small_unet


def grown(widths=(TEXT, 32, 64), seed=0, **config):
    """A hypernetwork away from its quiet start, so that it bends visibly."""
    torch.manual_seed(seed)
    made = hypernetwork.Hypernetwork(widths, **config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.eval()


SD_2 = {"attention_head_dim": (2, 4), "use_linear_projection": True}


@pytest.fixture(params=[{}, SD_2], ids=["SD 1", "SD 2"])
def unet(request):
    return small_unet(TEXT, **request.param).requires_grad_(False)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def predict(unet, embeds=None):
    embeds = drawn(2, 7, TEXT) if embeds is None else embeds
    return unet(drawn(2, 4, 8, 8), torch.tensor([10, 900]), embeds).sample


def gradients(net, loss):
    net.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


# The maths

DEFINED = {  # those whose name or dimension may deceive, by their definitions; the others are torch's of that name
    None: lambda x: x,
    "linear": lambda x: x,
    "leakyrelu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "rrelu": lambda x: torch.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2),  # outside training
    "silu": lambda x: x / (1 + (-x).exp()),
    "swish": lambda x: x * (x / 6 + 0.5).clamp(0, 1),  # Hardswish, as in the web UI
    # without a dimension torch takes the first of three, the pictures of a batch: so it is there, too
    "softmax": lambda x: x.exp() / x.exp().sum(0, keepdim=True),
    "softmax2d": lambda x: x.exp() / x.exp().sum(-3, keepdim=True),
}
CONFIG = st.fixed_dictionaries(
    {
        "layer_structure": st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), max_size=2).map(lambda m: [1.0, *m, 1.0]),
        "activation_func": st.sampled_from([None, "linear", *hypernetwork.ACTIVATIONS]),
        "weight_initialization": st.sampled_from(["Normal", *hypernetwork.INITS]),
    }
    | dict.fromkeys(("is_layer_norm", "activate_output", "use_dropout", "last_layer_dropout"), st.booleans())
)
# what the web UI takes from torch.nn.modules.activation, and its own names
THEIRS = """linear relu leakyrelu elu swish tanh sigmoid celu gelu glu hardshrink hardsigmoid hardswish hardtanh
    logsigmoid logsoftmax mish multiheadattention prelu relu6 rrelu selu silu softmax softmax2d softmin softplus
    softshrink softsign tanhshrink threshold"""


def activated(name, x):
    if name in DEFINED:
        return DEFINED[name](x)
    (kind,) = [kind for kind in vars(nn.modules.activation).values() if getattr(kind, "__name__", "").lower() == name]
    return kind().eval()(x)


def by_definition(weights, config, x):
    """f(x) of one module, from its weights in their order in the file (outside training: no dropout)."""
    weights, last, act = iter(weights), len(config["layer_structure"]) - 2, config["activation_func"]
    for i in range(last + 1):
        matrix, bias = next(weights), next(weights)
        x = x @ matrix.T + bias
        if i < last or config["activate_output"]:
            x = torch.where(x > 0, x, next(weights) * x) if act == "prelu" else activated(act, x)
        if config["is_layer_norm"]:
            x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
            x = x * next(weights) + next(weights)
    return x


def test_every_activation_of_the_web_ui_is_here_or_refused():
    assert {"linear", *hypernetwork.ACTIVATIONS, *hypernetwork.REFUSED} == set(THEIRS.split())


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@settings(max_examples=30, deadline=None)
@given(config=CONFIG, strength=st.floats(0, 2))
def test_every_structure_follows_the_equations_and_its_file_is_stable(config, strength):
    net, x = grown([8, 4], **config), torch.randn(2, 3, 8)  # contexts: pictures, tokens, width
    net.set_strength(strength)
    for module in net.layers["8"]:
        expected = x + strength * by_definition(module.state_dict().values(), config, x)
        torch.testing.assert_close(module(x), expected, atol=1e-4, rtol=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        one, two, safe = (Path(folder) / name for name in ("1.pt", "2.pt", "3.safetensors"))
        hypernetwork_file.save(one, net, name="amir")
        again = hypernetwork_file.load(one)
        hypernetwork_file.save(safe, again)
        hypernetwork_file.save(two, hypernetwork_file.load(safe))
        assert one.read_bytes() == two.read_bytes()
    torch.testing.assert_close(again.layers["8"][1](x), x + net.layers["8"][1].linear(x))


def test_strength_acts_only_outside_training():
    net, x = grown([6]), torch.randn(4, 6)
    module = net.layers["6"][1]
    full = module(x)
    net.set_strength(0)
    torch.testing.assert_close(module(x), x)
    torch.testing.assert_close(module.train()(x), full)


def test_names_in_the_file_follow_the_place_in_the_sequence():
    def names(**config):
        return list(hypernetwork.Hypernetwork([4], **config).layers["4"][0].state_dict())

    assert names() == ["linear.0.weight", "linear.0.bias", "linear.1.weight", "linear.1.bias"]
    assert names(activation_func="relu")[2] == "linear.2.weight"
    assert names(is_layer_norm=True)[2] == "linear.1.weight" and len(names(is_layer_norm=True)) == 8


def test_dropout_stands_where_the_structure_says():
    config = {"layer_structure": [1, 2, 2, 1], "use_dropout": True}
    layers = hypernetwork.Hypernetwork([4], **config, dropout_structure=[0, 0.1, 0.2, 0]).layers["4"][0].linear
    assert [(i, layer.p) for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout)] == [(1, 0.1), (3, 0.2)]
    for last, chance in ((False, 0.0), (True, 0.3)):
        net = hypernetwork.Hypernetwork([4], **config, last_layer_dropout=last)
        assert net.config["dropout_structure"] == [0.0, 0.3, chance, 0.0]


SPREAD = {  # of the weights of a layer with so many inputs, of 600 inputs and outputs: Glorot 2010, He et al. 2015
    "Normal": lambda inputs: 0.01,
    **dict.fromkeys(("XavierNormal", "XavierUniform"), lambda inputs: (2 / 600) ** 0.5),
    **dict.fromkeys(("KaimingNormal", "KaimingUniform"), lambda inputs: (2 / inputs) ** 0.5),
}


@pytest.mark.parametrize("activation", ["linear", "relu", "leakyrelu"])
@pytest.mark.parametrize("init", SPREAD)
def test_weights_start_as_wide_as_in_the_web_ui(init, activation):
    """Biases at 0; a LayerNorm near 0 and not at 1; the slope of leaky ReLU not counted."""
    torch.manual_seed(0)
    net = hypernetwork.Hypernetwork([200], weight_initialization=init, activation_func=activation, is_layer_norm=True)
    layers = [layer for layer in net.layers["200"][0].linear if hasattr(layer, "weight")]
    assert [type(layer) for layer in layers] == [nn.Linear, nn.LayerNorm] * 2
    for layer in layers:
        linear = isinstance(layer, nn.Linear)
        spread = SPREAD[init](layer.in_features) if linear else 0.01
        assert layer.weight.square().mean().sqrt().item() == pytest.approx(spread, rel=0.02 if linear else 0.15)
        assert not layer.bias.any()
        assert not linear or "Uniform" not in init or layer.weight.abs().max() <= 1.0001 * 3**0.5 * spread


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layer_structure": [1, 2]}, "begin and end with 1"),
        ({"activation_func": "swoosh"}, "'swoosh'"),
        ({"weight_initialization": "Magic"}, "'Magic'"),
        ({"use_dropout": True, "dropout_structure": [0, 0.3]}, "as long as"),
        *[({"activation_func": name}, f"'{name}' cannot be used") for name in hypernetwork.REFUSED],
    ],
)
def test_what_cannot_be_built_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        hypernetwork.Hypernetwork([4], **config)


# In the U-Net


@torch.no_grad()
def fold(unet, nets):
    """Multiplies the bends into to_k and to_v: W(B(A(x))), where A(x) = x + strength * (c (a x + b) + d)."""
    for layer in [module for module in unet.modules() if hasattr(module, "to_k")]:
        for which, name in enumerate(("to_k", "to_v")):
            old = getattr(layer, name)
            one = torch.eye(old.in_features)
            matrix, shift = one, torch.zeros(old.in_features)
            for net, strength in nets:
                (a, b), (c, d) = ((p.weight, p.bias) for p in net.layers[str(old.in_features)][which].linear)
                bend = one + strength * c @ a
                matrix, shift = bend @ matrix, bend @ shift + strength * (c @ b + d)
            new = nn.Linear(old.in_features, old.out_features)
            new.weight.copy_(old.weight @ matrix)
            new.bias.copy_(old.weight @ shift)
            setattr(layer, name, new)


@pytest.mark.parametrize("strengths", [[1.0], [0.5, 0.25]])
def test_they_bend_keys_and_values_of_all_attention_one_after_another_and_never_queries(unet, strengths):
    before, nets = predict(unet), [(grown(seed=i), strength) for i, strength in enumerate(strengths)]
    for net, strength in nets:
        hypernetwork.attach(unet, net, strength)
    bent = predict(unet)
    assert (bent - before).abs().max() > 0.01
    hypernetwork.detach(unet)
    fold(unet, nets)
    torch.testing.assert_close(bent, predict(unet), atol=1e-4, rtol=1e-3)


def test_one_or_all_can_be_taken_off_and_the_unet_is_the_same_bit_for_bit(unet):
    before, plain = predict(unet), copy.deepcopy(unet)
    first, second = grown(), grown([TEXT])  # widths it lacks pass unchanged
    hypernetwork.attach(unet, first, strength=0)
    assert torch.equal(predict(unet), before)
    hypernetwork.detach(unet)
    hypernetwork.attach(unet, second)
    alone = predict(unet)
    hypernetwork.attach(unet, first)
    hypernetwork.detach(unet, first)
    hypernetwork.attach(unet, second)  # the same again does not bend twice
    assert torch.equal(predict(unet), alone)
    for _ in range(2):  # twice does no harm
        hypernetwork.detach(unet)
    assert torch.equal(predict(unet), before) and not torch.equal(alone, before)
    assert same(plain, unet) and not any(m._forward_pre_hooks for m in unet.modules())


def test_a_checkpointed_step_is_the_same_step_in_the_precision_of_this_machine(pipe):
    unet, start = pipe.unet.requires_grad_(False).train(), grown(hypernetwork.widths_of(pipe.unet))
    latents, embeds = drawn(1, 4, 16, 16), drawn(1, 77, 160)

    def stepped():
        net = copy.deepcopy(start).train()
        hypernetwork.attach(unet, net)
        parameters, optimizer = list(net.parameters()), torch.optim.SGD(net.parameters(), lr=0.1)
        loss = lambda part: unet(latents, torch.tensor([500]), embeds).sample.float().square().mean()
        steps.update(parameters, loss, [None], optimizer, steps.scaler_for(parameters), 0.1)
        hypernetwork.detach(unet)
        return [parameter.detach() for parameter in parameters]

    plain = stepped()
    assert not torch.equal(plain[0], next(start.parameters()))
    training.checkpoint_gradients(unet)
    torch.testing.assert_close(stepped(), plain, atol=1e-5, rtol=1e-3)


def test_the_text_is_bent_once_a_pass_with_the_gradient_of_bending_it_before_each_attention(unet):
    """Against hooks that know nothing of one another; with dropout, each attention draws its own."""
    net, calls = grown().train(), []

    def measured(net):
        calls.clear()
        handle = net.layers[str(TEXT)][0].register_forward_hook(lambda *_: calls.append(1))
        found = gradients(net, predict(unet.train()).square().mean())
        handle.remove()
        return found, len(calls)

    hypernetwork.attach(unet, net)
    ours, once = measured(net)
    hypernetwork.detach(unet)
    handles = attach_plainly(unet, net)
    plain, each = measured(net)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(ours, plain, atol=1e-7, rtol=1e-3)
    hypernetwork.attach(unet, careless := grown(use_dropout=True, last_layer_dropout=True).train())
    assert (once, each, measured(careless)[1]) == (1, 4, 4)


def test_what_is_bent_once_follows_strength_and_text(unet):
    """The same text object at another strength, and another text: nothing of an earlier pass is left."""
    net, embeds = grown(), torch.ones(2, 7, TEXT)
    hypernetwork.attach(unet, net, strength=1)
    first, other = predict(unet, embeds), predict(unet, embeds * 2)
    hypernetwork.attach(unet, net, strength=0.5)
    half = predict(unet, embeds)
    embeds += 1  # in place: the object stays, its numbers do not
    changed = predict(unet, embeds)
    hypernetwork.attach(unet, net, strength=1)
    torch.testing.assert_close(predict(unet, torch.full((2, 7, TEXT), 2.0)), other)
    assert not (torch.equal(first, other) or torch.equal(first, half) or torch.equal(half, changed))


def test_two_checkpointed_passes_may_share_a_backward_pass(unet):
    """The first pass is computed again after the second: it must meet its own text."""
    hypernetwork.attach(unet.train(), net := grown().train())
    loss = lambda: sum(predict(unet, text).square().mean() for text in drawn(2, 2, 7, TEXT))
    plain = gradients(net, loss())
    unet.enable_gradient_checkpointing()
    torch.testing.assert_close(gradients(net, loss()), plain, atol=1e-7, rtol=1e-3)


def test_two_of_one_config_are_told_of(unet):
    first, again = grown(name="amir", step=3), grown(name="amir", step=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hypernetwork.attach(unet, first)
        hypernetwork.attach(unet, first, 0.5)
        hypernetwork.attach(unet, grown(name="amir", step=4))
    with pytest.warns(UserWarning, match="Two hypernetworks 'amir'"):
        hypernetwork.attach(unet, again)


def test_the_notebook_s_cells_that_attach_may_run_twice():
    """Each that makes or loads a network first takes off what was on."""
    notebook = json.loads((machine.REPO / "notebooks" / "03_train_hypernetwork.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    attaching = [cell for cell in cells if "hypernetwork.attach(" in cell and "at(strength)" not in cell]
    assert len(attaching) == 2
    assert all(0 <= cell.find("hypernetwork.detach(") < cell.find("hypernetwork.attach(") for cell in attaching)


def test_a_stranger_and_fused_projections_are_refused(unet):
    for widths in ([768], [768, 32], [1024, 32, 64]):
        with pytest.raises(ValueError, match=r"\[16, 32, 64\].*another model"):
            hypernetwork.attach(unet, hypernetwork.Hypernetwork(widths))
    assert not any(module._forward_pre_hooks for module in unet.modules())
    hypernetwork.attach(unet, grown([TEXT, 1024]))  # one that somebody trained for two models is for this one, too
    unet.fuse_qkv_projections()
    with pytest.raises(ValueError, match="unfuse_qkv_projections"):
        hypernetwork.attach(unet, grown())


# The file


def copied(run):
    return sorted(int(path.stem.rsplit("-", 1)[1]) for path in (run / "copies").iterdir())


@pytest.mark.parametrize(("count", "at_most"), [(3, 8), (9, 2), (17, 5), (30, 8)])
def test_copies_are_few_and_spread_over_the_training(tmp_path, count, at_most):
    for number in range(count):
        hypernetwork_file.keep_copy(tmp_path, hypernetwork.Hypernetwork([1]), "amir", 100 * number, at_most)
        assert len(copied(tmp_path)) == min(number + 1, at_most)
    kept = copied(tmp_path)
    assert kept[0] == 0 and kept[-1] == 100 * (count - 1)
    gaps = [after - before for before, after in itertools.pairwise(kept)]
    assert at_most == 2 or max(gaps) <= 2 * (kept[-1] / (len(kept) - 1)), kept
    assert hypernetwork_file.load(tmp_path / "copies" / f"amir-{kept[-1]}.pt").config["step"] == kept[-1]


def test_the_file_is_what_the_web_ui_writes_and_comes_back_whole(tmp_path):
    first, told = grown([8, 4]), {"name": "amir", "step": 300, "sd_checkpoint_name": "pocket"}
    hypernetwork_file.save(tmp_path / "a.pt", first, **told)
    data = torch.load(tmp_path / "a.pt", weights_only=True)
    assert [key for key in data if type(key) is int] == [8, 4]
    assert type(data[8]) is tuple and [type(state) for state in data[8]] == [collections.OrderedDict] * 2
    assert all(tensor.dtype == torch.float32 for state in data[8] for tensor in state.values())
    assert data["layer_structure"] == [1.0, 2.0, 1.0] and type(data["layer_structure"][0]) is float
    expected = told | {"activation_func": "linear", "activate_output": False}
    assert {name: data[name] for name in expected} == expected
    random = torch.get_rng_state()
    again = hypernetwork_file.load(tmp_path / "a.pt")
    assert torch.equal(random, torch.get_rng_state()), "reading draws no random numbers"
    hypernetwork_file.save(tmp_path / "b.pt", first, **told | {"sd_checkpoint_name": str(tmp_path / "pocket")})
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes(), "nor whose folder it lay in"
    assert again.config == first.config | told and again.widths == [8, 4] and not again.training
    assert same(first, again)


def test_the_web_ui_check_lets_the_file_in_and_keeps_torchs_own_out(tmp_path):
    hypernetwork_file.save(tmp_path / "ours.pt", grown([8]), name="amir")
    web_ui.accepts(tmp_path / "ours.pt")
    torch.save(checkpoint.load_pt(tmp_path / "ours.pt"), tmp_path / "torch.pt")
    with pytest.raises(AssertionError):
        web_ui.accepts(tmp_path / "torch.pt")


def test_the_default_for_sd1_has_as_many_parameters_as_the_paper_s_80_megabytes(tmp_path):
    net = hypernetwork.Hypernetwork([768, 320, 640, 1280])
    assert sum(parameter.numel() for parameter in net.parameters()) == 21_939_840
    hypernetwork_file.save(tmp_path / "sd1.pt", net)
    assert 83.6 < (tmp_path / "sd1.pt").stat().st_size / 2**20 < 83.8


def test_older_files_load_as_the_web_ui_reads_them(tmp_path):
    """NovelAI's names, no config; and silence about activate_output, which there means True."""
    torch.manual_seed(0)
    state = {"linear1.weight": torch.randn(8, 4), "linear1.bias": torch.randn(8)}
    state |= {"linear2.weight": torch.randn(4, 8), "linear2.bias": torch.randn(4)}
    torch.save({4: (state, state)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    net, x = hypernetwork_file.load(tmp_path / "old.pt"), torch.randn(2, 4)
    inner = F.linear(x, state["linear1.weight"], state["linear1.bias"])
    expected = x + F.linear(inner, state["linear2.weight"], state["linear2.bias"])
    torch.testing.assert_close(net.layers["4"][0](x), expected)
    assert net.config["activate_output"] is True and net.config["activation_func"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "width 8, values: linear.1.bias .* not numbers"),
        ({"activation_func": "swoosh"}, "'swoosh'"),
        ({"layer_structure": [1, 4, 1]}, "width 8, keys: .* do not fit"),
        ({"layer_structure": [1e9, 1e9]}, "begin and end with 1"),
        ({"layer_structure": [1, 1e12, 1]}, "do not fit|cannot be built"),
        ({"layer_structure": "1, 2, 1"}, "cannot be built"),
        ({"is_layer_norm": True}, "do not fit"),
        ({"more": web_ui.Evil()}, r"wants to call \S*print, which was not done"),
    ],
)
def test_a_file_that_would_do_harm_is_refused_in_one_sentence(tmp_path, capsys, change, message):
    hypernetwork_file.save(tmp_path / "a.pt", grown([8]))
    data = checkpoint.load_pt(tmp_path / "a.pt")
    data[8][1]["linear.1.bias"][0] = 1 if change else float("inf")
    data.update(change or {})
    torch.save(data, tmp_path / "spoilt.pt")
    with pytest.raises(ValueError, match=message) as error:
        hypernetwork_file.load(tmp_path / "spoilt.pt")
    assert "spoilt.pt" in str(error.value) and "\n" not in str(error.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "bomb", [torch.zeros(1).expand(200_000, 200_000), torch.zeros(8, 8, device="meta"), torch.zeros(8, 16).to_sparse()]
)
def test_a_small_file_that_asks_for_much_memory_is_refused(tmp_path, bomb):
    """1.7 kB asked for 160 GB: a number that is said to stand at each of as many places."""
    hypernetwork_file.save(tmp_path / "a.pt", grown([8]))
    data = checkpoint.load_pt(tmp_path / "a.pt")
    data[8][0]["linear.0.weight"] = bomb
    data["layer_structure"] = [1, 25_000, 1]
    torch.save(data, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match=r"bomb\.pt, width 8, keys: linear\.0\.weight"):
        hypernetwork_file.load(tmp_path / "bomb.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"layer_structure": [1, "two", 1]},
        {"layer_structure": [1, float("nan"), 1]},
        {"layer_structure": [1, -2, 1]},
        {"layer_structure": [1, 1e300, 1]},
        {"layer_structure": None},
        {"layer_structure": {1: 2}},
        {"dropout_structure": [0, 5, 0], "use_dropout": True},
        {"dropout_structure": "abc"},
        {"activation_func": ["relu"]},
        {"activation_func": {}},
        {"weight_initialization": []},
        {8: {"a": 1}},
        {8: ({1: torch.zeros(2)}, {})},
        {2**70: ({}, {})},
        {-8: ({}, {})},
    ],
)
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_malformed_config_is_refused_in_one_sentence(tmp_path, change, kind):
    hypernetwork_file.save(tmp_path / f"a.{kind}", grown([8]))
    if kind == "pt":
        torch.save(checkpoint.load_pt(tmp_path / "a.pt") | change, tmp_path / "odd.pt")
    elif all(isinstance(key, int) for key in change):
        return
    else:
        config = {"activation_func": "linear", "widths": [8]} | {str(key): value for key, value in change.items()}
        save_file(
            load_file(tmp_path / "a.safetensors"), tmp_path / "odd.safetensors", {"hypernetwork": json.dumps(config)}
        )
    with pytest.raises(ValueError, match=rf"odd\.{kind}") as error:
        hypernetwork_file.load(tmp_path / f"odd.{kind}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "3", '{"widths": 3}', '{"widths": ["a"]}', "{}", '{"strange": 1}'])
def test_a_malformed_header_is_refused_in_one_sentence(tmp_path, text):
    hypernetwork_file.save(tmp_path / "a.safetensors", grown([8]))
    save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "odd.safetensors", {"hypernetwork": text})
    with pytest.raises(ValueError, match=r"odd\.safetensors"):
        hypernetwork_file.load(tmp_path / "odd.safetensors")


def test_what_is_cut_off_or_no_hypernetwork_is_refused_by_name(tmp_path):
    for name in ("a.pt", "a.safetensors"):
        hypernetwork_file.save(tmp_path / name, grown([8]))
        whole = (tmp_path / name).read_bytes()
        for i, part in enumerate((0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1)):
            (tmp_path / f"cut{i}{name}").write_bytes(whole[:part])
        (tmp_path / name).unlink()
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    torch.save({8: torch.zeros(2)}, tmp_path / "odd.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(web_ui.Evil(), protocol=2))
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 15
    for path in paths:
        with pytest.raises(ValueError, match=path.name):
            hypernetwork_file.load(path)
