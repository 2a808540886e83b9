"""Textual inversion (Gal et al. 2022, arXiv 2208.01618): a new word of one to four vectors learns, and nothing else.

The word is in tokenizer and text encoder as diffusers has it: <amir>, and <amir>_1 and so on for further vectors; prompts
say <amir>. Read are the files of diffusers, of the web UI and of kohya; all of a file is some thousand numbers.
"""

import contextlib
import copy
import functools
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AddedToken

from helpers import diffusion, training
from helpers.diffusion import checkpoint
from helpers.machine import subjects

MOST = 75  # vectors: a prompt has no more places before it is cut
# Of the authors' own code, ldm/data/personalized.py of github.com/rinongal/textual_inversion, without those that call
# what is shown dirty or weird, as it may be a person. In the web UI's way: [name] is the new word.
TEMPLATES = tuple(
    f"{words} [name]"
    for words in (
        "a photo of a", "a rendering of a", "a cropped photo of the", "the photo of a", "a photo of a clean",
        "a dark photo of the", "a photo of my", "a photo of the cool", "a close-up photo of a", "a bright photo of the",
        "a cropped photo of a", "a photo of the", "a good photo of the", "a photo of one", "a close-up photo of the",
        "a rendition of the", "a photo of the clean", "a rendition of a", "a photo of a nice", "a good photo of a",
        "a photo of the nice", "a photo of the small", "a photo of the large", "a photo of a cool", "a photo of a small",
    )
)  # fmt: skip


def word_for(subject):
    """The new word of a subject: <amir>, from the letters of the name without their accents."""
    return f"<{subjects.identifier(subject).removesuffix('_001')}>"


def renamed(caption, class_word, word):
    """A caption with the new word for its subject: "a photo of <amir> in space" for "a photo of a man in space".

    One that does not say the class word is led by the new one: "<amir>, a portrait".
    """
    text, count = re.subn(
        rf"\b(an? )?{re.escape(class_word)}\b", lambda found: word, caption, count=1, flags=re.IGNORECASE
    )
    return text if count else f"{word}, {caption}"


