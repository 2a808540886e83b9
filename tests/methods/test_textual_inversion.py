"""Textual inversion: only the new rows learn, every file is every tool's, and off is off."""

import copy
import tempfile

import fake_gpu
import numpy as np
import pytest
import torch
from conftest import tiny_pipeline
from torch import nn
from web_ui import accepts

from helpers import diffusion, training
from helpers.diffusion import checkpoint, device, prompts
from helpers.methods import textual_inversion

WORD, STEPS = "<amir>", 4


def some(count, width=16):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count)) * 0.03


def draw(pipe, prompt, **more):
    sampler = {"guidance_scale": 3.0, "num_inference_steps": 2} | more
    return np.asarray(diffusion.generate(pipe, prompt, [1], **sampler)[0], dtype=int)


def state(pipe):
    """All that a word may have touched: weights by name, sizes, tokens."""
    text = "a photo of <amir>, and amir"
    weights = {name: value.clone() for name, value in pipe.text_encoder.state_dict().items()}
    return weights, pipe.text_encoder.config.to_dict(), pipe.tokenizer.get_vocab(), pipe.tokenizer(text).input_ids


def equal(one, other):
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0].keys() | other[0].keys())
    assert one[1:] == other[1:]


def test_a_word_begins_as_the_words_given_spread_over_its_vectors(tiny):
    table = tiny.text_encoder.get_input_embeddings().weight
    man, both = (tiny.tokenizer(word, add_special_tokens=False).input_ids for word in ("man", "man horse"))
    assert torch.equal(textual_inversion.begin(tiny, "man", 3), table[man * 3])
    assert len(both) == 2 and torch.equal(
        textual_inversion.begin(tiny, "man horse", 4), table[[*both[:1] * 2, *both[1:] * 2]]
    )
    assert not any(p.requires_grad for p in (*tiny.unet.parameters(), *tiny.text_encoder.parameters()))
    for words, count in (("", 1), ("man", 0), ("man", 76)):
        with pytest.raises(ValueError, match="cannot begin"):
            textual_inversion.begin(tiny, words, count)


def test_off_it_is_as_if_it_had_never_been(tiny, tmp_path):
    before, table, random = state(tiny), tiny.text_encoder.get_input_embeddings(), torch.get_rng_state()
    picture = draw(tiny, "a photo of a man")
    with textual_inversion.on(tiny, WORD, some(2)):
        with textual_inversion.on(tiny, "nesrelah", some(3)):
            assert len(prompts.token_groups(tiny.tokenizer, "nesrelah, <Amir>")[0]) == 3
            assert prompts.token_groups(tiny.tokenizer, "nesrelahs") == prompts.token_groups(
                tiny.tokenizer, "nesrelahs"
            )
        assert np.array_equal(draw(tiny, "a photo of a man"), picture), "who does not say it does not meet it"
        assert not np.array_equal(draw(tiny, "a photo of <amir>"), picture)
        with pytest.raises(ValueError, match="already"):
            textual_inversion.attach(tiny, WORD, some(1))
        with pytest.raises(ValueError, match="new words on this model, such as <amir>"):
            checkpoint.export(tmp_path / "model.ckpt", tiny)
    equal(before, state(tiny))
    assert tiny.text_encoder.get_input_embeddings() is table and torch.equal(torch.get_rng_state(), random)


def train(pipe, folder, steps=STEPS, count=2, stop=None, **more):
    """A training of `steps`; stop: after so many. Returns the vectors."""
    vectors, scheduler = textual_inversion.begin(pipe, "man", count), diffusion.training_scheduler(pipe)
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    texts = [[training.fill_template(t, WORD, "") for t in textual_inversion.TEMPLATES]] * 3
    with textual_inversion.on(pipe, WORD, vectors):
        loss = textual_inversion.denoising_loss(pipe, scheduler, latents, texts, "snr")
        batches = training.shuffled(3, 1, 1)
        run = training.train(folder, [vectors], loss, batches, steps=steps, learning_rate=1e-2, **more)
        for step in run:
            if step.number == stop:
                run.close()
    return vectors


def test_only_the_new_rows_learn_and_a_killed_training_goes_on_bit_for_bit(tiny, tmp_path):
    before, unet = state(tiny), tiny.unet.conv_in.weight.clone()
    whole = train(tiny, tmp_path / "whole")
    train(tiny, tmp_path / "halved", stop=2)
    assert torch.equal(whole, train(tiny, tmp_path / "halved"))
    begun = textual_inversion.begin(tiny, "man", 2)
    assert ((whole - begun).abs().amax(1) > 1e-3).all(), "each of its vectors learns"
    equal(before, state(tiny))
    assert torch.equal(tiny.unet.conv_in.weight, unet)


