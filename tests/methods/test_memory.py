import contextlib
import dataclasses
import functools
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import small_unet
from torch import nn

from benchmarks import memory as benchmark
from helpers import diffusion, training
from helpers.diffusion import device
from helpers.methods import dreambooth, memory
from helpers.training import optimizers, steps

TINY = {**small_unet(48).config, "sample_size": 16}
LESS = TINY | {"block_out_channels": (32,), "mid_block_type": None}  # a fifth of the time
LESS |= {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
TEXT = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}


@functools.cache
def tiny(**settings):
    return memory.forecast(TINY, **settings)


def peaks():
    return {name: tiny(**settings).peak for name, settings in memory.SETTINGS.items()}


def sizes():
    with torch.device("meta"):
        return [p.numel() for p in memory.UNet2DConditionModel.from_config(TINY).parameters()]


def test_a_forecast_does_not_time_the_processor_on_shapes(monkeypatch):
    """What was timed is remembered, and decides how every later training computes."""
    timed_on = []
    monkeypatch.setattr(device, "cpu_has_bf16", functools.cache(lambda: timed_on.append(type(torch.empty(1)))))
    memory.forecast(LESS)
    assert timed_on == [torch.Tensor]


def test_the_ledger_counts_what_is_alive_and_remembers_the_most():
    with memory.shapes_only() as ledger:
        a = torch.empty(1000)  # 4,000 bytes take eight blocks of 512
        assert ledger.now == 4096
        b = a.view(10, 100)  # the same memory
        c = a + 1
        assert ledger.now == 8192 and b.shape == (10, 100)
        del c
        assert ledger.now == 4096 and ledger.peak == 8192
        del a
        assert ledger.now == 4096  # b still holds it
        del b
        assert ledger.now == 0


def test_nothing_is_computed_and_no_memory_is_used():
    with memory.shapes_only() as ledger:
        huge = torch.empty(10**6, 10**6)  # 4 TB
        assert ledger.now == huge.nbytes and bool(torch.isfinite(huge).all()) and huge.sum().item() == 1.0


def computed(checkpointing, batch_size, text=None):
    """The bytes of one step that is computed, of networks as dreambooth.learn makes them ready."""
    unet = memory.UNet2DConditionModel.from_config(TINY)
    encoder = memory.CLIPTextModel(memory.CLIPTextConfig(**(text or TEXT)))
    pipe = SimpleNamespace(unet=unet, text_encoder=encoder)
    parameters = dreambooth.learn(pipe, text is not None, checkpointing)
    optimizer = memory.SETTINGS["plain"]["optimizer"](parameters)
    averages = memory.fill(optimizer, parameters)
    latents, noise, scheduler = *torch.randn(2, batch_size, 4, 16, 16), memory.DDPMScheduler()
    prompts, embeds = torch.zeros(batch_size, 77, dtype=torch.long), torch.randn(batch_size, 77, 48)

    def step():
        prompt_embeds = encoder(prompts)[0] if text else embeds
        timesteps = torch.arange(batch_size) * 100
        diffusion.latents.diffusion_loss(unet, scheduler, latents, noise, timesteps, prompt_embeds).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return benchmark.allocated(step) + sum(p.nbytes for p in parameters) + sum(averages)


LONG = TEXT | {"num_hidden_layers": 12, "intermediate_size": 480}  # long texts, many layers


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("batch_size", "text"), [(2, None), pytest.param(8, LONG, marks=pytest.mark.slow)])
def test_a_real_step_takes_what_was_predicted(batch_size, text, checkpointing):
    """Not shapes against shapes: the allocator of PyTorch itself, on a step that is computed."""
    settings = {"precision": torch.float32, "checkpointing": checkpointing, "prior": False, "batch_size": batch_size}
    forecast = memory.forecast(TINY, text_encoder=text or False, **settings)
    assert forecast.peak - memory.CUDA == pytest.approx(computed(checkpointing, batch_size, text), rel=0.1)


