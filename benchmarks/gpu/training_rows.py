"""Every setting of the memory table, and a hypernetwork and a LoRA: seconds a step, and what the GPU holds."""

import contextlib
import functools
import tempfile
from unittest import mock

import torch

from benchmarks.hypernetwork import fresh
from benchmarks.sampling import seconds
from helpers import diffusion, training
from helpers.diffusion import device
from helpers.methods import dreambooth, hypernetwork, lora, memory

SMALL = ("plain", "checkpointing", "8 bit")
ROWS = [("dreambooth", name) for name in memory.SETTINGS]
ROWS += [(method, name) for method in ("hypernetwork", "lora") for name in SMALL]
PROMPTS = ["nesrelah_001 person", "a photo of a person"]


def paged(parameters):
    """bitsandbytes' AdamW whose averages wander between the GPU and the computer's memory by themselves."""
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit(parameters, weight_decay=0.01)


def settings(bench):
    """Each of ROWS: steps to warm up, steps on the clock, the allocator's peak and the card's own account."""
    for method, name in ROWS:
        yield {"method": method, "setting": name}, functools.partial(setting_row, bench, method, name)


def setting_row(bench, method, name, row):
    setting, pipe = memory.SETTINGS[name], bench.pipe
    with rested(pipe), contextlib.ExitStack() as on:
        loss, batches = prepared_loss(bench, bench.scale.side, alone=method == "hypernetwork")
        if method == "dreambooth":
            parameters = dreambooth.learn(pipe)
        elif method == "lora":
            parameters = lora.add(pipe.unet, rank=8)
            on.callback(pipe.unet.unload_lora)
        else:
            parameters = [*on.enter_context(hypernetwork_on(pipe.unet)).parameters()]
        if setting["checkpointing"]:
            training.checkpoint_gradients(pipe.unet)
        on.enter_context(training.offloaded(*dreambooth.idle(pipe)))
        timed(bench.scale, row, parameters, loss, batches, setting["optimizer"])


@contextlib.contextmanager
def rested(pipe):
    """The pipeline; afterwards its U-Net is as it came: frozen, in its type, without checkpointing or gradients."""
    unet, dtype = pipe.unet, pipe.unet.dtype
    try:
        yield
    finally:
        unet.zero_grad(set_to_none=True)
        unet.disable_gradient_checkpointing()
        torch.nn.Module.to(unet, dtype).requires_grad_(False).eval()


@contextlib.contextmanager
def hypernetwork_on(unet):
    """A new hypernetwork, on the U-Net, ready to learn; off it afterwards."""
    net = fresh(unet)
    hypernetwork.attach(unet, net)
    try:
        yield net
    finally:
        hypernetwork.detach(unet)


def prepared_loss(bench, side, alone=False):
    """(loss, batches) of a photo and a class image a step, or of photos alone; latents are made up.

    side: of the latents.
    """
    pipe, prompts = bench.pipe, PROMPTS[: 1 if alone else 2]
    torch.manual_seed(0)
    latents = torch.randn(2, 4, side, side, device=device.find_device())
    encode_text, scheduler = dreambooth.PromptEncoder(pipe, prompts), diffusion.training_scheduler(pipe)
    if alone:
        draw = lambda rows: (latents[rows], encode_text(prompts * len(rows)))
        return training.denoising_loss(pipe.unet, scheduler, draw), training.shuffled(2, 1, 1)
    sides = [(latents, [prompt] * 2) for prompt in prompts]
    loss = dreambooth.denoising_loss(pipe.unet, scheduler, encode_text, *sides)
    return loss, dreambooth.paired_batches(2, 2, 1, 1)


def no_files():
    """Within it a training writes no checkpoint, which at this size takes a minute."""
    return mock.patch.object(training.run.Run, "_save", lambda run, name, data: None)


def timed(scale, row, parameters, loss, batches, optimizer, accumulate=1):
    """Fills in seconds a step and what the GPU held: the allocator's peaks, and all that is not free on the card."""
    count = scale.warm + scale.timed
    told = {"steps": count + 1, "learning_rate": 1e-6, "optimizer": optimizer, "accumulate": accumulate}
    with no_files(), tempfile.TemporaryDirectory() as folder:
        run = training.train(folder, parameters, loss, batches, **told)
        for _ in range(1 + scale.warm):  # step 0 learns nothing
            next(run)
        taken = lambda: [next(run) for _ in range(scale.timed)]
        row["seconds a step"] = seconds(taken)[1] / scale.timed
        row["allocator"] = device.peak_memory()["peak_bytes"]
        if parameters[0].is_cuda:
            row["reserved"], row["on the card"] = torch.cuda.max_memory_reserved(), held()
        run.close()


def held():
    """All that is not free on the card, whoever holds it; 0 without one."""
    if device.find_device().type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free
