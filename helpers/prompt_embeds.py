"""Prompts in the web UI's language as the U-Net hears them."""

import torch

from helpers import prompt_syntax

LEAST_MEAN = 1e-5  # of the outputs' usual size: a smaller mean is rounding (SD 1's and pocket's lie far above)
COMMA_REACH = 20  # tokens: a chunk that overflows is cut at its last comma, if that is at most this far back


def tokenize(tokenizer, text):
    """(tokens, weights), each (chunks, 77): a prompt of any length in chunks of 75, each with its start and end.

    A full chunk is cut after its last comma if one is near; BREAK cuts anywhere. Padding weighs 1.
    """
    ids = lambda text: tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    (comma,), size, chunks = ids(","), tokenizer.model_max_length - 2, [[]]
    for piece, weight in prompt_syntax.parse_attention(text):
        if (piece, weight) == prompt_syntax.BREAK:
            chunks.append([])
            continue
        for token in ids(piece):
            if len(chunks[-1]) == size:
                chunks.append([] if token == comma else _after_last_comma(chunks[-1], comma))
            chunks[-1].append((token, weight))
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()  # a BREAK at the very end
    rows = [_framed(chunk, size, tokenizer) for chunk in chunks]
    return torch.tensor([[token for token, _ in row] for row in rows]), torch.tensor(
        [[weight for _, weight in row] for row in rows]
    )


def _after_last_comma(chunk, comma):
    """Takes what follows the last near comma out of a full chunk, for the next one."""
    near = [place for place, (token, _) in enumerate(chunk) if token == comma and len(chunk) - place <= COMMA_REACH]
    tail = chunk[near[-1] + 1 :] if near else []
    del chunk[len(chunk) - len(tail) :]
    return tail


def _framed(chunk, size, tokenizer):
    padding = [(tokenizer.pad_token_id, 1.0)] * (size - len(chunk))
    return [(tokenizer.bos_token_id, 1.0), *chunk, (tokenizer.eos_token_id, 1.0), *padding]


@torch.no_grad()
def encode_weighted(pipe, text, restore_mean=True):
    """prompt_embeds (1, 77 * chunks, width) of one prompt with the web UI's weights.

    Each token's vector, as the text encoder gives it, is multiplied by the token's weight; then each chunk is
    rescaled so that the mean of all its numbers is what it was (restore_mean; "No norm" in the web UI leaves
    it out). An encoder whose outputs average nothing leaves nothing to restore: the web UI would divide by zero.
    Editing and AND must be resolved before. Source: the web UI's emphasis mode "Original".
    """
    tokens, weights = tokenize(pipe.tokenizer, text)
    embeds = pipe.text_encoder(tokens.to(pipe.text_encoder.device))[0]
    weighted = embeds * weights.to(embeds).unsqueeze(-1)
    if restore_mean:
        mean = lambda values: values.float().mean(dim=(1, 2), keepdim=True)
        tells = mean(weighted).abs() > LEAST_MEAN * mean(embeds.abs())
        weighted = weighted * torch.where(tells, mean(embeds) / mean(weighted), 1.0).to(weighted)
    return weighted.flatten(0, 1).unsqueeze(0)
