"""Train the predictor of helpers/methods/predictor.py on people of the drawn world.

    POCKET_CACHE=runs/predictor OMP_NUM_THREADS=1 python -m pocket.train_predictor 300 --people 4500 --shards 2

300 minutes of work in all; two batches a step, one a core. Every five minutes it writes a checkpoint, predictor.safetensors
(the moving average) and a line of predictor.csv there. It can be stopped at any time; the same command goes on from the
last checkpoint, also with more minutes, people or shards: the same batches, only the rate follows the clock.

A batch: portraits of somebody (people.py), and another picture of the same person in another context, place, style, mood
and dress, under an identifier nobody else has ("bako_217 person"). A fifth of it stays what it was: pictures of others,
without an identifier, where the target is what the base predicts; they count four times.

Target of the denoising loss: the noise, for people with reserved features. For all others it is what the base predicts
from the same noisy picture when the caption names every feature in words in the identifier's place: the mean of that
noise as far as the base knows it, so that the gradient is far less noisy. SD 1.5 has no words for a face; there only the
noise is left (`--noise`). A second loss, of small weight, keeps the attributes readable from the identity vector.
"""

import argparse
import copy
import random
import re

import numpy as np
import scipy
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import nn

from helpers.diffusion import device, latents
from helpers.methods import predictor
from pocket import parts
from pocket.assemble import load_part
from pocket.fit import fit
from pocket.people import (
    CHUNK,
    FEATURES,
    PORTRAITS,
    TARGETS,
    captions_of,
    has_reserved,
    person,
    picture_of,
    pictures,
)
from pocket.scenes import CACHE
from pocket.tokenizers import clip_tokenizer
from pocket.visible import LABELS

PEOPLE = 4500
OTHERS = 1 / 5  # share of a batch that must stay what it was
RATE, READOUT, PRIOR = 1e-3, 0.01, 4  # weights of the readout's loss, and of those who must stay
SKEW = 0.6  # timesteps are 1000 * u ** SKEW: more of the noisy ones, which decide who it is


class Learner(nn.Module):
    """What learns together: the predictor, whose eyes stay the reader's, and the readout of attributes.

    further: the predictor is what data/pocket holds, and knows these features' mean and spread already.
    """

    def __init__(self, unet, eyes, features, further=False):
        super().__init__()
        torch.manual_seed(0)
        self.predictor = predictor.load().train() if further else predictor.Predictor(predictor.layers_of(unet))
        self.predictor.eyes.load_state_dict(eyes.state_dict())
        self.predictor.eyes.requires_grad_(False)
        if not further:
            some = torch.from_numpy(features).float().flatten(0, 1)
            self.predictor.mean.copy_(some.mean(0))
            self.predictor.spread.copy_(some.std(0).clamp(min=0.05))
        self.readout = nn.Linear(self.predictor.config["width"], sum(len(LABELS[name]) for name in FEATURES))

    def readout_loss(self, features, answers):
        """Mean cross-entropy of the attributes, indices (people, attributes), read from the identity vector."""
        logits = self.readout(self.predictor.identity(features)).float().split([len(LABELS[n]) for n in FEATURES], 1)
        return sum(F.cross_entropy(part, answer) for part, answer in zip(logits, answers.T)) / len(FEATURES)


