from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from helpers import diffusion
from helpers.diffusion import prompts


@pytest.fixture(scope="module")
def tokenizer():
    return CLIPTokenizer.from_pretrained(diffusion.POCKET / "tokenizer")


def words(tokenizer, row):
    """The tokens of a chunk without its frame and padding."""
    return [t for t in row[1:76].tolist() if t not in (tokenizer.eos_token_id, tokenizer.pad_token_id)]


def test_each_token_has_the_weight_of_its_brackets(tokenizer):
    tokens, weights = prompts.tokenize(tokenizer, "a (red:1.5) [hat]")
    counts = [len(tokenizer(word, add_special_tokens=False).input_ids) for word in ("a", "red", "hat")]
    expected = [weight for weight, count in zip((1, 1.5, 1 / 1.1), counts, strict=True) for _ in range(count)]
    assert tokens.tolist() == [tokenizer("a red hat", padding="max_length", max_length=77).input_ids]
    assert weights[0, 1 : 1 + sum(counts)].tolist() == pytest.approx(expected)
    assert weights[0, 0] == 1 and (weights[0, 1 + sum(counts) :] == 1).all()


def man(count):
    return " ".join(["man"] * count)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        (f"{man(60)}, {man(20)}", [61, 20]),  # 15 tokens stand after the comma: they move on
        (f"{man(55)}, {man(25)}", [56, 25]),
        (f"{man(54)}, {man(26)}", [75, 6]),  # a comma 21 tokens back is too far
        (man(200), [75, 75, 50]),
        ("", [0]),
        (f"{man(75)}, {man(3)}", [75, 4]),
        (f"{man(75)} BREAK {man(4)} BREAK", [75, 4]),
        (f"BREAK {man(2)}", [0, 2]),
        (f"{man(3)} BREAK BREAK {man(4)}", [3, 0, 4]),
    ],
)
def test_a_full_chunk_is_cut_at_a_near_comma_and_at_breaks(tokenizer, text, lengths):
    tokens, _ = prompts.tokenize(tokenizer, text)
    assert tokens.shape[1] == 77 and [len(words(tokenizer, row)) for row in tokens] == lengths
    assert (tokens[:, 0] == tokenizer.bos_token_id).all() and (tokens[:, -1] == tokenizer.pad_token_id).all()


def test_a_break_in_weighted_brackets_is_plain_text(tokenizer):
    """As in the web UI: its sd_hijack_clip.py breaks only where the piece BREAK weighs exactly -1."""
    tokens, weights = prompts.tokenize(tokenizer, "(man BREAK man:1.5)")
    expected = tokenizer("man BREAK man", add_special_tokens=False).input_ids
    assert words(tokenizer, tokens[0]) == expected
    assert weights[0, 1 : 1 + len(expected)].tolist() == [1.5] + [-1.5] * (len(expected) - 2) + [1.5]


def small_pipe(tokenizer, mean):
    """A tokenizer and a small random text encoder whose outputs have this mean."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), **sizes)).eval()
    text_model = getattr(encoder, "text_model", encoder)  # transformers 5.6 took this level away
    torch.nn.init.constant_(text_model.final_layer_norm.bias, mean)
    return SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder)


def test_weights_multiply_the_encoder_s_output_and_the_mean_is_restored(tokenizer):
    """Where the mean is about 0 there is nothing to restore."""
    pipe, text = small_pipe(tokenizer, mean=-0.2), "a photo of a man (on a horse:1.4)"
    plain = diffusion.encode_prompts(pipe, ["a photo of a man on a horse"])
    assert torch.equal(*prompts.encode_weighted(pipe, ["a photo of a man on a horse"]), plain)
    _, weights = prompts.tokenize(tokenizer, text)
    (bare,) = prompts.encode_weighted(pipe, [text], restore_mean=False)
    torch.testing.assert_close(bare, plain * weights[..., None])
    (restored,) = prompts.encode_weighted(pipe, [text])
    torch.testing.assert_close(restored.mean(), torch.tensor(-0.2))
    torch.testing.assert_close(restored, bare * (plain.mean() / bare.mean()))
    pipe = small_pipe(tokenizer, mean=0.0)
    (bare,) = prompts.encode_weighted(pipe, [text], restore_mean=False)
    torch.testing.assert_close(prompts.encode_weighted(pipe, [text, "a man BREAK a horse"])[0], bare)


def test_prompts_of_any_length_are_encoded_together_each_chunk_alone(tokenizer):
    pipe = small_pipe(tokenizer, mean=0.0)
    embeds = prompts.encode_weighted(pipe, ["a man BREAK a horse", "a dog"])
    expected = diffusion.encode_prompts(pipe, ["a man", "a horse", "a dog"])
    torch.testing.assert_close(embeds[0], expected[:2].flatten(0, 1).unsqueeze(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(embeds[1], expected[2:], rtol=1e-4, atol=1e-5)
