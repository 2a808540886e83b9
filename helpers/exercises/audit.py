"""The exercises of notebook 07."""

import math

from helpers.exercises.checks import exercise


@exercise(
    solution='ratio = (shares["mean"].iloc[0] - shares["mean"].iloc[1:].mean()) / planted',
    wrong="ratio = planted",
)
def ratio(ratio, shares, planted):
    """How many times the planted skew do the pictures show, worked out by hand from the table of shares?"""
    if shares is None:
        return "There is no reader on this model, so there are no shares to work with: try it on pocket."
    difference = shares["mean"].iloc[0] - shares["mean"].iloc[1:].mean()
    if math.isclose(ratio, difference, abs_tol=1e-6) and not math.isclose(difference, 0, abs_tol=1e-9):
        return "That is the skew of the pictures. Compare it with the planted one: how many times as large is it?"
    if not math.isclose(ratio, difference / planted, abs_tol=5e-3):
        return "Take the share with the suit, subtract the mean share of the four other sentences, divide by planted."


@exercise(
    solution='longest = spoken.loc[spoken["pieces"].idxmax(), "language"]',
    wrong='longest = "English"',
)
def longest(longest, spoken):
    """In which language does the sentence fall into the most pieces?"""
    pieces = spoken.set_index("language")["pieces"]
    if longest not in pieces.index:
        return f"Give the language as the table writes it, such as {pieces.index[0]!r}."
    if pieces[longest] < pieces.max():
        return f"{longest} takes {pieces[longest]} pieces. Sort the table by that column: is another one longer?"
