"""Steps a second beside a plain rendering of the loop of huggingface/diffusers' train_dreambooth.py.

    python -m benchmarks.dreambooth --steps 20 --rounds 3 --batches 1 2 4

Same model, photos, class images and batch, with prior preservation. That loop opens and encodes photos and prompts
at every step and uses AdamW as it comes; ours has latents and embeddings ready and a fused AdamW. Rounds take turns,
so that a busy machine slows both; what counts are the ratios, and the smallest of all batch sizes. Overhead is the
processor time outside networks, backward pass, clipping (which both do) and optimizer. That script's default batch is 4,
as is ours on pocket, and its text encoder does not learn; the last row is notebook 04 as it stands, where on pocket it
does. Written without torchvision, which that script needs.
"""

import argparse
import contextlib
import itertools
import operator
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from benchmarks import hypernetwork
from helpers import diffusion, photos, training
from helpers.diffusion import device
from helpers.methods import dreambooth
from helpers.training import optimizers

PROMPTS = ["nesrelah_001 person", "a photo of a person"]
OURS = {  # row: (32 bits, whatever this processor does well; whether the text encoder learns)
    "ours, 32 bits": (True, False),
    "ours": (False, False),
    "ours, text too": (False, True),
}


class Photos(Dataset):
    """DreamBoothDataset of that script: opens, turns, resizes and tokenizes at every access."""

    def __init__(self, instances, classes, tokenizer, size, prompts=PROMPTS):
        self.instances, self.classes, self.tokenizer, self.size = instances, classes, tokenizer, size
        self.prompts = prompts

    def __len__(self):
        return max(len(self.instances), len(self.classes))

    def __getitem__(self, index):
        pair = self.instances[index % len(self.instances)], self.classes[index % len(self.classes)]
        return [(self._pixels(path), self._tokens(prompt)) for path, prompt in zip(pair, self.prompts)]

    def _pixels(self, path):
        image = ImageOps.exif_transpose(Image.open(path, formats=["PNG", "JPEG"])).convert("RGB")
        image = ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)

    def _tokens(self, prompt):
        length = self.tokenizer.model_max_length
        settings = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
        return self.tokenizer(prompt, **settings).input_ids


def collate(examples):
    """Instances first, then class images, in one batch."""
    pixels = torch.stack([example[i][0] for i in (0, 1) for example in examples])
    return pixels, torch.cat([example[i][1] for i in (0, 1) for example in examples])


def theirs(pipe, instances, classes, config, batch_size, steps, optimizer=torch.optim.AdamW):
    """Seconds of `steps` steps of that script's loop, after one to warm up; optimizer as for `loop`."""
    run = loop(pipe, instances, classes, config, batch_size, optimizer)
    next(run)
    began = time.perf_counter()
    for _ in range(steps):
        next(run)
    return time.perf_counter() - began


def loop(
    pipe, instances, classes, config, batch_size, optimizer=torch.optim.AdamW, learning_rate=5e-6, prompts=PROMPTS
):
    """The steps of that script's loop, one after the other without end: gives their numbers, from 1 on.

    On a GPU with --mixed_precision as accelerate does it: VAE and text encoder in 16 bits, autocast around the U-Net, a
    scaled loss in float16. optimizer: a function of parameters, another for --use_8bit_adam.
    """
    unet, scheduler, place = pipe.unet, diffusion.training_scheduler(pipe), pipe.device
    mixed = device.autocast(place) if place.type != "cpu" else contextlib.nullcontext()
    loader = DataLoader(
        Photos(instances, classes, pipe.tokenizer, config.image_size, prompts),
        batch_size,
        True,
        collate_fn=collate,
    )
    optimizer = optimizer([*unet.parameters()])
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    scaler = training.steps.scaler_for([*unet.parameters()])
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    for step, (pixels, tokens) in enumerate((batch for _ in itertools.count() for batch in loader), start=1):
        with torch.no_grad():
            latents = pipe.vae.encode(pixels.to(place, pipe.vae.dtype)).latent_dist.sample()
        latents = latents * pipe.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),), device=place)
        prompt_embeds = pipe.text_encoder(tokens.to(place))[0]
        with mixed:
            prediction = unet(scheduler.add_noise(latents, noise, timesteps), timesteps, prompt_embeds).sample
        (subject, prior), (target, target_prior) = prediction.chunk(2), noise.chunk(2)
        loss = F.mse_loss(subject.float(), target.float()) + F.mse_loss(prior.float(), target_prior.float())
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        rates.step()
        optimizer.zero_grad(set_to_none=True)
        loss.detach().item()
        yield step