@torch.no_grad()
def listen_to_identifiers(net, teacher, split="train", count=400, rows=3):
    """Before all else, too: the shared rows that read the text begin with the directions in which identifiers stand out.

    Those of the largest second moment over an identifier's tokens against all tokens of captions without one. With
    random rows people appeared under "a person", too, and hundreds of steps did not undo it.
    """
    rng, moments = random.Random(0), []
    for other in (False, True):
        captions = [captions_of(picture_of(split, number, other), other, rng)[0] for number in range(count)]
        spans = [re.search(r"\w+_\d{3}", caption) for caption in captions]
        tokens = teacher.tokenizer(captions, padding="max_length", truncation=True, return_offsets_mapping=True)
        inside = [
            [other or bool(span) and span.start() <= start < span.end() for start, _ in row]
            for row, span in zip(tokens["offset_mapping"], spans)
        ]
        said = torch.cat([teacher.embeds(captions[start : start + 50]) for start in range(0, count, 50)])
        chosen = said[torch.tensor(inside)].double()
        moments.append((chosen.T @ chosen / len(chosen)).numpy())
    plain = moments[1] + 1e-3 * np.diag(moments[1]).mean() * np.eye(len(moments[1]))
    strength, directions = scipy.linalg.eigh(moments[0], plain)
    best = torch.from_numpy(directions[:, -rows:].T / (rows * strength[-1]) ** 0.5).float()
    for down in net.down:
        if down.shape[1] == best.shape[1]:
            down.copy_(torch.randn(len(down), rows) @ best)


def learn_to_read(learner, known, further=False, steps=600, batch=64):
    """Before all else, in seconds: the identity vector comes to tell the attributes; the U-Net is not asked.

    further: the vector stays, and the readout alone learns.
    """
    parameters = [*learner.readout.parameters(), *([] if further else learner.predictor.summary.parameters())]
    optimizer, generator = torch.optim.AdamW(parameters, lr=1e-3), np.random.default_rng(0)
    for _ in range(steps):
        who, photo = generator.integers(len(known.people), size=batch), generator.integers(PORTRAITS)
        features = torch.from_numpy(known.features[who, photo : photo + 1]).float()
        optimizer.zero_grad()
        learner.readout_loss(features, known.answers[who]).backward()
        optimizer.step()


class Examples:
    """Batches: features of portraits, another picture of the same people, and captions for both sides of the loss."""

    def __init__(self, split, count, eyes, vae):
        self.split, self.scaling = split, vae.config.scaling_factor
        self.features, self.latents = pictures(split, count, eyes, vae)
        self.people = [person(split, number) for number in range(count)]
        sheet = [[LABELS[name].index(getattr(found, name)) for name in FEATURES] for found in self.people]
        self.answers = torch.tensor(sheet)

    def batch(self, number, size=16):
        """Everything of batch `number`, a dict; of the last fifth the picture shows others, without an identifier."""
        rng = random.Random(number)
        who = rng.sample(range(len(self.people)), size)
        others = [i >= round(size * (1 - OTHERS)) for i in range(size)]
        shown = [rng.randrange(len(self.people)) if other else i for i, other in zip(who, others)]
        which = [rng.randrange(TARGETS) for _ in who]
        photos = rng.sample(range(PORTRAITS), rng.choice((1, 1, 1, 2, 3, 4)))
        scenes = [picture_of(self.split, *row) for row in zip(shown, which)]
        captions = [captions_of(scene, other, rng) for scene, other in zip(scenes, others)]
        return {
            "features": torch.from_numpy(self.features[who][:, photos]).float(),
            "answers": self.answers[who],
            "latents": torch.from_numpy(self.latents[shown, which]).float() * self.scaling,
            "captions": [caption for caption, _ in captions],
            "in_words": [words for _, words in captions],
            "named": ~torch.tensor(others),
            "has_reserved": torch.tensor([has_reserved(self.people[i]) for i in shown]),
        }


