"""Eyes first: an image encoder learns to name what is in a picture before it meets any caption.

BLIP's own image encoder began as a classifier of ImageNet (Li et al. 2022). Here naming takes minutes,
while captions alone hardly teach a small encoder to look: after 600 steps every portrait sat on a horse.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pocket.fit import fit
from pocket.pixels import normalised
from pocket.scenes import scene
from pocket.visible import LABELS, UNSEEN, answers


class Naming(nn.Module):
    """An image encoder of transformers with an answer sheet for each attribute."""

    def __init__(self, vision):
        super().__init__()
        self.vision = vision
        width = vision.config.hidden_size
        self.heads = nn.ModuleDict({attribute: nn.Linear(width, len(words)) for attribute, words in LABELS.items()})

    def forward(self, pixels):
        """What the encoder sees: (pictures, patches, width)."""
        return self.vision(pixel_values=pixels).last_hidden_state

    def loss(self, seen, sheet):
        """Mean cross-entropy over the attributes that the pictures show, from what `forward` sees of them."""
        losses = [
            F.cross_entropy(head(seen.mean(1)).float(), sheet[attribute], ignore_index=UNSEEN)
            for attribute, head in self.heads.items()
        ]
        return torch.stack(losses).nanmean()


def train_eyes(name, vision, images, unseen, minutes, batch=64, split="train"):
    """Teach `vision` in place, on pictures of the first scenes of a split; logged as <name>_eyes.

    Returns it with its answer sheets, a Naming.
    """
    sheet = answers([scene(split, i) for i in range(len(images))])
    unseen_sheet = answers([scene("test", i) for i in range(len(unseen))])
    naming = Naming(vision)

    def batch_loss(step):
        indices = np.random.default_rng(step).choice(len(images), batch, replace=False)
        return naming.loss(naming(normalised(images[indices])), {a: sheet[a][indices] for a in LABELS})

    @torch.no_grad()
    def held_out(model):
        return {"held_out_loss": model.eval().loss(model(normalised(unseen)), unseen_sheet).item()}

    trained = fit(f"{name}_eyes", naming, batch_loss, held_out, minutes, rate=1e-3)
    naming.load_state_dict(trained.state_dict())
    return naming
