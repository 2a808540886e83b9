import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers import runtime


def runs_of(**environment):
    """(QUICK, RUNS relative to the repo where possible) in a fresh process."""
    code = "import json; from helpers import runtime as r; print(json.dumps([r.QUICK, str(r.RUNS)]))"
    clean = {name: value for name, value in os.environ.items() if name not in ("QUICK", "RUNS_DIR")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, cwd=runtime.REPO, capture_output=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_quick_trials_never_meet_real_runs(tmp_path):
    real, quick = runs_of(), runs_of(QUICK="1")
    assert real == [False, str(runtime.REPO / "runs")]
    assert quick == [True, str(runtime.REPO / "runs" / "quick")]
    assert runs_of(QUICK="0", RUNS_DIR=str(tmp_path)) == [False, str(tmp_path.resolve())]


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 3])
def test_a_seed_repeats_all_random_numbers(seed):
    def draw():
        runtime.seed_everything(seed)
        return random.random(), np.random.rand(), torch.rand(3).tolist()

    first = draw()
    assert draw() == first
    runtime.seed_everything(seed + 1)
    assert (random.random(), np.random.rand(), torch.rand(3).tolist()) != first


def test_versions_name_the_libraries_and_this_machine():
    table = runtime.versions()
    assert torch.__version__.split("+")[0] in table
    assert all(name in table for name in ("diffusers", "transformers", "device", "cores"))


def test_a_missing_library_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(runtime, "LIBRARIES", ("no-such-one",))
    assert "no-such-one   not installed" in runtime.versions()


@pytest.mark.parametrize(
    "flags, ratio, pays", [("avx512_bf16", 0.5, True), ("avx512_bf16", 2.1, False), ("avx2", 0.5, False)]
)
def test_bfloat16_pays_where_the_processor_has_it_and_is_faster_with_it(flags, ratio, pays, monkeypatch):
    monkeypatch.setattr(runtime.platform, "system", lambda: "Linux")
    monkeypatch.setattr(runtime.Path, "exists", lambda path: True)
    monkeypatch.setattr(runtime.Path, "read_text", lambda path: f"flags : sse {flags} avx")
    monkeypatch.setattr(runtime, "convolution_ratio", lambda: ratio)
    assert runtime.cpu_has_bf16.__wrapped__() == pays


def test_measuring_the_processor_draws_no_random_number():
    torch.manual_seed(0)
    expected = torch.get_rng_state()
    assert runtime.convolution_ratio(repeats=1) > 0
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("fast", [False, True])
def test_autocast_agrees_with_float32(fast, monkeypatch):
    monkeypatch.setattr(runtime, "cpu_has_bf16", lambda: fast)
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 16, 8, requires_grad=True) for _ in range(3))
    exact = F.scaled_dot_product_attention(query, key, value)
    with runtime.autocast("cpu"):
        mixed = F.scaled_dot_product_attention(query, key, value)
        product = torch.randn(4, 4) @ torch.randn(4, 4)
    torch.testing.assert_close(mixed.float(), exact, atol=2e-2, rtol=2e-2)
    assert product.dtype == (torch.bfloat16 if fast else torch.float32) == runtime.computes_in("cpu")


def test_pictures_between_steps_are_made_without_copies_of_the_weights(monkeypatch):
    """Autocast would keep 1.7 GB of them for SD 1.x, which memory.forecast does not count beside a preview."""
    asked = []
    monkeypatch.setattr(runtime, "half_precision", lambda device: torch.float16)
    monkeypatch.setattr(torch, "autocast", lambda *place, **settings: asked.append((place, settings)))
    runtime.autocast("cuda"), runtime.autocast("cuda", copies=False)
    assert [place for place, _ in asked] == [("cuda", torch.float16)] * 2
    assert [settings["cache_enabled"] for _, settings in asked] == [True, False]


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_a_t4_gets_float16(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert runtime.half_precision("cuda") == dtype
