"""Which parts of a prompt a picture shows: what the pocket world can draw, as its reader sees it."""

import re

import pandas as pd

# what a prompt may say, and the attribute and word by which the reader would confirm it
PARTS = {
    "style": {
        r"pixel art": "pixel art",
        r"(pencil )?sketch|pencil drawing": "pencil sketch",
        r"jade": "jade sculpture",
        r"fire|flames": "fire",
        r"comic book": "comic book",
        r"oil (painting|on canvas)": "oil painting",
        r"watercolou?r": "watercolor",
        r"photo|photograph": "photo",
    },
    "place": {
        r"beach|sea": "beach",
        r"forest|woods": "forest",
        r"city|tall buildings": "city",
        r"(outer )?space|stars": "space",
        r"snow|snowy|winter": "snow",
        r"castle": "castle",
    }
    | {
        f"{color} background": color
        for color in ("white", "blue", "green", "pink", "yellow", "grey", "purple", "orange")
    },
    "context": {
        r"horse|horseback": "horse",
        r"bicycle|bike": "bicycle",
        r"dog": "dog",
        r"cat": "cat",
        r"robot": "robot",
        r"chibi": "chibi",
        r"portrait|close-?up": "portrait",
    },
    "kind": {r"man": "man", r"woman": "woman"},
    "beard": {r"majestic beard": "majestic beard"},
}


def asked(prompt):
    """What a prompt asks for: {attribute: word}. Of two words for one attribute the first in PARTS holds."""
    text, found = prompt.lower(), {}
    for attribute, words in PARTS.items():
        for pattern, word in words.items():
            if re.search(rf"\b({pattern})\b", text):
                found[attribute] = word
                break
    return found


def right(table, seen):
    """For each picture the share of its prompt's parts that the reader finds: Series; NaN where a prompt asks for none.

    table: with a column prompt; seen: what the reader saw, a row a picture, in the same order.
    """
    if len(table) != len(seen):
        raise ValueError(f"{len(table)} pictures but {len(seen)} readings: read the same pictures.")
    found = []
    for prompt, (_, row) in zip(table["prompt"], seen.iterrows()):
        wanted = asked(prompt)
        found.append(sum(row[name] == word for name, word in wanted.items()) / len(wanted) if wanted else float("nan"))
    return pd.Series(found, index=table.index, dtype=float)
