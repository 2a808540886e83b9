import copy
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import compare, diffusion, dreambooth, makers, models, png_info, sampling, training


def test_the_paper_s_identifier_is_rare_and_a_word_is_not(pocket_pipeline):
    pieces, known = dreambooth.check_identifier(pocket_pipeline.tokenizer, "nesrelah_001")
    assert len(pieces) > 4 and known == []
    assert dreambooth.check_identifier(pocket_pipeline.tokenizer, "woman_001")[1] == ["woman"]


def test_class_images_are_kept_counted_and_reused(pocket_pipeline, tmp_path, monkeypatch):
    made = []

    def make(pipe, wanted, maker, **sampler):
        for path, (_, seed) in wanted.items():
            made.append(seed)
            Image.new("RGB", (8, 8), (seed % 256, 0, 0)).save(path)

    monkeypatch.setattr(dreambooth.compare, "make", make)
    settings = {"guidance_scale": 5, "num_inference_steps": 20}
    paths = dreambooth.class_images(None, "a photo of a person", tmp_path, 3, 10, **settings)
    before = paths[1].stat().st_mtime_ns
    paths[2].unlink()
    more = dreambooth.class_images(None, "a photo of a person", tmp_path, 5, 10, **settings)
    assert made == [10, 11, 12, 12, 13, 14] and more[:3] == paths
    assert [Image.open(path).getpixel((0, 0))[0] for path in more] == [10, 11, 12, 13, 14]
    assert more[1].stat().st_mtime_ns == before
    made.clear()
    for changed in ({"guidance_scale": 4}, {"weights": "others"}):
        other = dreambooth.class_images(None, "a photo of a person", tmp_path, 1, 10, **settings | changed)
        assert other[0] not in more and other[0].exists()
    assert made == [10, 10]


def test_what_is_withheld_is_no_class_image(tmp_path, monkeypatch):
    """The first two seeds come back as cards; a card says so in its text, on disk too."""

    def make(pipe, wanted, maker, **sampler):
        for path, (prompt, seed) in wanted.items():
            told = {"Withheld": "by the safety checker"} if seed in withheld else {}
            png_info.save(
                path,
                Image.new("RGB", (8, 8)),
                png_info.write_text(prompt, "", {"Steps": 2, "Size": "8x8", "Seed": seed} | told),
            )

    monkeypatch.setattr(dreambooth.compare, "make", make)
    withheld = {10, 11}
    paths = dreambooth.class_images(None, "a person", tmp_path, 3, 10)
    assert [png_info.read(path)[2]["Seed"] for path in paths] == [12, 13, 14]
    assert dreambooth.class_images(None, "a person", tmp_path, 3, 10) == paths
    withheld = set(range(100))
    with pytest.raises(ValueError, match="withheld 6 of 6 pictures of 'a person': reword it"):
        dreambooth.class_images(None, "a person", tmp_path, 3, 20)


def test_class_images_are_pictures_of_the_model(pocket_pipeline, tmp_path):
    settings = {"guidance_scale": 2, "num_inference_steps": 2}
    (path,) = dreambooth.class_images(pocket_pipeline, "a person", tmp_path, 1, 7, **settings)
    (expected,) = sampling.generate(pocket_pipeline, ["a person"], [7], **settings)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(expected))
    assert png_info.read(path)[0] == "a person"  # and each tells how it was made
    base = makers.find("pocket")["base"]
    (path,) = dreambooth.class_images(pocket_pipeline, "a person", tmp_path / "others", 1, 7, maker=base, **settings)
    told = png_info.read(path)[2]  # by which weights, too
    assert told["Model hash"] == compare.fingerprint(models.POCKET)[:10] and told["Size"] == "128x128"


def test_several_devices_share_the_class_images(tmp_path, monkeypatch):
    asked = []

    def make(who, wanted):
        asked.append(wanted if who == "together" else who)
        for path in wanted:
            Image.new("RGB", (8, 8)).save(path)
        return True

    monkeypatch.setattr(dreambooth.parallel, "share", lambda maker, base, wanted, sampler: make("together", wanted))
    monkeypatch.setattr(dreambooth.compare, "make", lambda pipe, wanted, *others, **settings: make("alone", wanted))
    paths = dreambooth.class_images("pipe", "a person", tmp_path, 3, 5, maker="base", num_inference_steps=2)
    assert asked == [{path: ("a person", 5 + i) for i, path in enumerate(paths)}]
    dreambooth.class_images("pipe", "a person", tmp_path, 3, 6, num_inference_steps=2)
    assert asked[1:] == ["alone"]  # nobody said who makes them


