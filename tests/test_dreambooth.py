from collections import Counter

import numpy as np
import torch
from PIL import Image

from helpers import diffusion, dreambooth, models, training


def test_the_paper_s_identifier_is_rare_and_a_word_is_not(pocket_pipeline):
    pieces, known = dreambooth.check_identifier(pocket_pipeline.tokenizer, "nesrelah_001")
    assert len(pieces) > 4 and known == []
    assert dreambooth.check_identifier(pocket_pipeline.tokenizer, "woman_001")[1] == ["woman"]


def test_class_images_are_kept_counted_and_reused(pocket_pipeline, tmp_path, monkeypatch):
    made = []

    def draw(pipe, prompt, seeds, **settings):
        made.extend(seeds)
        return [Image.new("RGB", (8, 8), (seed % 256, 0, 0)) for seed in seeds]

    monkeypatch.setattr(dreambooth, "generate", draw)
    settings = {"guidance_scale": 5, "num_inference_steps": 20}
    paths = dreambooth.class_images(None, "a photo of a person", tmp_path, 3, 10, **settings)
    before = paths[1].stat().st_mtime_ns
    paths[2].unlink()
    more = dreambooth.class_images(None, "a photo of a person", tmp_path, 5, 10, **settings, batch_size=2)
    assert made == [10, 11, 12, 12, 13, 14] and more[:3] == paths
    assert [Image.open(path).getpixel((0, 0))[0] for path in more] == [10, 11, 12, 13, 14]
    assert more[1].stat().st_mtime_ns == before
    made.clear()
    for changed in ({"guidance_scale": 4}, {"weights": "others"}):
        other = dreambooth.class_images(None, "a photo of a person", tmp_path, 1, 10, **settings | changed)
        assert other[0] not in more and other[0].exists()
    assert made == [10, 10]


def test_class_images_are_pictures_of_the_model(pocket_pipeline, tmp_path):
    settings = {"guidance_scale": 2, "num_inference_steps": 2}
    (path,) = dreambooth.class_images(pocket_pipeline, "a person", tmp_path, 1, 7, **settings)
    (expected,) = diffusion.generate(pocket_pipeline, "a person", [7], **settings)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(expected))


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
    loaded = models.load_pipeline(str(tmp_path / "model"))
    for name, tensor in pipe.unet.state_dict().items():
        assert torch.equal(tensor, loaded.unet.state_dict()[name]), name
    settings = {"guidance_scale": 2, "num_inference_steps": 2}
    first, second = (diffusion.generate(p, "nesrelah_001 person", [3], **settings)[0] for p in (pipe, loaded))
    assert np.array_equal(np.asarray(first), np.asarray(second))
