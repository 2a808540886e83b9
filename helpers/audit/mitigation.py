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


def train(
    run,
    base,
    photos,
    instance_prompt,
    class_images,
    class_prompt,
    *,
    steps,
    learning_rate,
    batch_size,
    size,
    loss_weights="equal",
    **told,
):
    """A pipeline that learnt `photos` under instance_prompt beside class_images under class_prompt; `base` stays as it is.

    photos, class_images: PIL squares; run: the folder of the training; told: whatever tells it from others.
    A finished run is only read again. The learning rate falls along a cosine, as in notebook 04.
    """
    unet = torch.nn.Module.float(copy.deepcopy(base.unet)).requires_grad_(True).train()
    if device.find_device().type != "cpu":
        training.checkpoint_gradients(unet)
    encode = lambda images, prompt: (diffusion.encode_images(base.vae, images, size), [prompt] * len(images))
    subject, others = encode(photos, instance_prompt), encode(class_images, class_prompt)
    encode_text = dreambooth.PromptEncoder(base, [instance_prompt, class_prompt])
    scheduler = diffusion.training_scheduler(base)
    loss = dreambooth.denoising_loss(unet, scheduler, encode_text, subject, others, weights=loss_weights)
    batches = dreambooth.paired_batches(len(photos), len(class_images), batch_size, seed=1)
    settings = {
        "prompts": [instance_prompt, class_prompt],
        "class_images": len(class_images),
        "loss_weights": loss_weights,
    } | told
    for _ in training.train(
        run, unet.parameters(), loss, batches, steps=steps, learning_rate=learning_rate, seed=1, settings=settings
    ):
        pass
    torch.nn.Module.to(unet, dtype=base.unet.dtype)  # diffusers' own `to` warns of layers that are not there
    return with_unet(base, unet.eval())
