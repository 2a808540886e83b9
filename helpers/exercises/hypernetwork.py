"""Checks and solutions of the exercises of notebook 03: the size of a hypernetwork, its learning rate."""

from helpers import training
from helpers.exercises.checks import exercise
from helpers.methods import hypernetwork


@exercise(
    solution="def weights(width):\n    return 2 * (4 * width**2 + 3 * width)",
    wrong="def weights(width):\n    return 4 * width**2",
)
def weights(function):
    """Write the number of weights of a pair of networks 1, 2, 1 as a function of the width."""
    for width in (1, 8, 20):
        truth = sum(parameter.numel() for parameter in hypernetwork.Hypernetwork([width]).parameters())
        answer = function(width)
        if answer == truth // 2:
            return "That is one network. A width has two of them, one for the keys and one for the values."
        if answer != truth:
            hint = (
                "One layer goes from the width to twice the width, one back; each has a bias for each number it gives."
            )
            return f"For width {width} there are {truth} weights, not {answer}. {hint}"


@exercise(solution='rates = "2e-3:100, 5e-4:200, 1e-4"', wrong='rates = "2e-3, 5e-4:200, 1e-4"')
def staircase(text, steps):
    """Write a schedule: 0.002 for the first 100 steps, 0.0005 for the next 100, then 0.0001 to the end."""
    rates = training.rates_of(text, max(steps, 300))
    for step, rate in ((1, 2e-3), (100, 2e-3), (101, 5e-4), (200, 5e-4), (201, 1e-4), (max(steps, 300), 1e-4)):
        if len(rates) < step:
            return f"Your schedule ends at step {len(rates)}, and the training with it: the last rate needs no step."
        if abs(rates[step - 1] / rate - 1) > 1e-6:
            return f"At step {step} the rate is {rates[step - 1]:g}. The number after the colon is the last step of its rate."
