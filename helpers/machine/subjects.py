"""Whose photos: the people that notebook 01 was given, which the other notebooks remember, and what is known of them."""

import os
import unicodedata

from helpers import machine
from helpers.machine import files

SAMPLES = {"hypernetwork": "amir", "dreambooth": "nesrelah"}  # whom the paper trained by each method
FORBIDDEN = '<>:"/\\|?*,'  # no folder may have these, or no list of names


def remember(people, always=None):
    """Keep whom notebook 01 was given for the notebooks after it; returns their names, as `chosen` will.

    people: {name: class word}; always: {name: [what all their photos show]}, about which captions are silent.
    Raises ValueError for a name that cannot be that of a folder, is without a class word, or stands in `always` alone.
    """
    known = {}
    for name, word in people.items():
        if not name.strip(" .") or name != name.strip() or name[0] in "._" or set(name) & set(FORBIDDEN):
            raise ValueError(
                f"No folder can be called {name!r}: write it without {FORBIDDEN} and without dots around it."
            )
        if not word.strip():
            raise ValueError(f"{name} has no class word: write man, woman, person or what a stranger would say.")
        known[_nfc(name)] = {"class_word": word.strip()}
    for name, words in (always or {}).items():
        if _nfc(name) not in known:
            raise ValueError(f"{name} always has something, but is not among the people: write the name as there.")
        known[_nfc(name)]["always"] = list(words)
    files.write_json(_memory(), known)
    return chosen()


def chosen():
    """The names to work with: those in SUBJECT (with commas between), else notebook 01's, else the two samples."""
    named = [_nfc(name.strip()) for name in os.environ.get("SUBJECT", "").split(",") if name.strip()]
    return named or list(_remembered()) or list(SAMPLES.values())


def own():
    """Those of `chosen` that are no sample."""
    return [name for name in chosen() if name not in SAMPLES.values()]


def learnt_by(method):
    """Whom a method ("hypernetwork", "dreambooth" or "lora") learns: one's own first person, else the paper's."""
    sample = SAMPLES.get(method, SAMPLES["dreambooth"])
    return next(iter(own()), sample if sample in chosen() else chosen()[0])


def folder(name):
    """data/subjects/NAME, whichever way its accents were written: a Mac may write a letter and its accent apart."""
    place = machine.REPO / "data" / "subjects"
    same = [path for path in sorted(place.glob("*")) if path.is_dir() and _nfc(path.name) == _nfc(name)]
    return same[0] if same else place / name


def about(name):
    """What is known of a subject: class_word, always (a list), telling ({attribute: the reader's word}; may be empty)."""
    path = folder(name) / "subject.json"
    known = files.read_json(path) if path.exists() else {}
    return {"class_word": "person", "always": [], "telling": {}} | known | _remembered().get(_nfc(name), {})


def class_of(name):
    """The class word of a subject, such as "man"."""
    return about(name)["class_word"]


def with_article(word):
    """A class word with its article: "a man", "an artist"."""
    return f"{'an' if word[:1].lower() in tuple('aeiou') else 'a'} {word}"


def title(name):
    """A name as labels have it: "Amir"; one that was written with capitals stays as it is."""
    return name.title() if name.islower() else name


def identifier(name):
    """A rare name for a subject, from its letters without their accents: "Zoë Okafor" is zoeokafor_001."""
    letters = [letter for letter in unicodedata.normalize("NFKD", name.lower()) if letter.isalpha()]
    return f"{''.join(letters) or 'subject'}_001"


def _nfc(name):
    return unicodedata.normalize("NFC", name)


def _memory():
    return machine.RUNS / "photos" / "subjects.json"


def _remembered():
    return files.read_json(_memory()) if _memory().exists() else {}
