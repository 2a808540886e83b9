"""The web UI's prompts: weights, editing, AND, BREAK and network tags, and what the text encoder makes of them."""

import itertools
import re
from typing import NamedTuple

import torch

STRONGER = 1.1  # ( ) multiplies by this, [ ] divides
BREAK = ("BREAK", -1.0)  # among the pieces of a prompt: what follows starts a new chunk of tokens
_PIECE = re.compile(
    r"""\\ (?P<literal>[()\[\]\\]?)                                      # a lone backslash is dropped
    | (?P<open>[(\[])
    | : \s* (?P<weight>[+-]? (?: \d+ (?: \.\d* )? | \.\d+ ) ) \s* \)
    | (?P<close>[)\]])
    | [^\\()\[\]:]+ | :""",
    re.VERBOSE,
)
_BREAK = re.compile(r"\bBREAK\b")
_AND = re.compile(r"\bAND\b")
_PART = re.compile(r"(.*?)(?:\s*:\s*([+-]?(?:\d+\.?|\d*\.\d+)))?\s*", re.DOTALL)
_NETWORK = re.compile(r"<(\w+):([^<>]+)>")
_WHEN = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
LONGEST, DEEPEST = 10_000, 100  # characters of a prompt, and brackets within brackets: who writes more means harm
LEAST_MEAN = 1e-5  # of the outputs' usual size: a smaller mean is rounding (SD 1's and pocket's lie far above)
COMMA_REACH = 20  # tokens: a chunk that overflows is cut at its last comma, if that is at most this far back


_COMMENT = re.compile(r"\n?#[^\n]*\n?")


class Network(NamedTuple):
    """A network a prompt asks for: <hypernet:amir:0.8> is Network("hypernet", "amir", 0.8)."""

    kind: str
    name: str
    strength: float


def without_comments(text):
    """The text without what stands between a # and the end of its line, as in the web UI since 1.8."""
    return _COMMENT.sub("\n", text)


def take_networks(text):
    """(the text without its <kind:name:strength> tags, [Network]). Without a strength it is 1.

    Raises ValueError if a strength is no number.
    """
    networks = []
    for kind, inside in _NETWORK.findall(text):
        name, strength = (inside.split(":") + ["1"])[:2]
        try:
            networks.append(Network(kind, name, float(strength)))
        except ValueError:
            raise ValueError(f"<{kind}:{inside}>: {strength!r} is no number. Write <{kind}:{name}:0.8>.") from None
    return _NETWORK.sub("", text), networks


def split_and(text):
    """[(text, weight)] of the prompts joined by AND: "a cat :1.2 AND a dog" is a cat at 1.2 and a dog at 1.

    A prompt without AND is one part. As in the web UI, a number after the last colon is always a weight.
    """
    parts = [_PART.fullmatch(part.strip()) for part in _AND.split(text)]
    return [(part[1], float(part[2] or 1)) for part in parts]


def prompt_at(text, step, steps):
    """The prompt that holds at `step`, 1 to `steps`, with [a:b:when] and [a|b] resolved; other brackets stay.

    [a:b:0.5] is a for the first half of the steps, then b; [a:b:12] is a up to step 12. [to:when] adds,
    [from::when] takes away. [a|b] is a at odd steps and b at even ones; there may be more. They nest. Numbers are
    as in the web UI before 1.6, the paper's (later [a:b:1.0] is a). At a | outside brackets or a : among
    alternatives the web UI resolves nothing in the prompt; here the rest still is.
    """
    return _resolve(text, 0, len(text), _pairs(text), step, steps)


def _pairs(text):
    """{place of an opening bracket: place of its closing one}, for brackets that are properly nested."""
    opened, pairs = [], {}
    for found in re.finditer(r"\\.|[()\[\]]", text, re.DOTALL):
        mark, place = found[0], found.start()
        if mark in ("(", "["):
            opened.append(place)
            if len(opened) > DEEPEST:
                raise ValueError(f"The prompt has more than {DEEPEST} brackets within one another: take some away.")
        elif mark in (")", "]"):
            if opened and text[opened[-1]] + mark in ("()", "[]"):
                pairs[opened.pop()] = place
            else:
                opened.clear()  # nothing nests across a stray bracket
    return pairs


