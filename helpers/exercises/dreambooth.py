"""Checks and solutions of the exercises of notebooks 04 and 05: name, loss, best step, class; memory, file, LoRA."""

import math

import torch

from helpers.exercises.checks import exercise
from helpers.methods import concepts, dreambooth


@exercise(solution='mine = "zqxkv_007"', wrong='mine = "woman_007"')
def free(name, taken, tokenizer):
    """Find another name that is free: three pieces or more, none of them a word."""
    if not isinstance(name, str) or not name or name.split() != [name]:
        return "Give one word in quotation marks, without spaces."
    if name == taken:
        return "That one our subject has: find another."
    pieces, known = dreambooth.check_identifier(tokenizer, name)
    if known:
        return f"The model knows {', '.join(known)}, and pictures of it."
    if not concepts.is_free(tokenizer, name):
        return f"It is cut into {len(pieces)}: {pieces}. Letters in an order that nobody writes make more pieces."


@exercise(
    solution="""def by_hand(prediction, noise, prior_weight):
    (photo, other), (photo_noise, other_noise) = prediction.chunk(2), noise.chunk(2)
    return F.mse_loss(photo, photo_noise) + prior_weight * F.mse_loss(other, other_noise)
""",
    wrong="""def by_hand(prediction, noise, prior_weight):
    return F.mse_loss(prediction, noise)
""",
)
def prior_loss(function):
    """Write the loss of prior preservation: that of the photos plus prior_weight times that of the class images."""
    guess, truth = (torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for weight in (0.0, 1.0, 0.5):
        expected, answer = (
            float(dreambooth.dreambooth_loss(guess, truth, weight)),
            float(function(guess, truth, weight)),
        )
        if not math.isclose(answer, expected, rel_tol=1e-4):
            return (
                f"With prior_weight {weight:g} it should be {expected:.4f} for a batch of ours, yours is {answer:.4f}."
            )


@exercise(
    solution="""low, high = found["with"]["low"], found["with"]["high"]
more, less = found["without"]["low"] > high, found["without"]["high"] < low
guess = "more" if more else "less" if less else "cannot tell"
""",
    wrong='guess = "as ever"',
)
def without_class(guess, with_images, without):
    """Does the class prompt show the subject more, less, or can one not tell, if class images count for nothing?

    with_images, without: what stats.summarise says of the two trainings.
    """
    more, less = without["low"] > with_images["high"], without["high"] < with_images["low"]
    right = "more" if more else "less" if less else "cannot tell"
    if guess not in ("more", "less", "cannot tell"):
        return 'Answer with "more", "less" or "cannot tell".'
    if guess != right:
        return "Look at the two intervals of the last prompt: which lies above the other, or do they overlap?"


@exercise(solution="each = 4 + 4 + 8", wrong="each = 4 + 8")
def bytes_each(each):
    """How many bytes does AdamW need for each weight that learns, before there is any activation?"""
    if each == 12:
        return "Weight and averages make twelve. What does the backward pass leave at every weight, until it is moved?"
    if each != 16:
        return "Add up, for one weight: itself, its gradient, and the two averages, each a 32-bit number."


@exercise(
    solution='best_step = int(table[table["step"] > 0].set_index("step")["held_out_loss"].idxmin())',
    wrong="best_step = -1",
)
def best_step(step, table):
    """After which step was the held-out loss lowest, step 0 left out, which is the model as it came?

    table: the run's loss.csv as a DataFrame.
    """
    measured = table[(table["step"] > 0) & table["held_out_loss"].notna()].set_index("step")["held_out_loss"]
    if step not in measured.index:
        return f"The held-out loss was measured after these steps alone: {', '.join(map(str, measured.index))}."
    if measured[step] > measured.min():
        return f"After step {step} it was {measured[step]:.4f}; at another step it was lower."


@exercise(
    solution='fastest = next(name for name, row in sizes.iterrows() if row["peak"] * 1.1 <= 8)',
    wrong='fastest = "none"',
)
def fastest(name, sizes):
    """Which setting is the fastest that fits into 8 GB with a tenth to spare?

    sizes: memory.table, from the fastest to the leanest.
    """
    if name not in sizes.index:
        return f"Give the name of a row, in quotation marks: {', '.join(sizes.index)}."
    fits = sizes.index[sizes["peak"] * 1.1 <= 8]
    if name not in fits:
        return f"{name!r} takes {sizes['peak'][name]} GB at its peak, and a tenth more to be safe. Is that 8 or less?"
    if name != fits[0]:
        return "That fits. But another row that fits stands above it, and is faster."


@exercise(solution="mebibytes = 2 * weights / 2**20", wrong="mebibytes = 4 * weights / 2**20")
def file_size(mebibytes, weights, size):
    """How many MiB will the file have, at 16 bits a weight? weights: how many there are; size: the file's, in bytes."""
    if math.isclose(mebibytes, 2 * weights / 1e6, rel_tol=0.01):
        return "Those are megabytes. A MiB has 2 to the power of 20 bytes."
    if not math.isclose(mebibytes * 2**20, size, rel_tol=0.03):
        return f"The file has {size / 2**20:.1f} MiB. Sixteen bits are how many bytes?"


@exercise(
    solution="def thin(rows, columns, rank):\n    return rank * (rows + columns)",
    wrong="def thin(rows, columns, rank):\n    return rank * rows * columns",
)
def thin(function):
    """How many weights have the two thin matrices that LoRA learns beside a matrix of rows times columns?"""
    for rows, columns, rank in ((320, 768, 4), (320, 320, 8), (5, 7, 1)):
        truth = torch.nn.Linear(columns, rank, False).weight.numel() + torch.nn.Linear(rank, rows, False).weight.numel()
        if (answer := function(rows, columns, rank)) != truth:
            return (
                f"Beside {rows} x {columns} with rank {rank} there are {truth}, not {answer}. One goes from the columns "
                "to the rank, one from the rank to the rows."
            )
