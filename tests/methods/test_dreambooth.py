import copy
import errno
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import diffusion, machine, training
from helpers.diffusion import kept, png_info
from helpers.methods import dreambooth

SETTINGS = {"guidance_scale": 2, "num_inference_steps": 2}
OTHERS = SETTINGS | {"weights": "owner/model"}


@pytest.fixture
def made(monkeypatch):
    """The seeds of the pictures that were made; those of `withheld` come back as cards, which say so on disk."""
    made = SimpleNamespace(seeds=[], withheld=())

    def make(pipe, wanted, **settings):
        for path, (prompt, seed) in wanted.items():
            made.seeds.append(seed)
            told = {"Withheld": "by the safety checker"} if seed in made.withheld else {}
            text = png_info.write_text(prompt, "", {"Steps": 2, "Size": "8x8", "Seed": seed} | told)
            png_info.save(path, Image.new("RGB", (8, 8), (seed, 0, 0)), text)

    monkeypatch.setattr(kept, "make", make)
    return made


def seeds(paths):
    return [Image.open(path).getpixel((0, 0))[0] for path in paths]


def test_class_images_are_kept_counted_and_reused(made, tmp_path):
    paths = dreambooth.class_images(None, "a photo of a person", tmp_path, 3, 10, **OTHERS)
    before = paths[1].stat().st_mtime_ns
    paths[2].unlink()
    more = dreambooth.class_images(None, "a photo of a person", tmp_path, 5, 10, **OTHERS)
    assert made.seeds == [10, 11, 12, 12, 13, 14] and more[:3] == paths
    assert seeds(more) == [10, 11, 12, 13, 14] and more[1].stat().st_mtime_ns == before
    for changed in ({"guidance_scale": 4}, {"weights": "others"}):
        (other,) = dreambooth.class_images(None, "a photo of a person", tmp_path, 1, 10, **OTHERS | changed)
        assert other not in more and seeds([other]) == [10]


def test_what_is_withheld_is_no_class_image(made, tmp_path):
    made.withheld = {10, 11}
    paths = dreambooth.class_images(None, "a person", tmp_path, 3, 10, weights="owner/model")
    again = dreambooth.class_images(None, "a person", tmp_path, 3, 10, weights="owner/model")
    assert seeds(paths) == [12, 13, 14] and again == paths
    made.withheld = range(100)
    with pytest.raises(ValueError, match="withheld 6 of 6 pictures of 'a person'"):
        dreambooth.class_images(None, "a person", tmp_path, 3, 20, weights="owner/model")


def test_class_images_heal_when_the_safety_checker_is_taken_off_and_are_made_anew_when_it_is_put_on(made, tmp_path):
    checked, settings = SimpleNamespace(safety_checker="there"), {"weights": "owner/model"}
    made.withheld = {10}
    assert seeds(dreambooth.class_images(checked, "a person", tmp_path, 2, 10, **settings)) == [11, 12]
    made.withheld = ()
    assert seeds(dreambooth.class_images(None, "a person", tmp_path, 2, 10, **settings)) == [10, 11]
    assert made.seeds == [10, 11, 12, 10], "what it let pass stays"
    dreambooth.class_images(checked, "a person", tmp_path, 2, 10, **settings)
    assert made.seeds[4:] == [10, 11]


def test_no_class_images_at_all_are_refused_with_a_word_on_the_prior_weight(made, tmp_path):
    with pytest.raises(ValueError, match="prior weight to 0"):
        dreambooth.class_images(None, "a person", tmp_path, 0, 10, weights="owner/model")
    nothing = (torch.zeros(0, 4, 8, 8), [])
    with pytest.raises(ValueError, match="prior weight to 0"):
        dreambooth.denoising_loss(None, None, None, (torch.zeros(4, 4, 8, 8), ["a"] * 4), nothing)
    assert not [*tmp_path.iterdir()]


def test_class_images_are_pictures_of_the_model_and_tell_how_they_were_made(tiny, tmp_path):
    (path,) = dreambooth.class_images(tiny, "a person", tmp_path, 1, 7, weights=diffusion.POCKET, **SETTINGS)
    (expected,) = diffusion.generate(tiny, ["a person"], [7], **SETTINGS)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(expected))
    prompt, _, told = png_info.read(path)
    assert (prompt, told["Size"]) == ("a person", "16x16")
    assert told["Model hash"] == machine.weights_id(diffusion.POCKET)[:10]


def test_prompts_are_heard_once_or_anew_with_gradients(tiny):
    prompts = ["nesrelah_001 person", "a person", "nesrelah_001 person"]
    expected = diffusion.encode_prompts(tiny, prompts)
    for learns in (False, True):
        encode_text = dreambooth.PromptEncoder(tiny, prompts, learns)
        heard = encode_text(prompts)
        torch.testing.assert_close(heard.detach(), expected, rtol=1e-4, atol=1e-4)
        assert heard.requires_grad == learns and torch.equal(heard[0], heard[2])
        assert encode_text.pipe is (tiny if learns else None), "no model is kept alive for nothing"


def test_what_learns_is_as_asked(tiny):
    unet, text = ({id(p) for p in part.parameters()} for part in (tiny.unet, tiny.text_encoder))
    assert {id(p) for p in dreambooth.learn(tiny)} == unet
    assert not any(p.requires_grad for p in tiny.text_encoder.parameters())
    assert {id(p) for p in dreambooth.learn(tiny, text_encoder=True, checkpointing=True)} == unet | text
    assert all(p.requires_grad for p in tiny.text_encoder.parameters()) and tiny.unet.is_gradient_checkpointing


