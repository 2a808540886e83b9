"""What is measured: for each part a generator of (what it is, a function that fills its row).

What stands before a `yield` in a part is made ready for all rows after it; what stands in its `finally` puts the
pipeline back as it was.
"""

import contextlib
import functools
import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from accelerate.utils.memory import clear_device_cache
from torch.nn.attention import SDPBackend

from benchmarks import checkpoint as files
from benchmarks import dreambooth as peer
from benchmarks import hypernetwork as web_ui
from benchmarks import sampling as pictures_of
from benchmarks.gpu import processes, training_rows
from benchmarks.gpu.training_rows import held, paged, prepared_loss, rested
from helpers import diffusion, photos, training
from helpers.diffusion import device, sampling
from helpers.methods import dreambooth, hypernetwork, memory
from helpers.training import optimizers

LIBRARIES = ("diffusers", "transformers", "accelerate", "bitsandbytes", "numpy")


@dataclass
class Bench:
    """What every part works on."""

    pipe: object
    scale: object
    precision: torch.dtype  # what autocast multiplies in
    folder: Path | None = None  # for files, gone at the end


def card():
    """The name of the GPU, or of a processor where there is none."""
    place = find()
    return torch.cuda.get_device_name(place) if place.type == "cuda" else f"{place.type} of {platform.machine()}"


def find():
    return device.find_device()


