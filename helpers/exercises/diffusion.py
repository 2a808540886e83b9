"""Checks and solutions of the exercises of notebook 00: the noise schedule, tokens and guidance."""

import operator

import torch

from helpers.exercises.checks import exercise


@exercise(solution="even = int((snr > 1).sum())", wrong="even = 500")
def even(t, snr):
    """From which timestep on is there more noise than photo, that is, where does the signal-to-noise ratio fall below 1?

    snr: tensor (1000,), falling.
    """
    try:
        t = operator.index(t)  # a whole number of torch or NumPy is one, too
    except TypeError:
        t = -1
    if not 0 < t < len(snr):
        return f"Give a timestep, a whole number from 1 to {len(snr) - 1}."
    if snr[t] >= 1:
        return f"At t = {t} the ratio is still {snr[t]:.2f}: there is more photo than noise. Go further."
    if snr[t - 1] < 1:
        return f"At t = {t - 1} the ratio is below 1 already ({snr[t - 1]:.2f}): the first such t comes earlier."


@exercise(
    solution="def undo(noisy, noise, t):\n    return (noisy - (1 - alphas[t]).sqrt() * noise) / alphas[t].sqrt()",
    wrong="def undo(noisy, noise, t):\n    return noisy - (1 - alphas[t]).sqrt() * noise",
)
def undo(function, alphas):
    """Write the function that gives clean latents back from noisy ones, where the noise is known.

    alphas: tensor (1000,), how much of the picture is left at each timestep.
    """
    clean, noise = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 2.0])
    for t in (100, 700):
        share = alphas[t]
        found = torch.as_tensor(function(share.sqrt() * clean + (1 - share).sqrt() * noise, noise, t))
        if torch.allclose(found, share.sqrt() * clean, atol=1e-4):
            return "The noise is gone, but the clean latents had been multiplied, too: undo that as well."
        if not torch.allclose(found, clean, atol=1e-4):
            return f"At t = {t} it does not give back what was put in. Solve the equation for `clean`, step by step."


@exercise(
    solution="def guide(empty, prompted, scale):\n    return empty + scale * (prompted - empty)",
    wrong="def guide(empty, prompted, scale):\n    return prompted + scale * (prompted - empty)",
)
def guide(function):
    """Write guidance as a function of the two answers of the U-Net and the scale."""
    empty, prompted = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0])
    if not torch.equal(torch.as_tensor(function(empty, prompted, 0.0)), empty):
        return "With scale 0 the prompt must not be followed at all: only the answer to the empty prompt is left."
    if not torch.equal(torch.as_tensor(function(empty, prompted, 1.0)), prompted):
        return "With scale 1 the result must be the answer to the prompt itself, neither more nor less."
    if not torch.allclose(torch.as_tensor(function(empty, prompted, 3.0)), torch.tensor([3.0, -1.0])):
        return "From scale 1 to 3 the step must go on along the same line: try it with two numbers on paper."


@exercise(solution='word = "kofi_2026"', wrong='word = "nesrelah_001"')
def rare(word, tokenizer):
    """Find another word, without spaces, that falls into five pieces or more."""
    if not isinstance(word, str) or not word or word.split() != [word]:
        return "Give one word in quotation marks, without spaces."
    if word == "nesrelah_001":
        return "That one you have seen above: find another."
    pieces = tokenizer.tokenize(word)
    if len(pieces) < 5:
        return f"{word!r} becomes {len(pieces)}: {pieces}. Words that nobody writes have more; so have digits."


@exercise(solution="passes = 2 * STEPS", wrong="passes = STEPS")
def passes(passes, steps):
    """How many times is the U-Net asked for one picture with guidance, of so many steps?"""
    if passes == steps:
        return "Once a step was enough without guidance. What does guidance compare?"
    if passes != 2 * steps:
        return "Count the calls of `predict` in one step of a guided picture, then the steps."
