import contextlib

import numpy as np
import pytest
import torch
from conftest import sd1_unet, small_unet, tiny_pipeline
from PIL import Image

from helpers import diffusion
from helpers.diffusion import checkpoint
from helpers.methods import lora, predictor
from helpers.methods.predictor import Predictor, layers_of

RANK = 4


def grown(unet, **sizes):
    """A small predictor that has left its quiet start, so that what it predicts shows."""
    torch.manual_seed(0)
    made = Predictor(layers_of(unet), **{"rank": RANK, "width": 16} | sizes)
    with torch.no_grad():
        for up in made.up:
            up.copy_(torch.randn_like(up) * 0.1)
    return made.eval()


def portraits(count, seed=0, side=40):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(256, size=(side, side, 3), dtype=np.uint8)) for _ in range(count)]


def asked(unet, count=4):
    generator = torch.Generator().manual_seed(0)
    text = unet.config.cross_attention_dim
    sizes = (count, 4, 8, 8), (count, 7, text)
    noisy, embeds = (torch.randn(size, generator=generator) for size in sizes)
    return noisy, torch.arange(count) * 100, embeds


@torch.no_grad()
def answer(unet, question):
    return unet(*question).sample


def test_it_begins_as_the_model_was():
    unet = small_unet()
    fresh, question = Predictor(layers_of(unet), rank=RANK, width=16), asked(unet)
    before = answer(unet, question)
    with torch.no_grad(), fresh.on(unet, fresh(fresh.see(portraits(1)))):
        assert torch.equal(answer(unet, question), before)


def test_on_and_off_leaves_every_bit_of_the_unet():
    unet = small_unet()
    net, question = grown(unet), asked(unet)
    weights, before = {k: v.clone() for k, v in unet.state_dict().items()}, answer(unet, question)
    gates = net(net.see(portraits(1)))
    with contextlib.suppress(ZeroDivisionError), net.on(unet, gates):
        assert (answer(unet, question) - before).abs().max() > 1e-3
        raise ZeroDivisionError
    assert torch.equal(answer(unet, question), before)
    assert all(torch.equal(unet.state_dict()[name], tensor) for name, tensor in weights.items())
    with net.on(unet, gates, strength=0):
        assert torch.equal(answer(unet, question), before)


def test_each_sample_of_a_batch_has_its_own_person():
    unet = small_unet()
    net, (noisy, steps, embeds) = grown(unet), asked(unet)
    gates = torch.cat([net(net.see(portraits(1, seed))) for seed in (0, 1)])
    with net.on(unet, gates):
        together = answer(unet, (noisy, steps, embeds))  # people 0, 1, 0, 1, as under guidance
    for person in (0, 1):
        with net.on(unet, gates[person : person + 1]):
            alone = answer(unet, (noisy[person::2], steps[person::2], embeds[person::2]))
        torch.testing.assert_close(together[person::2], alone)
    assert (gates[0] - gates[1]).abs().max() > 1e-3


def test_what_it_predicts_is_a_lora(tmp_path):
    pipe = tiny_pipeline()
    net, question = grown(pipe.unet), asked(pipe.unet)
    gates = net(net.see(portraits(2)))
    with net.on(pipe.unet, gates):
        hooked = answer(pipe.unet, question)
    checkpoint.save_safetensors(tmp_path / "person.safetensors", net.lora(gates))
    lora.load(pipe, tmp_path / "person.safetensors")
    torch.testing.assert_close(answer(pipe.unet, question), hooked, rtol=1e-4, atol=1e-5)


