"""The exercises of 01_prepare_photos and 02_caption_with_blip."""

import re

from helpers.exercises.checks import exercise, letters
from helpers.photos import captions

THINGS = {  # what a caption may name, and the words for it
    "dog": r"dog|puppy|pup|doggy",
    "cat": r"cat|kitten|kitty",
    "horse": r"horse|pony",
    "bicycle": r"bicycle|bike",
    "castle": r"castle|palace|fortress|citadel",
    "forest": r"forest|wood|tree",
    "city": r"city|skyline|skyscraper|building|town",
    "space": r"space|star|planet|moon|galaxy",
    "snow": r"snow|snowy|winter",
    "beach": r"beach|sea|seaside|ocean|shore",
}
NESRELAH = {  # which of them her photos show, as they were drawn; the others show her and a plain wall
    "IMG_2041.png": {"space"},
    "IMG_2047.png": {"dog"},
    "IMG_2059.png": {"cat", "forest"},
    "IMG_2068.png": {"snow"},
    "IMG_2077.png": {"space"},
    "IMG_2083.png": {"cat"},
    "IMG_2095.png": {"dog", "forest"},
    "IMG_2098.png": {"city"},
}


def named(text):
    """Which of THINGS a text names, a set."""
    return {thing for thing, words in THINGS.items() if re.search(rf"\b({words})s?\b", text, re.IGNORECASE)}


def _form(text, class_word, fixed):
    """What is wrong with a caption of this class, whatever its photo shows; None if nothing is."""
    if not captions.says(text, class_word):
        return f"Without {class_word!r} the class learns nothing from this photo."
    if always := [word for word in fixed if captions.says(text, word)]:
        return f"This is always there, so {class_word!r} should learn it: leave out {always[0]!r}."


@exercise(solution='letters = "C"', wrong='letters = "BC"')
def agreed(answer):
    """Whose photos may be used to personalise a model? Letters."""
    given = letters(answer)
    if "A" in given:
        return "Friendship is not consent: a friend says for what and until when, too, in writing."
    if "B" in given:
        return "Who shows a photo has not agreed to a model that makes others of that person."
    if "D" in given:
        return "Parents agree for a minor as well, not instead."
    if "E" in given:
        return "Consent can be taken back, without a reason."
    if given != {"C"}:
        return "Give some of the letters A to E, in quotation marks."


@exercise(solution="latitude = -(38 + 30 / 60)", wrong="latitude = 38 + 30 / 60")
def latitude(latitude, place):
    """Which latitude has a photo's place, in degrees, negative in the south?

    place: of EXIF, {1: "N" or "S", 2: (degrees, minutes, seconds), ...}.
    """
    degrees, minutes, seconds = map(float, place[2])
    right = (degrees + minutes / 60 + seconds / 3600) * (-1 if place[1] == "S" else 1)
    if abs(latitude + right) < 0.005:
        return "That is as far from the equator, but on its other side."
    if abs(latitude - right) > 0.005:
        return "The latitude is number 2 of the place; a degree has 60 minutes, a minute has 60 seconds."


@exercise(solution="lost = 1 - 720 / 1280", wrong="lost = 720 / 1280")
def lost(lost, size):
    """Which share of a photo does the square leave out, from 0 to 1?"""
    kept = min(size) / max(size)
    if not isinstance(lost, (int, float)) or not 0 <= lost <= 1:
        return "A share is a number from 0 to 1."
    if abs(lost - (1 - kept)) > 0.01:
        return "The square is as high as the photo. What part of the width does it keep, and what is left of 1?"


