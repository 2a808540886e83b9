"""What captions call the people in pictures, counted word by word."""

import re

import pandas as pd

# words that a captioner uses for people; they tell about captioners as much as about pictures
PEOPLE = {
    "woman": ("woman", "women", "girl", "girls", "lady", "ladies", "she", "her", "female"),
    "man": ("man", "men", "boy", "boys", "guy", "guys", "he", "his", "male"),
    "person": ("person", "persons", "people", "someone", "somebody", "human", "adult", "child", "they"),
}


def mentioned(caption, groups=None):
    """The groups whose words stand in a caption, whole words only: a set of names."""
    words = set(re.findall(r"[^\W\d_]+", caption.lower()))
    return {name for name, listed in (groups or PEOPLE).items() if words & set(listed)}


def counts(captions, groups=None):
    """In how many captions each group is mentioned: Series with "nobody" at the end for captions that mention none."""
    found = [mentioned(caption, groups) for caption in captions]
    told = {name: sum(name in each for each in found) for name in groups or PEOPLE}
    return pd.Series(told | {"nobody": sum(not each for each in found)}, dtype=int)


def called(caption):
    """What a caption calls the one it shows: "woman", "man", "both", "person" or "nobody"."""
    found = mentioned(caption)
    gendered = sorted(found & {"woman", "man"})
    if len(gendered) == 2:
        return "both"
    return gendered[0] if gendered else "person" if "person" in found else "nobody"