@pytest.mark.slow
def test_the_parts_are_what_arithmetic_says():
    count = sum(sizes())
    forecast = tiny(**memory.SETTINGS["checkpointing"])
    for part, size in {"weights": 4, "gradients": 4, "optimizer": 8}.items():
        assert getattr(forecast, part) == pytest.approx(size * count, rel=0.05), part
    assert forecast.peak == sum(dataclasses.astuple(forecast)) and forecast.cuda == memory.CUDA
    packed = tiny(**memory.SETTINGS["8 bit"]).optimizer
    assert packed == pytest.approx(sum(8 * size if size < 4096 else 2.03125 * size for size in sizes()), rel=1e-3)
    assert tiny(**memory.SETTINGS["in backward"]).gradients == 0
    assert tiny(**memory.SETTINGS["on host"]).optimizer == pytest.approx(2.03125 * max(sizes()), rel=1e-3)


@pytest.mark.slow
def test_every_saving_saves():
    found = peaks()
    assert sorted(found, key=found.get, reverse=True) == list(found)
    assert tiny(prior=False).peak < found["checkpointing"] < tiny(batch_size=2).peak
    assert found["plain"] < tiny(checkpointing=False, precision=torch.float32).peak


@pytest.mark.slow
def test_light_methods_keep_the_model_frozen():
    count = sum(sizes())
    for method in ("lora", "hypernetwork"):
        forecast = tiny(method=method)
        assert forecast.weights < 2.9 * count and forecast.optimizer == pytest.approx(2 * forecast.gradients, rel=0.3)
    assert tiny(method="lora").gradients < 0.4 * count
    word, network = (
        memory.forecast(TINY, method=name, text_encoder=TEXT) for name in ("textual_inversion", "hypernetwork")
    )
    assert word.weights == pytest.approx(network.weights, rel=0.3) and word.gradients + word.optimizer < 4096
    assert word.activations > 0
    with pytest.raises(ValueError, match="no method 'textual inversion'"):
        tiny(method="textual inversion")


@pytest.mark.slow
def test_a_text_encoder_that_learns_costs_its_weights_four_times():
    with torch.device("meta"):
        size = sum(p.nbytes for p in memory.CLIPTextModel(memory.CLIPTextConfig(**TEXT)).parameters())
    more, alone = memory.forecast(TINY, text_encoder=TEXT), tiny(**memory.SETTINGS["checkpointing"])
    for part, times in {"weights": 1, "gradients": 1, "optimizer": 2}.items():
        assert getattr(more, part) - getattr(alone, part) == pytest.approx(times * size, rel=0.1), part


@pytest.mark.parametrize("count", [100, 4095, 4096, 5000, 2**20])
def test_the_stand_in_keeps_as_many_bytes_as_bitsandbytes(count):
    pytest.importorskip("bitsandbytes")
    kept = []
    for kind in (optimizers.adamw_8bit, memory.EightBit):
        weight = nn.Parameter(torch.zeros(count))
        kept += memory.fill(kind([weight]), [weight])
    codes = 2 * 256 * 4 if count >= 4096 else 0  # the numbers that the 256 codes stand for: one table for all weights
    assert kept[0] - codes == kept[1]


@pytest.mark.slow
def test_the_first_setting_that_fits_is_chosen(monkeypatch):
    found = peaks()
    monkeypatch.setattr(memory, "forecast", lambda **settings: tiny(**settings))
    enough = {name: int(1.1 * peak) for name, peak in found.items()}  # a tenth more than predicted
    assert memory.choose(enough["plain"]) == "plain" and memory.choose(enough["plain"] - 1) == "checkpointing"
    assert memory.choose(enough["on host"] - 1) is None
    table = memory.table(("plain", "on host"), enough["on host"])
    assert list(table.index) == ["plain", "on host"] and list(table["fits"]) == [False, True]


