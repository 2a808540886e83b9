"""Train the predictor of helpers/methods/predictor.py on people of the drawn world.

    POCKET_CACHE=/work/predictor_run python -m pocket.train_predictor 240     minutes of work in all

Every five minutes it writes a checkpoint, predictor.safetensors (the moving average) and a line of predictor.csv there. It
can be stopped at any time; the same command goes on from the last checkpoint, also with more minutes. `--shards 2` learns
from two batches a step, one a core.

People: numbered, the same on every machine. A third of them may have the subjects' reserved features; whoever has all the
telling features of a subject is left out. A batch: portraits of somebody, and another picture of the same person in
another context, place, style, mood and dress, under an identifier nobody else has ("bako_217 person"). A fifth of it
stays what it was: pictures of others, without an identifier, where the target is what the base predicts.

Target of the denoising loss: the noise, for people with reserved features. For all others it is what the base predicts
from the same noisy picture when the caption names every feature in words in the identifier's place: the mean of that
noise as far as the base knows it, so that the gradient is far less noisy. SD 1.5 has no words for a face; there only the
noise is left (`--noise`). A second loss, of small weight, keeps the attributes readable from the identity vector.
"""

import argparse
import copy
import random
from dataclasses import asdict

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import nn

from helpers.diffusion import device, latents
from helpers.methods import predictor
from pocket import parts, world
from pocket.assemble import load_part
from pocket.camera import shoot
from pocket.describe import SYLLABLES, all_features, describe_as
from pocket.draw import SIDE, draw
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.scenes import CACHE
from pocket.tokenizers import clip_tokenizer
from pocket.visible import LABELS

PEOPLE, CHUNK = 6000, 250
PORTRAITS, TARGETS = 4, 4  # pictures of each person
FEATURES = ("kind", "skin", "hair", "hair_color", "beard", "glasses")
OTHERS = 1 / 5  # share of a batch that must stay what it was
RATE, READOUT, PRIOR = 1e-3, 0.01, 4  # weights of the readout's loss, and of those who must stay
SKEW = 0.6  # timesteps are 1000 * u ** SKEW: more of the noisy ones, which decide who it is


def person(split, number):
    """Somebody, always the same: in a third, reserved features are drawn for two in five; never a subject's set."""
    rng = random.Random(f"predictor {split} {number}")
    reserved = rng.choice((0, 0, 0.4)) if split == "train" else 0
    found = world.sample_person(rng, reserved)
    while any(is_like(found, subject) for subject in world.SUBJECTS.values()):
        found = world.sample_person(rng, reserved)
    return found


def is_like(found, subject):
    return all(getattr(found, feature) == getattr(subject["person"], feature) for feature in subject["telling"])


def has_reserved(found):
    return (
        found.hair in world.RESERVED_HAIR[found.kind]
        or found.hair_color in world.RESERVED_HAIR_COLORS
        or found.beard in world.RESERVED_BEARDS
        or found.glasses in world.RESERVED_GLASSES
    )


def picture_of(split, number, which, **given):
    """Scene `which` of a person, in fresh clothes and mood."""
    rng = random.Random(f"predictor {split} {number} {which}")
    fresh = world.sample_person(random.Random(rng.random()))
    changed = {name: getattr(fresh, name) for name in ("expression", "clothes", "clothes_color")}
    return world.sample_scene(rng, world.Person(**asdict(person(split, number)) | changed), **given)


def portrait(split, number, which):
    """A photo of a person as notebook 01 leaves one, uint8 (128, 128, 3): nearer or farther, not quite in the middle."""
    scene = picture_of(split, number, f"portrait {which}", context="portrait", style="photo")
    rng = random.Random(f"{number} {which}")
    side = SIDE * rng.uniform(0.97, 1.2)
    left = SIDE / 2 - side * rng.uniform(0.44, 0.56)
    return np.asarray(shoot(scene, (left, SIDE - side, side, side), (128, 128)))


@torch.no_grad()
def pictures(split, count, eyes, vae):
    """features (count, PORTRAITS, 17, 192) and latents (count, TARGETS, 4, 16, 16) of people, float16, kept on disk."""
    folder, chunks = CACHE / "people", []
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, CHUNK):
        path = folder / f"{split}_{start:05d}.npz"
        if not path.exists():
            numbers = range(start, min(start + CHUNK, count))
            portraits = np.stack([portrait(split, n, i) for n in numbers for i in range(PORTRAITS)])
            targets = np.stack([np.asarray(draw(picture_of(split, n, i))) for n in numbers for i in range(TARGETS)])
            features = torch.cat([eyes.features(to_pixels(part)) for part in np.array_split(portraits, 10)])
            with device.autocast("cpu"):
                codes = [vae.encode(to_pixels(part)).latent_dist.mode() for part in np.array_split(targets, 20)]
            kept = {
                "features": features.half().numpy().reshape(len(numbers), PORTRAITS, *features.shape[1:]),
                "latents": torch.cat(codes).half().numpy().reshape(len(numbers), TARGETS, 4, 16, 16),
            }
            partial = path.with_suffix(".part.npz")
            np.savez(partial, **kept)
            partial.rename(path)
            print(path.name, flush=True)
        chunks.append(np.load(path))
    return [np.concatenate([chunk[name] for chunk in chunks]) for name in ("features", "latents")]


