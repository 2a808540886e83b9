import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

from helpers import diffusion, training
from helpers.training import examples


def test_templates_have_a_name_and_the_words_of_the_file():
    assert training.fill_template("photo of [name], [filewords]", "amir", "a man") == "photo of amir, a man"
    assert training.fill_template("[filewords]", "amir", "a man [1]") == "a man [1]"
    with pytest.raises(ValueError, match=r"\[name\] and \[filewords\]"):
        training.fill_template("a [photo] of [name]", "amir", "a man")


def test_what_is_cached_is_what_the_pipeline_would_compute(tiny):
    pictures = [Image.linear_gradient("L").rotate(90 + turn).convert("RGB").resize((16, 16)) for turn in (0, 20, 40)]
    prompts = [["a man", "a man with a beard"], ["a man"], ["a woman", "a man"]]
    made = training.encode(tiny, pictures, prompts, 16, flip=True)
    assert made.latents.shape == (3, 2, 4, 8, 8) and len(made.prompt_embeds) == 3, "each different prompt once"
    plain = diffusion.encode_images(tiny.vae, pictures, 16)
    mirrored = diffusion.encode_images(tiny.vae, [ImageOps.mirror(p) for p in pictures], 16)
    torch.testing.assert_close(made.latents, torch.stack([plain, mirrored], dim=1))
    for which, texts in zip(made.which, prompts, strict=True):
        expected = diffusion.encode_prompts(tiny, texts)
        torch.testing.assert_close(made.prompt_embeds[list(which)], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made.first(), (plain, made.prompt_embeds[[0, 0, 2]]))
    with pytest.raises(ValueError, match="3 images need as many lists of prompts"):
        training.encode(tiny, pictures, prompts[:2], 16)


@pytest.mark.parametrize(("sides", "counts"), [(1, [1]), (2, [4]), (2, [1, 3, 2])])
def test_every_variant_is_drawn_and_only_with_its_own_photo(sides, counts):
    """Photo i at side s is the number 10 i + s; prompt p of photo i is 10 i + p."""
    photos = range(len(counts))
    latents = torch.tensor([[[10.0 * i + s] for s in range(sides)] for i in photos])
    texts = [(i, 10.0 * i + p) for i in photos for p in range(counts[i])]
    which = tuple(tuple(row for row, (photo, _) in enumerate(texts) if photo == i) for i in photos)
    made = examples.Examples(latents, torch.tensor([[text] for _, text in texts]), which)
    torch.manual_seed(0)
    drawn, heard = made.draw([*photos] * 100)
    assert (drawn // 10).flatten().tolist() == (heard // 10).flatten().tolist() == [*photos] * 100
    seen = set(zip(drawn.flatten().tolist(), heard.flatten().tolist()))
    assert len(seen) == sides * sum(counts), "a cache must not freeze one variant for the whole training"


def test_parked_modules_are_away_and_come_back(monkeypatch):
    """Moves are only written down here; there may be no second device."""
    monkeypatch.setattr(examples, "clear_device_cache", lambda **_: None)  # which collects garbage, and takes seconds
    moves, vae, text = [], nn.Linear(1, 1), nn.Linear(1, 1)
    monkeypatch.setattr(nn.Module, "to", lambda module, place: moves.append((module is text, str(place))))
    with pytest.raises(KeyboardInterrupt), training.offloaded(vae, text):
        assert moves == [(False, "cpu"), (True, "cpu")]
        with training.on_device("cuda", text):
            assert moves[2:] == [(True, "cuda")]
        assert moves[3:] == [(True, "cpu")]
        raise KeyboardInterrupt
    assert moves[4:] == [(False, "cpu"), (True, "cpu")], "back to where they were when it began"


def test_the_mean_over_photos_is_the_held_out_loss(tiny):
    torch.manual_seed(0)
    scheduler = diffusion.training_scheduler(tiny)
    latents, embeds = torch.randn(3, 4, 8, 8), torch.randn(3, 77, 16)
    frozen = diffusion.latents.held_out_examples(latents, embeds, scheduler, 1, copies=2)
    by_photo = training.held_out_by_photo(tiny.unet, scheduler, frozen, ["a", "b", "c"])
    whole = diffusion.latents.held_out_loss(tiny.unet, scheduler, frozen)
    assert sum(by_photo.values()) / 3 == pytest.approx(whole, rel=1e-4) and len(set(by_photo.values())) == 3
    alone = {name: values[1::3] for name, values in frozen.items()}
    assert by_photo["b"] == pytest.approx(diffusion.latents.held_out_loss(tiny.unet, scheduler, alone), rel=1e-4)
