import pytest
from PIL import Image

from helpers import compare, diffusion, files, runtime

SAMPLER = {"guidance_scale": 5.0, "num_inference_steps": 20}


@pytest.fixture
def asked(monkeypatch):
    """Replaces the diffusion by a colour a (prompt, seed) pair; returns the pairs that were asked for."""
    pairs = []

    def generate(pipe, prompts, seeds, **sampler):
        assert sampler == SAMPLER | {"num_inference_steps": sampler["num_inference_steps"]}
        pairs.extend(zip(prompts, seeds))
        return [Image.new("RGB", (8, 8), color(prompt, seed)) for prompt, seed in zip(prompts, seeds)]

    monkeypatch.setattr(diffusion, "generate", generate)
    return pairs


def color(prompt, seed):
    return (len(prompt), seed, 7)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "amir.pt"
    path.write_bytes(b"first training")
    return path


def test_each_prompt_meets_each_seed_in_order(tmp_path, asked, weights):
    prompts, seeds = ["a man", "a woman", "a man!"], [3, 1, 2, 9]
    images = compare.images(tmp_path / "base", None, weights, prompts, seeds, **SAMPLER)
    assert [image.getpixel((0, 0)) for image in images] == [color(p, s) for p in prompts for s in seeds]
    assert len(asked) == 12


def test_only_what_is_missing_is_made(tmp_path, asked, weights):
    first = compare.images(tmp_path / "base", None, weights, ["a man"], [1, 2], **SAMPLER)
    asked.clear()
    more = compare.images(tmp_path / "base", None, weights, ["a man", "a dog"], [1, 2], **SAMPLER)
    assert asked == [("a dog", 1), ("a dog", 2)]
    assert [image.tobytes() for image in more[:2]] == [image.tobytes() for image in first]


def test_other_weights_or_settings_make_all_again(tmp_path, asked, weights):
    folder = tmp_path / "hypernetwork"
    compare.images(folder, None, weights, ["a man"], [1, 2], **SAMPLER)
    weights.write_bytes(b"second training")
    compare.images(folder, None, weights, ["a man"], [1], **SAMPLER)
    assert asked == [("a man", 1), ("a man", 2), ("a man", 1)]
    assert len(list(folder.glob("*.png"))) == 1
    compare.images(folder, None, weights, ["a man"], [1], **(SAMPLER | {"num_inference_steps": 5}))
    assert len(asked) == 4


def test_file_names_are_readable_and_never_the_same():
    long = "Man made of fire, intricate heat distortion designs, elegant, "
    names = {compare.file_name(prompt, 1) for prompt in ("a man", "A man", "a man!", long + "x", long + "y", "رجل")}
    assert len(names) == 6
    assert all(name.isascii() and "/" not in name for name in names)
    assert compare.file_name("a photo of a man", 7).startswith("a-photo-of-a-man-")


def test_fingerprints_follow_the_weights(tmp_path):
    (tmp_path / "unet").mkdir()
    inner = tmp_path / "unet" / "weights.safetensors"
    inner.write_bytes(b"one")
    before = compare.fingerprint(tmp_path)
    assert before == compare.fingerprint(tmp_path)
    inner.write_bytes(b"two")
    assert compare.fingerprint(tmp_path) != before
    hub_id = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert compare.fingerprint(hub_id) == hub_id


def test_a_training_that_is_not_there_names_its_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "RUNS", tmp_path)
    asked = ("hypernetwork_amir", "03_train_hypernetwork", "pocket")
    with pytest.raises(FileNotFoundError, match=r"run notebooks/03_train_hypernetwork.ipynb first"):
        compare.finished_run(*asked)
    run = tmp_path / "hypernetwork_amir"
    files.write_json(run / "settings.json", {"model": "pocket"})
    with pytest.raises(FileNotFoundError, match="no finished training"):
        compare.finished_run(*asked)
    (run / "card.md").write_text("done")
    assert compare.finished_run(*asked) == run
    files.write_json(run / "settings.json", {"model": "sd15"})
    with pytest.raises(ValueError, match="is of sd15, not pocket"):
        compare.finished_run(*asked)


def test_training_facts_come_from_the_run_folder(tmp_path):
    (tmp_path / "loss.csv").write_text("step,loss,held_out_loss,learning_rate,seconds\n0,,0.9,,0\n300,0.1,0.2,0,90.4\n")
    (tmp_path / "model" / "unet").mkdir(parents=True)
    (tmp_path / "model" / "unet" / "weights.safetensors").write_bytes(bytes(1_500_000))
    (tmp_path / "model" / "index.json").write_bytes(bytes(500_000))
    facts = compare.training_facts(tmp_path, tmp_path / "model")
    assert facts == {"steps": 300, "minutes": 1.5, "MB on disk": 2.0}
    assert compare.training_facts(tmp_path, tmp_path / "model" / "index.json")["MB on disk"] == 0.5
