import collections
import copy
import errno
import itertools
import pickle
import re
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from benchmarks.hypernetwork import attach_plainly
from helpers import diffusion, hypernetwork, hypernetwork_file, training, updates, webui
from helpers.hypernetwork import Hypernetwork, attach, detach, widths_of
from helpers.hypernetwork_module import ACTIVATIONS, INITS, REFUSED, HypernetworkModule

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


ACTS = {  # each written out by its definition, not by torch's function of that name
    None: lambda x: x,
    "linear": lambda x: x,
    "celu": lambda x: x.clamp(min=0) + (x.clamp(max=0).exp() - 1),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "hardshrink": lambda x: x * (x.abs() > 0.5),
    "hardsigmoid": lambda x: (x / 6 + 0.5).clamp(0, 1),
    "hardswish": lambda x: x * (x / 6 + 0.5).clamp(0, 1),
    "hardtanh": lambda x: x.clamp(-1, 1),
    "leakyrelu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "logsigmoid": lambda x: -(1 + (-x).exp()).log(),
    "logsoftmax": lambda x: (x.exp() / x.exp().sum(0, keepdim=True)).log(),
    "mish": lambda x: x * (1 + x.exp()).log().tanh(),
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: x.clamp(0, 6),
    "rrelu": lambda x: torch.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2),  # outside training
    "selu": lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "silu": lambda x: x / (1 + (-x).exp()),
    # without a dimension torch takes the first of three, the pictures of a batch: so it is there, too
    "softmax": lambda x: x.exp() / x.exp().sum(0, keepdim=True),
    "softmax2d": lambda x: x.exp() / x.exp().sum(-3, keepdim=True),
    "softmin": lambda x: (-x).exp() / (-x).exp().sum(0, keepdim=True),
    "softplus": lambda x: (1 + x.exp()).log(),
    "softshrink": lambda x: x.sign() * (x.abs() - 0.5).clamp(min=0),
    "softsign": lambda x: x / (1 + x.abs()),
    "swish": lambda x: x * (x / 6 + 0.5).clamp(0, 1),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "tanhshrink": lambda x: x - x.tanh(),
}
STRUCTURES = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), max_size=2).map(lambda middle: [1.0, *middle, 1.0])
FACTS = st.fixed_dictionaries(
    {
        "layer_structure": STRUCTURES,
        "activation_func": st.sampled_from([None, "prelu", *list(ACTS)[1:]]),
        "is_layer_norm": st.booleans(),
        "activate_output": st.booleans(),
        "use_dropout": st.booleans(),
        "last_layer_dropout": st.booleans(),
        "weight_initialization": st.sampled_from(["Normal", *INITS]),
    }
)


def by_definition(weights, facts, x):
    """f(x) of one module, from its weights in their order in the file (outside training: no dropout)."""
    weights, last, act = iter(weights), len(facts["layer_structure"]) - 2, facts["activation_func"]
    for i in range(last + 1):
        matrix, bias = next(weights), next(weights)
        x = x @ matrix.T + bias
        if i < last or facts["activate_output"]:
            x = torch.where(x > 0, x, next(weights) * x) if act == "prelu" else ACTS[act](x)
        if facts["is_layer_norm"]:
            x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
            x = x * next(weights) + next(weights)
    return x


def test_every_activation_has_its_definition_here():
    assert set(ACTS) - {None, "linear"} | {"prelu"} == set(ACTIVATIONS)


# what the web UI takes from torch.nn.modules.activation, and its own names; it shows all but two of them
THEIRS = re.findall(
    r"\w+",
    """linear relu leakyrelu elu swish tanh sigmoid celu gelu glu hardshrink hardsigmoid hardswish hardtanh logsigmoid
    logsoftmax mish multiheadattention prelu relu6 rrelu selu silu softmax softmax2d softmin softplus softshrink softsign
    tanhshrink threshold""",
)


def test_every_activation_of_the_web_ui_is_here_or_refused_with_its_reason():
    assert {"linear", *ACTIVATIONS, *REFUSED} == set(THEIRS)
    for name, reason in REFUSED.items():
        with pytest.raises(ValueError, match=f"'{name}' {reason}"):
            Hypernetwork([4], activation_func=name)
    with pytest.raises(TypeError):
        nn.Threshold()
    assert nn.GLU()(torch.zeros(1, 3, 8)).shape == (1, 3, 4)


