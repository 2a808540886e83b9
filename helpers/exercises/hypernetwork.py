"""Checks and solutions of the exercises of notebook 03: what learns, how large it is, what it changed, how fast."""

from helpers import training
from helpers.exercises.checks import exercise, letters
from helpers.methods import hypernetwork


@exercise(solution='moving = "D"', wrong='moving = "AD"')
def moving(answer):
    """Which networks can the training of a hypernetwork move? A U-Net, B VAE, C text encoder, D hypernetwork."""
    given = letters(answer)
    if given - set("ABCD"):
        return "Give some of the letters A to D, in quotation marks."
    if "A" in given:
        return "What does requires_grad_(False) do to the U-Net in the cell above?"
    if given & set("BC"):
        return "Latents and prompt embeddings were made once, before the training. Could it still move what made them?"
    if not given:
        return "Something has to learn, or the loss would stay what it is. What is attached to the U-Net?"


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


@exercise(
    solution='lowest = int(by_photo["step"][by_photo.drop(columns="step").mean(axis=1).idxmin()])',
    wrong='lowest = int(by_photo["step"][by_photo.drop(columns="step").mean(axis=1).idxmax()])',
)
def lowest(step, by_photo):
    """After which step was the mean held-out loss over the photos lowest?

    by_photo: the run's held_out.csv as a DataFrame: step, then a column a photo.
    """
    means = by_photo.set_index("step").mean(axis=1)
    if step not in means.index:
        return f"The held-out loss was measured after these steps alone: {', '.join(map(str, means.index))}."
    if means[step] > means.min():
        return f"After step {step} the mean was {means[step]:.4f}; at another step it was lower."


@exercise(solution="guess = 1 + moved.index(max(moved))", wrong="guess = 1 + moved.index(min(moved))")
def most_changed(row, moved):
    """Which row of pictures did the training change most? 1 is the top row.

    moved: for each row how far its pictures moved.
    """
    if row not in range(1, len(moved) + 1):
        return f"Give the number of a row, from 1 to {len(moved)}."
    if moved[row - 1] < max(moved):
        return "Your row moved less than another: look at the numbers above. Had you expected that?"
