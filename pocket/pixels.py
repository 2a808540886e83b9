"""From pictures to what the networks look at."""

import numpy as np
import torch
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD


def to_pixels(images):
    """uint8 (batch, height, width, 3) to float (batch, 3, height, width) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(pixels):
    """Float (batch, 3, height, width) in -1..1, cut off there, to uint8 (batch, height, width, 3)."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def normalised(images):
    """uint8 (batch, height, width, 3) to what CLIP and BLIP look at."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float() / 255
    return ((pixels - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(OPENAI_CLIP_STD)).permute(0, 3, 1, 2)