@exercise(
    solution='blurred, dark = "IMG_2062.jpg", "IMG_2071.jpg"',
    wrong='blurred, dark = "IMG_2071.jpg", "IMG_2062.jpg"',
)
def faults(blurred, dark, measured):
    """Which photo is blurred and which dark, by the numbers? measured: DataFrame sharpness, brightest, by file."""
    for file, what, column in ((blurred, "blurred", "sharpness"), (dark, "dark", "brightest")):
        if file not in measured.index:
            return f"There is no {file!r} in the table: write a name as it stands there, in quotation marks."
        if file != measured[column].idxmin():
            value = measured.loc[file, column]
            return f"{file} has {column} {value:.0f}, and another has less: that one is {what}."


@exercise(solution='letters = "B"', wrong='letters = "BD"')
def held(answer):
    """What may be held back to test on, while one photo is trained on? Letters."""
    given = letters(answer)
    if given & {"A", "C", "D"}:
        return (
            "One of these shows what the model was trained on: the loss on it would fall although nothing was learnt."
        )
    if given != {"B"}:
        return "Give some of the letters A to D, in quotation marks: one of them is a new photo."


@exercise(
    solution='def says(text, word):\n    return word in text.replace(",", " ").split()',
    wrong="def says(text, word):\n    return word in text",
)
def says(function):
    """Write a function that tells whether a caption says a word."""
    for text, said in (("a photo of a man", True), ("a man, smiling", True), ("a photo of a dog", False)):
        if bool(function(text, "man")) != said:
            return f"Of {text!r} and 'man' it should be {said}. A comma does not belong to a word."
    if function("a photo of a woman", "man"):
        return "The letters m, a, n are in 'woman', too: compare whole words."


@exercise(solution='letters = "BE"', wrong='letters = "B"')
def silent(answer):
    """Which words does a caption leave out, of what changes and what never does? Letters."""
    given = letters(answer)
    if "A" in given:
        return "Without the class word nothing stands for this person."
    if given & {"C", "D"}:
        return "What is not in every photo has to be named, or the class word comes to mean it."
    if given != {"B", "E"}:
        return "What is in every photo should go into the class word: leave out all of that."


@exercise(
    solution='file, better = "IMG_2059.png", "a photo of a person with a cat in the forest"',
    wrong='file, better = "IMG_2059.png", "a photo of a person on the moon eating pizza"',
)
def corrected(file, better, table, name, class_word, fixed):
    """Which caption of the last person names something that is not in the photo, and how should it read?"""
    drafts = dict(zip(table["file"], table["draft"]))
    if file not in drafts:
        return f"There is no {file!r}: write a name as in the table, such as {table['file'].iloc[0]!r}."
    if hint := _form(better, class_word, fixed):
        return hint
    if len(better.split()) < 4:
        return "Say in a short sentence what the photo shows besides the person."
    if " ".join(better.split()) == drafts[file]:
        return "That is what stands there already. What does the photo show that these words do not?"
    if name == "nesrelah":
        return _truth(file, better, drafts)


def _truth(file, better, drafts):
    """What this caption of a photo of hers says wrongly or not at all, or that another draft is worse; None if all is well."""
    untrue_drafts = [photo for photo, draft in drafts.items() if named(draft) - NESRELAH.get(photo, set())]
    if untrue_drafts and file not in untrue_drafts:
        return "Its caption leaves things out, but what it names is there. Look for one that names what is not there."
    shown = NESRELAH.get(file, set())
    if untrue := sorted(named(better) - shown):
        return f"Look again: is {untrue[0]!r} in this photo?"
    if shown - named(better):
        return "Something that only this photo shows is not named yet: an animal, or the place."


@exercise(
    solution='mine = "a photo of a man with a dog in front of a castle"',
    wrong='mine = "a photo of a man with a beard and a dog"',
)
def caption(mine, class_word, fixed):
    """How would you caption the picture, so that only the class word stands for what never changes?"""
    if hint := _form(mine, class_word, fixed):
        return hint
    if untrue := sorted(named(mine) - {"dog", "castle"}):
        return f"Look again: is {untrue[0]!r} in this picture?"
    if len(named(mine)) < 2:
        return "An animal and a building are in this picture and not in most others. Name both, or the class word learns them."
