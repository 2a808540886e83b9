"""Checks and solutions of the exercises of notebook 03: the size of a hypernetwork, its learning rate."""

from helpers.exercises.checks import exercise
from helpers.methods import hypernetwork
from helpers.training import rates


@exercise(
    solution="def weights(width):\n    return 2 * (4 * width**2 + 3 * width)",
    wrong="def weights(width):\n    return 4 * width**2",
)
def weights(function):
    """Write the number of weights of a pair of networks 1, 2, 1 as a function of the width."""
    for width in (1, 8, 20):
        truth = sum(parameter.numel() for parameter in hypernetwork.Hypernetwork([width]).parameters())
        told = function(width)
        if told == truth // 2:
            return "That is one network. A width has two of them, one for the keys and one for the values."
        if told != truth:
            return (
                f"For width {width} there are {truth} weights, not {told}. The first layer goes from the width to twice "
                "the width, the second one back; each also has one bias for every number it gives."
            )


@exercise(solution='rates = "2e-3:100, 5e-4:200, 1e-4"', wrong='rates = "2e-3, 5e-4:200, 1e-4"')
def staircase(text, steps):
    """Write a schedule: 0.002 for the first 100 steps, 0.0005 for the next 100, then 0.0001 to the end."""
    segments = rates.parse(text, max(steps, 300))
    rate = lambda step: rates.rate_at(segments, step)
    for step, wished in ((1, 2e-3), (100, 2e-3), (101, 5e-4), (200, 5e-4), (201, 1e-4), (max(steps, 300), 1e-4)):
        if segments[-1].last < step:
            return f"Your schedule ends at step {segments[-1].last}, and the training with it: the last rate needs no step."
        if abs(rate(step) / wished - 1) > 1e-6:
            return (
                f"At step {step} the rate is {rate(step):g}. The number after the colon is the last step of its rate."
            )
