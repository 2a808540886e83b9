"""The reader: reads the truth (kind, skin, hair, glasses, place, style ...) off a picture.

It is the metric of the suite: fidelity, class drift and bias are counted with it, and its own error is
known (pocket/README.md). On pictures that the world did not draw it still answers: it has no
"I do not know", so look at its confidence.
"""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from pocket.world import PLAIN

SIZE = 128
FACE = ("expression", "eyes")  # attributes with layers of their own: to train these leaves the others as they are
# What a prompt may say, and the attribute and word by which the reader would confirm it.
PARTS = {
    "style": {
        r"pixel art": "pixel art",
        r"(pencil )?sketch|pencil drawing": "pencil sketch",
        r"jade": "jade sculpture",
        r"fire|flames": "fire",
        r"comic book": "comic book",
        r"oil (painting|on canvas)": "oil painting",
        r"watercolou?r": "watercolor",
        r"photo|photograph": "photo",
    },
    "place": {
        r"beach|sea": "beach",
        r"forest|woods": "forest",
        r"city|tall buildings": "city",
        r"(outer )?space|stars": "space",
        r"snow|snowy|winter": "snow",
        r"castle": "castle",
    }
    | {f"{color} background": color for color in PLAIN},
    "context": {
        r"horse|horseback": "horse",
        r"bicycle|bike": "bicycle",
        r"dog": "dog",
        r"cat": "cat",
        r"robot": "robot",
        r"chibi": "chibi",
        r"portrait|close-?up": "portrait",
    },
    "kind": {r"man": "man", r"woman": "woman"},
    "beard": {r"majestic beard": "majestic beard"},
}


def _block(inputs, outputs, stride):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
    )


class Reader(nn.Module):
    """A small convolutional network with one answer sheet for each attribute.

    Two branches share its first two blocks: one for the attributes of FACE, if any are asked for, one for all others.
    labels: {attribute: list of words}. Pictures are float (batch, 3, 128, 128) in -1..1.
    """

    def __init__(self, labels, width=32):
        super().__init__()
        self.labels = {attribute: list(words) for attribute, words in labels.items()}
        widths = (3, width, 2 * width, 3 * width, 5 * width, 6 * width)
        self.body = nn.Sequential(*(_block(a, b, 2) for a, b in pairwise(widths)))  # two looks before each halving
        branch = (_block(a, b, 2) for a, b in pairwise(widths[2:]))
        self.face = nn.Sequential(*branch) if {*FACE} & {*self.labels} else None
        self.heads = nn.ModuleDict({a: nn.Linear(widths[-1] * 17, len(w)) for a, w in self.labels.items()})

    def forward(self, pixels):
        """Logits for each attribute, dict of (batch, number of words)."""
        early = self.body[:2](pixels)
        features = _summary(self.body[2:](early))
        of_face = _summary(self.face(early)) if self.face else None
        return {name: head(of_face if name in FACE else features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, images, batch_size=64):
        """What is in each PIL picture: DataFrame with a word for each attribute and `<attribute>_confidence`, 0..1."""
        rows = []
        for start in range(0, len(images), batch_size):
            answers = self(_pixels(images[start : start + batch_size]))
            columns = {}
            for attribute, logits in answers.items():
                confidence, index = logits.float().softmax(1).max(1)
                columns[attribute] = [self.labels[attribute][i] for i in index]
                columns[f"{attribute}_confidence"] = confidence.tolist()
            rows.append(pd.DataFrame(columns))
        return pd.concat(rows, ignore_index=True)


def _summary(seen):
    """All of 4 x 4 cells, since where something stands tells what it is, and the most of each channel."""
    return torch.cat([seen.flatten(1), seen.amax((2, 3))], 1)


def _pixels(images):
    arrays = [np.asarray(image.convert("RGB").resize((SIZE, SIZE))) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def load_reader(folder):
    """The trained reader in a folder such as data/pocket/reader (config.json and model.safetensors).

    Raises FileNotFoundError that names the missing file.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"{folder / name} is missing: run `python -m pocket.train reader` or restore it from git"
            )
    reader = Reader(**json.loads((folder / "config.json").read_text()))
    weights = load_file(folder / "model.safetensors")
    reader.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return reader.eval()


def parts_of(prompt):
    """What a prompt asks for: {attribute: word}. Of two words for one attribute the first in PARTS holds."""
    named = {}
    for attribute, words in PARTS.items():
        matches = [word for pattern, word in words.items() if re.search(rf"\b({pattern})\b", prompt.lower())]
        if matches:
            named[attribute] = matches[0]
    return named
