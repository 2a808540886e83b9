from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from helpers import diffusion, models, prompt_embeds


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(models.POCKET / "tokenizer")


def words(tokenizer, row):
    """The tokens of a chunk without its frame and padding."""
    return [t for t in row[1:76].tolist() if t not in (tokenizer.eos_token_id, tokenizer.pad_token_id)]


def test_a_short_prompt_is_tokenized_as_ever(tokenizer):
    text = "a photo of a man, oil painting"
    tokens, weights = prompt_embeds.tokenize(tokenizer, text)
    assert tokens.tolist() == [tokenizer(text, padding="max_length", max_length=77).input_ids]
    assert weights.tolist() == [[1.0] * 77]


def test_each_token_has_the_weight_of_its_brackets(tokenizer):
    _, weights = prompt_embeds.tokenize(tokenizer, "a (red:1.5) [hat]")
    counts = [len(tokenizer(word, add_special_tokens=False).input_ids) for word in ("a", "red", "hat")]
    expected = [weight for weight, count in zip((1, 1.5, 1 / 1.1), counts, strict=True) for _ in range(count)]
    assert weights[0, 1 : 1 + sum(counts)].tolist() == pytest.approx(expected)
    assert weights[0, 0] == 1 and (weights[0, 1 + sum(counts) :] == 1).all()


def test_long_prompts_go_on_in_further_chunks(tokenizer):
    (man,) = tokenizer("man", add_special_tokens=False).input_ids
    for count, chunks in ((75, [75]), (76, [75, 1]), (200, [75, 75, 50]), (0, [0])):
        tokens, _ = prompt_embeds.tokenize(tokenizer, " ".join(["man"] * count))
        assert tokens.shape == (len(chunks), 77)
        assert [words(tokenizer, row) for row in tokens] == [[man] * size for size in chunks]
        assert (tokens[:, 0] == tokenizer.bos_token_id).all() and (tokens[:, -1] == tokenizer.pad_token_id).all()


def test_a_full_chunk_is_cut_at_a_near_comma(tokenizer):
    lengths = lambda text: [len(words(tokenizer, row)) for row in prompt_embeds.tokenize(tokenizer, text)[0]]
    man = lambda count: " ".join(["man"] * count)
    assert lengths(f"{man(60)}, {man(20)}") == [61, 20], "15 tokens stand after the comma: they move on"
    assert lengths(f"{man(55)}, {man(25)}") == [56, 25]
    assert lengths(f"{man(54)}, {man(26)}") == [75, 6], "a comma 21 tokens back is too far"
    assert lengths(f"{man(75)}, {man(3)}") == [75, 4]
    assert lengths(f"{man(3)} BREAK {man(4)}") == [3, 4]
    assert lengths(f"{man(75)} BREAK {man(4)} BREAK") == [75, 4]
    assert lengths(f"BREAK {man(2)}") == [0, 2]
    assert lengths(f"{man(3)} BREAK BREAK {man(4)}") == [3, 0, 4]


def test_a_break_in_weighted_brackets_is_plain_text(tokenizer):
    """As in the web UI: its sd_hijack_clip.py breaks only where the piece BREAK weighs exactly -1."""
    ids = lambda text: tokenizer(text, add_special_tokens=False).input_ids
    tokens, weights = prompt_embeds.tokenize(tokenizer, "(man BREAK man:1.5)")
    assert tokens.shape == (1, 77) and words(tokenizer, tokens[0]) == [*ids("man"), *ids("BREAK"), *ids("man")]
    count = len(ids("BREAK"))
    assert weights[0, 1 : 3 + count].tolist() == [1.5] + [-1.5] * count + [1.5]
    assert len(prompt_embeds.tokenize(tokenizer, "(man) BREAK (man)")[0]) == 2


def small_pipe(tokenizer, mean):
    """A tokenizer and a small random text encoder whose outputs have this mean."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), **sizes)).eval()
    text_model = getattr(encoder, "text_model", encoder)  # transformers 5.6 took this level away
    torch.nn.init.constant_(text_model.final_layer_norm.bias, mean)
    return SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder)


def test_weights_multiply_the_encoder_s_output_and_the_mean_is_restored(tokenizer):
    pipe, text = small_pipe(tokenizer, mean=-0.2), "a photo of a man (on a horse:1.4)"
    plain = diffusion.encode_prompts(pipe, ["a photo of a man on a horse"])
    assert torch.equal(prompt_embeds.encode_weighted(pipe, "a photo of a man on a horse"), plain)
    _, weights = prompt_embeds.tokenize(tokenizer, text)
    assert len(weights.unique()) == 2
    bare = prompt_embeds.encode_weighted(pipe, text, restore_mean=False)
    torch.testing.assert_close(bare, plain * weights[..., None])
    restored = prompt_embeds.encode_weighted(pipe, text)
    torch.testing.assert_close(restored.mean(), torch.tensor(-0.2))
    torch.testing.assert_close(restored, bare * (plain.mean() / bare.mean()))


def test_without_a_mean_there_is_nothing_to_restore(tokenizer):
    pipe, text = small_pipe(tokenizer, mean=0.0), "a (man:1.4)"
    bare = prompt_embeds.encode_weighted(pipe, text, restore_mean=False)
    torch.testing.assert_close(prompt_embeds.encode_weighted(pipe, text), bare)


def test_chunks_are_encoded_alone_and_stand_side_by_side(tokenizer):
    pipe = small_pipe(tokenizer, mean=0.1)
    both = prompt_embeds.encode_weighted(pipe, "a man BREAK a horse")
    expected = diffusion.encode_prompts(pipe, ["a man", "a horse"])
    torch.testing.assert_close(both, expected.flatten(0, 1).unsqueeze(0), rtol=1e-4, atol=1e-5)
