"""A short DreamBooth with class images of one's own choosing, to see whether they hold a class where it was."""

import copy

import torch

from helpers import diffusion, training
from helpers.diffusion import device
from helpers.methods import dreambooth


def with_unet(pipe, unet):
    """A pipeline that shares everything with `pipe` but its U-Net."""
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"} | {"unet": unet}
    fresh = type(pipe)(**parts, requires_safety_checker=pipe.safety_checker is not None)
    fresh.set_progress_bar_config(disable=True)
    return fresh


def train(run, base, subject, others, *, steps, learning_rate, batch_size, size, loss_weights="equal", **details):
    """A pipeline that learnt the subject's photos beside class images; `base` stays as it is.

    subject, others: (PIL squares, prompt) each; run: the folder of the training; details: what tells it from others.
    A finished run is only read again. The learning rate falls along a cosine, as in notebook 04.
    """
    unet = torch.nn.Module.float(copy.deepcopy(base.unet)).requires_grad_(True).train()
    if device.find_device().type != "cpu":
        training.checkpoint_gradients(unet)
    counts, prompts = (len(subject[0]), len(others[0])), [subject[1], others[1]]
    encode = lambda images, prompt: (diffusion.encode_images(base.vae, images, size), [prompt] * len(images))
    encoded = encode(*subject), encode(*others)
    encode_text = dreambooth.PromptEncoder(base, prompts)
    scheduler = diffusion.training_scheduler(base)
    loss = dreambooth.denoising_loss(unet, scheduler, encode_text, *encoded, weights=loss_weights)
    batches = dreambooth.paired_batches(*counts, batch_size, seed=1)
    settings = {"prompts": prompts, "class_images": counts[1], "loss_weights": loss_weights} | details
    options = {"steps": steps, "learning_rate": learning_rate, "seed": 1, "settings": settings}
    for _ in training.train(run, unet.parameters(), loss, batches, **options):
        pass
    torch.nn.Module.to(unet, dtype=base.unet.dtype)  # diffusers' own `to` warns of layers that are not there
    return with_unet(base, unet.eval())