def test_a_text_encoder_that_learns_is_computed_twice_too_and_learns_the_same(tiny):
    """Gradient checkpointing: the same gradients, each layer run again in the backward pass."""
    found, runs, start = [], [], copy.deepcopy(tiny.text_encoder)
    for checkpointing in (False, True):
        tiny.text_encoder = copy.deepcopy(start)
        dreambooth.learn(tiny, text_encoder=True, checkpointing=checkpointing)
        (layer,) = [module for name, module in tiny.text_encoder.named_modules() if name.endswith("self_attn")]
        layer.register_forward_hook(lambda *_, now=checkpointing: runs.append(now))
        dreambooth.PromptEncoder(tiny, [], learns=True)(["nesrelah_001 person"]).square().sum().backward()
        found.append([parameter.grad for parameter in tiny.text_encoder.parameters()])
    assert runs == [False, True, True]
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def test_what_a_training_does_not_need_is_parked():
    """The safety checker, too: 0.6 GB of SD 1.5."""
    pipe = SimpleNamespace(unet="unet", vae="vae", text_encoder="text", safety_checker="checker")
    assert dreambooth.idle(pipe) == ["vae", "text", "checker"]
    assert dreambooth.idle(pipe, text_encoder=True) == ["vae", "checker"]
    pipe.safety_checker = None
    assert dreambooth.idle(pipe) == ["vae", "text"]


def test_no_photo_is_bound_to_the_same_class_images():
    batches = dreambooth.paired_batches(20, 32, 2, seed=1)
    drawn = [batches(step) for step in range(320)]
    photos = Counter(index for photo, _ in drawn for index in photo)
    images = Counter(index for _, image in drawn for index in image)
    assert set(photos.values()) == {32} and set(images.values()) == {20}
    partners = {image for photo, pair in drawn if 0 in photo for image in pair}
    assert len(partners) > 20  # bound by number it would have met 2 to 4
    assert dreambooth.paired_batches(5, 0, 2, seed=1)(0)[1] == [], "without class images"


@pytest.mark.parametrize("weight", [0.0, 0.75, 1.0])
def test_the_loss_weighs_the_class_against_the_subject(weight):
    prediction, noise = torch.randn(2, 6, 4, 8, 8)
    squares = (prediction - noise) ** 2
    expected = squares[:3].mean() + weight * squares[3:].mean()
    torch.testing.assert_close(dreambooth.dreambooth_loss(prediction, noise, weight), expected)


def test_a_trained_pipeline_is_saved_and_loads_as_any_other(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "base")
    pipe, model = diffusion.load_pipeline(str(tmp_path / "base")), tmp_path / "model"
    latents, embeds = torch.randn(2, 4, 8, 8), diffusion.encode_prompts(pipe, ["nesrelah_001 person", "a person"])
    scheduler, before = diffusion.training_scheduler(pipe), pipe.unet.conv_in.weight.clone()
    loss = training.denoising_loss(pipe.unet, scheduler, lambda batch: (latents, embeds))
    list(training.train(tmp_path / "run", pipe.unet.parameters(), loss, lambda i: i, steps=1, learning_rate=1e-4))
    assert not torch.equal(pipe.unet.conv_in.weight, before)
    (model / "old").mkdir(parents=True)
    dreambooth.save(model, pipe)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "model", "run"} and not (model / "old").exists()
    for path in model.rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), f"{path.name} says where the base lay"
    loaded, state = dreambooth.load(model, pipe), pipe.unet.state_dict()
    assert pipe.unet.dtype == torch.float32
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.unet.state_dict().items())
    for text in (False, True):
        learn, left = dreambooth.learn(loaded, text), dreambooth.result(model, pipe, text)
        assert all(torch.equal(ours, weight.float()) for ours, weight in zip(learn, left, strict=True))
    assert dreambooth.result(tmp_path / "not yet", pipe) is None
    first, second = (diffusion.generate(p, "nesrelah_001 person", [3], **SETTINGS)[0] for p in (pipe, loaded))
    assert np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_model_that_cannot_be_saved_leaves_the_old_one_and_the_pipeline_as_they_were(
    tiny, tmp_path, monkeypatch, error
):
    dreambooth.save(tmp_path / "model", tiny)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with torch.no_grad():
        tiny.unet.conv_in.weight.zero_()

    def half(self, folder, **settings):
        (folder / "unet").mkdir(parents=True)
        raise error

    monkeypatch.setattr(type(tiny), "save_pretrained", half)
    with pytest.raises(type(error), match="No room to write .*model.*Make room" if error.args else None):
        dreambooth.save(tmp_path / "model", tiny)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and tiny.unet.dtype == torch.float32


def test_an_old_model_is_empty_when_it_is_removed_for_drive_keeps_it_in_its_bin(tiny, tmp_path, monkeypatch):
    sizes, remove = [], shutil.rmtree

    def look(folder, **settings):
        sizes.extend(path.stat().st_size for path in folder.rglob("*.safetensors"))
        remove(folder, **settings)

    monkeypatch.setattr(shutil, "rmtree", look)
    for _ in range(2):
        dreambooth.save(tmp_path / "model", tiny)
    assert sizes == [0, 0, 0] and [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_safety_checker_is_not_saved_again_and_comes_back_from_the_base(tiny, tmp_path):
    """0.6 GB in each model of sd15, and all pictures must pass it all the same."""
    checker = torch.nn.Linear(2, 2)
    tiny.safety_checker, tiny.feature_extractor = checker, "extractor"
    dreambooth.save(tmp_path / "model", tiny)
    assert not (tmp_path / "model" / "safety_checker").exists() and tiny.safety_checker is checker
    assert dreambooth.load(tmp_path / "model", {"safety_checker": checker}).safety_checker is checker