class Teacher:
    """The frozen pocket model: prompt embeddings, noise, targets, and what the U-Net makes of them with gates on."""

    def __init__(self, unet, shards=1, noise_only=False):
        self.tokenizer, self.text_encoder = clip_tokenizer(), load_part("text_encoder").requires_grad_(False)
        unet = unet.requires_grad_(False).to(device.computes_in("cpu"))  # autocast would round its weights at each step
        self.unets = [copy.deepcopy(unet) for _ in range(shards)]  # hooks: one a thread
        self.scheduler, self.noise_only = DDPMScheduler.from_config(parts.scheduler().config), noise_only

    def embeds(self, captions):
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text_encoder(tokens).last_hidden_state

    @torch.no_grad()
    def question(self, batch, seed):
        """What the U-Net is asked, (noisy, timesteps, prompt_embeds), and what it should answer, the target."""
        generator, clean = torch.Generator().manual_seed(seed), batch["latents"]
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = (1000 * torch.rand(len(clean), generator=generator) ** SKEW).long()
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        asked = noisy.to(self.unets[0].dtype)
        said = self.unets[seed % len(self.unets)](asked, timesteps, self.embeds(batch["in_words"])).sample.float()
        by_noise = batch["named"] & (batch["has_reserved"] | self.noise_only)
        target = torch.where(by_noise[:, None, None, None], noise, said)
        return (asked, timesteps, self.embeds(batch["captions"])), target

    def losses(self, question, target, unet):
        """Squared error of each sample, weighted as the base was trained: noisy steps, which decide colours, count more."""
        weights = latents.snr_weights(self.scheduler, question[1])
        return (unet(*question).sample.float() - target).square().mean((1, 2, 3)) * weights


@torch.no_grad()
def held_out_losses(model, teacher, asked):
    """Losses on people never seen: with their weights, another's, and none; of others; and the attributes read.

    asked: [(batch, question, target)] of Examples and Teacher.
    """
    net, unet, found = model.eval().predictor, teacher.unets[0], []
    for batch, question, target in asked:
        with device.autocast("cpu"):
            gates, named, tried = net(batch["features"]), batch["named"], []
            for chosen in (gates, gates.roll(1, 0), 0 * gates):
                with net.on(unet, chosen):
                    tried.append(teacher.losses(question, target, unet))
            read = model.readout_loss(batch["features"], batch["answers"])
        found.append([float(part) for part in (*(t[named].mean() for t in tried), tried[0][~named].mean(), read)])
    return dict(zip(("held_out", "of_another", "base", "class", "readout"), np.mean(found, 0).tolist()))


def train(minutes, shards=1, people=PEOPLE, noise_only=False, further=False):
    """Trains for `minutes` of work in all; weights, checkpoint and losses go to the cache.

    further: starts with what data/pocket holds, for a base model that has changed or has more to give.
    """
    vae, unet = load_part("vae"), load_part("unet")
    eyes = predictor.Predictor({})
    eyes.eyes.load_state_dict(load_part("reader").body.state_dict())
    unseen, known = Examples("test", 128, eyes, vae), Examples("train", people, eyes, vae)
    learner, teacher = Learner(unet, eyes.eyes, known.features[:CHUNK], further), Teacher(unet, shards, noise_only)
    if not (CACHE / "predictor.pt").exists():
        if not further:
            listen_to_identifiers(learner.predictor, teacher)
        learn_to_read(learner, known, further)
    with device.autocast("cpu"):
        asked = [(batch, *teacher.question(batch, number)) for number, batch in enumerate(map(unseen.batch, range(8)))]

    def batch_loss(number):
        batch = known.batch(number)
        question, target = teacher.question(batch, number)
        gates = learner.predictor(batch["features"])
        unet = teacher.unets[number % shards]
        with learner.predictor.on(unet, gates):
            losses = teacher.losses(question, target, unet)
        loss = (losses * torch.where(batch["named"], 1, PRIOR)).mean()
        return loss + READOUT * learner.readout_loss(batch["features"], batch["answers"])

    def held_out(model):
        model.predictor.save(CACHE / "predictor.safetensors")
        return held_out_losses(model, teacher, asked)

    fit("predictor", learner, batch_loss, held_out, minutes, RATE, ema=0.998, report_every=300, shards=shards)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, help="minutes of training in all")
    parser.add_argument("--shards", type=int, default=1, help="batches a step, each on a core")
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many to learn from")
    parser.add_argument("--noise", action="store_true", help="the noise as target for everybody")
    parser.add_argument("--further", action="store_true", help="start with what data/pocket holds")
    options = parser.parse_args()
    train(options.minutes, options.shards, options.people, options.noise, options.further)


if __name__ == "__main__":
    main()
