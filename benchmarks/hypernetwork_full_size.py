"""A hypernetwork's training at full size: SD 1.x's own networks with random weights at 512 x 512, two steps.

    python -m benchmarks.hypernetwork_full_size

All code paths of a real training: photos and prompts encoded, held-out loss and preview after each step, gradient
checkpointing, a stop after the first step and a resume, the file. Prints times and peak memory.
"""

import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from benchmarks.hypernetwork import fresh
from helpers import diffusion, training
from helpers.diffusion import device, latents
from helpers.methods import hypernetwork, hypernetwork_file, memory


def pipeline():
    """SD 1.x in its own shapes; pocket's tokenizer, since a real one would have to be downloaded."""
    torch.manual_seed(0)
    vae = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(**vae, block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512),
        text_encoder=CLIPTextModel(CLIPTextModel.config_class(**memory.SD1_TEXT)),
        tokenizer=CLIPTokenizer.from_pretrained(diffusion.POCKET / "tokenizer"),
        unet=UNet2DConditionModel(**memory.SD1_UNET),
        scheduler=DPMSolverMultistepScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device.find_device())


def full_size(pipe, size=512, steps=2):
    """Trains `steps` steps, stopped after the first and taken up again; pictures of `size` pixels a side."""
    training.checkpoint_gradients(pipe.unet.requires_grad_(False))
    photos = [Image.linear_gradient("L").rotate(turn).convert("RGB").resize((size, size)) for turn in (0, 90, 180)]
    train_set, held_out = (
        training.encode(pipe, part, [["a man"]] * len(part), size) for part in (photos[:2], photos[2:])
    )
    scheduler, net = diffusion.training_scheduler(pipe), fresh(pipe.unet)
    fixed = latents.held_out_examples(*held_out.first(), scheduler, 1, copies=2)
    hypernetwork.attach(pipe.unet, net)
    print(f"U-Net {pipe.unet.num_parameters():,} weights, hypernetwork {sum(p.numel() for p in net.parameters()):,}")

    def preview():
        with training.on_device(pipe.unet.device, pipe.vae, pipe.text_encoder):
            return diffusion.generate(pipe, "a man", [1], guidance_scale=7.5, num_inference_steps=2)[0]

    def run(folder):
        return training.train(
            folder,
            net.parameters(),
            training.denoising_loss(pipe.unet, scheduler, train_set.draw),
            training.shuffled(2, 1, 1),
            steps=steps,
            learning_rate=2e-5,
            held_out_loss=lambda: training.held_out_by_photo(pipe.unet, scheduler, fixed, ["third"]),
            preview=preview,
            watch_every=1,
        )

    with tempfile.TemporaryDirectory() as folder, training.offloaded(pipe.vae, pipe.text_encoder):
        _follow(run(folder), stop=1)
        _follow(run(folder))
        hypernetwork_file.save(Path(folder) / "net.pt", net)
        size = (Path(folder) / "net.pt").stat().st_size / 2**20
    hypernetwork.detach(pipe.unet)
    print(f"file {size:.1f} MiB; peak memory {diffusion.device.peak_memory()['peak_bytes'] / 2**30:.2f} GiB")


def _follow(run, stop=None):
    for step in run:
        loss = f"loss {step.loss:.4f}, " if step.number else ""
        seen = f"held-out loss {step.held_out_loss:.4f}, preview {step.preview.width} pixels wide"
        print(f"step {step.number}: {loss}{seen}, after {step.seconds:.0f} s of training", flush=True)
        if step.number == stop:
            run.close()
            print("stopped, taken up again")


if __name__ == "__main__":
    full_size(pipeline())
