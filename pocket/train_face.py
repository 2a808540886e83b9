"""The reader's branch for expression and eyes, trained when the rest of it is; the rest stays as it is."""

import numpy as np
import torch
import torch.nn.functional as F

from pocket.assemble import load_part, save_reader
from pocket.fit import fit
from pocket.pixels import to_pixels
from pocket.reader import FACE, Reader
from pocket.scenes import pictures
from pocket.scenes import scene as numbered_scene
from pocket.train_reader import augmented, softened
from pocket.visible import LABELS, UNSEEN, answers

SCENES, SOFTENED = 16_000, 2_000  # of the split "faces"; those softened are seen both ways
UNSEEN_SCENES, BATCH = 500, 32


def learner(further):
    """The reader in data/pocket, of which the branch alone learns; unless `further`, it begins as a copy of the other."""
    known, reader = load_part("reader"), Reader(LABELS).requires_grad_(False)
    reader.load_state_dict(known.state_dict(), strict=further)
    if not further:
        for block, other in zip(reader.face, reader.body[2:]):
            block.load_state_dict(other.state_dict())
    for part in (reader.face, *(reader.heads[name] for name in FACE)):
        part.requires_grad_(True)
    return reader


def sheet_of(split, numbers, reader):
    """{attribute of FACE that the reader reads: answer of each numbered scene of a split}, as `visible.answers` has it."""
    sheet = answers([numbered_scene(split, i) for i in numbers])
    return {name: sheet[name] for name in FACE if name in reader.labels}


def face_losses(reader, pixels, sheet):
    """{attribute of FACE: cross-entropy} of pictures that show it."""
    logits = reader(pixels)
    return {name: F.cross_entropy(logits[name].float(), answer, ignore_index=UNSEEN) for name, answer in sheet.items()}


def share_right(reader, pixels, sheet):
    """{attribute of FACE: share read right}, 0..1, of pictures that show it."""
    logits = reader(pixels)
    return {
        name: (logits[name].argmax(1) == answer)[answer != UNSEEN].float().mean().item()
        for name, answer in sheet.items()
    }


def train(minutes, further=False):
    reader, vae = learner(further), load_part("vae")
    drawn, soft = pictures("faces", SCENES), softened("faces", SOFTENED, vae, power=2)
    sheet, unseen_sheet = (
        sheet_of("faces", range(SCENES), reader),
        sheet_of("test_everyone", range(UNSEEN_SCENES), reader),
    )
    unseen = {
        "drawn": pictures("test_everyone", UNSEEN_SCENES),
        "soft": softened("test_everyone", UNSEEN_SCENES, vae, power=2),
    }
    shown = np.flatnonzero(sheet["expression"] != UNSEEN)
    halves = (drawn, shown, BATCH // 2), (soft, shown[shown < SOFTENED], BATCH // 2)

    def batch_loss(step):
        generator = np.random.default_rng(step)
        chosen = [generator.choice(indices, size) for _, indices, size in halves]
        images = np.concatenate([images[indices] for (images, _, _), indices in zip(halves, chosen)])
        asked = {name: answer[np.concatenate(chosen)] for name, answer in sheet.items()}
        return sum(face_losses(reader, augmented(to_pixels(images)), asked).values())

    @torch.no_grad()
    def held_out(model):
        figures = {}
        for look, images in unseen.items():
            right = share_right(model.eval(), to_pixels(images), unseen_sheet)
            figures |= {f"{name}, {look}": share for name, share in right.items()}
        return figures

    save_reader(fit("face", reader, batch_loss, held_out, minutes, rate=1e-3))
