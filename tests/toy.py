"""A small training, in which everything needs its random numbers, for the tests of the loop."""

import csv
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from helpers import training

ROWS, STEPS = 11, 23


def toy_run(folder, steps=STEPS, before_step=lambda number: None, **changes):
    """Trains a small net with dropout; returns it and the steps. Everything in it needs its random numbers."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
    inputs = torch.randn(ROWS, 5)
    targets = inputs.sum(1, keepdim=True).sin()
    order = training.shuffled(ROWS, 4, seed=3)

    def batch(step):
        before_step(step + 1)
        return order(step)

    def loss(indices):
        noisy = inputs[indices] + 0.1 * torch.randn(len(indices), 5)
        return (net(noisy) - targets[indices]).square().mean()

    def held_out():
        value = (net.eval()(inputs) - targets).square().mean().item()
        net.train()
        return value

    def preview():
        torch.randn(3)  # previews and held-out losses must not disturb the training
        return Image.new("RGB", (4, 4))

    settings = {"learning_rate": 1e-2, "seed": 5, "watch_every": 4, "checkpoint_every": 6} | changes
    steps = training.train(
        folder, net.parameters(), loss, batch, steps=steps, held_out_loss=held_out, preview=preview, **settings
    )
    return net, list(steps)


def rows(folder):
    with (Path(folder) / "loss.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def numbered(folder):
    """The steps of the checkpoints of a run, without the best one."""
    return [int(path.stem) for path in sorted((folder / "checkpoints").glob("[0-9]*.pt"))]


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
