"""CLIP: which caption belongs to which picture. Its text tower starts the pipeline's text encoder."""

import random
from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F

from pocket import parts
from pocket.assemble import load_part, save_clip
from pocket.describe import describe, spell_out
from pocket.eyes import train_eyes
from pocket.fit import fit
from pocket.pixels import normalised
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.tokenizers import clip_tokenizer

SCENES = 40_000
EYES = 0.5  # the share of the minutes that goes into the image tower alone


def captioned(split, indices, step, spelled_out=0.5):
    """A fresh caption for each numbered scene; the same step gives the same captions.

    spelled_out: the share of captions that name every feature, half of them the expression, too. A caption that leaves
    most out teaches a text encoder little about each word in it, one that leaves nothing out is not how people write.
    """
    rng = random.Random(f"caption {step}")
    scenes = [numbered_scene(split, int(i)) for i in indices]
    fully = lambda scene: spell_out(scene, expression=rng.random() < 0.5)
    return [fully(scene) if rng.random() < spelled_out else describe(scene, rng) for scene in scenes]


def alike(split, count):
    """Lists of the scenes below `count` that share context and style: only the person and the place differ."""
    groups = defaultdict(list)
    for index in range(count):
        scene = numbered_scene(split, index)
        groups[scene.context, scene.style].append(index)
    return list(groups.values())


def half_alike(groups, count, batch, generator):
    """A batch of indices below `count`: one half from anywhere, the other from one of `groups`.

    Style and context tell random pictures apart, so a text encoder that sees only those never needs to
    encode_text a hair colour; within a group nothing else is left to encode_text. Large groups come as often as they
    are large, so that photo portraits come most.
    """
    sizes = np.array([len(group) for group in groups])
    group = groups[generator.choice(len(groups), p=sizes / sizes.sum())]
    chosen = generator.choice(group, min(batch // 2, len(group)), replace=False)
    rest = np.setdiff1d(np.arange(count), chosen)
    return np.concatenate([chosen, generator.choice(rest, batch - len(chosen), replace=False)])


def train(minutes, further=False, batch=128):
    tokenizer = clip_tokenizer()
    clip = load_part("clip").train() if further else parts.clip(tokenizer)
    images, unseen = pictures("train", SCENES), pictures("test", 500)
    if not further:
        train_eyes("clip", clip.vision_model, images, unseen[:128], minutes * EYES)
    groups, portraits = alike("train", SCENES), max(alike("test", 500), key=len)[:64]

    def similarities(model, pixels, captions):
        tokens = tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
        return model(pixel_values=pixels, **tokens).logits_per_image.float()

    def batch_loss(step):
        indices = half_alike(groups, len(images), batch, np.random.default_rng(step))
        logits = similarities(clip, normalised(images[indices]), captioned("train", indices, step))
        answer = torch.arange(batch)
        return (F.cross_entropy(logits, answer) + F.cross_entropy(logits.T, answer)) / 2

    @torch.no_grad()
    def top1(model, indices):
        logits = similarities(model.eval(), normalised(unseen[indices]), captioned("test", indices, "test"))
        return (logits.argmax(1) == torch.arange(len(indices))).float().mean().item()

    def held_out(model):
        return {"top1": top1(model, range(128)), "top1_photo_portraits": top1(model, portraits)}

    trained = fit("clip", clip, batch_loss, held_out, minutes * (1 if further else 1 - EYES), rate=1e-3)
    save_clip(trained, tokenizer)
