"""BLIP: says what is in a picture.

First the eyes learn to name things (pocket/eyes.py), then the words learn to look through eyes that hold
still, then both go on together. Left out, the middle lesson costs the first: while the words do not look
yet, what they send back to the eyes is noise, and Adam makes full steps of it.
"""

import random

import numpy as np
import pandas as pd
import torch
from transformers import BertTokenizer

from pocket import parts
from pocket.assemble import POCKET, load_part, save_blip
from pocket.describe import PLACE_WORDS, plain_caption
from pocket.eyes import train_eyes
from pocket.fit import fit
from pocket.pixels import normalised
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.tokenizers import blip_tokenizer
from pocket.train_clip import SCENES
from pocket.world import PLAIN

EYES, WORDS = 0.35, 0.35  # shares of the minutes for the image encoder alone, and for the words alone


def captioned(split, indices, step):
    """A fresh plain caption for each numbered scene; the same step gives the same captions."""
    rng = random.Random(f"caption {step}")
    return [plain_caption(numbered_scene(split, int(i)), rng) for i in indices]


def train(minutes, batch=64):
    torch.manual_seed(0)
    tokenizer = blip_tokenizer()
    blip = parts.blip(tokenizer)
    images, unseen = pictures("train", SCENES), pictures("test", 500)[:128]
    train_eyes("blip", blip.vision_model, images, unseen, minutes * EYES)
    unseen_pixels, unseen_captions = normalised(unseen), captioned("test", range(128), "test")

    def loss_of(model, pixels, captions):
        text = tokenizer(captions, padding=True, truncation=True, max_length=96, return_tensors="pt")
        tokens = text.input_ids
        tokens[:, 0] = tokenizer.bos_token_id  # BLIP's decoder starts with [DEC], not [CLS]
        labels = tokens.masked_fill(text.attention_mask == 0, -100)
        return model(pixel_values=pixels, input_ids=tokens, attention_mask=text.attention_mask, labels=labels).loss

    def batch_loss(step):
        indices = np.random.default_rng(step).choice(len(images), batch, replace=False)
        return loss_of(blip, normalised(images[indices]), captioned("train", indices, step))

    @torch.no_grad()
    def held_out(model):
        return {"held_out_loss": loss_of(model.eval(), unseen_pixels, unseen_captions).item()}

    blip.vision_model.requires_grad_(False)
    words = fit("blip_words", blip, batch_loss, held_out, minutes * WORDS, rate=1e-3)
    blip.load_state_dict(words.state_dict())
    blip.vision_model.requires_grad_(True)
    trained = fit("blip", blip, batch_loss, held_out, minutes * (1 - EYES - WORDS), rate=5e-4)
    save_blip(trained, tokenizer)


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
