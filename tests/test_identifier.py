from types import SimpleNamespace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import identifier


class Tokenizer:
    """Knows a few words and every letter; digits and signs stand alone, as in CLIP."""

    words = ("rose", "person", "sks", "man")

    def tokenize(self, text):
        return [f"{text.lower()}</w>"] if text.lower() in self.words else [*text[:-1], f"{text[-1]}</w>"]

    def get_vocab(self):
        letters = "abcdefghijklmnopqrstuvwxyz_0123456789"
        names = [f"{word}</w>" for word in self.words] + [*letters] + [f"{letter}</w>" for letter in letters]
        return {name: i for i, name in enumerate(names)}


def test_taken_names_are_seen(pocket_pipeline):
    for tokenizer in (Tokenizer(), pocket_pipeline.tokenizer):
        assert identifier.is_free(tokenizer, "nesrelah_001")
        assert not identifier.is_free(tokenizer, "person_001")
    assert not identifier.is_free(Tokenizer(), "sks")  # a rifle


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=12))
def test_every_name_gets_a_free_identifier_and_always_the_same(name):
    proposed = identifier.propose(Tokenizer(), name)
    assert identifier.is_free(Tokenizer(), proposed) and proposed == identifier.propose(Tokenizer(), name)


def test_a_free_name_is_kept_and_a_taken_one_turned_round():
    assert identifier.propose(Tokenizer(), "Nesrelah") == "nesrelah_001"
    assert identifier.propose(Tokenizer(), "Rose") == "esor_001"


def test_the_nearest_words_are_those_with_the_most_similar_rows(pocket_pipeline):
    tokenizer, vocabulary = Tokenizer(), Tokenizer().get_vocab()
    table = torch.eye(len(vocabulary))
    table[vocabulary["q"]] = 0.9 * table[vocabulary["sks</w>"]] + 0.2 * table[vocabulary["man</w>"]]
    embedding = SimpleNamespace(weight=table)
    pipe = SimpleNamespace(tokenizer=tokenizer, text_encoder=SimpleNamespace(get_input_embeddings=lambda: embedding))
    found = identifier.nearest_words(pipe, "qx", count=2)
    assert list(found["piece"]) == ["q", "x</w>"] and found["words"][0] == "sks, man"
    assert found["similarity"][0] == torch.nn.functional.cosine_similarity(table[vocabulary["q"]], table[2], dim=0)
    found = identifier.nearest_words(pocket_pipeline, "woman")
    assert len(found) == 1 and "woman" not in found["words"][0].split(", "), "a word is not its own neighbour"
