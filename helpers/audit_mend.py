"""A short DreamBooth with class images of one's own choosing, to see whether they hold a class where it was."""

import copy

import torch

from helpers import diffusion, dreambooth, training, updates


def with_unet(pipe, unet):
    """A pipeline that shares everything with `pipe` but its U-Net."""
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"} | {"unet": unet}
    fresh = type(pipe)(**parts, requires_safety_checker=pipe.safety_checker is not None)
    fresh.set_progress_bar_config(disable=True)
    return fresh


def loss_on(unet, scheduler, subject, others, batch_size, weights="equal"):
    """DreamBooth's loss as a function of (photo indices, class image indices), prior weight 1.

    subject, others: (latents (n, 4, h, w), the embedding (77, width) of the one prompt that goes with them).
    weights: of timesteps, as for `diffusion.loss_scale`.
    """

    def loss(pair):
        photos, class_images = pair
        clean = torch.cat([subject[0][photos], others[0][class_images]])
        heard = torch.stack([subject[1]] * batch_size + [others[1]] * batch_size)
        noise = torch.randn_like(clean)
        timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (len(clean),), device=clean.device)
        noisy = diffusion.add_noise(scheduler, clean, noise, timesteps)
        prediction = unet(noisy, timesteps, heard.to(unet.dtype)).sample
        wanted = diffusion.target(scheduler, clean, noise, timesteps)
        scale = diffusion.loss_scale(scheduler, timesteps, weights)
        return dreambooth.dreambooth_loss(prediction * scale, wanted * scale, 1.0)

    return loss


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
    if torch.cuda.is_available():
        updates.checkpoint_gradients(unet)
    encode = lambda images: diffusion.encode_images(base.vae, images, size)
    embeds = diffusion.encode_prompts(base, [instance_prompt, class_prompt])
    subject, others = (encode(photos), embeds[0]), (encode(class_images), embeds[1])
    loss = loss_on(unet, diffusion.training_scheduler(base), subject, others, batch_size, loss_weights)
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