def _resolve(text, start, end, pairs, step, steps):
    out, place = [], start
    while place < end:
        if text[place] == "[" and place in pairs:
            out.append(_bracket(text, place, pairs, step, steps))
            place = pairs[place] + 1
        else:
            length = 2 if text[place] == "\\" else 1
            out.append(text[place : min(place + length, end)])
            place += length
    return "".join(out)


def _bracket(text, start, pairs, step, steps):
    """What [ ... ] at `start` stands for: one side of an edit, one alternative, or itself."""
    inside = (start + 1, pairs[start])
    parts = _split(text, *inside, pairs, ":")
    when = text[slice(*parts[-1])]
    if len(parts) in (2, 3) and _WHEN.fullmatch(when):
        when = float(when)
        last = int(when * steps if when < 1 else when)
        before, after = parts[:2] if len(parts) == 3 else ((start, start), parts[0])
        return _resolve(text, *(before if step <= last else after), pairs, step, steps)
    choices = _split(text, *inside, pairs, "|")
    if len(choices) > 1:
        return _resolve(text, *choices[(step - 1) % len(choices)], pairs, step, steps)
    return f"[{_resolve(text, *inside, pairs, step, steps)}]"


def _split(text, start, end, pairs, mark):
    """[(start, end)] of the parts between `mark`s that stand in no bracket of their own."""
    parts, place = [start], start
    while place < end:
        if text[place] == mark:
            parts += [place, place + 1]
        place = pairs.get(place, place + (text[place] == "\\")) + 1
    parts.append(end)
    return list(zip(parts[::2], parts[1::2], strict=True))


def parse_attention(text):
    """[(text, weight)] of a prompt: "a (red:1.5) hat" is "a " at 1, "red" at 1.5, " hat" at 1.

    (x) weighs 1.1, (x:1.3) 1.3, [x] 1 / 1.1; nested brackets multiply; a backslash makes a bracket plain text.
    A bracket never closed runs to the end; one never opened is text. Neighbours of one weight are joined.
    BREAK stands as the piece `BREAK`, at weight -1, which brackets multiply, too, as in the web UI: in
    "(a BREAK b:1.2)" it is plain text. An empty prompt is [("", 1.0)]. Raises ValueError for more than LONGEST.
    """
    if len(text) > LONGEST:
        raise ValueError(f"The prompt has {len(text)} characters, more than {LONGEST}: shorten it.")
    pieces, opened = [], {"(": [], "[": []}  # pieces: [text, weight]; opened: where in pieces a bracket begins
    for found in _PIECE.finditer(text):
        if found["open"]:
            opened[found["open"]].append(len(pieces))
        elif found["weight"] and opened["("]:
            _weigh(pieces, opened["("].pop(), float(found["weight"]))
        elif found["close"] == ")" and opened["("]:
            _weigh(pieces, opened["("].pop(), STRONGER)
        elif found["close"] == "]" and opened["["]:
            _weigh(pieces, opened["["].pop(), 1 / STRONGER)
        elif found["literal"] is not None:
            pieces.append([found["literal"], 1.0])
        else:
            first, *later = _BREAK.split(found[0])
            for part in later:  # the spaces around a BREAK go with it
                pieces += [[first.rstrip(), 1.0], list(BREAK)]
                first = part.lstrip()
            pieces.append([first, 1.0])
    for start in opened["("]:
        _weigh(pieces, start, STRONGER)
    for start in opened["["]:
        _weigh(pieces, start, 1 / STRONGER)
    runs = itertools.groupby(pieces, key=lambda piece: piece[1])
    # what is empty stays, as in the web UI: it keeps its neighbours apart
    return [("".join(text for text, _ in run), weight) for weight, run in runs] or [("", 1.0)]


def _weigh(pieces, start, factor):
    for piece in pieces[start:]:
        piece[1] *= factor


