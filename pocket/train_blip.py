"""BLIP: says what is in a picture.

First the eyes learn to name things (pocket/eyes.py), then the words learn to look through eyes that hold
still, then both go on together, the eyes still naming. Left out, the middle lesson costs the first: while
the words do not look yet, what they send back to the eyes is noise, and Adam makes full steps of it.
"""

import random

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import BertTokenizer

from pocket import parts
from pocket.assemble import POCKET, load_part, save_blip
from pocket.describe import PLACE_WORDS, plain_caption
from pocket.eyes import Naming, train_eyes
from pocket.fit import fit
from pocket.pixels import normalised
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.tokenizers import blip_tokenizer
from pocket.visible import LABELS, answers
from pocket.world import PLAIN

SPLIT, SCENES = "everyone", 40_000  # also people with reserved features, in plain words: it must caption the subjects
EYES, WORDS = 0.35, 0.25  # shares of the minutes for the image encoder alone, and for the words alone
SHARDS = 2  # batches a step, each on a core of its own


def captioned(split, indices, step):
    """A fresh plain caption for each numbered scene; the same step gives the same captions."""
    rng = random.Random(f"caption {step}")
    return [plain_caption(numbered_scene(split, int(i)), rng) for i in indices]


class Captioner(nn.Module):
    """BLIP, its tokenizer, and the answer sheets of its eyes."""

    def __init__(self, blip, tokenizer, naming):
        super().__init__()
        self.blip, self.tokenizer, self.naming = blip, tokenizer, naming

    def forward(self, pixels, captions):
        """BLIP's answer to pictures and the captions it should have given: loss, and what its eyes saw."""
        text = self.tokenizer(captions, padding=True, truncation=True, max_length=96, return_tensors="pt")
        tokens = text.input_ids
        tokens[:, 0] = self.tokenizer.bos_token_id  # BLIP's decoder starts with [DEC], not [CLS]
        labels = tokens.masked_fill(text.attention_mask == 0, -100)
        inputs = {"input_ids": tokens, "attention_mask": text.attention_mask, "labels": labels}
        return self.blip(pixel_values=pixels, **inputs)


def train(minutes, further=False, batch=64):
    """Eyes, words, then both; `further` is both from the start, with new answer sheets."""
    torch.manual_seed(0)
    tokenizer = blip_tokenizer()
    blip = load_part("blip").train() if further else parts.blip(tokenizer)
    images, unseen = pictures(SPLIT, SCENES), pictures("test", 500)[:128]
    if further:
        captioner = Captioner(blip, tokenizer, Naming(blip.vision_model))
        learn("blip", captioner, images, unseen, minutes, 5e-4, batch)
    else:
        naming = train_eyes("blip", blip.vision_model, images, unseen, minutes * EYES, split=SPLIT)
        captioner = Captioner(blip, tokenizer, naming)
        naming.requires_grad_(False)
        learn("blip_words", captioner, images, unseen, minutes * WORDS, 1e-3, batch)
        naming.requires_grad_(True)
        learn("blip", captioner, images, unseen, minutes * (1 - EYES - WORDS), 5e-4, batch)
    save_blip(blip.eval(), tokenizer)


def learn(name, captioner, images, unseen, minutes, rate, batch):
    """Teach what of `captioner` may learn, in place; logged as `name`. Eyes that may learn go on naming, too."""
    sheet = answers([numbered_scene(SPLIT, i) for i in range(len(images))])
    unseen_pixels, unseen_captions = normalised(unseen), captioned("test", range(len(unseen)), "test")
    seeing = any(p.requires_grad for p in captioner.naming.parameters())

    def batch_loss(step):
        indices = np.random.default_rng(step).choice(len(images), batch, replace=False)
        output = captioner(normalised(images[indices]), captioned(SPLIT, indices, step))
        named = captioner.naming.loss(output.last_hidden_state, {a: sheet[a][indices] for a in LABELS})
        return output.loss + named if seeing else output.loss

    @torch.no_grad()
    def held_out(model):
        return {"held_out_loss": model.eval()(unseen_pixels, unseen_captions).loss.item()}

    trained = fit(name, captioner, batch_loss, held_out, minutes, rate, shards=SHARDS)
    captioner.load_state_dict(trained.state_dict())


NAMED = ("kind", "place", "style", "context")


def named_right(caption, scene):
    """Which of NAMED a caption says right, {name: bool}; a portrait or a plain wall need not be named."""
    words = f" {caption.lower().replace(',', ' ').replace('-', ' ')} "
    kind = f" {scene.person.kind} " in words
    named = [place for place, phrases in PLACE_WORDS.items() if any(phrase in words for phrase in phrases)]
    place = named == ([] if scene.place in PLAIN else [scene.place])
    style = scene.style == "photo" or any(mark in words for mark in STYLE_MARKS[scene.style])
    context = scene.context == "portrait" or any(mark in words for mark in CONTEXT_MARKS[scene.context])
    wrong = [s for s, marks in STYLE_MARKS.items() if s != scene.style and any(mark in words for mark in marks)]
    return {"kind": kind, "place": place, "style": style and not wrong, "context": context}


STYLE_MARKS = {
    "pixel art": ("pixel",),
    "pencil sketch": ("sketch", "pencil"),
    "jade sculpture": ("jade",),
    "fire": ("fire", "flames"),
    "comic book": ("comic",),
    "oil painting": ("oil ",),
    "watercolor": ("watercolor",),
}
CONTEXT_MARKS = {
    "horse": ("horse",),
    "bicycle": ("bicycle", " bike"),
    "dog": (" dog",),
    "cat": (" cat",),
    "robot": ("robot",),
    "chibi": ("figurine",),
}


def caption_scores(count):
    """Percent of unseen scenes whose machine caption names kind, place, style and context right."""
    blip, tokenizer = load_part("blip"), BertTokenizer.from_pretrained(POCKET / "blip")
    pixels = normalised(pictures("test", count))
    rows = []
    for start in range(0, count, 32):
        tokens = blip.generate(pixel_values=pixels[start : start + 32], max_new_tokens=60, num_beams=3)
        captions = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        rows += [named_right(text, numbered_scene("test", start + i)) for i, text in enumerate(captions)]
    table = pd.DataFrame(rows)
    shares = {name: round(100 * float(table[name].mean()), 1) for name in NAMED}
    return {"captions": shares | {"all four": round(100 * float(table.all(axis=1).mean()), 1)}}
