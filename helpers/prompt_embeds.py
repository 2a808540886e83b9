"""Prompts in the web UI's language as the U-Net hears them, and images made from them."""

import copy

import torch

from helpers import diffusion, hypernetwork, prompt_syntax, runtime

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


def guided(unet, latents, timestep, parts, negative, guidance_scale):
    """The guided noise prediction for several prompts at once: u + scale * sum of weight * (c - u).

    parts: [(prompt_embeds, weight)], of any lengths; one part of weight 1 is ordinary guidance.
    Source: Liu et al. 2022, Composable Diffusion, eq. 11.
    """
    predict = lambda embeds: unet(latents, timestep, embeds.expand(len(latents), -1, -1)).sample
    base = predict(negative)
    return base + guidance_scale * sum(weight * (predict(embeds) - base) for embeds, weight in parts)


def generate_webui(pipe, prompt, seeds, *, guidance_scale, num_inference_steps, negative_prompt="", hypernetworks=None):
    """One PIL image a seed of a prompt in the web UI's language; a plain prompt gives diffusion.generate's image.

    hypernetworks: {name: Hypernetwork}, for <hypernet:name:0.8> in the prompt; put in eval mode, and
    taken off again at the end.
    Raises ValueError for a network that is not among them.
    """
    prompt, networks = prompt_syntax.take_networks(prompt)
    known = hypernetworks or {}
    if strange := [net for net in networks if net.kind != "hypernet" or net.name not in known]:
        raise ValueError(f"no {strange[0].kind} named {strange[0].name!r} here: there are {', '.join(known) or 'none'}")
    try:
        for net in networks:
            hypernetwork.attach(pipe.unet, known[net.name].eval(), net.strength)
        with torch.no_grad(), runtime.autocast(pipe.device):
            latents = _sample(pipe, prompt, negative_prompt, seeds, guidance_scale, num_inference_steps)
            return _decode(pipe, latents)
    finally:
        if networks:
            hypernetwork.detach(pipe.unet)


def _sample(pipe, prompt, negative_prompt, seeds, guidance_scale, steps):
    scheduler, heard = copy.deepcopy(pipe.scheduler), {}
    scheduler.set_timesteps(steps, device=pipe.device)
    noise = torch.stack([diffusion.initial_noise(pipe, seed) for seed in seeds])
    latents = noise.to(pipe.device, pipe.unet.dtype) * scheduler.init_noise_sigma
    generators = [torch.Generator().manual_seed(seed + 2**32) for seed in seeds]
    extra = pipe.prepare_extra_step_kwargs(generators, 0.0)

    def hear(text, step):
        text = prompt_syntax.prompt_at(text, step, steps)
        if text not in heard:
            heard[text] = encode_weighted(pipe, text).to(pipe.unet.dtype)
        return heard[text]

    for number, timestep in enumerate(scheduler.timesteps, start=1):
        step = min(number, steps)  # some samplers take one more than asked for
        parts = [(hear(text, step), weight) for text, weight in prompt_syntax.split_and(prompt)]
        model_input = scheduler.scale_model_input(latents, timestep)
        prediction = guided(pipe.unet, model_input, timestep, parts, hear(negative_prompt, step), guidance_scale)
        latents = scheduler.step(prediction, timestep, latents, **extra).prev_sample
    return latents


def _decode(pipe, latents):
    """PIL images, past the safety checker where the pipeline has one: what it withholds is black."""
    images = pipe.vae.decode(latents.to(pipe.vae.dtype) / pipe.vae.config.scaling_factor).sample
    images, withheld = pipe.run_safety_checker(images, pipe.device, pipe.unet.dtype)
    seen = [True] * len(images) if withheld is None else [not flag for flag in withheld]
    return pipe.image_processor.postprocess(images, output_type="pil", do_denormalize=seen)