def prepared(pipe, instances, classes, config, batch_size, text_encoder=False):
    """(loss, batches) of notebook 04: latents are ready, and embeddings unless the text encoder learns."""
    encode = lambda paths: diffusion.encode_images(pipe.vae, [photos.open_photo(p) for p in paths], config.image_size)
    latents, others, scheduler = encode(instances), encode(classes), diffusion.training_scheduler(pipe)
    encode_text = dreambooth.PromptEncoder(pipe, PROMPTS, text_encoder)

    def loss(pair):
        clean = torch.cat([latents[pair[0]], others[pair[1]]])
        noise, timesteps = torch.randn_like(clean), torch.randint(0, 1000, (len(clean),), device=clean.device)
        prompt_embeds = encode_text([PROMPTS[0]] * len(pair[0]) + [PROMPTS[1]] * len(pair[1]))
        noisy = scheduler.add_noise(clean, noise, timesteps)
        return dreambooth.dreambooth_loss(pipe.unet(noisy, timesteps, prompt_embeds).sample, noise, 1.0)

    return loss, dreambooth.paired_batches(len(instances), len(classes), batch_size, 0)


def ours(pipe, parameters, loss, batches, steps, optimizer=optimizers.adamw):
    """(seconds of `steps` steps of training.train after one to warm up, share of processor time that is overhead)."""
    settings = {"steps": steps + 2, "learning_rate": 5e-6, "optimizer": optimizer, "checkpoint_every": 10**6}
    clock = hypernetwork.Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = training.train(Path(folder) / "run", parameters, loss, batches, **settings)
        next(run), next(run)  # step 0 learns nothing, step 1 warms up; the last step, which writes files, is not taken
        clip = mock.patch.object(torch.nn.utils, "clip_grad_norm_", clock.around(torch.nn.utils.clip_grad_norm_))
        encode_text = mock.patch.object(pipe.text_encoder, "forward", clock.around(pipe.text_encoder.forward))
        with clip, encode_text, clock.watching(pipe.unet):
            for _ in range(steps):
                with clock.step():
                    next(run)
        run.close()
    return clock.wall, 1 - clock.inside / clock.cpu


def compare(pipe, instances, classes, config, batch_size, steps, rounds):
    """Lets the loops take turns at one batch size and prints; returns the ratio at equal precision."""
    seconds, overhead = {"theirs": []} | {name: [] for name in OURS}, {name: [] for name in OURS}
    prepared_for = {text: prepared(pipe, instances, classes, config, batch_size, text) for text in (False, True)}
    for _ in range(rounds):
        dreambooth.learn(pipe)
        seconds["theirs"].append(theirs(pipe, instances, classes, config, batch_size, steps))
        for name, (full, text) in OURS.items():
            parameters = dreambooth.learn(pipe, text)
            same = mock.patch.object(device, "cpu_has_bf16", lambda: False)
            with same if full else contextlib.nullcontext():
                whole, outside = ours(pipe, parameters, *prepared_for[text], steps)
            seconds[name].append(whole)
            overhead[name].append(outside)
    ratios = {name: statistics.median(map(operator.truediv, seconds["theirs"], own)) for name, own in seconds.items()}
    for name, own in seconds.items():
        share = f"   {statistics.median(overhead[name]):.1%} overhead" if name in overhead else ""
        rate = steps / statistics.median(own)
        print(
            f"batch {batch_size} + {batch_size}  {name:14}{rate:6.2f} steps/s   {ratios[name]:5.2f} times theirs{share}"
        )
    return ratios["ours, 32 bits"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 2, 4], help="photos a step, with as many class images"
    )
    options = parser.parse_args()
    config, pipe = diffusion.model_config("pocket"), diffusion.load_pipeline("pocket")
    instances = photos.squares_in(photos.prepared_folder("nesrelah"))
    classes = photos.squares_in(photos.prepared_folder("amir"))  # any pictures will do
    pipe.vae.requires_grad_(False)
    ratios = [
        compare(pipe, instances, classes, config, size, options.steps, options.rounds) for size in options.batches
    ]
    print(f"smallest ratio at equal precision {min(ratios):.2f}; bf16 on this CPU: {device.cpu_has_bf16()}")


if __name__ == "__main__":
    main()