def test_prompts_are_heard_once_or_anew_with_gradients(pocket_pipeline):
    prompts = ["nesrelah_001 person", "a person", "nesrelah_001 person"]
    expected = diffusion.encode_prompts(pocket_pipeline, prompts)
    for learns in (False, True):
        hear = dreambooth.Hearing(pocket_pipeline, prompts, learns)
        heard = hear(prompts)
        torch.testing.assert_close(heard.detach(), expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(hear(prompts[:1])[0], heard[2]) or learns
        assert heard.requires_grad == learns
    pocket_pipeline.text_encoder.zero_grad()


def test_what_learns_is_as_asked(pipe):
    pipe.text_encoder = copy.deepcopy(pipe.text_encoder)  # the pipelines of other tests share it
    unet, text = ({id(p) for p in part.parameters()} for part in (pipe.unet, pipe.text_encoder))
    assert {id(p) for p in dreambooth.learn(pipe)} == unet
    assert not any(p.requires_grad for p in pipe.text_encoder.parameters())
    assert {id(p) for p in dreambooth.learn(pipe, text_encoder=True, checkpointing=True)} == unet | text
    assert all(p.requires_grad for p in pipe.text_encoder.parameters()) and pipe.unet.is_gradient_checkpointing


def test_a_text_encoder_that_learns_is_computed_twice_too_and_learns_the_same(pocket_pipeline):
    """Gradient checkpointing: the same gradients, each layer run again in the backward pass."""
    found, runs = [], []
    for checkpointing in (False, True):
        text = copy.deepcopy(pocket_pipeline.text_encoder)
        parts = SimpleNamespace(unet=torch.nn.Linear(1, 1), text_encoder=text, tokenizer=pocket_pipeline.tokenizer)
        parts.unet.enable_gradient_checkpointing = lambda _: None
        dreambooth.learn(parts, text_encoder=True, checkpointing=checkpointing)
        layers = [module for name, module in text.named_modules() if name.endswith("self_attn")]
        for layer in layers:
            layer.register_forward_hook(lambda *_, now=checkpointing: runs.append(now))
        dreambooth.Hearing(parts, [], learns=True)(["nesrelah_001 person"]).square().sum().backward()
        found.append({name: p.grad for name, p in text.named_parameters()})
        assert len(layers) == text.config.num_hidden_layers
    assert runs.count(True) == 2 * runs.count(False) > 0
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_what_a_training_does_not_need_is_parked():
    """The safety checker, too: 0.6 GB of SD 1.5."""
    pipe = SimpleNamespace(unet="unet", vae="vae", text_encoder="text", safety_checker="checker")
    assert dreambooth.idle(pipe) == ["vae", "text", "checker"]
    assert dreambooth.idle(pipe, text_encoder=True) == ["vae", "checker"]
    pipe.safety_checker = None
    assert dreambooth.idle(pipe) == ["vae", "text"]


def test_prompts_heard_beforehand_keep_no_model_alive(pocket_pipeline):
    assert dreambooth.Hearing(pocket_pipeline, ["a person"]).pipe is None
    assert dreambooth.Hearing(pocket_pipeline, ["a person"], learns=True).pipe is pocket_pipeline


def test_without_class_images_the_batches_have_none():
    assert dreambooth.paired_batches(5, 0, 2, seed=1)(0)[1] == []


def test_the_fused_adamw_is_adamw():
    results = []
    for optimizer in (dreambooth.adamw, torch.optim.AdamW):
        torch.manual_seed(0)
        net = torch.nn.Linear(9, 5)
        mover = optimizer(net.parameters())
        for _ in range(5):
            net(torch.randn(3, 9)).square().sum().backward()
            mover.step()
            mover.zero_grad()
        results.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-7)


def test_no_photo_is_bound_to_the_same_class_images():
    batches = dreambooth.paired_batches(20, 32, 2, seed=1)
    drawn = [batches(step) for step in range(320)]
    photos = Counter(index for photo, _ in drawn for index in photo)
    images = Counter(index for _, image in drawn for index in image)
    assert set(photos.values()) == {32} and set(images.values()) == {20}
    partners = {image for photo, pair in drawn if 0 in photo for image in pair}
    assert len(partners) > 20  # bound by number it would have met 2 to 4


def test_the_loss_weighs_the_class_against_the_subject():
    prediction, noise = torch.randn(6, 4, 8, 8), torch.randn(6, 4, 8, 8)
    squares = (prediction - noise) ** 2
    for weight in (0.0, 0.75, 1.0):
        expected = squares[:3].mean() + weight * squares[3:].mean()
        torch.testing.assert_close(dreambooth.dreambooth_loss(prediction, noise, weight), expected)
    whole = squares.mean() * 2
    torch.testing.assert_close(dreambooth.dreambooth_loss(prediction, noise, 1.0), whole)


@pytest.mark.slow
def test_a_trained_pipeline_is_saved_and_loads_as_any_other(pipe, tmp_path):
    latents, embeds = torch.randn(2, 4, 16, 16), diffusion.encode_prompts(pipe, ["nesrelah_001 person", "a person"])
    scheduler, before = diffusion.training_scheduler(pipe), pipe.unet.conv_in.weight.clone()

    def loss(batch):
        noise = torch.randn_like(latents)
        return diffusion.diffusion_loss(pipe.unet, scheduler, latents, noise, torch.tensor([10, 500]), embeds)

    order = training.shuffled(2, 2, 0)
    list(training.train(tmp_path / "run", pipe.unet.parameters(), loss, order, steps=1, learning_rate=1e-4))
    assert not torch.equal(pipe.unet.conv_in.weight, before)
    (tmp_path / "model" / "old").mkdir(parents=True)
    dreambooth.save(tmp_path / "model", pipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "run"] and pipe.unet.dtype == torch.float32
    assert not (tmp_path / "model" / "old").exists()
    for path in (tmp_path / "model").rglob("*.json"):
        assert str(models.POCKET) not in path.read_text(), f"{path.name} says where the base lay"
    loaded = models.load_pipeline(str(tmp_path / "model"))
    for name, tensor in pipe.unet.state_dict().items():
        assert torch.equal(tensor, loaded.unet.state_dict()[name]), name
    settings = {"guidance_scale": 2, "num_inference_steps": 2}
    first, second = (diffusion.generate(p, "nesrelah_001 person", [3], **settings)[0] for p in (pipe, loaded))
    assert np.array_equal(np.asarray(first), np.asarray(second))