def test_softmax2d_keeps_the_width_in_a_real_unet(pipe):
    attach(pipe.unet, grown(activation_func="softmax2d"))
    assert predict(pipe.unet).isfinite().all()
    detach(pipe.unet)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@settings(max_examples=30, deadline=None)
@given(facts=FACTS, strength=st.floats(0, 2))
def test_every_structure_follows_the_equations_and_its_file_is_stable(facts, strength):
    net, x = grown([8, 4], **facts), torch.randn(2, 3, 8)  # contexts: pictures, tokens, width
    net.set_strength(strength)
    for module in net.layers["8"]:
        expected = x + strength * by_definition(module.state_dict().values(), facts, x)
        torch.testing.assert_close(module(x), expected, atol=1e-4, rtol=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        one, two, safe = (Path(folder) / name for name in ("1.pt", "2.pt", "3.safetensors"))
        hypernetwork.save(one, net, name="amir")
        again = hypernetwork.load(one)
        hypernetwork.save(two, again)
        assert one.read_bytes() == two.read_bytes()
        hypernetwork.save(safe, again)
        hypernetwork.save(two, hypernetwork.load(safe))
        assert one.read_bytes() == two.read_bytes()
    torch.testing.assert_close(again.layers["8"][1](x), x + net.layers["8"][1].linear(x))


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


@pytest.mark.parametrize("activation", ["relu", "leakyrelu", "linear"])
def test_kaiming_uniform_is_he_s_bound_over_the_inputs_whatever_the_activation(activation):
    """He et al. 2015: variance 2 / inputs, here uniform. The web UI leaves the slope of leaky ReLU at 0 in its gain."""
    module = Hypernetwork([200], weight_initialization="KaimingUniform", activation_func=activation).layers["200"][0]
    layers = [layer for layer in module.linear if isinstance(layer, nn.Linear)]
    for layer, inputs in zip(layers, (200, 400), strict=True):
        bound = (6 / inputs) ** 0.5
        assert 0.99 * bound < layer.weight.abs().max().item() <= bound and not layer.bias.any()
        assert layer.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.02)


@pytest.mark.parametrize("init", ["Normal", *INITS])
def test_a_layer_norm_begins_near_zero_and_not_at_one(init):
    """As in the web UI: its weights are drawn from N(0, 0.01) whatever the initialization, its biases are 0."""
    module = Hypernetwork([3000], layer_structure=[1, 1], is_layer_norm=True, weight_initialization=init).layers["3000"]
    norm = module[1].linear[1]
    assert isinstance(norm, nn.LayerNorm) and not norm.bias.any()
    assert norm.weight.std().item() == pytest.approx(0.01, rel=0.1) and abs(norm.weight.mean().item()) < 0.001


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


def test_several_act_one_after_another_each_at_its_own_strength(pipe):
    """W(B(A(x))) with A and B at their strengths: against a single net that does both at once."""
    first, second = grown(), grown()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.neg_().add_(0.02)
    attach(pipe.unet, first, strength=0.5)
    attach(pipe.unet, second, strength=0.25)
    assert hypernetwork.attached(pipe.unet) == [first, second]
    chained = predict(pipe.unet)
    detach(pipe.unet)
    both = grown()
    for width, pair in both.layers.items():
        for which, module in enumerate(pair):
            (a, b), (c, d) = ((p.weight, p.bias) for p in first.layers[width][which].linear)
            (e, f), (g, h) = ((p.weight, p.bias) for p in second.layers[width][which].linear)
            one = torch.eye(int(width)) + 0.5 * c @ a, 0.5 * (c @ b + d)
            two = torch.eye(int(width)) + 0.25 * g @ e, 0.25 * (g @ f + h)
            module.linear = nn.Linear(int(width), int(width))
            with torch.no_grad():
                module.linear.weight.copy_(two[0] @ one[0] - torch.eye(int(width)))
                module.linear.bias.copy_(two[0] @ one[1] + two[1])
    attach(pipe.unet, both)
    torch.testing.assert_close(chained, predict(pipe.unet), atol=1e-4, rtol=1e-3)
    detach(pipe.unet)


