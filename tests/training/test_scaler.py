"""Trainings in float16 with a scaled loss, as on a T4, with numbers: on the CPU, which has the same autocast."""

import pytest
import torch
from conftest import small_unet
from diffusers import DDPMScheduler

from helpers import training
from helpers.diffusion import device
from helpers.methods import memory
from helpers.training import loop, steps

pytestmark = pytest.mark.slow
each = pytest.mark.parametrize("name", memory.SETTINGS)
some_weekly = [pytest.param(name, marks=[pytest.mark.weekly] * (name != "in backward")) for name in memory.SETTINGS]


@pytest.fixture
def on_t4(monkeypatch):
    half = lambda place, copies=True, precision=None: torch.autocast("cpu", torch.float16, cache_enabled=copies)
    monkeypatch.setattr(device, "autocast", half)
    monkeypatch.setattr(device, "computes_in", lambda place: torch.float16)


@pytest.fixture
def in_float32(monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)


def train(folder, name, stop=None, factor=lambda number: 1.0):
    """(losses, weights, scale of the loss) of eight steps by one of memory.SETTINGS, or of those up to `stop`.

    factor: of a step's number, counted from 0 in this call, to what its loss is multiplied by.
    """
    if "8 bit" in name or name == "on host":
        pytest.importorskip("bitsandbytes", reason="no wheel for this platform")
    setting, unet = memory.SETTINGS[name], small_unet()
    training.checkpoint_gradients(unet.train()) if setting["checkpointing"] else unet.train()
    latents, embeds = torch.randn(4, 4, 8, 8), torch.randn(4, 7, 16)
    plain = training.denoising_loss(unet, DDPMScheduler(), lambda rows: (latents[rows], embeds[rows]))
    drawn, scalers, losses = [], [], []

    def loss(rows):
        drawn.append(rows)
        return plain(rows) * factor(len(drawn) - 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "scaler_for", lambda weights: scalers.append(steps.scaler_for(weights)) or scalers[0])
        settings = {"steps": 8, "learning_rate": 1e-4, "optimizer": setting["optimizer"]}
        run = training.train(folder, unet.parameters(), loss, training.shuffled(4, 2, 1), **settings)
        for step in run:
            losses += [step.loss] if step.number else []
            if step.number == stop:
                run.close()
    return losses, [weight.detach() for weight in unet.parameters()], scalers[0].get_scale()


@each
def test_float16_learns_what_float32_learns(name, tmp_path, in_float32, request):
    expected, _, none = train(tmp_path / "float32", name)
    request.getfixturevalue("on_t4")
    found, _, scale = train(tmp_path / "float16", name)
    assert found == pytest.approx(expected, rel=3e-4) and found != expected
    assert none == 1.0 and scale == 2.0**16


@each
def test_in_float16_a_stopped_training_goes_on_bit_for_bit(name, tmp_path, on_t4):
    losses, weights, _ = train(tmp_path / "whole", name)
    first, *_ = train(tmp_path / "stopped", name, stop=5)
    rest, again, _ = train(tmp_path / "stopped", name)
    assert first + rest == losses and all(map(torch.equal, again, weights))


@pytest.mark.parametrize("name", some_weekly)
def test_gradients_too_large_for_float16_are_skipped_until_the_scale_fits(name, tmp_path, on_t4):
    losses, weights, scale = train(tmp_path, name, factor=lambda number: 1e4 if number < 3 else 1.0)
    assert 2.0**16 / 2**3 <= scale < 2.0**16 and all(weight.isfinite().all() for weight in weights)
    before = [weight.detach() for weight in small_unet().parameters()]
    assert not any(map(torch.equal, weights, before)) and losses[-1] < 10


@pytest.mark.parametrize("name", some_weekly)
def test_a_loss_that_no_scale_makes_fit_ends_the_training(name, tmp_path, on_t4, monkeypatch):
    lowest = lambda weights: torch.amp.GradScaler("cpu", init_scale=2.0)
    monkeypatch.setattr(steps, "scaler_for", lowest)
    with pytest.raises(FloatingPointError, match="gradient has become infinite"):
        train(tmp_path, name, factor=lambda number: 1e12)
