"""Checks and solutions of the exercises on weights that are predicted from a photo."""

import math

import torch

from helpers.exercises.checks import exercise, letters


@exercise(
    solution="def spread(gates):\n    return gates.std(0).mean() / gates.abs().mean()",
    wrong="def spread(gates):\n    return gates.std() / gates.abs().mean()",
)
def spread(function):
    """Write a number that is 0 where everybody gets the same weights, and grows as people differ: of (people, ...)."""
    generator = torch.Generator().manual_seed(0)
    one, others = torch.randn(1, 5, 3, generator=generator), torch.randn(8, 5, 3, generator=generator)
    collapsed = float(function(one.repeat(8, 1, 1)))
    if not math.isclose(collapsed, 0, abs_tol=1e-4):
        return (
            f"Of eight people with the same weights it says {collapsed:.2f}. Compare people, not layers: along axis 0."
        )
    little, much = (float(function(one + share * others)) for share in (0.1, 0.5))
    if not 0 < little < much:
        return "It must grow as people differ more: what measures how far numbers lie apart?"


@exercise(
    solution='times = sum(a * b for a, b in net.layers.values()) / (len(net.layers) * net.config["rank"])',
    wrong='times = sum(a * b for a, b in net.layers.values()) / net.config["rank"]',
)
def times(times, layers, rank):
    """How many times as many numbers would whole weights be, of all adapted layers, as the gates of one person are?

    layers: {name: (inputs, outputs)}.
    """
    whole, gates = sum(inputs * outputs for inputs, outputs in layers.values()), len(layers) * rank
    if math.isclose(times, whole / rank, rel_tol=0.02):
        return f"Each of the {len(layers)} layers has {rank} gates of its own."
    if not math.isclose(times, whole / gates, rel_tol=0.02):
        return "A linear layer has inputs times outputs weights: add them up, and divide by the gates of all layers."


@exercise(
    solution="def mix(one, other, share):\n    return (1 - share) * one + share * other",
    wrong="def mix(one, other, share):\n    return one + share * other",
)
def mix(function):
    """Write the gates between those of two people: share 0 is the one, share 1 the other."""
    one, other = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 4.0])
    for share, whom in ((0.0, one), (1.0, other)):
        if not torch.allclose(torch.as_tensor(function(one, other, share)), whom):
            return f"At share {share:g} nothing but {'the other' if share else 'the one'} must be left."
    if not torch.allclose(torch.as_tensor(function(one, other, 0.25)), torch.tensor([0.25, 2.5])):
        return "In between it must go along the straight line from the one to the other."


@exercise(solution='gone = "ABCDF"', wrong='gone = "AB"')
def gone(answer):
    """Which of the things must go when somebody takes consent back? Letters, in any order."""
    given = letters(answer)
    if given - set("ABCDEF"):
        return "Give some of the letters A to F, in quotation marks."
    if {"A", "B", "D", "F"} - given:
        return "Photos, copies of them, what was trained on them and pictures of the person: something is left over."
    if "C" not in given:
        return "Whoever has the predicted weights can still make pictures of that person. Is that not personal data?"
    if "E" in given:
        return "The predictor looked at the photo and learnt nothing from it: it is bit for bit what it was before."