def test_one_of_several_can_be_taken_off(pipe):
    first, second, before = grown(), grown([160]), predict(pipe.unet)
    attach(pipe.unet, second)
    alone = predict(pipe.unet)
    attach(pipe.unet, first)
    detach(pipe.unet, first)
    assert torch.equal(predict(pipe.unet), alone) and hypernetwork.attached(pipe.unet) == [second]
    detach(pipe.unet, second)
    assert torch.equal(predict(pipe.unet), before) and hypernetwork.attached(pipe.unet) == []


def test_a_checkpointed_step_is_the_same_step_in_the_precision_of_this_machine(pipe):
    unet, start = pipe.unet.requires_grad_(False).train(), grown()
    generator = torch.Generator().manual_seed(1)
    latents, embeds = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 77, 160, generator=generator)

    def stepped():
        net = copy.deepcopy(start).train()
        attach(unet, net)
        parameters, optimizer = list(net.parameters()), torch.optim.SGD(net.parameters(), lr=0.1)
        loss = lambda part: unet(latents, torch.tensor([500]), embeds).sample.float().square().mean()
        updates.update(parameters, loss, [None], optimizer, updates.scaler_for(parameters), 0.1)
        detach(unet)
        return [parameter.detach() for parameter in parameters]

    plain = stepped()
    assert not torch.equal(plain[0], next(start.parameters()))
    updates.checkpoint_gradients(unet)
    torch.testing.assert_close(stepped(), plain, atol=1e-5, rtol=1e-3)


def test_the_text_is_bent_once_a_pass_with_the_gradient_of_bending_it_before_each_attention(pipe):
    """Against hooks that know nothing of one another; with dropout, each attention draws its own."""
    unet, net = pipe.unet.requires_grad_(False).train(), grown().train()
    embeds, calls = torch.randn(2, 77, 160, generator=torch.Generator().manual_seed(1)), []

    def gradients(net):
        calls.clear()
        handle = net.layers["160"][0].register_forward_hook(lambda *_: calls.append(1))
        unet(torch.ones(2, 4, 16, 16), torch.tensor([500]), embeds).sample.square().mean().backward()
        handle.remove()
        found = [parameter.grad.clone() for parameter in net.parameters()]
        net.zero_grad()
        return found

    attach(unet, net)
    ours, once = gradients(net), len(calls)
    detach(unet)
    handles = attach_plainly(unet, net)
    plain, each = gradients(net), len(calls)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(ours, plain, atol=1e-7, rtol=1e-3)
    attach(unet, careless := grown(use_dropout=True, last_layer_dropout=True).train())
    gradients(careless)
    assert (once, each, len(calls)) == (1, 10, 10)


def test_what_is_bent_once_follows_strength_and_text(pipe):
    """The same text object at another strength, and another text: nothing of an earlier pass is left."""
    unet, net, embeds = pipe.unet, grown(), torch.ones(1, 77, 160)
    ask = lambda heard: unet(torch.ones(1, 4, 16, 16), torch.tensor([500]), encoder_hidden_states=heard).sample
    attach(unet, net, strength=1)
    with torch.no_grad():
        first, other = ask(embeds), ask(embeds * 2)
        attach(unet, net, strength=0.5)
        half = ask(embeds)
        embeds += 1  # in place: the object stays, its numbers do not
        changed = ask(embeds)
        attach(unet, net, strength=1)
        torch.testing.assert_close(ask(torch.full((1, 77, 160), 2.0)), other)
    assert not (torch.equal(first, other) or torch.equal(first, half) or torch.equal(half, changed))
    detach(unet)


def test_two_checkpointed_passes_may_share_a_backward_pass(pipe):
    """The first pass is computed again after the second: it must meet its own text."""
    unet, net = pipe.unet.requires_grad_(False).train(), grown().train()
    texts = torch.randn(2, 1, 77, 160, generator=torch.Generator().manual_seed(1))

    def gradient():
        ask = lambda text: unet(torch.ones(1, 4, 16, 16), torch.tensor([500]), text).sample.square().mean()
        sum(map(ask, texts)).backward()
        found = net.layers["160"][0].linear[0].weight.grad.clone()
        net.zero_grad()
        return found

    attach(unet, net)
    plain = gradient()
    unet.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), plain, atol=1e-7, rtol=1e-3)


