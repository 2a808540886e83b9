"""Checks and solutions of the exercises of notebook 04: memory, and the best step."""

from helpers.exercises.checks import exercise


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