def test_too_small_a_gpu_or_disk_is_told_in_a_sentence(tmp_path, monkeypatch):
    forecast = memory.Forecast(4 * 10**9, 0, 0, 2 * 10**9)
    memory.check_gpu(forecast, 8 * 10**9)
    monkeypatch.setattr(memory, "choose", lambda available: "on host" if available > 5e9 else None)
    needs = "needs about 7.0 GB, 7.7 GB to be safe, and the GPU has {} GB free: choose 'on host'"
    with pytest.raises(MemoryError, match=needs.format("6.0")):
        memory.check_gpu(forecast, 6 * 10**9)
    with pytest.raises(MemoryError, match=needs.format("7.6")):  # forecasts miss by up to 7 %
        memory.check_gpu(forecast, int(7.6e9))
    with pytest.raises(MemoryError, match="train a LoRA"):
        memory.check_gpu(forecast, 4 * 10**9)
    with pytest.raises(OSError, match="has room for .* GB.* need .* GB more"):
        dreambooth.check_disk(tmp_path, SimpleNamespace(components={}), 10**15)


@pytest.mark.parametrize("name", ["plain", "8 bit", "on host"])
def test_the_disk_is_asked_for_what_a_run_takes_at_its_fullest(tmp_path, name):
    """Against a run that is made: all that lies there whenever a file is about to take the place of another."""
    layer, fullest = nn.Linear(512, 512, bias=False), 0
    pipe = SimpleNamespace(components={"unet": layer, "tokenizer": None})
    optimizer = memory.SETTINGS[name]["optimizer"]
    ask = functools.partial(dreambooth.check_disk, tmp_path / "run", pipe, layer.weight.numel(), optimizer)
    taken = lambda: sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    asked, replace = ask(), os.replace

    def measure_and_replace(*paths):
        nonlocal fullest
        fullest = max(fullest, taken())
        replace(*paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", measure_and_replace)
        losses = iter([9.0, 5.0, 4.0, 3.0, 2.0])  # each better than the last: the best is replaced every time
        run = training.train(
            tmp_path / "run", layer.parameters(), lambda batch: layer(batch).square().mean(), lambda i: torch.ones(1, 512),
            steps=4, learning_rate=1e-3, optimizer=optimizer, checkpoint_every=1, watch_every=1,
            held_out_loss=lambda: next(losses), settings={"captions": None},
        )  # fmt: skip
        next(run), next(run)
        held = taken()
        assert ask() == ask(settings={"steps": 4, "captions": None}) == pytest.approx(asked - held)  # one that goes on
        assert ask(settings={"captions": ["another"]}) == asked  # one that will be set aside
        for _ in run:
            pass
    done = layer.weight.numel() * (4 + 2 + 3 * 2)  # last, best; the model twice, while it is replaced, and a file
    assert max(fullest, done) == pytest.approx(asked, rel=0.05)


@pytest.mark.parametrize(
    "name, drive, here, fits",
    [
        ("in backward", 12, 70, True),  # free Colab: of 15 GB on Drive some are taken
        ("in backward", 6, 70, False),
        ("in backward", 12, 20, False),
        ("8 bit", None, 12.2, True),  # one disk, as on Kaggle
    ],
)
def test_a_free_drive_has_room_for_what_sd1_leaves_there(tmp_path, monkeypatch, name, drive, here, fits):
    with torch.device("meta"):
        parts = {"unet": memory.UNet2DConditionModel(**memory.SD1_UNET), "vae": memory.AutoencoderKL(**memory.SD1_VAE)}
        parts["text_encoder"] = memory.CLIPTextModel(memory.CLIPTextConfig(**memory.SD1_TEXT))
        parts["safety_checker"] = nn.Linear(304_000_000, 1)
    folder, place = tmp_path / "drive" / "run", tmp_path / "here" / "checkpoints"
    of_drive = lambda path: drive and "drive" in Path(path).parts
    monkeypatch.setattr(dreambooth, "_disk", of_drive)
    monkeypatch.setattr(dreambooth, "_first_there", lambda path: path)
    free = lambda path: SimpleNamespace(free=1e9 * (drive if of_drive(path) else here))
    monkeypatch.setattr(dreambooth.shutil, "disk_usage", free)
    ask = (
        folder,
        SimpleNamespace(components=parts),
        parts["unet"].num_parameters(),
        memory.SETTINGS[name]["optimizer"],
    )
    with contextlib.nullcontext() if fits else pytest.raises(OSError, match="has room for .* GB.* need .* GB more"):
        dreambooth.check_disk(*ask, checkpoints=place)


@pytest.mark.slow
def test_a_preview_takes_what_it_takes_and_no_more_than_a_step():
    config = memory.SD1_VAE | {"block_out_channels": (32, 32, 32, 32)}
    vae = memory.AutoencoderKL.from_config(config).requires_grad_(False)
    with torch.no_grad():
        found = benchmark.allocated(lambda: vae.decode(torch.randn(1, 4, 8, 8)))
    weights = sum(p.nbytes for p in vae.parameters())
    assert memory.preview(config, 8, vae) - weights == pytest.approx(found, rel=0.35)  # 16 bits but for the norms
    least, plain = (functools.partial(memory.forecast, LESS, **memory.SETTINGS[name]) for name in ("on host", "plain"))
    assert least(preview=10**9).activations == 10**9 and least(preview=1) == least()
    assert plain(preview=plain().gradients) == plain()  # gradients are gone by then


def test_a_held_out_loss_is_counted_where_it_takes_more_than_a_step():
    """Eight examples at a time, without gradients: against what the allocator held."""
    unet = memory.UNet2DConditionModel.from_config(LESS).requires_grad_(False)
    inputs = torch.randn(8, 4, 16, 16), torch.randn(8, 4, 16, 16), torch.arange(8), torch.randn(8, 77, 48)
    loss = lambda: diffusion.latents.diffusion_loss(unet, memory.DDPMScheduler(), *inputs)
    with torch.no_grad():
        found = benchmark.allocated(loss)
    lean = functools.partial(memory.forecast, LESS, method="hypernetwork", precision=torch.float32)
    assert lean(held_out=True).activations > lean().activations
    assert lean(held_out=True).activations + lean().gradients == pytest.approx(found, rel=0.15)


@pytest.mark.slow
def test_on_sd1_previews_fit_beside_the_leanest_training():
    """With the text encoder, the VAE and the safety checker (608 MB in 16 bits) on the device for them."""
    with torch.device("meta"):
        text = memory.CLIPTextModel(memory.CLIPTextConfig(**memory.SD1_TEXT)).half()
        vae = memory.AutoencoderKL.from_config(memory.SD1_VAE).half()
    least = memory.SETTINGS["on host"]
    shown = memory.preview(None, 64, text, vae) + 608 * 10**6
    assert memory.forecast(**least, preview=shown) == memory.forecast(**least)


@pytest.mark.slow
def test_what_is_advised_fits_this_training_not_another():
    """A larger batch and a text encoder that learns need a leaner setting than memory.choose finds without them."""
    this = {"unet_config": TINY, "batch_size": 16, "text_encoder": TEXT}
    available = memory.forecast(**this, **memory.SETTINGS["checkpointing"]).safe
    assert memory.choose(available, unet_config=TINY) == "plain"
    plain = memory.forecast(**this, **memory.SETTINGS["plain"])
    with pytest.raises(MemoryError, match="choose 'checkpointing'"):
        memory.check_gpu(plain, available, **this)


def test_a_gpu_has_what_is_free_and_what_is_ours(monkeypatch):
    assert memory.gpu_bytes() is None or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (9 * 10**9, 16 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2 * 10**9)
    assert memory.gpu_bytes() == 11 * 10**9


def test_a_step_runs_on_shapes_as_it_does_on_numbers():
    """The very function of the training loop, without a number in sight."""
    with memory.shapes_only():
        net = nn.Linear(4, 4)
        optimizer = torch.optim.AdamW(net.parameters())
        parameters = steps.learnable(net.parameters())
        scaler = torch.amp.GradScaler(enabled=False)
        loss = lambda x: net(x).square().mean()
        assert steps.update(parameters, loss, [torch.empty(2, 4)], optimizer, scaler, 0.1) == 1


@pytest.mark.slow
def test_the_published_figures_are_met():
    """Nine of eleven within 10 %; the other two are more than the GPU has that they are said to be of."""
    table = benchmark.published()
    on_a_t4 = table["published"] < 16.1
    assert on_a_t4.sum() == 9 and (table["difference"][on_a_t4].abs() < 0.1).all()
