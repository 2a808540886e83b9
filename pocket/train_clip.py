"""CLIP: which caption belongs to which picture. Its text tower starts the pipeline's text encoder."""

import random

import numpy as np
import torch
import torch.nn.functional as F

from pocket import parts
from pocket.assemble import save_clip
from pocket.describe import describe
from pocket.eyes import train_eyes
from pocket.fit import fit
from pocket.pixels import normalised
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.tokenizers import clip_tokenizer

SCENES = 20_000
EYES = 0.5  # the share of the minutes that goes into the image tower alone


def captioned(split, indices, step):
    """A fresh caption for each numbered scene; the same step gives the same captions."""
    rng = random.Random(f"caption {step}")
    return [describe(numbered_scene(split, int(i)), rng) for i in indices]


def train(minutes, batch=128):
    tokenizer = clip_tokenizer()
    clip = parts.clip(tokenizer)
    images, unseen = pictures("train", SCENES), pictures("test", 500)[:128]
    train_eyes("clip", clip.vision_model, images, unseen, minutes * EYES)
    unseen_captions = captioned("test", range(128), "test")

    def similarities(model, pixels, captions):
        tokens = tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
        return model(pixel_values=pixels, **tokens).logits_per_image.float()

    def batch_loss(step):
        indices = np.random.default_rng(step).choice(len(images), batch, replace=False)
        logits = similarities(clip, normalised(images[indices]), captioned("train", indices, step))
        answer = torch.arange(batch)
        return (F.cross_entropy(logits, answer) + F.cross_entropy(logits.T, answer)) / 2

    @torch.no_grad()
    def held_out(model):
        logits = similarities(model.eval(), normalised(unseen), unseen_captions)
        return {"top1": (logits.argmax(1) == torch.arange(128)).float().mean().item()}

    trained = fit("clip", clip, batch_loss, held_out, minutes * (1 - EYES), rate=1e-3)
    save_clip(trained, tokenizer)
