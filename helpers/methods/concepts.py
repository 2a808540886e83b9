"""Who is learnt: one subject or several, each with prompts, photos and class images, and a name that is free."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from helpers import machine, photos
from helpers.methods import dreambooth

LETTERS = "bcdfghjklmnpqrtvwxz"  # no vowels: no words


@dataclass(frozen=True)
class Concept:
    """One subject: "nesrelah_001 person" among people, "a photo of a person"; or a class that is to be the subject."""

    instance_prompt: str
    class_prompt: str | None  # None: the class word itself learns, as with a hypernetwork, and is not practised
    photos: Path  # a folder of prepared squares
    class_images: Path | None = None  # a folder of one's own pictures of the class, instead of the model's

    def __post_init__(self):
        """Asks for consent, as photos.prepared_folder does: no other way leads to a training of a subject's photos."""
        if photos.squares_in(self.photos):
            photos.consent.check_squares(self.photos)

    def check(self):
        """Raises ValueError, in one sentence with the fix, for what would spoil the training.

        The last two words of the instance prompt are the identifier and the class word.
        """
        words, prompt, own = self.instance_prompt.split(), repr(self.class_prompt), self.class_images
        if len(words) < 2:
            raise ValueError(f"The instance prompt {words} has to end in an identifier and a class word: add them.")
        (identifier, class_word), count = words[-2:], len(photos.squares_in(self.photos))
        says = lambda word: re.search(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.IGNORECASE)
        named, empty = self.class_prompt is not None, own and not photos.squares_in(own)
        unsaid, said = named and not says(class_word), named and says(identifier)
        problems = {
            f"There are no photos in {self.photos}: run notebook 01 first, or put squares there.": count == 0,
            f"Too few photos in {self.photos}, {count}, which can only be copied: give five or more.": count < 3,
            f"The class prompt {prompt} does not say {class_word}, with which the instance prompt ends: add it.": unsaid,
            f"The class prompt {prompt} says {identifier}: name the class alone.": said,
            f"There are no class images in {own}: leave it out and the model makes some.": empty,
        }
        if problem := next((sentence for sentence, holds in problems.items() if holds), None):
            raise ValueError(problem)

    def split(self, held_out, seed):
        """(photos to learn from, photos held out), as photos.split; of few photos a quarter is held out."""
        squares = photos.squares_in(self.photos)
        return photos.split(squares, min(held_out, max(1, len(squares) // 4)), seed)

    def prompts(self, paths, use_captions=False):
        """One prompt a photo: the instance prompt, or its caption from notebook 02, with the subject's name if it has one."""
        if not use_captions:
            return [self.instance_prompt] * len(paths)
        table = photos.read_captions(self.photos).set_index("file")["caption"]
        if missing := [path.name for path in paths if not table.get(path.name)]:
            raise ValueError(f"{self.photos / missing[0]} has no caption: run notebook 02, or do without captions.")
        captions = [table[path.name] for path in paths]
        return captions if self.class_prompt is None else [named(text, self.instance_prompt) for text in captions]


def split(concepts, held_out, seed=0, use_captions=False):
    """((paths, prompts) to learn from, (paths, prompts) held out) of several concepts, each dealt as Concept.split.

    Photos that are held out go with the instance prompt.
    """
    parts = [concept.split(held_out, seed) for concept in concepts]
    train_set, others = ([path for groups in parts for path in groups[i]] for i in (0, 1))
    prompts = [p for concept, (some, _) in zip(concepts, parts) for p in concept.prompts(some, use_captions)]
    names = [concept.instance_prompt for concept, (_, some) in zip(concepts, parts) for _ in some]
    return (train_set, prompts), (others, names)


def class_images(concepts, make, more=()):
    """(paths, prompts) of the class images of several concepts, one prompt a path; each class comes once.

    make: function of a class prompt to paths, for concepts that bring no class images of their own. more: prompts of
    other classes that are practised, too.
    """
    groups = {}
    for concept in (concept for concept in concepts if concept.class_prompt is not None):
        prompt, own = concept.class_prompt, concept.class_images
        if own is not None:
            groups.setdefault(prompt, []).extend(photos.squares_in(own))
        elif prompt not in groups:
            groups[prompt] = list(make(prompt))
    groups |= {prompt: list(make(prompt)) for prompt in more if prompt not in groups}
    return [path for paths in groups.values() for path in paths], [p for p, paths in groups.items() for _ in paths]


def named(caption, instance_prompt):
    """A caption that says the subject's name: in place of its class word, else before it.

    "a person in a park" becomes "nesrelah_001 person in a park": the last two words of the instance prompt.
    """
    name = " ".join(instance_prompt.split()[-2:])
    class_word = re.escape(name.split()[-1])
    text, count = re.subn(rf"\b((an?|the) )?{class_word}\b", lambda match: name, caption, count=1)
    return text if count else f"{name}, {caption}"


def read(path):
    """The Concepts of a JSON file: a list of objects with instance_prompt, class_prompt, instance_data_dir and
    perhaps class_data_dir. Relative folders begin at the file. Raises ValueError if an object lacks something, and
    asks for consent as Concept does."""
    concepts, place, rows = [], Path(path).parent, machine.read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is no list of objects: put [ ] around its concepts.")
    for i, row in enumerate(rows, 1):
        if missing := [key for key in ("instance_prompt", "class_prompt", "instance_data_dir") if not row.get(key)]:
            raise ValueError(f"Concept {i} of {path} has no {missing[0]}: add it.")
        folders = [str(row.get(key) or "") for key in ("instance_data_dir", "class_data_dir")]
        if odd := next((folder for folder in folders if not folder.isprintable()), None):
            raise ValueError(f"Concept {i} of {path} has a single backslash in {odd!r}: write / instead.")
        own = place / row["class_data_dir"] if row.get("class_data_dir") else None
        own = own if own and own.is_dir() else None
        concepts.append(Concept(row["instance_prompt"], row["class_prompt"], place / row["instance_data_dir"], own))
    return concepts


def is_free(tokenizer, identifier):
    """Whether an identifier falls into three pieces or more, none of them a word the model knows."""
    pieces, known = dreambooth.check_identifier(tokenizer, identifier)
    return len(pieces) >= 3 and not known


def propose(tokenizer, name):
    """An identifier for somebody that this model does not know: the name itself with a number, if that is free.

    Else the name backwards, then letters without sense, always the same ones for the same name.
    """
    letters = machine.subjects.identifier(name).removesuffix("_001")
    digest = hashlib.sha256(letters.encode()).digest()
    random = "".join(LETTERS[byte % len(LETTERS)] for byte in digest)
    stems = [letters, letters[::-1], *(random[i : i + 5] for i in range(len(random) - 5))]
    return next(name for stem in stems if is_free(tokenizer, name := f"{stem}_001"))