def test_a_preview_shows_the_vectors_as_they_are_now(tiny):
    vectors = textual_inversion.begin(tiny, "man")
    with textual_inversion.on(tiny, WORD, vectors):
        first = draw(tiny, f"a photo of {WORD}")
        assert np.array_equal(first, draw(tiny, "a photo of man"))
        with torch.no_grad():
            vectors.copy_(some(1))
        live = draw(tiny, f"a photo of {WORD}")
    with textual_inversion.on(tiny, WORD, some(1)):
        assert np.array_equal(live, draw(tiny, f"a photo of {WORD}")) and not np.array_equal(live, first)


def on_a_gpu(gpu):
    """A training of two steps in float16, with its preview and held-out loss: what came of it."""
    pipe = tiny_pipeline().to("cuda", torch.float16)
    vectors, scheduler = textual_inversion.begin(pipe, "man", 2), diffusion.training_scheduler(pipe)
    latents = torch.randn(3, 4, 8, 8, device="cuda")
    with textual_inversion.on(pipe, WORD, vectors), tempfile.TemporaryDirectory() as folder:
        loss = textual_inversion.denoising_loss(pipe, scheduler, latents, [[f"a photo of {WORD}"]] * 3)
        preview = lambda: diffusion.generate(pipe, WORD, [1], guidance_scale=2.0, num_inference_steps=1)[0]
        more = {"held_out_loss": lambda: loss([0]).item(), "preview": preview, "watch_every": 1}
        steps = [*training.train(folder, [vectors], loss, lambda number: [0, 1], steps=2, learning_rate=1e-3, **more)]
    table = pipe.text_encoder.get_input_embeddings().weight
    return [str(vectors.dtype), str(vectors.device), str(table.dtype), len(steps), all(step.preview for step in steps)]


@pytest.mark.slow
@fake_gpu.possible
def test_on_a_t4_the_vectors_keep_32_bits_beside_a_model_of_16():
    assert fake_gpu.run(on_a_gpu) == ["torch.float32", "cuda:0", "torch.float16", 3, True]


def test_in_float16_with_a_scaled_loss_it_learns_what_it_learns_in_float32(tiny, tmp_path, monkeypatch):
    full = train(tiny, tmp_path / "full", steps=8)
    half = lambda place, copies=True, precision=None: torch.autocast("cpu", torch.float16, cache_enabled=copies)
    monkeypatch.setattr(device, "autocast", half)
    monkeypatch.setattr(device, "computes_in", lambda place: torch.float16)
    half = train(tiny, tmp_path / "half", steps=8)
    moved = (full - textual_inversion.begin(tiny, "man", 2)).abs().mean()
    assert 0 < (half - full).abs().mean() < 0.3 * moved


def diffusers(pipe, path, **token):
    """A pipeline with a word put on by diffusers' own loader."""
    parts = pipe.components | {"text_encoder": copy.deepcopy(pipe.text_encoder)}
    fresh = type(pipe)(**parts | {"tokenizer": copy.deepcopy(pipe.tokenizer)}, requires_safety_checker=False)
    fresh.set_progress_bar_config(disable=True)
    fresh.load_textual_inversion(str(path), **token)
    return fresh


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("name", ["learned_embeds.safetensors", "amir.pt", "amir.safetensors"])
def test_each_file_makes_the_same_picture_here_and_in_diffusers(tiny, tmp_path, name, count):
    path, vectors = tmp_path / name, some(count)
    write = textual_inversion.save if name.startswith("learned") else textual_inversion.export
    write(path, WORD, vectors)
    word, read = textual_inversion.read(path, tiny)
    assert torch.equal(read, vectors) and word == ("amir" if name == "amir.safetensors" else WORD)
    theirs = diffusers(tiny, path, **({"token": "amir"} if word == "amir" else {}))
    settings = {"guidance_scale": 3.0, "num_inference_steps": 2}
    with textual_inversion.on(tiny, word, read):
        ours = draw(tiny, f"a photo of {word} on a horse")
    generator = torch.Generator().manual_seed(1)
    other = theirs(f"a photo of {word} on a horse", generator=generator, **settings).images[0]
    assert np.array_equal(ours, np.asarray(other, dtype=int))
    assert np.array_equal(ours, draw(theirs, f"a photo of {word} on a horse")), "diffusers' word speaks here, too"
    if name.endswith(".pt"):
        accepts(path)


def old_web_ui(vectors):
    return {
        "string_to_token": {"*": 265},
        "string_to_param": nn.ParameterDict({"*": nn.Parameter(vectors)}),
        "name": "old",
    }


