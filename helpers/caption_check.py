"""What is wrong with captions, in sentences for the person who will mend them."""

import re


def check_captions(table, class_word, tokenizer, fixed=()):
    """What is wrong with the captions, a list of sentences; empty if nothing is.

    class_word: stands in each caption, or the class learns nothing from it.
    tokenizer: CLIP's; Stable Diffusion reads its first 77 tokens, of which two mark start and end.
    fixed: words for what the person always has ("beard", "round glasses"). A word that stands in the caption takes
    the blame for the feature, and the class word need not learn it.
    """
    found, limit = [], tokenizer.model_max_length - 2
    for file, text in zip(table["file"], table["caption"]):
        count = len(tokenizer(text, verbose=False)["input_ids"]) - 2
        if not text.strip():
            found.append(f"{file} has no caption.")
        elif not says(text, class_word):
            found.append(f"{file} does not say {class_word!r}: {text}")
        if repeated := repetition(text):
            found.append(f"{file} says {repeated!r} twice: {text}")
        if named := [word for word in fixed if says(text, word)]:
            named = " and ".join(map(repr, named))
            found.append(f"{file} names {named}, so that {class_word!r} need not learn it: {text}")
        if count > limit:
            found.append(f"{file} has {count} tokens, and all after {limit} are not read.")
    for text, files in table.groupby("caption")["file"]:
        if len(files) > 1:
            found.append(f"{len(files)} photos share one caption ({', '.join(files)}): {text}")
    return found


def says(text, words):
    """Whether a text says these words, next to one another, in upper or lower case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def repetition(text):
    """Words that a text says again: one to four twice in a row, or a part between commas twice anywhere; else ""."""
    if found := re.search(r"\b(\w+(?: \w+){0,3}),? \1\b", text, re.IGNORECASE):
        return found[1]
    seen = set()
    for part in (part.strip().lower() for part in text.split(",")):
        if part in seen and part:
            return part
        seen.add(part)
    return ""


def without(text, fixed):
    """The text without these words and the "with a" or "and" that led to them; what is left reads on.

    "a man with a beard and round glasses at the beach" without "beard" and "round glasses": "a man at the beach".
    """
    for words in sorted(fixed, key=len, reverse=True):
        phrase = rf"(?:\ba |\ban |\bhis |\bher )?(?<!\w){re.escape(words)}(?!\w)"
        text = re.sub(rf"\bwith {phrase} and\b", "with", text, flags=re.IGNORECASE)
        text = re.sub(rf",? ?(?:\b(?:and|with|wearing) )?{phrase}", "", text, flags=re.IGNORECASE)
    return " ".join(text.split()).strip(" ,")
