"""Stable Diffusion itself: models, latents, prompts, pictures, and the files they travel in."""

from helpers.diffusion import checkpoint, device, kept, latents, models, png_info, prompts, sampling
from helpers.diffusion.latents import encode_images, encode_prompts, initial_noise, target, training_scheduler
from helpers.diffusion.maps import hypernetwork_map, unet_map
from helpers.diffusion.models import POCKET, load_pipeline, model_config
from helpers.diffusion.sampling import generate
