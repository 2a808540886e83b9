import copy
import gc
import shutil
import sys
import weakref

import pytest
import torch
from conftest import small_unet
from diffusers import DDPMScheduler
from torch import nn
from toy import rows, same

from helpers import training
from helpers.diffusion import device
from helpers.methods import dreambooth, memory
from helpers.training import optimizers, steps

MOVING = (optimizers.in_backward, optimizers.in_backward_8bit, optimizers.on_host)
EVERY = (optimizers.adamw, optimizers.adamw_8bit, *MOVING)
NO_SCALE = torch.amp.GradScaler("cpu", enabled=False)


pytest.importorskip("bitsandbytes", reason="no wheel for this platform")


def network(seed=0):
    """Two matrices: one that bitsandbytes keeps in 8 bits, one that is too small for that; and biases."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 300), nn.Tanh(), nn.Linear(300, 4))


def learn(net, optimizer, steps, scaler=NO_SCALE, seed=1):
    """The losses of a small regression, without steps.update: nothing is clipped."""
    generator, losses = torch.Generator().manual_seed(seed), []
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    for _ in range(steps):
        x = torch.randn(16, 64, generator=generator)
        loss = (net(x) - 2 * x[:, :4].tanh()).square().mean()
        if isinstance(optimizer, optimizers.InBackward):
            assert optimizer.backward(loss, scaler)
        else:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


def test_the_fused_adamw_is_torchs_adamw():
    one, other = network(), network()
    losses = learn(other, torch.optim.AdamW(other.parameters()), 20)
    assert learn(one, optimizers.adamw(one.parameters()), 20) == pytest.approx(losses, rel=1e-5)
    for expected, found in zip(other.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("moving", "plain"), [*zip(MOVING, (*EVERY[:2], optimizers.adamw_8bit))])
@pytest.mark.parametrize("scaled", [False, True])
def test_moving_in_the_backward_pass_changes_no_number(moving, plain, scaled):
    one, other = network(), network()
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)  # by a power of two: nothing is rounded
    assert learn(one, moving(one.parameters()), 20, scaler) == learn(other, plain(other.parameters()), 20)
    assert same(one, other)


@pytest.mark.parametrize("optimizer", MOVING)
def test_gradients_never_exist_all_at_once(optimizer):
    net, alive = network(), []
    mover = optimizer(net.parameters())
    count = lambda _: alive.append(sum(p.grad is not None for p in net.parameters()))
    for parameter in net.parameters():
        parameter.register_post_accumulate_grad_hook(count)  # runs after the optimizer's own
    assert mover.backward(net(torch.randn(4, 64)).sum(), NO_SCALE) and alive == [0] * 4


def test_8_bits_learn_as_well():
    plain, packed = (learn(net := network(), kind(net.parameters()), 150) for kind in EVERY[:2])
    assert sum(packed[-50:]) < 1.05 * sum(plain[-50:]) < 0.3 * sum(plain[:50])


@pytest.mark.parametrize("optimizer", EVERY)
def test_averages_take_8_bytes_or_2_and_a_little(optimizer):
    weight = nn.Parameter(torch.zeros(1024, 1024))
    (found,) = memory.fill(optimizer([weight]), [weight])
    expected = 8 if optimizer in (optimizers.adamw, optimizers.in_backward) else 2.03
    assert found / weight.numel() == pytest.approx(expected, rel=2e-3)


def run(folder, optimizer, stop=None):
    """A training in a folder; with `stop` it is left at that step, without a word, as by kill -9."""
    net, data = network(), torch.Generator().manual_seed(2)
    batches = [torch.randn(16, 64, generator=data) for _ in range(9)]
    loss = lambda x: (net(x) - x[:, :4].square()).square().mean()
    settings = {"steps": 8, "learning_rate": 1e-2, "checkpoint_every": 3, "optimizer": optimizer}
    for step in training.train(folder, net.parameters(), loss, lambda i: batches[i], **settings):
        if step.number == stop:
            shutil.copytree(folder, folder.with_name("killed"))
    return net


@pytest.mark.parametrize("optimizer", EVERY)
def test_a_killed_training_goes_on_bit_for_bit(optimizer, tmp_path):
    net = run(tmp_path / "whole", optimizer, stop=5)
    again = run(tmp_path / "killed", optimizer)  # from the checkpoint of step 3
    assert same(net, again)
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed") and len(rows(tmp_path / "whole")) == 9


@pytest.mark.parametrize("optimizer", MOVING)
def test_a_weight_whose_gradient_is_not_finite_stays_and_the_scale_halves(optimizer):
    good, bad = nn.Parameter(torch.ones(64, 128)), nn.Parameter(torch.ones(64, 128))
    mover, scaler = optimizer([good, bad]), torch.amp.GradScaler("cpu", growth_interval=2)
    loss = lambda factor: (good.square() * 3 + bad.square() * factor).sum()
    assert mover.backward(loss(1.0), scaler)
    known = {name: value.clone() for name, value in mover.each[bad].state[bad].items() if torch.is_tensor(value)}
    before = good.detach().clone(), bad.detach().clone()
    assert not mover.backward(loss(1e35), scaler) and scaler.get_scale() == 2.0**15
    assert torch.equal(bad, before[1]) and not torch.equal(good, before[0])
    assert all(torch.equal(value, mover.each[bad].state[bad][name]) for name, value in known.items())
    assert mover.backward(loss(1.0), scaler) and not torch.equal(bad, before[1])
    assert torch.isfinite(good).all() and torch.isfinite(bad).all() and scaler.get_scale() == 2.0**15
    assert mover.backward(loss(1.0), scaler) and scaler.get_scale() == 2.0**16


@pytest.mark.parametrize("optimizer", MOVING)
def test_without_a_scaler_what_is_not_finite_is_said_and_not_learnt(optimizer):
    weight = nn.Parameter(torch.ones(64, 128))
    assert not optimizer([weight]).backward(weight.sum() * float("inf"), NO_SCALE)
    assert torch.equal(weight, torch.ones(64, 128))


def test_on_the_host_a_weights_averages_are_on_the_gpu_while_it_moves():
    """On a GPU that is not there: shapes know where they would be."""
    found = []

    class Watched(memory.EightBit):
        def step(self):
            super().step()
            found.append({value.device.type for state in self.state.values() for value in state.values()})

    with memory.shapes_only():
        weight = nn.Parameter(torch.empty(64, 128, device="cuda"))
        mover = optimizers.on_host([weight], kind=Watched)
        for _ in range(2):
            weight.grad = torch.empty_like(weight)
            mover.move(weight)
        assert {value.device.type for value in mover.each[weight].state[weight].values()} == {"cpu"}
        assert found == [{"cuda"}] * 2 and weight.grad is None
        mover.load_state_dict(mover.state_dict())
        assert {value.device.type for value in mover.each[weight].state[weight].values()} == {"cpu"}


def test_a_second_optimizer_takes_over_from_the_first():
    """As when the training cell of the notebook is stopped and run again."""
    one, other = network(), network()
    optimizers.in_backward(one.parameters())
    once = learn(other, optimizers.in_backward(other.parameters()), 5)
    assert learn(one, optimizers.in_backward(one.parameters()), 5) == once
    for parameter in one.parameters():
        optimizers.remove_hook(parameter)
    one(torch.randn(4, 64)).sum().backward()
    assert all(p.grad is not None for p in one.parameters())


@pytest.mark.parametrize("optimizer", MOVING)
def test_a_finished_training_holds_no_weights(optimizer, tmp_path):
    def trained():
        net, data = network(), torch.randn(16, 64)
        loss = lambda part: net(data).square().mean()
        settings = {"steps": 2, "learning_rate": 1e-3, "optimizer": optimizer}
        list(training.train(tmp_path, net.parameters(), loss, lambda i: 0, **settings))
        return weakref.ref(net[0].weight)

    left = trained()
    gc.collect()
    assert left() is None


def test_without_bitsandbytes_8_bits_say_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ImportError, match="pip install bitsandbytes"):
        optimizers.adamw_8bit([nn.Parameter(torch.ones(1))])


def test_the_whole_lean_path_is_the_plain_one(monkeypatch):
    """Checkpointing and steps within the backward pass change no loss and no weight.

    In float64: where a gradient is nothing but rounding, Adam makes a whole step of it.
    """
    monkeypatch.setattr(steps, "MAX_GRAD_NORM", float("inf"))  # what the lean path cannot do
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    plain = small_unet().double()
    lean = copy.deepcopy(plain)
    training.checkpoint_gradients(lean)
    latents, prompt_embeds = torch.randn(4, 4, 8, 8).double(), torch.randn(4, 7, 16).double()
    scheduler = DDPMScheduler()
    losses = []
    for unet, optimizer in ((plain, optimizers.adamw), (lean, optimizers.in_backward)):
        parameters = steps.learnable(unet.train().parameters())
        mover, found = optimizer(parameters), []
        for step in range(4):
            torch.manual_seed(step)
            noise, timesteps = torch.randn_like(latents), torch.randint(0, 1000, (4,))

            def loss(_, unet=unet, noise=noise, timesteps=timesteps):
                noisy = scheduler.add_noise(latents, noise, timesteps)
                return dreambooth.dreambooth_loss(unet(noisy, timesteps, prompt_embeds).sample, noise, 1.0)

            found.append(steps.update(parameters, loss, [None], mover, steps.scaler_for(parameters), 1e-3))
        losses.append(found)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6) and losses[0][-1] != losses[0][0]
    for a, b in zip(plain.parameters(), lean.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-6)  # a step is 1e-3
