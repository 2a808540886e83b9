"""A name that means nothing to the model yet: what its pieces lie near to, and another where it is taken."""

import hashlib
import re

import pandas as pd
import torch

from helpers import dreambooth

LETTERS = "bcdfghjklmnpqrtvwxz"  # no vowels: no words


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