def begin(pipe, words, count=1):
    """The `count` vectors (count, width) of a new word, a float32 parameter; all else of the pipeline is frozen.

    They are those of `words`, spread evenly as the web UI does it: the class word, in a vector or in all of them.
    Raises ValueError for no words, or for no vector or more than a prompt has places.
    """
    tokens = pipe.tokenizer(words, add_special_tokens=False).input_ids
    if not tokens or not 1 <= count <= MOST:
        raise ValueError(f"{count} vectors cannot begin as {words!r}: give 1 to {MOST}, and a word to begin with.")
    pipe.unet.requires_grad_(False)
    rows = pipe.text_encoder.requires_grad_(False).get_input_embeddings().weight
    chosen = [tokens[i * len(tokens) // count] for i in range(count)]
    return nn.Parameter(rows[chosen].detach().float().clone())


def attach(pipe, word, vectors):
    """Puts a word on a pipeline; returns the function that takes it off: then pipeline and model are as they were.

    vectors: (n, width); a parameter that learns is read anew for each prompt. The last word put on is the first to go.
    Raises ValueError if the tokenizer has that word already.
    """
    before, encoder, count = pipe.tokenizer, pipe.text_encoder, len(vectors)
    table, size, first = encoder.get_input_embeddings(), encoder.config.vocab_size, len(before)
    tokenizer, names = copy.deepcopy(before), [word, *(f"{word}_{i}" for i in range(1, count))]
    # a name without brackets is a word by itself, as in the web UI: amir is not in amirs
    tokenizer.add_tokens([AddedToken(name, single_word=not name.startswith("<"), normalized=True) for name in names])
    if tokenizer.convert_tokens_to_ids(names) != [*range(first, first + count)]:
        raise ValueError(f"{word} is a word of this tokenizer already: take it off, or choose another one.")
    old = table.weight.detach()
    new = torch.cat([old[:first], vectors.detach().to(old), old[first + count :]])
    rows = nn.Embedding.from_pretrained(new, freeze=not table.weight.requires_grad)
    if vectors.requires_grad:
        vectors.beside = pipe.unet.dtype  # what training.steps then multiplies in
        rows.register_forward_hook(live(lambda places: F.embedding(places, vectors), first, count))
    encoder.set_input_embeddings(rows)
    encoder.config.vocab_size, pipe.tokenizer = len(new), tokenizer

    def take_off():
        encoder.set_input_embeddings(table)
        encoder.config.vocab_size, pipe.tokenizer = size, before

    return take_off


def live(rows, first, count):
    """A hook of a token embedding: the tokens first, first + 1, ... are what `rows` has at 0, 1, ... just now."""

    def hook(table, inputs, output):
        places = inputs[0] - first
        new = (places >= 0) & (places < count)
        return torch.where(new.unsqueeze(-1), rows(places.clamp(0, count - 1)).to(output.dtype), output)

    return hook


@contextlib.contextmanager
def on(pipe, word, vectors):
    """The pipeline with a word on, as from `read`; bit for bit without it afterwards. Raises ValueError as attach."""
    take_off = attach(pipe, word, vectors)
    try:
        yield pipe
    finally:
        take_off()


def denoising_loss(pipe, scheduler, latents, prompts, weights="equal"):
    """A function of photo indices to their loss, through the text encoder to the vectors: see `begin` and `attach`.

    latents: (photos, 4, h, w). prompts: for each photo a list, of which one is drawn. weights: as for `loss_scale`.
    """

    def draw(indices):
        turns = torch.rand(len(indices)).tolist()
        chosen = [prompts[i][int(turn * len(prompts[i]))] for i, turn in zip(indices, turns)]
        return latents[indices], diffusion.encode_prompts.__wrapped__(pipe, chosen)  # the same, with gradients

    return training.denoising_loss(pipe.unet, scheduler, draw, weights=weights)


def save(path, word, vectors):
    """Writes a .safetensors for diffusers, pipe.load_textual_inversion(path), which the web UI reads, too."""
    checkpoint.save_safetensors(path, {word: _plain(vectors)})


def export(path, word, vectors, *, step=0, sd_checkpoint_name=None):
    """Writes a .pt of the web UI, or a .safetensors as kohya's trainer does; it goes to the folder `embeddings` there.

    There the file's name is the word: amir.pt is called by amir. diffusers takes the word from a .pt, and must be told
    it for the other: pipe.load_textual_inversion(path, token="<amir>"). step, sd_checkpoint_name: for people.
    """
    if Path(path).suffix == ".safetensors":
        return checkpoint.save_safetensors(path, {"emb_params": _plain(vectors)})
    about = {"name": word, "step": step, "sd_checkpoint": None, "sd_checkpoint_name": sd_checkpoint_name}
    checkpoint.save_pt(path, {"string_to_token": {"*": 265}, "string_to_param": {"*": _plain(vectors)}} | about)


def _plain(vectors):
    return vectors.detach().float().cpu().clone()


def read(path, pipe):
    """(word, vectors (n, width) in float32) of a .safetensors, .pt or .bin, whichever tool it is of; nothing in it runs.

    The word is that in the file; where there is none it is the file's name, as in the web UI.
    Raises ValueError if it is unreadable, no embedding, more than one, or one for another text encoder such as XL's.
    """
    path = Path(path)
    read_file = checkpoint.load_safetensors if path.suffix == ".safetensors" else _load_pt
    word, vectors = _only(read_file(path), path)
    width = pipe.text_encoder.get_input_embeddings().weight.shape[1]
    vectors = vectors.unsqueeze(0) if vectors.ndim == 1 else vectors
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise ValueError(
            f"{path} is an embedding for another model: its vectors are {list(vectors.shape)}, and this text encoder's "
            f"are {width} wide; in SD 1.x they are 768 wide, in SD 2.x 1024. Choose one for this model."
        )
    if not 1 <= len(vectors) <= MOST or not vectors.is_floating_point() or not vectors.isfinite().all():
        raise ValueError(f"{path} has no 1 to {MOST} vectors of plain numbers: take it again from its source.")
    return word, vectors.float()


_load_pt = functools.partial(checkpoint.load_pt, extras=True)  # the web UI of 2022 kept a ParameterDict


def _only(data, path):
    """(word, tensor) of the one embedding in what a file holds. Raises ValueError if there is another number."""
    data = data if isinstance(data, dict) else {}
    if {"clip_g", "clip_l"} & data.keys():
        raise ValueError(f"{path} is an embedding for Stable Diffusion XL (clip_g, clip_l): choose one for SD 1.x.")
    terms = data.get("string_to_param", data)
    terms = getattr(terms, "_parameters", terms)
    terms = terms if isinstance(terms, dict) else {}
    tensors = {name: value for name, value in terms.items() if checkpoint.is_whole(value)}
    if len(tensors) != 1:
        raise ValueError(f"{path} holds {len(tensors)} tensors, not the one of an embedding: choose another file.")
    ((name, tensor),) = tensors.items()
    name = data.get("name") if "string_to_param" in data else name
    return (name if isinstance(name, str) and name not in ("", "emb_params") else path.stem), tensor
