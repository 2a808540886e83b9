"""The GPU that is not there is a test tool: it must catch what a GPU would refuse, and count what happens."""

import tempfile
from pathlib import Path

import fake_gpu
import pytest
import torch
from conftest import tiny_pipeline
from diffusers import DDPMScheduler

from helpers import diffusion, training
from helpers.diffusion import device
from helpers.methods import hypernetwork

pytestmark = [pytest.mark.slow, fake_gpu.possible]


def planted(gpu):
    """{fault: the first words of what it led to, or ""}: faults as people make them, in a step and in a picture."""
    pipe, made = tiny_pipeline().to("cuda", torch.float16), {}
    net = hypernetwork.Hypernetwork(hypernetwork.widths_of(pipe.unet))
    hypernetwork.attach(pipe.unet.requires_grad_(False), net)
    latents, noise = torch.randn(2, 2, 4, 8, 8, device="cuda")
    timesteps, embeds = torch.randint(0, 1000, (2,), device="cuda"), diffusion.encode_prompts(pipe, ["a", "b"])
    scheduler, tokens = DDPMScheduler(), torch.zeros(1, 77, dtype=torch.long)

    plain = lambda place: torch.autocast("cuda", enabled=False)

    def step(noise=noise, timesteps=timesteps, embeds=embeds, autocast=device.autocast):
        with autocast("cuda"):
            prediction = pipe.unet(scheduler.add_noise(latents, noise, timesteps), timesteps, embeds).sample
            (prediction.float() - noise).square().mean().backward()

    def picture():
        diffusion.generate(pipe, "a", [1], guidance_scale=2.0, num_inference_steps=1)

    def away(part, do):
        with training.offloaded(part):
            do()

    faults = {
        "none": lambda: (step(), picture()),
        "timesteps on the CPU": lambda: step(timesteps=timesteps.cpu()),
        "tokens on the CPU": lambda: pipe.text_encoder(tokens),
        "pixels not in the VAE's type": lambda: pipe.vae.encode(torch.zeros(1, 3, 16, 16, device="cuda")),
        "a network not moved": lambda: away(net, step),
        "a VAE left on the host": lambda: away(pipe.vae, picture),
        "noise on the CPU": lambda: step(noise=noise.cpu()),
        "no autocast in the update": lambda: step(autocast=plain),
        "no autocast, but all in 32 bits": lambda: (pipe.unet.float(), step(embeds=embeds.float(), autocast=plain)),
    }
    for fault, do in faults.items():
        try:
            do()
            made[fault] = ""
        except Exception as error:  # noqa: BLE001  whatever it is
            made[fault] = f"{type(error).__name__}: {error}"[:120]
    return made


def test_it_catches_planted_faults_but_the_one_that_does_no_harm():
    """Without autocast a DreamBooth, whose weights have 32 bits, is only slow."""
    made = fake_gpu.run(planted)
    assert {fault for fault, error in made.items() if not error} == {"none", "no autocast, but all in 32 bits"}


def counted(gpu):
    """Figures that arithmetic knows, too."""
    gpu.reset()
    before, a = gpu.now, torch.ones(1000, 1000, device="cuda")
    made, moved = (gpu.kernels, gpu.now - before), gpu.moved
    view, b = a.T.reshape(-1)[:10], a + a
    added = (gpu.kernels, gpu.moved - moved, gpu.peak - before)
    del b
    freed = gpu.now - before
    values = torch.tensor([3, 5], device="cuda") + 1
    waits = len(gpu.waits)
    number, several = values.sum().item(), values.tolist()
    a[0].tolist()  # a thousand numbers
    torch.cuda.synchronize()
    return {
        "made": made, "added": added, "freed": freed, "number": number, "several": several,
        "waits": (waits, [line.split(":")[0] for line in gpu.waits[waits:]]),
        "card": [torch.cuda.get_device_name(), device.computes_in("cuda") == torch.bfloat16, view.is_cuda],
    }  # fmt: skip


def exported(gpu):
    """(how often an export waits for the GPU, how many tensors it takes from there)."""
    pipe = tiny_pipeline().to("cuda", torch.float16)
    gpu.reset()
    with tempfile.TemporaryDirectory() as folder:
        diffusion.checkpoint.export(Path(folder, "model.ckpt"), pipe)
    return len(gpu.waits), sum(tensor.is_cuda for tensor in diffusion.checkpoint.state_dict(pipe).values())


@pytest.mark.slow
def test_an_export_waits_once_for_all_tensors_and_once_to_fetch_each():
    waits, tensors = fake_gpu.run(exported)
    assert waits == tensors + 1


def test_it_counts_kernels_bytes_and_waits():
    found, size = fake_gpu.run(counted, card="A100"), 4_000_256  # a million numbers, in blocks of 512 bytes
    assert found["made"] == [1, size]
    assert found["added"] == [1 + 1 + 1, 8_000_000 + 12_000_000, 3 * size]  # written; copied; read twice and written
    assert found["freed"] == 2 * size and (found["number"], found["several"]) == (4 + 6, [4, 6])
    assert found["waits"] == [0, ["test_fake_gpu.py"] * 4]  # each a copy, however many numbers, and the last is one
    assert found["card"] == ["NVIDIA A100-SXM4-40GB", True, True]


def test_the_tool_is_small():
    files = [path for path in (fake_gpu.REPO / "tests" / "fake_gpu").iterdir() if path.is_file()]
    assert sum(len(path.read_text().splitlines()) for path in files) <= 350