def test_a_prediction_is_tuned_further_and_saved_as_any_lora(tmp_path):
    pipe, path = tiny_pipeline(), tmp_path / "person.safetensors"
    net, question = grown(pipe.unet), asked(pipe.unet)
    checkpoint.save_safetensors(path, net.lora(net(net.see(portraits(1)))))
    parameters = lora.tune(pipe, path)
    assert len(parameters) == 2 * len(net.layers) and all(p.dtype == torch.float32 for p in parameters)
    assert sum(p.requires_grad for part in (pipe.unet, pipe.text_encoder) for p in part.parameters()) == len(parameters)
    optimizer, before = torch.optim.AdamW(parameters, lr=1e-2), answer(pipe.unet, question)
    pipe.unet(*question).sample.square().mean().backward()
    optimizer.step()
    tuned = answer(pipe.unet, question)
    assert (tuned - before).abs().max() > 1e-3
    lora.save(path, pipe.unet)
    other = tiny_pipeline()
    lora.load(other, path)
    torch.testing.assert_close(answer(other.unet, question), tuned)


def test_it_looks_at_one_to_four_portraits_in_any_order():
    """In 64 bits: sums in another order differ by their rounding, and some processors round a little more."""
    net = grown(small_unet())
    seen = net.see(portraits(4)).double()
    assert seen.shape == (1, 4, predictor.CELLS, predictor.WIDTHS[-1])
    gates = net.double()(seen)
    torch.testing.assert_close(net(seen.flip(1)), gates)
    torch.testing.assert_close(net(seen[:, :1].expand(-1, 3, -1, -1)), net(seen[:, :1]))
    assert (net(seen[:, :1]) - gates).abs().max() > 1e-3


def test_a_file_gives_the_same_network_back(tmp_path):
    unet = small_unet()
    net, path = grown(unet), tmp_path / "predictor.safetensors"
    net.save(path)
    again = predictor.load(path)
    seen = again.see(portraits(1))
    torch.testing.assert_close(again(seen), net(net.see(portraits(1))), rtol=0.02, atol=0.02)
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []
    with again.on(unet, again(seen)):
        assert answer(unet, asked(unet)).isfinite().all()


def test_another_file_and_another_unet_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is missing"):
        predictor.load(diffusion.POCKET / "nowhere.safetensors")
    with pytest.raises(ValueError, match="holds no predictor"):
        predictor.load(diffusion.POCKET / "reader" / "model.safetensors")
    net, other = grown(small_unet()), small_unet(text=24)
    with pytest.raises(ValueError, match="other layers"), net.on(other, net(net.see(portraits(1)))):
        pass


def test_a_few_steps_make_people_differ():
    """Two people, two targets: the loss falls only if the weights follow the portrait."""
    unet = small_unet().requires_grad_(False)
    torch.manual_seed(0)
    net, question = Predictor(layers_of(unet), rank=RANK, width=16), asked(unet, count=2)
    features = torch.cat([net.see(portraits(1, seed)) for seed in (0, 1)])
    question = tuple(part[:1].repeat(2, *[1] * (part.ndim - 1)) for part in question)
    target = answer(unet, question) + torch.tensor([0.1, -0.1])[:, None, None, None]
    optimizer, losses = torch.optim.AdamW(net.parameters(), lr=3e-3), []
    for _ in range(25):
        with net.on(unet, net(features)):
            loss = (unet(*question).sample - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    swapped = net(features).flip(0)
    with torch.no_grad(), net.on(unet, swapped):
        assert (unet(*question).sample - target).square().mean() > 2 * losses[-1]


def test_pocket_has_a_predictor_of_less_than_8_megabytes(pocket_pipeline):
    net = Predictor(layers_of(pocket_pipeline.unet))
    assert len(net.layers) == 80 and 2 * sum(tensor.numel() for tensor in net.state_dict().values()) < 8e6


@pytest.mark.slow
def test_it_fits_stable_diffusion():
    unet = sd1_unet()
    net = grown(unet, rank=2, passes=2)
    assert len(net.layers) == 128
    before = answer(unet, asked(unet, count=1))
    gates = net(net.see(portraits(1)))
    with net.on(unet, gates):
        assert not torch.equal(answer(unet, asked(unet, count=1)), before)
    assert torch.equal(answer(unet, asked(unet, count=1)), before)
