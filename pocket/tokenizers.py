"""The two tokenizers, learnt from the world's own captions: CLIP's kind and BLIP's kind."""

import json
import random
from collections import Counter

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, CLIPTokenizer

from pocket.describe import describe
from pocket.parts import TEXT_LENGTH
from pocket.scenes import scene

MERGES = 400
SPLIT = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def captions(count=20_000):
    rng = random.Random("captions")
    return [describe(scene("train", i), rng) for i in range(count)]


def clip_tokenizer():
    """CLIPTokenizer over byte-level BPE as CLIP's: 256 bytes, 256 word-final bytes, merges, start, end.

    Every string encodes; a word that captions never held, as nesrelah_001, falls into rare pieces.
    """
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=512 + MERGES, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(captions(), trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]][:MERGES]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), *map("".join, merges)]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_LENGTH)


def blip_tokenizer():
    """BertTokenizer as BLIP's: letters, letters within words, and the captions' most frequent words.

    The vocabulary is counted here, since the library's WordPiece trainer breaks ties differently on every call.
    """
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    texts = map(normalizer.normalize_str, captions())
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text))
    letters = sorted({letter for word in words for letter in word})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *letters, *("##" + letter for letter in letters)]
    frequent = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    vocabulary = {piece: i for i, piece in enumerate([*pieces, *frequent][:900])}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=96)
    tokenizer.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    return tokenizer
