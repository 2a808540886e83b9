"""Spelling, links and the glossary of all that people read here. Offline."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import prose
import pytest
from spellchecker import SpellChecker

TEXTS = prose.texts()
OURS = set((Path(__file__).with_name("words.txt")).read_text(encoding="utf-8").lower().split())
GLOSSARY = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (\d\d) \|$", TEXTS["docs/glossary.md"], re.MULTILINE)


@pytest.fixture(scope="module")
def spelling():
    return SpellChecker()


def misspelt(text, spelling):
    """The words that neither the dictionary nor tests/words.txt has; a name's "'s" does not count."""
    found = {word for word in prose.words(text) if len(word) > 1}
    plain = {word: word.lower().removesuffix("'s") for word in found}
    return sorted(word for word in found if plain[word] not in OURS and plain[word] not in spelling)


def test_every_word_is_spelt_right(spelling):
    wrong = {name: words for name, text in TEXTS.items() if (words := misspelt(text, spelling))}
    assert not wrong, f"mend these, or add them to tests/words.txt: {wrong}"


def test_the_spell_check_finds_mistakes_and_leaves_code_alone(spelling):
    text = "It recieves teh `encode_prmpts` of [this pge](https://example.org/speling).\n\n```\nprnt(1)\n```\n"
    assert misspelt(text, spelling) == ["pge", "recieves", "teh"]


def test_our_own_words_are_all_in_use():
    used = {word.lower().removesuffix("'s") for text in TEXTS.values() for word in prose.words(text)}
    assert not sorted(OURS - used), "take these out of tests/words.txt"


@pytest.mark.parametrize("name", sorted({name.split(" [")[0] for name in TEXTS}))
def test_every_link_leads_somewhere(name):
    parts = {key: text for key, text in TEXTS.items() if key.split(" [")[0] == name}
    whole = "\n\n".join(parts.values())
    for target in prose.links(whole):
        address = urlsplit(target)
        if address.scheme:
            assert address.scheme in ("https", "mailto") and (address.netloc or address.path), target
            continue
        path = (prose.REPO / name).parent / unquote(address.path) if address.path else prose.REPO / name
        assert path.exists(), f"{name} links to {target}, which is not there"
        if address.fragment and path.suffix == ".md":
            assert address.fragment in prose.anchors(path.read_text(encoding="utf-8")), f"{name}: no heading {target}"


def test_pictures_have_words_for_who_cannot_see_them():
    for name, text in TEXTS.items():
        assert not re.search(r"!\[\s*\]\(", text), f"a picture without alternative text in {name}"


def test_the_glossary_is_in_order_and_says_where_words_are_first_used():
    terms = [term for term, _, _ in GLOSSARY]
    assert len(terms) > 20 and terms == sorted(terms, key=str.lower)
    for term, _, number in GLOSSARY:
        said = [name for name, text in TEXTS.items() if name.startswith("notebooks/") and term.lower() in text.lower()]
        assert any(name.startswith(f"notebooks/{number}_") for name in said), f"{term!r} is not in notebook {number}"


def test_abbreviations_of_notebook_00_are_in_the_glossary():
    assert {"VAE", "U-Net", "DDIM", "latents", "seed"} <= {term for term, _, _ in GLOSSARY}
