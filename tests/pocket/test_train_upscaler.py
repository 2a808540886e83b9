"""The upscaler and the decoder taught further: what they learn from, what they leave alone, and that they go on."""

import csv
import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import noise_images

from pocket import fit, scenes, train_decoder, train_upscaler, world
from pocket.assemble import load_part
from pocket.draw import draw, face_box
from pocket.pixels import to_pixels
from pocket.upscaler import Upscaler, load_upscaler

SMALL = {"width": 8, "blocks": 1, "fine": 8, "edges": 2}


@pytest.fixture
def clockwork(monkeypatch, tmp_path):
    """Trainings in a folder of their own, by a clock on which each step takes a quarter of a second."""
    for module in (fit, scenes, train_decoder):
        monkeypatch.setattr(module, "CACHE", tmp_path)
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=itertools.count(0, 0.25).__next__))
    return tmp_path


def noise(size=128, count=8):
    return np.random.default_rng(size).integers(0, 255, (count, size, size, 3), dtype=np.uint8)


def steps_of(path):
    with path.open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_it_begins_as_plain_enlarging_and_keeps_order_and_sides(tmp_path):
    torch.manual_seed(0)
    upscaler, images = Upscaler(**SMALL), noise_images(3)
    pixels = to_pixels(np.stack([np.asarray(image) for image in images]))
    plain = F.interpolate(pixels, scale_factor=2, mode="bicubic")
    assert torch.allclose(upscaler(pixels), plain, atol=1e-6)
    torch.nn.init.normal_(upscaler.last.weight, std=0.05)
    upscaler.save(tmp_path)
    again = load_upscaler(tmp_path)
    together, alone = again.enlarge(images, batch_size=2), again.enlarge(images[2:])
    assert [image.size for image in together] == [tuple(2 * side for side in image.size) for image in images]
    assert np.abs(np.asarray(together[2], int) - np.asarray(alone[0], int)).max() <= 1
    near = (upscaler(pixels) - again(pixels)).abs().max()
    assert near < 0.02 and not torch.allclose(again(pixels), plain, atol=0.1)
    with pytest.raises(FileNotFoundError, match="config.json"):
        load_upscaler(tmp_path / "nowhere")


def test_a_grown_one_does_the_same_until_it_learns_and_its_new_blocks_learn():
    torch.manual_seed(0)
    small, pixels = Upscaler(**SMALL), to_pixels(np.stack([np.asarray(image) for image in noise_images(2)]))
    torch.nn.init.normal_(small.last.weight, std=0.05)
    large = small.grown(blocks=3, edges=4)
    assert (large.config["blocks"], large.config["edges"], len(large.body), len(large.fine)) == (3, 4, 3, 4)
    assert torch.equal(large(pixels), small(pixels))
    large(pixels).square().mean().backward()
    assert all(block.add.weight.grad.abs().max() > 0 for block in [*large.body, *large.fine])


def test_both_squares_of_a_crop_show_the_same():
    soft = noise()
    drawn, boxes = soft.repeat(2, 1).repeat(2, 2), np.tile((0.3, 0.2, 0.4), (len(soft), 1))
    small, large = train_upscaler.crops(soft, drawn, boxes, np.random.default_rng(0), batch=6)
    assert small.shape == (6, 3, 64, 64) and large.shape == (6, 3, 128, 128)
    assert torch.allclose(F.avg_pool2d(large, 2), small, atol=1e-6)
    small, same = train_upscaler.crops(soft, soft, boxes, np.random.default_rng(0), batch=6)
    assert torch.equal(small, same)


@pytest.mark.parametrize("context", world.CONTEXTS)
def test_whatever_an_expression_changes_is_in_the_box_of_the_face(context):
    found = scenes.scene("test", 3)
    first, *others = [
        replace(found, context=context, style="photo", person=replace(found.person, glasses="none", expression=word))
        for word in world.EXPRESSIONS
    ]
    left, top, side = (256 * share for share in face_box(first))
    plain = np.asarray(draw(first, 256), int)
    changed = sum(np.abs(np.asarray(draw(other, 256), int) - plain).sum(2) for other in others) > 0
    rows, columns = np.nonzero(changed)
    assert left <= columns.min() and columns.max() <= left + side
    assert top <= rows.min() and rows.max() <= top + side
    assert np.ptp(columns) > side / 4, "the box is no larger than it must be"


@pytest.mark.slow
def test_the_upscaler_learns_is_written_and_goes_on(clockwork, monkeypatch):
    monkeypatch.setattr(train_upscaler, "POCKET", clockwork)
    monkeypatch.setattr(train_upscaler, "SCENES", {"faces": 8})
    monkeypatch.setattr(train_upscaler, "Upscaler", lambda **depth: Upscaler(**SMALL))
    monkeypatch.setattr(train_upscaler, "softened", lambda split, count, vae, power: noise())
    monkeypatch.setattr(train_upscaler, "pictures", lambda split, count, size=128: noise(size, count))
    monkeypatch.setattr(train_upscaler, "decoded", lambda vae, images: images)
    train_upscaler.train(0.01, batch=2)
    first = load_upscaler(clockwork / "upscaler")
    assert first.config == SMALL and first.last.weight.abs().max() > 0
    train_upscaler.train(0.02, batch=2)
    steps = steps_of(clockwork / "upscaler.csv")
    assert steps == sorted(set(steps)) and len(steps) == 2


@pytest.mark.slow
def test_the_decoder_learns_while_latents_stay(clockwork, monkeypatch):
    kept = {}
    monkeypatch.setattr(train_decoder, "SCENES", {"faces": 8})
    monkeypatch.setattr(train_decoder, "pictures", lambda split, count: noise(count=count))
    monkeypatch.setattr(train_decoder, "psnr", lambda vae, images: torch.zeros(4))
    before = load_part("vae")
    monkeypatch.setattr(type(before), "save_pretrained", lambda vae, folder: kept.update({folder.name: vae}))
    train_decoder.train(0.01, batch=1)
    old, new = before.state_dict(), kept["decoder"].state_dict()
    assert {name for name in old if torch.equal(old[name], new[name])} == {
        name for name in old if name.startswith(("encoder.", "quant_conv."))
    }


def test_how_weights_lie_in_memory_does_not_change_what_they_learn(clockwork):
    """Fused AdamW reads weights and gradients as they lie; where the two lie differently, it mixes them up."""
    torch.manual_seed(0)
    plain, pixels = torch.nn.Conv2d(4, 8, 3), torch.rand(2, 4, 9, 9)
    other = torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    other.load_state_dict(plain.state_dict())
    learnt = [
        fit.fit(name, model, lambda step, model=model: model(pixels).square().mean(), lambda model: {}, 0.1, 1e-2)
        for name, model in (("plain", plain), ("other", other))
    ]
    assert not torch.allclose(learnt[0].weight, plain.weight, atol=1e-6)
    torch.testing.assert_close(learnt[1].weight.contiguous(), learnt[0].weight, rtol=1e-4, atol=1e-6)
