import contextlib
import copy
import gc
import weakref

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers import dreambooth, low_memory, runtime, training, updates
from helpers.low_memory import LeanAdamW


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 300), nn.Tanh(), nn.Linear(300, 4))


def learn(net, optimizer, steps, clip=False):
    """The losses of a small regression; plain torch, no helper."""
    generator, losses = torch.Generator().manual_seed(1), []
    for _ in range(steps):
        x = torch.randn(16, 8, generator=generator)
        loss = (net(x) - 2 * x[:, :4].tanh()).square().mean()
        (loss * getattr(optimizer, "loss_scale", 1)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("in_backward", [True, False])
@pytest.mark.parametrize("host", [True, False])
def test_with_32_bits_it_is_adamw_number_by_number(in_backward, host, monkeypatch):
    monkeypatch.setattr(low_memory, "CHUNK", 512)  # several chunks, the last one ragged
    one, other = network(), network()
    reference = torch.optim.AdamW(one.parameters(), lr=3e-3, foreach=False)
    ours = LeanAdamW(other.parameters(), lr=3e-3, host=host, in_backward=in_backward)
    assert learn(one, reference, 20) == learn(other, ours, 20)
    for expected, found in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_gradients_never_exist_all_at_once():
    net, alive = network(), []
    LeanAdamW(net.parameters())
    count = lambda _: alive.append(sum(p.grad is not None for p in net.parameters()))
    for parameter in net.parameters():
        parameter.register_post_accumulate_grad_hook(count)  # runs after the optimizer's own
    net(torch.randn(4, 8)).sum().backward()
    assert alive == [0] * 4


def test_with_8_bits_it_learns_as_well_and_takes_a_quarter_of_the_memory():
    plain, packed = network(), network()
    reference, ours = torch.optim.AdamW(plain.parameters(), lr=3e-3), LeanAdamW(packed.parameters(), lr=3e-3, bits=8)
    expected, found = learn(plain, reference, 300), learn(packed, ours, 300)
    assert sum(found[-50:]) < 1.15 * sum(expected[-50:]) < 0.5 * sum(expected[:50])
    assert low_memory.state_bytes(ours) < 0.3 * low_memory.state_bytes(reference)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 700), st.sampled_from([2, 4]), st.floats(-20, 10), st.integers(0, 99))
def test_packing_keeps_size_sign_and_zeros(count, power, exponent, seed):
    torch.manual_seed(seed)
    values = torch.randn(count) * 10**exponent
    values[::3] = 0
    values = values.abs() if power == 4 else values
    codes, scales = low_memory.pack(values, power)
    back = low_memory.unpack(codes, scales, power)[:count]
    top = scales.repeat_interleave(low_memory.BLOCK)[:count]
    assert codes.dtype == torch.int8 and ((back == 0) | (back.sign() == values.sign())).all()
    assert (back[values == 0] == 0).all()
    # no further off than the width of a code at that place
    root = (values.abs() / top.clamp(min=1e-38)) ** (1 / power)
    width = top * ((root + 1 / 127) ** power - (root - 1 / 127).clamp(min=0) ** power)
    assert ((back - values).abs() <= width * 1.001 + 1e-37).all()


def test_rounding_at_random_lets_small_changes_add_up():
    torch.manual_seed(0)
    values, mean = torch.full((256,), 0.5), torch.zeros(256)
    values[0] = 1.0  # the scale
    for _ in range(400):
        mean += low_memory.unpack(*low_memory.pack(values, 4), 4) / 400
    torch.testing.assert_close(mean[1:].mean(), torch.tensor(0.5), rtol=2e-3, atol=0)


@pytest.mark.parametrize("bits", [8, 32])
def test_it_continues_from_what_was_saved(bits):
    one = network()
    first = LeanAdamW(one.parameters(), lr=3e-3, bits=bits)
    learn(one, first, 5)
    other = copy.deepcopy(one)
    second = LeanAdamW(other.parameters(), lr=3e-3, bits=bits)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    types = lambda optimizer: [{k: v.dtype for k, v in s.items() if k != "step"} for s in optimizer.state.values()]
    assert types(first) == types(second)
    torch.manual_seed(7)
    expected = learn(one, first, 5)
    torch.manual_seed(7)
    assert learn(other, second, 5) == expected
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_second_optimizer_takes_over_from_the_first():
    """As when the training cell of the notebook is stopped and run again."""
    one, other = network(), network()
    LeanAdamW(one.parameters(), lr=5.0)
    first, second = LeanAdamW(one.parameters(), lr=3e-3), LeanAdamW(other.parameters(), lr=3e-3)
    assert learn(one, first, 5) == learn(other, second, 5)
    plain = torch.optim.AdamW(one.parameters())
    LeanAdamW(one.parameters(), in_backward=False)
    one(torch.randn(4, 8)).sum().backward()
    assert all(p.grad is not None for p in one.parameters()) and plain.state == {}