def test_gradients_are_the_same_with_gradient_checkpointing(pipe):
    """A frozen U-Net, recomputed: the hooks act again, and the gradient still reaches the hypernetwork."""
    unet, net = pipe.unet.requires_grad_(False).train(), grown().train()
    attach(unet, net)
    generator = torch.Generator().manual_seed(1)
    latents, embeds = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 77, 160, generator=generator)

    def gradients():
        net.zero_grad()
        unet(latents, torch.tensor([500]), embeds).sample.square().mean().backward()
        return [parameter.grad.clone() for parameter in net.parameters()]

    plain = gradients()
    unet.enable_gradient_checkpointing()
    torch.testing.assert_close(gradients(), plain)
    detach(unet)


def test_widths_it_lacks_pass_unchanged_and_a_stranger_is_refused(pipe):
    before = predict(pipe.unet)
    attach(pipe.unet, grown([160]))  # the text only
    assert not torch.allclose(predict(pipe.unet), before)
    stood = predict(pipe.unet)
    for widths in ([768], [768, 96], [1024, 96, 192, 256]):
        with pytest.raises(ValueError, match=r"this U-Net has \[160, 96, 192, 256\].*made for another model"):
            attach(pipe.unet, Hypernetwork(widths))
    assert torch.equal(predict(pipe.unet), stood) and len(hypernetwork.attached(pipe.unet)) == 1
    attach(pipe.unet, grown([160, 1024]))  # one that somebody trained for two models is for this one, too


def test_fused_keys_and_values_are_refused(pipe):
    pipe.unet.fuse_qkv_projections()
    with pytest.raises(ValueError, match="unfuse_qkv_projections"):
        attach(pipe.unet, grown())
    pipe.unet.unfuse_qkv_projections()


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


def test_sd_2_takes_a_step_and_is_itself_again(tmp_path):
    """Its U-Net in small: text of 1024, linear projections, heads by block, and a velocity instead of the noise."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=1024,
        attention_head_dim=(2, 4), use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).requires_grad_(False)  # fmt: skip
    latents, heard = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 1024)
    told = lambda: unet(latents, torch.tensor([10, 900]), heard).sample.detach()
    before, state = told(), {name: value.clone() for name, value in unet.state_dict().items()}
    assert widths_of(unet) == [1024, 32, 64]
    net = Hypernetwork(widths_of(unet)).train()
    start = copy.deepcopy(net)
    attach(unet, net)
    scheduler = DDPMScheduler(prediction_type="v_prediction")

    def loss(part):
        noise = torch.randn_like(latents)
        return diffusion.diffusion_loss(unet, scheduler, latents, noise, torch.tensor([10, 900]), heard)

    list(training.train(tmp_path, net.parameters(), loss, lambda part: part, steps=1, learning_rate=0.1))
    moved = [not torch.equal(old, new) for old, new in zip(start.parameters(), net.parameters(), strict=True)]
    assert all(moved) and not torch.equal(told(), before)
    hypernetwork.save(tmp_path / "sd2.pt", net)
    bent = told()
    detach(unet)
    assert torch.equal(told(), before)
    assert all(torch.equal(state[name], value) for name, value in unet.state_dict().items())
    again = hypernetwork.load(tmp_path / "sd2.pt")
    assert again.widths == [1024, 32, 64]
    attach(unet, again)
    assert torch.equal(told(), bent)
    with pytest.raises(ValueError, match="SD 2.x 1024"):
        attach(unet, Hypernetwork([768, 320]))


# The file


def copied(run):
    return sorted(int(path.stem.rsplit("-", 1)[1]) for path in (run / "copies").iterdir())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(2, 8))
def test_copies_are_few_and_spread_over_the_training(count, at_most):
    net = Hypernetwork([1])
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            hypernetwork.keep_copy(folder, net, "amir", 100 * number, at_most)
            assert len(list(Path(folder, "copies").iterdir())) == min(number + 1, at_most)
        kept = copied(Path(folder))
        assert kept[0] == 0 and kept[-1] == 100 * (count - 1)
        gaps = [after - before for before, after in itertools.pairwise(kept)]
        if at_most > 2 and count > at_most:
            assert max(gaps) <= 2 * (kept[-1] / (len(kept) - 1)), kept
        assert hypernetwork.load(Path(folder, "copies", f"amir-{kept[-1]}.pt")).facts["step"] == kept[-1]


def test_no_room_for_a_copy_is_one_sentence_and_leaves_the_others(tmp_path, monkeypatch):
    hypernetwork.keep_copy(tmp_path, grown([8]), "amir", 0)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "000100.pt").touch()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hypernetwork_file.webui, "save_pt", full)
    with pytest.raises(OSError, match=r"no room to write \S+amir-100.pt .* it goes on from checkpoint 000100.pt"):
        hypernetwork.keep_copy(tmp_path, grown([8]), "amir", 100)
    assert copied(tmp_path) == [0]


def test_save_load_save_gives_the_same_bytes(tmp_path):
    first = grown([8, 4], activation_func="relu", is_layer_norm=True, use_dropout=True)
    hypernetwork.save(tmp_path / "a.pt", first, name="amir", step=300, sd_checkpoint_name="pocket")
    again = hypernetwork.load(tmp_path / "a.pt")
    hypernetwork.save(tmp_path / "b.pt", again)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    told = {"name": "amir", "step": 300, "sd_checkpoint_name": "pocket"}
    assert (
        again.facts == first.facts | told
        and first.facts["name"] == "hypernetwork"
        and again.widths == [8, 4]
        and not again.training
    )
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


class Evil:
    """Calls a function when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