class Learner(nn.Module):
    """What learns together: the predictor, whose eyes stay the reader's, and the readout of attributes."""

    def __init__(self, unet, eyes, features):
        super().__init__()
        torch.manual_seed(0)
        self.predictor = predictor.Predictor(predictor.layers_of(unet))
        self.predictor.eyes.load_state_dict(eyes.state_dict())
        self.predictor.eyes.requires_grad_(False)
        some = torch.from_numpy(features).float().flatten(0, 1)
        self.predictor.mean.copy_(some.mean(0))
        self.predictor.spread.copy_(some.std(0).clamp(min=0.05))
        self.readout = nn.Linear(self.predictor.config["width"], sum(len(LABELS[name]) for name in FEATURES))

    def readout_loss(self, features, answers):
        """Mean cross-entropy of the attributes, indices (people, attributes), read from the identity vector."""
        logits = self.readout(self.predictor.identity(features)).float().split([len(LABELS[n]) for n in FEATURES], 1)
        return sum(F.cross_entropy(part, answer) for part, answer in zip(logits, answers.T)) / len(FEATURES)


def learn_to_read(learner, known, steps=600, batch=64):
    """Before all else, in seconds: the identity vector comes to tell the attributes; the U-Net is not asked."""
    parameters = [*learner.readout.parameters(), *learner.predictor.summary.parameters()]
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


def captions_of(scene, other, rng):
    """(caption, the same with every feature of the person in words); of others, without an identifier, they are one."""
    found = scene.person
    if other:
        plain = describe_as(scene, rng.choice((found.kind, "person")), rng, rng.choice(("", None)))
        return (rng.choice((plain, plain, plain, "")),) * 2
    seed, name = rng.random(), rng.choice(("", " person", f" {found.kind}"))
    caption = describe_as(scene, f"@{identifier(rng)}{name}", random.Random(seed), "")
    words = describe_as(scene, f"{found.skin}-skinned {found.kind}", random.Random(seed), all_features(found))
    return caption, words


def identifier(rng):
    """A made-up word and a number, as "nesrelah_001": somebody's name in one caption and never again."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))) + f"_{rng.randrange(1000):03d}"


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


def train(minutes, shards=1, people=PEOPLE, noise_only=False):
    """Trains for `minutes` of work in all; weights, checkpoint and losses go to the cache."""
    vae, unet = load_part("vae"), load_part("unet")
    eyes = predictor.Predictor({})
    eyes.eyes.load_state_dict(load_part("reader").body.state_dict())
    unseen, known = Examples("test", 128, eyes, vae), Examples("train", people, eyes, vae)
    learner, teacher = Learner(unet, eyes.eyes, known.features[:CHUNK]), Teacher(unet, shards, noise_only)
    if not (CACHE / "predictor.pt").exists():
        learn_to_read(learner, known)
    with device.autocast("cpu"):
        asked = [(batch, *teacher.question(batch, number)) for number, batch in enumerate(map(unseen.batch, range(8)))]

    def losses_of(net, unet, question, target, gates):
        with net.on(unet, gates):
            return teacher.losses(question, target, unet)

    def batch_loss(number):
        batch = known.batch(number)
        question, target = teacher.question(batch, number)
        gates = learner.predictor(batch["features"])
        unet = teacher.unets[number % shards]
        losses = losses_of(learner.predictor, unet, question, target, gates)
        loss = (losses * torch.where(batch["named"], 1, PRIOR)).mean()
        return loss + READOUT * learner.readout_loss(batch["features"], batch["answers"])

    @torch.no_grad()
    def held_out(model):
        """Losses on people never seen: with their weights, another's, and none; of others; and the attributes read."""
        net, unet, found = model.eval().predictor, teacher.unets[0], []
        net.save(CACHE / "predictor.safetensors")
        for batch, question, target in asked:
            with device.autocast("cpu"):
                gates, named = net(batch["features"]), batch["named"]
                tried = [losses_of(net, unet, question, target, g) for g in (gates, gates.roll(1, 0), 0 * gates)]
                read = model.readout_loss(batch["features"], batch["answers"])
            found.append([float(part) for part in (*(t[named].mean() for t in tried), tried[0][~named].mean(), read)])
        return dict(zip(("held_out", "of_another", "base", "class", "readout"), np.mean(found, 0).tolist()))

    fit("predictor", learner, batch_loss, held_out, minutes, RATE, ema=0.998, report_every=300, shards=shards)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, help="minutes of training in all")
    parser.add_argument("--shards", type=int, default=1, help="batches a step, each on a core")
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many to learn from")
    parser.add_argument("--noise", action="store_true", help="the noise as target for everybody")
    options = parser.parse_args()
    train(options.minutes, options.shards, options.people, options.noise)


if __name__ == "__main__":
    main()