def test_the_training_loop_takes_it_and_resumes_bit_for_bit(tmp_path):
    def run(folder, stop=None):
        net, losses = network(), []
        x = torch.randn(16, 8, generator=torch.Generator().manual_seed(2))
        loss = lambda rows: (net(x[rows]) - x[rows, :4] ** 2).square().mean()
        steps = training.train(
            folder, net.parameters(), loss, training.shuffled(16, 4, 0), steps=6, learning_rate=1e-2,
            checkpoint_every=3, optimizer=LeanAdamW,
        )  # fmt: skip
        for step in steps:
            losses.append(step.loss)
            if step.number == stop:
                break
        return net, losses[1:] if stop else losses

    whole, losses = run(tmp_path / "whole")
    run(tmp_path / "cut", stop=3)
    again, rest = run(tmp_path / "cut")
    assert rest[-3:] == losses[-3:]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters()))


def test_a_gradient_too_large_for_16_bits_halves_the_scale_and_a_checkpoint_keeps_it(monkeypatch):
    monkeypatch.setattr(updates, "_needs_scaling", lambda device: True)
    monkeypatch.setattr(runtime, "autocast", lambda device: contextlib.nullcontext())
    weight = nn.Parameter(torch.ones(4))
    optimizer = LeanAdamW([weight], bits=32)
    loss = lambda part: (weight * part).sum()
    scaler = torch.amp.GradScaler(enabled=False)
    for part in (1e35, 1e35, 1.0):  # times 2 ** 16 they are beyond what 32 bits hold, too
        updates.update([weight], loss, [part], optimizer, scaler, 0.1)
    assert optimizer.loss_scale == 2.0**14
    again = LeanAdamW([weight], bits=32)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.loss_scale == 2.0**14


def trained(folder):
    """What is left of a weight that was trained, and of nothing else."""
    net, data = network(), torch.randn(16, 8)
    loss = lambda part: net(data).square().mean()
    told = {"steps": 2, "learning_rate": 1e-3, "optimizer": low_memory.in_backward}
    list(training.train(folder, net.parameters(), loss, lambda i: 0, **told))
    return weakref.ref(net[0].weight)


def test_a_finished_training_holds_no_weights(tmp_path):
    left = trained(tmp_path)
    gc.collect()
    assert left() is None


def test_only_8_and_32_bits_exist():
    with pytest.raises(ValueError, match="bits can be 32 or 8, not 4"):
        LeanAdamW(network().parameters(), bits=4)


def test_the_loop_does_not_clip_what_has_moved_already():
    net = network()
    optimizer = LeanAdamW(net.parameters(), lr=1e-2)
    parameters = updates.learnable(net.parameters())
    before = [p.clone() for p in parameters]
    loss = lambda x: net(x).square().mean() * 1e4
    updates.update(parameters, loss, [torch.randn(4, 8)], optimizer, updates.scaler_for(parameters), 1e-2)
    assert all(p.grad is None and not torch.equal(p, old) for p, old in zip(parameters, before))


def test_the_whole_lean_path_is_the_plain_one(monkeypatch):
    """Checkpointing and steps within the backward pass change no loss and no weight.

    In float64: where a gradient is nothing but rounding, Adam makes a whole step of it.
    """
    monkeypatch.setattr(updates, "MAX_GRAD_NORM", float("inf"))  # what the lean path cannot do
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: False)
    torch.manual_seed(0)
    plain = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=16, attention_head_dim=8, sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    plain = plain.double()
    lean = copy.deepcopy(plain)
    lean.enable_gradient_checkpointing()
    latents, heard = torch.randn(4, 4, 8, 8).double(), torch.randn(4, 7, 16).double()
    scheduler = DDPMScheduler()
    losses = []
    for unet, optimizer in ((plain, torch.optim.AdamW), (lean, LeanAdamW)):
        parameters = updates.learnable(unet.train().parameters())
        mover, found = optimizer(parameters), []
        for step in range(4):
            torch.manual_seed(step)
            noise, timesteps = torch.randn_like(latents), torch.randint(0, 1000, (4,))

            def loss(_, unet=unet, noise=noise, timesteps=timesteps):
                noisy = scheduler.add_noise(latents, noise, timesteps)
                return dreambooth.dreambooth_loss(unet(noisy, timesteps, heard).sample, noise, 1.0)

            found.append(updates.update(parameters, loss, [None], mover, updates.scaler_for(parameters), 1e-3))
        losses.append(found)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6) and losses[0][-1] != losses[0][0]
    for a, b in zip(plain.parameters(), lean.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-6)  # a step is 1e-3