def about(bench):
    """The machine, and which kernel attention takes for each width of a head, with its time."""
    yield {"what": "machine"}, machine_row
    widths = [channels // 8 for channels in bench.pipe.unet.config.block_out_channels]
    sides = [bench.scale.side >> level for level in range(len(widths))]
    shapes = {(8, side**2, width): "U-Net" for side, width in zip(sides, widths)}
    shapes |= {(1, bench.scale.side**2, bench.pipe.vae.config.block_out_channels[-1]): "VAE"}
    for shape, where in shapes.items():
        yield {"what": f"attention, {where}", "heads, tokens, width": shape}, functools.partial(attention_row, shape)


def machine_row(row):
    """Versions and sizes."""
    row |= {"card": card(), "torch": torch.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
    row["cuda"], row["cudnn"] = torch.version.cuda or torch.version.hip, torch.backends.cudnn.version()
    for library in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            row[library] = metadata.version(library)
    row["multiplies in"] = str(device.computes_in(find())).removeprefix("torch.")
    if Path("/proc/meminfo").exists():
        row["host bytes"] = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    if find().type == "cuda":
        row["cards"], row["capability"] = torch.cuda.device_count(), torch.cuda.get_device_capability()
        row["free bytes"], row["all bytes"] = torch.cuda.mem_get_info()


def attention_row(shape, row):
    """Which kernel PyTorch picks for two samples in 16 bits, and its milliseconds forward, and forward and backward."""
    dtype = device.computes_in(find())
    query, key, value = (torch.randn(2, *shape, device=find(), dtype=dtype, requires_grad=True) for _ in range(3))
    with contextlib.suppress(RuntimeError, AttributeError):  # a private function, of which only the name is wanted
        row["kernel"] = SDPBackend(torch._fused_sdp_choice(query, key, value)).name
    attend = lambda: F.scaled_dot_product_attention(query, key, value)
    row["ms"] = 1000 * per_call(attend, 20)
    row["ms there and back"] = 1000 * per_call(lambda: attend().sum().backward(), 20)


def per_call(work, count):
    """Seconds of one of `count` calls, after two."""
    work(), work()
    return pictures_of.seconds(lambda: [work() for _ in range(count)])[1] / count


def guided(bench):
    """Seconds of a step with guidance: what `diffusion.generate` repeats."""
    for kind in ("autocast", "pure", "channels_last"):
        for batch in bench.scale.batches:
            yield {"kind": kind, "batch": batch}, functools.partial(guided_row, bench, kind, batch)


def guided_row(bench, kind, batch, row):
    unet, scale, place = bench.pipe.unet, bench.scale, find()
    latents = torch.randn(batch, 4, scale.side, scale.side, device=place, dtype=unet.dtype)
    embeds = torch.randn(1, 77, scale.width, device=place, dtype=unet.dtype)
    step = lambda: sampling.guided(unet, latents, 500, [[(embeds, 1.0)]] * batch, embeds, 7.5)
    layout = torch.channels_last if kind == "channels_last" else torch.contiguous_format
    mixed = device.autocast(place, copies=False) if kind == "autocast" else contextlib.nullcontext()
    unet.to(memory_format=layout)
    try:
        with torch.no_grad(), mixed:
            row["seconds"] = per_call(step, 3)
    finally:
        unet.to(memory_format=torch.contiguous_format)


def peers(bench):
    """diffusers' and the web UI's loops beside ours, in the same run and on the same photos."""
    instances, classes = (photos.squares_in(photos.prepared_folder(name))[:4] for name in ("nesrelah", "amir"))
    config, pipe, steps = bench.scale, bench.pipe, bench.scale.timed
    loops = {
        "diffusers' train_dreambooth.py, 8 bit": (peer.theirs, optimizers.adamw_8bit),
        "ours, 8 bit": (peer.ours, optimizers.adamw_8bit),
        "ours, in backward": (peer.ours, optimizers.in_backward),
    }
    for name, (loop, optimizer) in loops.items():
        material = instances, classes, config, 1
        yield {"loop": name}, functools.partial(dreambooth_loop, pipe, loop, material, steps, optimizer)
    with rested(pipe):
        train_set, scheduler = web_ui.material(pipe, config)
        for name in ("the web UI's", "ours"):
            material = pipe.unet, train_set, scheduler, 1, steps
            yield {"loop": f"hypernetwork, {name}"}, functools.partial(hypernetwork_loop, bench, name, material)


def dreambooth_loop(pipe, loop, material, steps, optimizer, row):
    with rested(pipe), training_rows.no_files():
        parameters = dreambooth.learn(pipe, checkpointing=True)
        if loop is peer.theirs:
            seconds = loop(pipe, *material, steps, optimizer)
        else:
            loss, batches = peer.prepared(pipe, *material)
            seconds, _ = loop(pipe, parameters, loss, batches, steps, optimizer)
    row["seconds a step"] = seconds / steps


def hypernetwork_loop(bench, name, material, row):
    unet, *_, block = material
    with training_rows.no_files():
        folder = (bench.folder / "hypernetwork", "default")
        loop = web_ui.peer_loop(*material) if "web UI" in name else web_ui.our_loop(*material, *folder)
        clock = web_ui.Clock()
        try:
            web_ui.turn(unet, loop, web_ui.Clock(), block)
            web_ui.turn(unet, loop, clock, block)
        finally:
            loop.close()
            hypernetwork.detach(unet)
    row["seconds a step"] = clock.wall / clock.steps


def precisions(bench):
    """The losses of the same steps in three precisions, from the same weights, on pictures of half the side."""
    start = {name: tensor.cpu().clone() for name, tensor in bench.pipe.unet.state_dict().items()}
    try:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            yield {"precision": str(dtype).removeprefix("torch.")}, functools.partial(losses_row, bench, start, dtype)
    finally:
        bench.pipe.unet.load_state_dict(start)


def losses_row(bench, start, dtype, row):
    row["losses"] = []
    patched = mock.patch.object(device, "computes_in", lambda place: dtype)
    with rested(bench.pipe), training_rows.no_files(), patched:
        bench.pipe.unet.load_state_dict(start)
        loss, batches = prepared_loss(bench, bench.scale.side // 2)
        parameters = dreambooth.learn(bench.pipe, checkpointing=True)
        settings = {"steps": bench.scale.losses, "learning_rate": 1e-5, "optimizer": optimizers.in_backward}
        for step in training.train(bench.folder / row["precision"], parameters, loss, batches, **settings):
            row["losses"] += [step.loss] if step.number else []


def resumes(bench):
    """A hypernetwork's training stopped at its middle and taken up, beside one that went through: 8 bits and paged."""
    for kind in (optimizers.adamw_8bit, paged, optimizers.on_host):
        yield {"optimizer": kind.__name__}, functools.partial(resume_row, bench, kind)


def resume_row(bench, kind, row):
    steps, ended = bench.scale.timed, {}
    for name, stops in {"through": (None,), "resumed": (steps // 2, None)}.items():
        for stop in stops:
            clear_device_cache(garbage_collection=True)
            ended[name], row[f"GPU bytes, {name}"] = stopped(bench, bench.folder / kind.__name__ / name, kind, stop)
    pairs = zip(ended["through"], ended["resumed"], strict=True)
    row["largest difference"] = max((a - b).abs().max().item() for a, b in pairs)


def stopped(bench, folder, kind, stop):
    """(weights, bytes that the card holds more than before) of a training in a folder, up to step `stop` or its end."""
    before, settings = held(), {"steps": bench.scale.timed, "learning_rate": 1e-4, "optimizer": kind}
    with training_rows.hypernetwork_on(bench.pipe.unet) as net:
        loss, batches = prepared_loss(bench, bench.scale.side // 2, alone=True)
        run = training.train(folder, net.parameters(), loss, batches, **settings)
        for step in run:
            more = held() - before
            if step.number == stop:
                run.close()
        return [parameter.detach().cpu() for parameter in net.parameters()], more


def pictures(bench):
    """Pictures a second beside the bare U-Net's own passes, and by the pipeline's own call."""
    kinds = {"bare U-Net": bare, "diffusion.generate": generated, "diffusers": called}
    for batch in bench.scale.batches[:2]:
        for kind, work in kinds.items():
            yield {"kind": kind, "batch": batch}, functools.partial(picture_row, bench, work, batch)


def picture_row(bench, work, batch, row):
    work(bench.pipe, batch, 1)  # for warmth
    row["seconds"] = work(bench.pipe, batch, bench.scale.sampler_steps)
    row["pictures a second"] = batch / row["seconds"]


def bare(pipe, batch, steps):
    return pictures_of.floor(pipe, batch, steps)[1]


def generated(pipe, batch, steps):
    settings = {"guidance_scale": 7.5, "num_inference_steps": steps}
    return pictures_of.seconds(lambda: diffusion.generate(pipe, "a man", [*range(batch)], **settings))[1]


def called(pipe, batch, steps):
    settings = {"guidance_scale": 7.5, "num_inference_steps": steps}
    return pictures_of.seconds(lambda: pictures_of.by_diffusers(pipe, ["a man"] * batch, **settings))[1]


def saving(bench):
    """Seconds of a checkpoint of DreamBooth in 8 bits and of going on from it, of exports and imports."""
    yield {"what": "checkpoint"}, functools.partial(checkpoint_row, bench)
    for kind in ("ckpt", "safetensors"):
        path = bench.folder / f"model.{kind}"
        works = {"export": (files.checkpoint.export, path, bench.pipe)}
        works |= {"import": (files.checkpoint.load_into, bench.pipe, path)}
        for name, work in works.items():
            yield {"what": f"{name} {kind}"}, functools.partial(file_row, path, functools.partial(*work))
        path.unlink(missing_ok=True)


def checkpoint_row(bench, row):
    folder, pipe = bench.folder / "checkpoint", bench.pipe
    if shutil.disk_usage(bench.folder).free < 7 * pipe.unet.num_parameters():
        raise OSError(f"{bench.folder} has no room for a checkpoint.")
    with rested(pipe):
        loss, batches = prepared_loss(bench, bench.scale.side // 2)
        parameters = dreambooth.learn(pipe, checkpointing=True)
        settings = {"steps": 9, "learning_rate": 1e-6, "optimizer": optimizers.adamw_8bit}
        run = training.train(folder, parameters, loss, batches, **settings)
        next(run), next(run)
        row["seconds"] = pictures_of.seconds(run.close)[1]
        row["bytes"] = sum(path.stat().st_size for path in folder.rglob("*.pt"))
        again = training.train(folder, parameters, loss, batches, **settings)
        row["seconds to go on, with a step"] = pictures_of.seconds(lambda: next(again))[1]
        with training_rows.no_files():
            again.close()
    shutil.rmtree(folder)


def file_row(path, work, row):
    row["seconds"], row["host bytes beside the model"] = files.watch(work)
    row["bytes"] = path.stat().st_size


def forecasts(bench):
    """What helpers.methods.memory predicts for each row of `settings`; of the CPU's time, so it comes last."""
    for method, name in training_rows.ROWS:
        yield {"method": method, "setting": name}, functools.partial(forecast_row, bench, method, name)


def forecast_row(bench, method, name, row):
    settings = {"precision": bench.precision, "rank": 8}
    row["peak"] = memory.forecast(bench.scale.unet, method, **memory.SETTINGS[name], **settings).peak


PARTS = {  # name: (part, its minutes at most, for a slow card)
    "device": (about, 0.3),
    "guided": (guided, 0.9),
    "settings": (training_rows.settings, 3.2),
    "pictures": (pictures, 0.7),
    "peers": (peers, 1.2),
    "precision": (precisions, 0.9),
    "saving": (saving, 1.2),
    "resume": (resumes, 0.4),
    "processes": (processes.both, 0.6),
    "forecast": (forecasts, 3.0),  # on the CPU, in what the others have left
}
share = processes.share