def token_groups(tokenizer, text):
    """The tokens of a text in order, as lists: of one token each, or of all vectors of a word that was added.

    Such a word, of textual inversion, is diffusers' <name>, <name>_1, <name>_2 ..., and is written <name>.
    """
    added, groups = tokenizer.added_tokens_encoder, {}
    for word, number in added.items():
        others = itertools.takewhile(added.__contains__, (f"{word}_{i}" for i in itertools.count(1)))
        groups[number] = [number, *(added[other] for other in others)]
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return [groups.get(token, [token]) for token in ids]


def tokenize(tokenizer, text):
    """(tokens, weights), each (chunks, 77): a prompt of any length in chunks of 75, each with its start and end.

    A full chunk is cut after its last comma if one is near; BREAK cuts anywhere; the vectors of one word stay together.
    Padding weighs 1. (Of a word that stands between such a comma and the cut the web UI 1.10 loses the vectors.)
    """
    (comma,), size, chunks = token_groups(tokenizer, ","), tokenizer.model_max_length - 2, [[]]
    for piece, weight in parse_attention(text):
        if (piece, weight) == BREAK:
            chunks.append([])
            continue
        for group in token_groups(tokenizer, piece):
            if len(chunks[-1]) == size:
                chunks.append([] if group == comma else _after_last_comma(chunks[-1], *comma))
            if len(chunks[-1]) + len(group) > size:
                chunks.append([])
            chunks[-1] += [(token, weight) for token in group]
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()  # a BREAK at the very end
    tokens, weights = zip(*(zip(*_framed(tokenizer, chunk)) for chunk in chunks))
    return torch.tensor(tokens), torch.tensor(weights)


def tokenize_plain(tokenizer, texts):
    """Tokens (n, 77) of prompts in which brackets are only text, as diffusers has them; what is past 77 is cut off."""
    flat = lambda text: [(token, 1.0) for group in token_groups(tokenizer, text) for token in group]
    framed = [_framed(tokenizer, flat(text)[: tokenizer.model_max_length - 2]) for text in texts]
    return torch.tensor([[token for token, _ in row] for row in framed])


def _framed(tokenizer, chunk):
    """A chunk of (token, weight) between start and end and padded to 77, all of which weigh 1."""
    special = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    start, end, padding = ([(token, 1.0)] for token in special)
    return start + chunk + end + padding * (tokenizer.model_max_length - 2 - len(chunk))


def _after_last_comma(chunk, comma):
    """Takes what follows the last near comma out of a full chunk, for the next one."""
    near = [place for place, (token, _) in enumerate(chunk) if token == comma and len(chunk) - place <= COMMA_REACH]
    tail = chunk[near[-1] + 1 :] if near else []
    del chunk[len(chunk) - len(tail) :]
    return tail


@torch.no_grad()
def encode_weighted(pipe, texts, restore_mean=True):
    """For each prompt its prompt_embeds (1, 77 * chunks, width) with the web UI's weights, all by one call.

    Each token's vector is multiplied by the token's weight; then each chunk is rescaled so that its mean is what it
    was (restore_mean), unless that is zero, by which the web UI would divide. Editing and AND must be resolved
    before. Source: the web UI's emphasis mode "Original"; without restore_mean "No norm".
    """
    tokens, weights = zip(*(tokenize(pipe.tokenizer, text) for text in texts))
    embeds = pipe.text_encoder(torch.cat(tokens).to(pipe.text_encoder.device))[0]
    weighted = embeds * torch.cat(weights).to(embeds).unsqueeze(-1)
    if restore_mean:
        mean = lambda values: values.float().mean(dim=(1, 2), keepdim=True)
        tells = mean(weighted).abs() > LEAST_MEAN * mean(embeds.abs())
        weighted = weighted * torch.where(tells, mean(embeds) / mean(weighted), 1.0).to(weighted)
    return [chunks.flatten(0, 1).unsqueeze(0) for chunks in weighted.split([len(chunks) for chunks in tokens])]
