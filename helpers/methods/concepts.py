"""Who is learnt: one subject or several, each with prompts, photos and class images, and a name that is free."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from helpers import machine, photos
from helpers.methods import dreambooth

LETTERS = "bcdfghjklmnpqrtvwxz"  # no vowels: no words


@dataclass(frozen=True)
class Concept:
    """One subject: "nesrelah_001 person" among people, "a photo of a person"."""

    instance_prompt: str
    class_prompt: str
    photos: Path  # a folder of prepared squares
    class_images: Path | None = None  # a folder of one's own pictures of the class, instead of the model's

    def check(self, identifier=None, class_word=None):
        """Raises ValueError, in one sentence with the mend, for what would spoil the training.

        identifier, class_word: else the last two words of the instance prompt.
        """
        said = self.instance_prompt.split()
        if len(said) < 2 and not (identifier and class_word):
            raise ValueError(
                f"the instance prompt {self.instance_prompt!r} has to end in an identifier and a class word"
            )
        identifier, class_word = identifier or said[-2], class_word or said[-1]
        squares = _images(self.photos)
        if not squares:
            raise ValueError(f"there are no photos in {self.photos}: run notebook 01 first, or put squares there")
        if len(squares) < 3:
            count = "is one photo" if len(squares) == 1 else "are two photos"
            raise ValueError(f"there {count} in {self.photos}, which can only be copied: give five or more")
        if not _says(self.instance_prompt, identifier):
            raise ValueError(f"the instance prompt {self.instance_prompt!r} does not say {identifier}: add it")
        if not _says(self.class_prompt, class_word):
            raise ValueError(
                f"the class prompt {self.class_prompt!r} does not say {class_word}: add the class word, with which the "
                "instance prompt has to end"
            )
        if _says(self.class_prompt, identifier):
            raise ValueError(f"the class prompt {self.class_prompt!r} says {identifier}: name the class alone")
        if self.class_images is not None and not _images(self.class_images):
            raise ValueError(f"there are no class images in {self.class_images}: leave it out and the model makes some")

    def split(self, held_out, seed):
        """(photos to learn from, photos held out), as photos.split; of few photos a quarter is held out."""
        squares = _images(self.photos)
        return photos.split(squares, min(held_out, max(1, len(squares) // 4)), seed)

    def prompts(self, paths, use_captions=False):
        """One prompt a photo: the instance prompt, or its caption from notebook 02 with the subject's name in it."""
        if not use_captions:
            return [self.instance_prompt] * len(paths)
        table = photos.read_captions(self.photos).set_index("file")["caption"]
        if missing := [path.name for path in paths if not table.get(path.name)]:
            raise ValueError(f"{self.photos / missing[0]} has no caption: run notebook 02, or do without captions")
        return [named(table[path.name], self.instance_prompt) for path in paths]


def split(concepts, held_out, seed=0, use_captions=False):
    """((paths, prompts) to learn from, (paths, prompts) held out) of several concepts, each dealt as Concept.split.

    Photos that are held out go with the instance prompt.
    """
    dealt = [concept.split(held_out, seed) for concept in concepts]
    learning, others = ([path for groups in dealt for path in groups[i]] for i in (0, 1))
    prompts = [p for concept, (some, _) in zip(concepts, dealt) for p in concept.prompts(some, use_captions)]
    names = [concept.instance_prompt for concept, (_, some) in zip(concepts, dealt) for _ in some]
    return (learning, prompts), (others, names)


def class_images(concepts, make):
    """(paths, prompts) of the class images of several concepts, one prompt a path; each class comes once.

    make: function of a class prompt to paths, for concepts that bring no class images of their own.
    """
    found = {}
    for concept in concepts:
        own = concept.class_images is not None
        if own or concept.class_prompt not in found:
            found.setdefault(concept.class_prompt, []).extend(
                _images(concept.class_images) if own else make(concept.class_prompt)
            )
    return [path for paths in found.values() for path in paths], [p for p, paths in found.items() for _ in paths]


def named(caption, instance_prompt):
    """A caption that says the subject's name: in place of its class word, else before it.

    "a photo of a person in a park" becomes "a photo of nesrelah_001 person in a park". The name is the last two words
    of the instance prompt, so that "a photo of nesrelah_001 person" gives the same.
    """
    name = " ".join(instance_prompt.split()[-2:])
    class_word = re.escape(name.split()[-1])
    text, count = re.subn(rf"\b((an?|the) )?{class_word}\b", lambda found: name, caption, count=1)
    return text if count else f"{name}, {caption}"


def read(path):
    """The Concepts of a JSON file: a list of objects with instance_prompt, class_prompt, instance_data_dir and
    perhaps class_data_dir. Relative folders begin at the file. Raises ValueError if an object lacks something."""
    concepts, place, listed = [], Path(path).parent, machine.read_json(path)
    if not isinstance(listed, list) or not all(isinstance(told, dict) for told in listed):
        raise ValueError(f"{path} is no list of objects: put [ ] around its concepts")
    for i, told in enumerate(listed):
        if missing := [key for key in ("instance_prompt", "class_prompt", "instance_data_dir") if not told.get(key)]:
            raise ValueError(f"concept {i + 1} of {path} has no {missing[0]}: add it")
        own = told.get("class_data_dir")
        own = place / own if own and (place / own).is_dir() else None
        concepts.append(Concept(told["instance_prompt"], told["class_prompt"], place / told["instance_data_dir"], own))
    return concepts


def _images(folder):
    return photos.squares_in(folder) if Path(folder).is_dir() else []


def _says(prompt, word):
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.IGNORECASE) is not None


def nearest_words(pipe, identifier, count=3):
    """What each piece of an identifier lies near to: DataFrame piece, words (the nearest `count`), similarity.

    By the cosine of the text encoder's input embeddings; `similarity` is that of the nearest, in -1..1. Only whole
    words of the vocabulary are compared. A piece that means something has neighbours that mean something too.
    """
    vocabulary = pipe.tokenizer.get_vocab()
    words = {name.removesuffix("</w>"): i for name, i in vocabulary.items() if re.fullmatch(r"[a-z]{2,}</w>", name)}
    table = torch.nn.functional.normalize(pipe.text_encoder.get_input_embeddings().weight.detach().float(), dim=1)
    names, rows = list(words), table[list(words.values())]
    found = []
    for piece in pipe.tokenizer.tokenize(identifier):
        similar = rows @ table[vocabulary[piece]]
        near = [i for i in similar.argsort(descending=True).tolist() if names[i] != piece.removesuffix("</w>")][:count]
        found.append((piece, ", ".join(names[i] for i in near), float(similar[near[0]])))
    return pd.DataFrame(found, columns=["piece", "words", "similarity"])


def is_free(tokenizer, identifier):
    """Whether an identifier falls into three pieces or more, none of them a word the model knows."""
    pieces, known = dreambooth.check_identifier(tokenizer, identifier)
    return len(pieces) >= 3 and not known


def propose(tokenizer, name):
    """An identifier for somebody that this model does not know: the name itself with a number, if that is free.

    Else the name backwards, then letters without sense, always the same ones for the same name.
    """
    letters = re.sub(r"[\W\d_]", "", name.lower()) or "subject"
    digest = hashlib.sha256(letters.encode()).digest()
    random = "".join(LETTERS[byte % len(LETTERS)] for byte in digest)
    stems = [letters, letters[::-1], *(random[i : i + 5] for i in range(len(random) - 5))]
    free = (f"{stem}_001" for stem in stems if is_free(tokenizer, f"{stem}_001"))
    return next(free)
