"""The exercises of 01_prepare_photos and 02_caption_with_blip."""

from helpers.exercises.checks import exercise
from helpers.photos import captions


@exercise(solution="lost = 1 - 720 / 1280", wrong="lost = 720 / 1280")
def lost(lost, size):
    """Which share of a photo does the square leave out, from 0 to 1?"""
    kept = min(size) / max(size)
    if not isinstance(lost, (int, float)) or not 0 <= lost <= 1:
        return "A share is a number from 0 to 1."
    if abs(lost - (1 - kept)) > 0.01:
        return "The square is as high as the photo. What part of the width does it keep, and what is left of 1?"


@exercise(
    solution='file, better = "IMG_2041.png", "a photo of a person in front of a plain wall"',
    wrong='file, better = "IMG_2041.png", "a photo of a woman with a pink afro"',
)
def corrected(file, better, table, class_word, fixed):
    """Which caption of the last person is furthest from the truth, and how should it read?"""
    before = dict(zip(table["file"], table["caption"]))
    if file not in before:
        return f"There is no {file!r}: write a name as in the table, such as {table['file'].iloc[0]!r}."
    if not captions.says(better, class_word):
        return f"Without {class_word!r} the class learns nothing from this photo."
    if named := [word for word in fixed if captions.says(better, word)]:
        return f"This is always there, so {class_word!r} should learn it: leave out {named[0]!r}."
    if len(better.split()) < 4:
        return "Say in a short sentence what the photo shows besides the person."
    if " ".join(better.split()) == before[file]:
        return "That is what stands there already. What does the photo show that these words do not?"


@exercise(
    solution='mine = "a photo of a man with a dog in front of a castle"',
    wrong='mine = "a photo of a man with a beard and a dog"',
)
def caption(mine, class_word, fixed):
    """How would you caption the picture, so that only the class word stands for what never changes?"""
    if not captions.says(mine, class_word):
        return f"Without {class_word!r} the class learns nothing from this photo."
    if named := [word for word in fixed if captions.says(mine, word)]:
        return f"This is always there, so {class_word!r} should learn it: leave out {named[0]!r}."
    if not captions.says(mine, "dog") or not captions.says(mine, "castle"):
        return "Two things are in this picture and not in the others. Name both, or the class word will learn them too."
