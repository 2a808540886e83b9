import re

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.methods import concepts, dreambooth


def test_taken_names_are_seen_and_turned_round(pocket_pipeline):
    tokenizer = pocket_pipeline.tokenizer
    assert concepts.is_free(tokenizer, "nesrelah_001") and not concepts.is_free(tokenizer, "person_001")
    pieces, known = dreambooth.check_identifier(tokenizer, "nesrelah_001")
    assert len(pieces) > 4 and known == [] and dreambooth.check_identifier(tokenizer, "woman_001")[1] == ["woman"]
    assert concepts.propose(tokenizer, "Nesrelah") == "nesrelah_001"
    assert concepts.propose(tokenizer, "Woman") == "namow_001"


def test_every_name_gets_a_free_identifier_and_always_the_same(pocket_pipeline):
    tokenizer = pocket_pipeline.tokenizer

    @settings(deadline=None, max_examples=60)
    @given(st.text(max_size=12))
    def check(name):
        proposed = concepts.propose(tokenizer, name)
        assert concepts.is_free(tokenizer, proposed) and proposed == concepts.propose(tokenizer, name)

    check()


def test_the_nearest_words_are_those_with_the_most_similar_rows(pocket_pipeline):
    vocabulary = pocket_pipeline.tokenizer.get_vocab()
    table = pocket_pipeline.text_encoder.get_input_embeddings().weight.detach()
    found = concepts.nearest_words(pocket_pipeline, "woman_001", count=2)
    assert found["piece"].tolist() == pocket_pipeline.tokenizer.tokenize("woman_001")
    for piece, words, similarity in found.itertuples(index=False):
        near = {  # a word is not its own neighbour
            word.removesuffix("</w>"): torch.cosine_similarity(table[vocabulary[piece]], table[i], dim=0).item()
            for word, i in vocabulary.items()
            if re.fullmatch("[a-z]{2,}</w>", word) and word != piece
        }
        assert words.split(", ") == sorted(near, key=near.get, reverse=True)[:2]
        assert abs(similarity - max(near.values())) < 1e-5
