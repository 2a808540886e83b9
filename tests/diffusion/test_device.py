import contextlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import fake_gpu
import pytest
import torch
import torch.nn.functional as F
from accelerate import PartialState
from conftest import tiny_pipeline
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers import diffusion, machine, training
from helpers.diffusion import latents
from helpers.methods import dreambooth, hypernetwork, lora
from helpers.training import steps


def runs_of(**environment):
    """(QUICK, RUNS relative to the repo where possible) in a fresh process."""
    code = "import json; from helpers import machine as r; print(json.dumps([r.QUICK, str(r.RUNS)]))"
    clean = {name: value for name, value in os.environ.items() if name not in ("QUICK", "RUNS_DIR")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, cwd=machine.REPO, capture_output=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_quick_trials_never_meet_real_runs(tmp_path):
    real, quick = runs_of(), runs_of(QUICK="1")
    assert real == [False, str(machine.REPO / "runs")]
    assert quick == [True, str(machine.REPO / "runs" / "quick")]
    assert runs_of(QUICK="0", RUNS_DIR=str(tmp_path)) == [False, str(tmp_path.resolve())]


@pytest.mark.parametrize(
    "flags, ratio, pays", [("avx512_bf16", 0.5, True), ("avx512_bf16", 2.1, False), ("avx2", 0.5, False)]
)
def test_bfloat16_pays_where_the_processor_has_it_and_is_faster_with_it(flags, ratio, pays, monkeypatch):
    monkeypatch.setattr(diffusion.device.platform, "system", lambda: "Linux")
    monkeypatch.setattr(diffusion.device.Path, "exists", lambda path: True)
    monkeypatch.setattr(diffusion.device.Path, "read_text", lambda path: f"flags : sse {flags} avx")
    monkeypatch.setattr(diffusion.device, "convolution_ratio", lambda: ratio)
    assert diffusion.device.cpu_has_bf16.__wrapped__() == pays


def test_measuring_the_processor_draws_no_random_number():
    torch.manual_seed(0)
    expected = torch.get_rng_state()
    assert diffusion.device.convolution_ratio(repeats=1) > 0
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("fast", [False, True])
def test_autocast_agrees_with_float32(fast, monkeypatch):
    monkeypatch.setattr(diffusion.device, "cpu_has_bf16", lambda: fast)
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 16, 8, requires_grad=True) for _ in range(3))
    exact = F.scaled_dot_product_attention(query, key, value)
    with diffusion.device.autocast("cpu"):
        mixed = F.scaled_dot_product_attention(query, key, value)
        product = torch.randn(4, 4) @ torch.randn(4, 4)
    torch.testing.assert_close(mixed.float(), exact, atol=2e-2, rtol=2e-2)
    assert product.dtype == (torch.bfloat16 if fast else torch.float32) == diffusion.device.computes_in("cpu")


def test_pictures_between_steps_are_made_without_copies_of_the_weights(monkeypatch):
    """Autocast would keep 1.7 GB of them for SD 1.x, which memory.forecast does not count beside a preview."""
    asked = []
    monkeypatch.setattr(diffusion.device, "computes_in", lambda device: torch.float16)
    monkeypatch.setattr(torch, "autocast", lambda *place, **settings: asked.append((place, settings)))
    diffusion.device.autocast("cuda"), diffusion.device.autocast("cuda", copies=False)
    assert [place for place, _ in asked] == [("cuda", torch.float16)] * 2
    assert [settings["cache_enabled"] for _, settings in asked] == [True, False]


@pytest.fixture
def find(monkeypatch):
    """Lets accelerate find a device that this machine has not: "mps" or "xpu"."""

    def found(kind):
        PartialState._reset_state()
        diffusion.device.state.cache_clear()
        monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "")  # which accelerate sets, for good
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind != "cpu")
        monkeypatch.setattr("accelerate.state.is_mps_available", lambda *_: kind == "mps")
        monkeypatch.setattr("accelerate.state.is_xpu_available", lambda *_: kind == "xpu")
        return diffusion.device.find_device()

    yield found
    PartialState._reset_state()
    diffusion.device.state.cache_clear()


