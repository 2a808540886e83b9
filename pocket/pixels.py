"""From pictures to what the networks look at."""

import numpy as np
import torch
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD


def to_pixels(images):
    """uint8 (batch, height, width, 3) to float (batch, 3, height, width) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def normalised(images):
    """uint8 (batch, height, width, 3) to what CLIP and BLIP look at."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float() / 255
    return ((pixels - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(OPENAI_CLIP_STD)).permute(0, 3, 1, 2)