FILES = {  # how other tools wrote theirs: (file's name, what is in it, the word)
    "web UI of 2022": ("x.pt", old_web_ui, "old"),
    "web UI": (
        "x.pt",
        lambda v: {"string_to_param": {"*": nn.Parameter(v)}, "name": "y", "step": 9, "hash": None},
        "y",
    ),
    "half": ("x.pt", lambda v: {"string_to_param": {"*": v.half()}, "step": 9}, "x"),
    "diffusers": ("learned_embeds.bin", lambda v: {"<cat>": v[0]}, "<cat>"),
    "kohya": ("cat.pt", lambda v: {"emb_params": v}, "cat"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_other_tools_are_read(tiny, tmp_path, kind):
    name, data, word = FILES[kind]
    torch.save(data(vectors := some(1)), tmp_path / name)
    found, read = textual_inversion.read(tmp_path / name, tiny)
    assert found == word and read.dtype == torch.float32 and torch.allclose(read, vectors, atol=1e-4)


REFUSED = {
    "Stable Diffusion XL": {"clip_g": torch.ones(1, 1280), "clip_l": torch.ones(1, 768)},
    "768 wide": {"emb_params": torch.ones(1, 768)},
    "holds 2 tensors": {"a": torch.ones(1, 16), "b": torch.ones(1, 16)},
    "holds 0 tensors": {},
    "plain numbers": {"a": torch.full((1, 16), torch.nan)},
    "1 to 75 vectors": {"a": torch.ones(76, 16)},
}


@pytest.mark.parametrize("reason", REFUSED)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_embedding_for_this_model_is_refused(tiny, tmp_path, reason, suffix):
    path = tmp_path / f"other{suffix}"
    write = checkpoint.save_pt if suffix == ".pt" else checkpoint.save_safetensors
    write(path, REFUSED[reason])
    with pytest.raises(ValueError, match=reason) as caught:
        textual_inversion.read(path, tiny)
    assert str(path) in str(caught.value)


def substituted(pipe, text, name, vectors):
    """prompt_embeds as the web UI makes them, written from its rules: no token is added.

    The tokens of the name make room for the vectors, which take their places after the lookup. A word that does not fit
    into a chunk of 75 begins the next one.
    """
    ids = lambda text: pipe.tokenizer(text, add_special_tokens=False).input_ids
    called, chunks = ids(name), [[]]
    for piece, weight in prompts.parse_attention(text):
        if (piece, weight) == prompts.BREAK:
            chunks.append([])
            continue
        rest = ids(piece)
        while rest:
            found = rest[: len(called)] == called
            block = [(row, weight) for row in vectors] if found else [(rest[0], weight)]
            rest = rest[len(called) if found else 1 :]
            full = len(chunks[-1]) == 75
            commas = [
                i for i, (token, _) in enumerate(chunks[-1]) if not torch.is_tensor(token) and [token] == ids(",")
            ]
            if full and commas and 75 - commas[-1] <= 20 and (found or block[0][0] != ids(",")[0]):
                tail = chunks[-1][commas[-1] + 1 :]
                del chunks[-1][commas[-1] + 1 :]
                chunks.append(tail)
            if len(chunks[-1]) + len(block) > 75:
                chunks.append([])
            chunks[-1] += block
    start, end = pipe.tokenizer.bos_token_id, pipe.tokenizer.eos_token_id
    return torch.cat([chunk_embeds(pipe, [(start, 1.0), *c, *[(end, 1.0)] * (76 - len(c))]) for c in chunks], dim=1)


def chunk_embeds(pipe, chunk):
    """(1, 77, width) of 77 (token or vector, weight); the mean is restored."""
    table = pipe.text_encoder.get_input_embeddings()
    rows = torch.stack([token if torch.is_tensor(token) else table.weight[token] for token, _ in chunk])
    handle = table.register_forward_hook(lambda *_: rows[None])
    with torch.no_grad():
        embeds = pipe.text_encoder(torch.tensor([[0 if torch.is_tensor(token) else token for token, _ in chunk]]))[0]
    handle.remove()
    weighted = embeds * torch.tensor([weight for _, weight in chunk])[None, :, None]
    return weighted * (embeds.mean() / weighted.mean())


def men(count):
    return " ".join(["man"] * count)


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("a photo of {}", 1),
        ("a photo of ({}:1.3) on a [horse], (({}))", 1),
        (f"{men(71)} {{}}", 1),  # its four vectors just fit
        (f"{men(72)} {{}}", 2),  # they do not, and none stays behind
        (f"{men(60)}, {men(13)} {{}} {men(3)}", 2),  # not full: the near comma does not matter
        (f"{men(60)}, {men(14)} {{}} {men(3)}", 2),  # full: what follows the comma goes along
        (f"{{}} BREAK {men(75)}, {{}}", 3),
        ("Portrait of {}, trending" + ", {}" * 30, 3),
    ],
)
def test_prompts_meet_a_word_as_the_web_ui_puts_it_into_its_chunks(tiny, text, chunks):
    """Against the substitution of sd_hijack.py and sd_hijack_clip.py in the web UI."""
    vectors, network = some(4), getattr(tiny.text_encoder, "text_model", tiny.text_encoder)
    nn.init.constant_(network.final_layer_norm.bias, 0.2)  # a mean that can be restored
    for name in ("amir", "Amir"):
        expected = substituted(tiny, text.replace("{}", name), "amir", vectors)
        with textual_inversion.on(tiny, "amir", vectors):
            (found,) = prompts.encode_weighted(tiny, [text.replace("{}", name)])
        assert found.shape == expected.shape == (1, 77 * chunks, 16)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
