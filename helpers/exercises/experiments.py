"""The exercises of 09_experiments: brackets, strength, and what the eye can tell apart."""

import math

from helpers.exercises.checks import exercise


@exercise(solution="weight = 1 / 1.1 / 1.1", wrong="weight = 0.8")
def weight(answer):
    """What does a word weigh that stands in [[two square brackets]]?"""
    if not math.isclose(float(answer), 1 / 1.21, abs_tol=0.0051):
        return "One square bracket divides by 1.1; the second divides what is left once more."


@exercise(
    solution="likest = max(resemblance, key=resemblance.get)",
    wrong="likest = min(resemblance, key=resemblance.get)",
)
def likest(strength, resemblance):
    """At which strength are the pictures most like the photos? resemblance: {strength: mean cosine to the photos}."""
    if strength not in resemblance:
        return f"Give a strength of the plot: {', '.join(map(str, resemblance))}."
    if resemblance[strength] < max(resemblance.values()):
        return f"At {strength} the mean cosine to the photos is {resemblance[strength]:.3f}; another strength has more."


@exercise(solution="right = sum(followed)", wrong="right = -1")
def outfits(right, followed):
    """In how many of the outfits is the cloth of the colour that was asked for? Within two of the reader's count.

    followed: a yes or no for each picture; none without a reader.
    """
    if not followed:
        return "There is no reader on this model that could judge: compare your count with a neighbour's."
    if not 0 <= right <= len(followed):
        return f"Give a number from 0 to {len(followed)}."
    if abs(right - sum(followed)) > 2:
        return f"You counted {right}; the reader has another number, more than two away. Go along each row once more."


@exercise(solution="alike = min(apart, key=apart.get)", wrong="alike = max(apart, key=apart.get)")
def alike(pair, apart):
    """Which two moods are hardest to tell apart? apart: {(mood, mood): the distance of their icons}."""
    named = {frozenset(both): distance for both, distance in apart.items()}
    if frozenset(pair) not in named:
        return f"Give two moods, such as {next(iter(apart))}."
    if named[frozenset(pair)] > min(named.values()):
        return f"Their icons differ by {named[frozenset(pair)]:.4f} on average; another pair differs less."
