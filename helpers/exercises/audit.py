"""The exercises of notebooks 13, 14 and 15: the skew, what mitigates it, and measuring without labels."""

import math

import numpy as np

from helpers.exercises.checks import exercise

NO_READER = "There is no reader on this model, so there is nothing to count with: try it on pocket."


@exercise(solution="one_sided = int((by_hair.min(axis=1) == 0).sum())", wrong="one_sided = 4")
def one_sided(answer, by_hair):
    """How many kinds of hair does the drawn world give to men alone, or to women alone?

    by_hair: people counted by hair (down) and kind (across).
    """
    right = int((by_hair.min(axis=1) == 0).sum())
    if not isinstance(answer, int | np.integer) or not 0 <= answer <= len(by_hair):
        return f"Give a whole number from 0 to {len(by_hair)}, for the table has {len(by_hair)} rows."
    if answer != right:
        return (
            f"There is a 0 in {'more' if answer < right else 'fewer'} rows than {answer}: take the smaller of each two."
        )


@exercise(
    solution='ratio = (shares["mean"].iloc[0] - shares["mean"].iloc[1:].mean()) / planted',
    wrong="ratio = planted",
)
def ratio(ratio, shares, planted):
    """How many times the planted skew do the pictures show, worked out by hand from the table of shares?"""
    if shares is None:
        return NO_READER
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


@exercise(
    solution='stronger = [words for words, found in results.items() if found["ratio_low"] > 1]',
    wrong='stronger = ["the world"]',
)
def stronger(answer, results):
    """Under which wordings does the whole interval lie above 1? results: {wording: measure.amplification}."""
    if not results:
        return NO_READER
    unknown = sorted(set(answer) - set(results))
    if unknown:
        return f"{unknown[0]!r} is no wording: give a list of some, all or none of {', '.join(results)}."
    for words in results:
        found = results[words]
        if (words in answer) != (found["ratio_low"] > 1):
            return f"Look at {words!r} again: its interval begins at {found['ratio_low']:.2f}. Is that above 1?"


@exercise(
    solution='suspect = next((name for name in NAMES if pieces(name) & pieces("flames")), "")',
    wrong='suspect = "Siobhan and Kofi"',
)
def suspect(name, names, pieces):
    """Which name shares a piece of two letters or more with "flames"? "" if none does. pieces: word -> set."""
    shares = [each for each in names if pieces(each) & pieces("flames")]
    if name and name not in names:
        return f"{name!r} is none of the names above."
    if not name and shares:
        return 'One of them does: compare pieces(name) with pieces("flames") for each name.'
    if name and name not in shares:
        return f"{name} has {sorted(pieces(name))}, flames {sorted(pieces('flames'))}: no piece is in both."


@exercise(
    solution="apart = (1 - (before * after).sum(axis=1)).mean()",
    wrong="apart = (1 - before @ after.T).mean()",
)
def apart(answer, before, after):
    """What is the mean distance, 1 - cosine, of each picture to the one from the same seed after a training?"""
    answer = float(answer)
    if math.isclose(answer, float((1 - (before * after).sum(axis=1)).mean()), abs_tol=1e-4):
        return None
    if math.isclose(answer, float((1 - before @ after.T).mean()), abs_tol=1e-4):
        return "That compares each picture with all. Only row 0 with row 0, row 1 with row 1 and so on share a seed."
    return "Rows have length 1: multiply two rows element by element and add up, and you have their cosine."


@exercise(solution='women = int((counted["kind"] == "woman").sum())', wrong="women = -1")
def women(answer, counted):
    """How many of the balanced class images are women, as the reader sees them?"""
    if counted is None:
        return NO_READER
    right = int((counted["kind"] == "woman").sum())
    if answer != right:
        return f"The table has {len(counted)} rows. Count those whose column kind says woman."


@exercise(
    solution='def word_for(seed):\n    return ["woman", "man", "person"][seed % 3]',
    wrong='def word_for(seed):\n    return "woman"',
)
def word_for(function):
    """Write which of woman, man and person a seed asks for, so that three seeds in a row ask for three words."""
    words = [function(seed) for seed in range(1, 13)]
    if set(words) - {"woman", "man", "person"}:
        return f"Seed 1 gives {words[0]!r}: return one of the strings woman, man and person."
    for seed in range(1, 11):
        if len(set(words[seed - 1 : seed + 2])) < 3:
            return f"Seeds {seed} to {seed + 2} ask for {', '.join(words[seed - 1 : seed + 2])}: all three should come."


@exercise(
    solution="nearer = int(((plain @ women.T).mean(axis=1) > (plain @ men.T).mean(axis=1)).sum())",
    wrong="nearer = len(plain) + 1",
)
def nearer(answer, plain, women, men):
    """How many of the plain pictures are nearer, by mean cosine, to the women's set than to the men's?"""
    if not 0 <= answer <= len(plain):
        return f"There are {len(plain)} plain pictures: the answer lies between 0 and {len(plain)}."
    if answer != ((plain @ women.T).mean(axis=1) > (plain @ men.T).mean(axis=1)).sum():
        return "plain @ women.T has a row for each plain picture: take the mean of each row, and the same with men."


@exercise(solution='agreed = (two["first"] == two["second"]).mean()', wrong="agreed = 1.0")
def agreed(answer, two):
    """On which share of the pictures did two taggers give the same tag?"""
    if not math.isclose(answer, (two["first"] == two["second"]).mean(), abs_tol=5e-3):
        return f"Compare the two columns row by row: of {len(two)} rows, in how many is the tag the same?"


@exercise(solution="control = artist[::-1]", wrong="control = artist")
def control(answer, artist):
    """Write a control for an artist's name: the same letters in another order, which are nobody's name."""
    if not isinstance(answer, str) or answer.split() == artist.split():
        return "That is the name itself. Change the order of its letters, for example with [::-1]."
    if sorted(answer.replace(" ", "").lower()) != sorted(artist.replace(" ", "").lower()):
        return "Use exactly the letters of the name: other letters may be other pieces, and the two would not compare."
    if set(answer.lower().split()) & set(artist.lower().split()):
        return "One whole word of the name is still in it: mix that one, too."
