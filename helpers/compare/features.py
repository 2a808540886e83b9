"""The networks that compare pictures: CLIP for pictures and words, DINO for likeness, on transformers alone.

On pocket, CLIP's small image encoder does DINO's work too; its numbers compare with nothing but each other.
"""

import os

import numpy as np
import torch
from transformers import ViTImageProcessor, ViTModel

from helpers import diffusion
from helpers.diffusion import device, models

DINO = "facebook/dino-vits16"  # ViT-S/16, the DINO paper's and DreamBooth's; SD15_DINO in the environment replaces it
BATCH = 16


class Encoders:
    """CLIP, and beside it DINO where there is one (None on pocket)."""

    def __init__(self, processor, clip, dino_processor=None, dino=None):
        self.processor, self.clip, self.dino_processor, self.dino = processor, clip, dino_processor, dino

    def image_features(self, images):
        """CLIP's features of PIL images, of length 1: (images, width)."""
        features = lambda pixels: _tensor(self.clip.get_image_features(pixel_values=pixels))
        return self._each(images, self.processor, features)

    def text_features(self, prompts):
        """CLIP's features of prompts, of length 1: (prompts, width). Words past the context are cut off."""
        text = self.processor.tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            return _unit(_tensor(self.clip.get_text_features(**text.to(self.clip.device))))

    def likeness_features(self, images):
        """Features for likeness, of length 1: DINO's class token, on pocket CLIP's image features."""
        if self.dino is None:
            return self.image_features(images)
        class_token = lambda pixels: self.dino(pixel_values=pixels).last_hidden_state[:, 0]
        return self._each(images, self.dino_processor, class_token)

    def layers(self, images):
        """For each layer of the likeness encoder its patches: list of (images, patches, width), not normalised."""
        processor, encoder = self.dino_processor or self.processor, self.dino or self.clip.vision_model
        with torch.no_grad():
            pixels = processor(images=list(images), return_tensors="pt")["pixel_values"].to(self.clip.device)
            states = encoder(pixel_values=pixels, output_hidden_states=True).hidden_states
        return [state[:, 1:].float().cpu().numpy() for state in states[1:]]  # without the class token

    @torch.no_grad()
    def _each(self, images, processor, features):
        images, parts = list(images), []
        if not images:
            raise ValueError("There are no images to score.")
        for start in range(0, len(images), BATCH):
            pixels = processor(images=images[start : start + BATCH], return_tensors="pt")["pixel_values"]
            parts.append(_unit(features(pixels.to(self.clip.device, self.clip.dtype))))
        return np.concatenate(parts)


def _tensor(answer):
    """transformers 5 answers with an object where 4 gave the tensor."""
    return getattr(answer, "pooler_output", answer)


def _unit(features):
    return torch.nn.functional.normalize(features.float(), dim=1).cpu().numpy()


def load_encoders(name):
    """Encoders for a model of helpers.diffusion.models: CLIP and DINO; on pocket its own small CLIP alone."""
    processor, clip = models.load_clip(name)
    if diffusion.model_config(name).name == "pocket":
        return Encoders(processor, clip)
    weights, revision = models.at_revision(os.environ.get("SD15_DINO", DINO))
    dino = ViTModel.from_pretrained(weights, add_pooling_layer=False, **revision).to(device.find_device()).eval()
    return Encoders(processor, clip, ViTImageProcessor.from_pretrained(weights, **revision), dino)