@pytest.mark.parametrize("kind, dtype", [("cpu", torch.float32), ("mps", torch.float32), ("xpu", torch.bfloat16)])
def test_each_device_is_found_and_computes_in_what_it_can(kind, dtype, find, monkeypatch):
    monkeypatch.setattr(diffusion.device, "cpu_has_bf16", lambda: False)
    device = find(kind)
    assert device.type == kind and diffusion.device.computes_in(device) == dtype
    assert diffusion.device.state().num_processes == 1 and not torch.distributed.is_initialized()
    assert isinstance(diffusion.device.autocast(device), torch.autocast) == (dtype != torch.float32)
    assert not steps.scaler_for([SimpleNamespace(device=device)]).is_enabled()


def test_a_gpu_can_be_left_alone(find, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    assert find("mps").type == "cpu"


def test_processes_that_would_not_work_together_are_refused(find, monkeypatch):
    """Apple's GPU is one device: two processes there would train side by side and write into one folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="cannot share one mps"):
        find("mps")


CARDS = {  # name: (capability, AMD's own name for it, what it multiplies in)
    "Tesla P100-PCIE-16GB": ((6, 0), None, torch.float16),
    "NVIDIA GeForce GTX 1080": ((6, 1), None, torch.float16),
    "Tesla T4": ((7, 5), None, torch.float16),
    "NVIDIA GeForce GTX 1660 Ti": ((7, 5), None, torch.float32),  # makes black pictures in float16
    "NVIDIA GeForce RTX 2060": ((7, 5), None, torch.float16),
    "NVIDIA A100-SXM4-40GB": ((8, 0), None, torch.bfloat16),
    "NVIDIA H100 80GB HBM3": ((9, 0), None, torch.bfloat16),
    "AMD Radeon VII": ((9, 0), "gfx906:sramecc+:xnack-", torch.float16),
    "AMD Instinct MI210": ((9, 0), "gfx90a:sramecc+:xnack-", torch.bfloat16),
    "AMD Radeon RX 6900 XT": ((10, 3), "gfx1030", torch.float16),  # RDNA2 has no bfloat16
    "AMD Radeon RX 7900 XTX": ((11, 0), "gfx1100", torch.bfloat16),
}


@pytest.mark.parametrize("name", CARDS)
def test_each_card_computes_in_what_it_does_well_with_a_scaler_where_it_is_float16(name, monkeypatch):
    capability, amd, dtype = CARDS[name]
    monkeypatch.setattr(torch.version, "hip", amd and "6.4")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(gcnArchName=amd))
    assert diffusion.device.computes_in("cuda") == dtype
    monkeypatch.setattr(torch.amp, "GradScaler", lambda place, enabled: (place, enabled))
    assert steps.scaler_for([SimpleNamespace(device=torch.device("cuda"))]) == ("cuda", dtype == torch.float16)


@pytest.mark.parametrize(
    "capability, built, runs",
    [
        ((6, 0), ["sm_75", "sm_80", "sm_90a", "compute_90"], False),  # Kaggle's P100, and Pascal in new builds
        ((6, 1), ["sm_50", "sm_60", "sm_90"], True),
        ((7, 5), ["sm_75", "sm_80"], True),
        ((10, 3), ["gfx1030", "gfx90a"], True),
        ((12, 0), ["sm_75", "sm_80"], True),  # newer: PyTorch's to say
    ],
)
def test_a_card_that_this_pytorch_was_not_built_for_is_a_sentence(capability, built, runs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla P100-PCIE-16GB")
    with contextlib.nullcontext() if runs else pytest.raises(RuntimeError, match="no kernels for Tesla P100"):
        diffusion.device.check_built_for("cuda")


def picture(gpu, learning):
    """(bytes moved, kernels) by `generate`, and by the pipeline's own call, with autocast where weights differ."""
    pipe = tiny_pipeline().to("cuda", torch.float16)
    if learning:
        pipe.unet.float()
    settings, found = {"guidance_scale": 2.0, "num_inference_steps": 2}, []
    theirs = torch.autocast("cuda", torch.float16, learning, cache_enabled=False)
    for make in (lambda: diffusion.generate(pipe, "a", [1], **settings), lambda: pipe("a", **settings)):
        gpu.reset()
        with contextlib.nullcontext() if not found else theirs:
            make()
        found.append((gpu.moved, gpu.kernels))
    return found


@pytest.mark.slow
@fake_gpu.possible
@pytest.mark.parametrize("card, learning", [("T4", False), ("A100", False), ("A100", True)])
def test_pictures_move_no_more_bytes_than_the_pipelines_own_call(card, learning):
    """Autocast would widen the norms of a pipeline in float16, and on an A100 convert all its weights at each use."""
    (moved, kernels), (bare_moved, bare_kernels) = fake_gpu.run(picture, learning, card=card)
    assert moved <= 1.02 * bare_moved and kernels <= 1.1 * bare_kernels


def step(gpu, method):
    """(bytes moved, bytes held at most) by a step beside frozen weights in float16, on what this card computes in."""
    pipe = tiny_pipeline().to("cuda", torch.float16)
    unet, latents = pipe.unet.requires_grad_(False), torch.randn(2, 4, 8, 8, device="cuda")
    if method == "lora":
        parameters = lora.add(unet)
    else:
        net = hypernetwork.Hypernetwork(hypernetwork.widths_of(unet))
        hypernetwork.attach(unet, net)
        parameters = [*net.parameters()]
    embeds = diffusion.encode_prompts(pipe, ["a", "b"])
    loss = training.denoising_loss(unet, diffusion.training_scheduler(pipe), lambda batch: (latents, embeds))
    gpu.reset()
    steps.update(parameters, loss, [None], torch.optim.AdamW(parameters), steps.scaler_for(parameters), 1e-3)
    return gpu.moved, gpu.peak


@pytest.mark.slow
@fake_gpu.possible
@pytest.mark.parametrize("method", ["lora", "hypernetwork"])
def test_frozen_weights_are_not_converted_in_each_step_where_the_card_would_compute_in_another_type(method):
    """An A100 computes in bfloat16, and they have float16, as on a T4."""
    (moved, peak), (on_t4, peak_on_t4) = (fake_gpu.run(step, method, card=card) for card in ("A100", "T4"))
    assert moved <= 1.02 * on_t4 and peak <= 1.02 * peak_on_t4


class NoFloat64(TorchDispatchMode):
    """As on Apple's GPU, which has no float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        found = [value for value in tree_leaves(made) if isinstance(value, torch.Tensor)]
        assert not any(value.dtype == torch.float64 for value in found), func
        return made


@pytest.mark.slow
def test_neither_training_nor_pictures_need_float64(pipe, tmp_path, monkeypatch):
    monkeypatch.setattr(diffusion.device, "cpu_has_bf16", lambda: False)
    scheduler, photos = diffusion.training_scheduler(pipe), (torch.randn(2, 4, 16, 16), ["a man", "a horse"])
    with NoFloat64():
        parameters, encode_text = dreambooth.learn(pipe), dreambooth.PromptEncoder(pipe, photos[1])
        loss = dreambooth.denoising_loss(pipe.unet, scheduler, encode_text, photos, photos, weights="snr")
        kept = latents.held_out_examples(photos[0], encode_text(photos[1]), scheduler, 1, copies=1)
        held_out = lambda: latents.held_out_loss(pipe.unet, scheduler, kept, weights="snr")
        batches, told = dreambooth.paired_batches(2, 2, 1, seed=1), {"steps": 1, "learning_rate": 1e-3}
        assert len(list(training.train(tmp_path, parameters, loss, batches, held_out_loss=held_out, **told))) == 2
        diffusion.generate(pipe, "a (man:1.1)", [1], guidance_scale=2.0, num_inference_steps=2)