def spoilt(data, **changes):
    """A hypernetwork's content with facts changed, or one weight's first value."""
    data = {**data, **{name: value for name, value in changes.items() if name != "value"}}
    if "value" in changes:
        data[8][1]["linear.1.bias"][0] = changes["value"]
    return data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": float("nan")}, "width 8, values: linear.1.bias holds values that are not numbers"),
        ({"value": float("inf")}, "width 8, values: linear.1.bias holds values that are not numbers"),
        ({"activation_func": "swoosh"}, "cannot be built: unknown activation 'swoosh'"),
        ({"layer_structure": [1, 4, 1]}, "width 8, keys: these weights do not fit the layers"),
        ({"layer_structure": [1e9, 1e9]}, "must begin and end with 1"),
        ({"layer_structure": [1, 1e12, 1]}, "do not fit|cannot be built"),
        ({"layer_structure": "1, 2, 1"}, "cannot be built"),
        ({"layer_structure": None}, "cannot be built"),
        ({"is_layer_norm": True}, "do not fit the layers"),
        ({"more": Evil()}, r"wants to call \S*print, which was not done"),
    ],
)
def test_a_file_that_would_do_harm_is_refused_in_one_sentence(tmp_path, capsys, changes, message):
    hypernetwork.save(tmp_path / "a.pt", grown([8]))
    data = webui.load_pt(tmp_path / "a.pt")
    torch.save(spoilt(data, **changes), tmp_path / "spoilt.pt")
    with pytest.raises(ValueError, match=message) as error:
        hypernetwork.load(tmp_path / "spoilt.pt")
    assert "spoilt.pt" in str(error.value) and "\n" not in str(error.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_file_that_was_cut_is_refused_wherever_the_cut_is(tmp_path, name):
    hypernetwork.save(tmp_path / name, grown([8]))
    whole = (tmp_path / name).read_bytes()
    for part in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:part])
        with pytest.raises(ValueError, match=name):
            hypernetwork.load(tmp_path / name)


def test_reading_a_file_draws_no_random_numbers(tmp_path):
    hypernetwork.save(tmp_path / "a.pt", grown([8]))
    torch.manual_seed(3)
    hypernetwork.load(tmp_path / "a.pt")
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))


def test_what_is_no_hypernetwork_is_refused_by_name(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    torch.save({8: torch.zeros(2)}, tmp_path / "odd.pt")
    with (tmp_path / "evil.pt").open("wb") as file:
        pickle.dump(Evil(), file)
    for name in ("text.pt", "other.pt", "odd.pt", "evil.pt", "other.safetensors"):
        with pytest.raises(ValueError, match=name):
            hypernetwork.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        hypernetwork.load(tmp_path / "nowhere.pt")
