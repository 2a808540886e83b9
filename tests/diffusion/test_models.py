import pickle
import shutil
import threading
import warnings
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
import web_ui
from transformers import CLIPTextConfig, CLIPTextModel, modeling_utils
from transformers.utils import peft_utils

from helpers import diffusion
from helpers.diffusion import model_config, models

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_sd15_is_taken_from_where_the_environment_says(monkeypatch, tmp_path):
    assert model_config("sd15") == models.MODELS["sd15"]
    monkeypatch.setenv("SD15_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SD15_CAPTIONER", "blip-folder")
    monkeypatch.setenv("SD15_CLIP", "clip-folder")
    config = model_config("sd15")
    assert (config.weights, config.captioner, config.clip) == (str(tmp_path), "blip-folder", "clip-folder")
    assert config.variant is None and config.dreambooth == models.MODELS["sd15"].dreambooth


def test_any_other_folder_or_hub_id_is_a_row_like_sd15(tmp_path):
    assert model_config(str(tmp_path)).weights == str(tmp_path)
    assert model_config(str(tmp_path)).name == tmp_path.name, "runs and cards tell of no home folder"
    assert models.last_part(tmp_path / "gone" / "my model") == "my model"
    assert [models.last_part(name) for name in ("pocket", "owner/name")] == ["pocket", "owner/name"]
    assert model_config("owner/some-model").image_size == 512
    assert model_config(model_config("pocket")) is models.MODELS["pocket"]


@pytest.mark.parametrize("name", ["sd51", "weights/none.safetensors", "/no/such/folder"])
def test_a_model_that_is_nowhere_is_refused(name):
    with pytest.raises(ValueError, match="No model"):
        model_config(name)


@pytest.mark.parametrize(
    "kind, name, dtype",
    [
        ("mps", "", torch.float32),
        ("xpu", "", torch.float16),
        ("cuda", "Tesla T4", torch.float16),
        ("cuda", "NVIDIA GeForce GTX 1660 Ti", torch.float32),  # in float16 it makes black pictures
    ],
)
def test_each_device_gets_the_precision_it_works_in(kind, name, dtype, monkeypatch):
    """The move itself is only written down here: there may be no such device."""
    moved = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(models, "find_device", lambda: torch.device(kind))
    monkeypatch.setattr(models.StableDiffusionPipeline, "to", lambda pipe, place: moved.append(place) or pipe)
    pipe = diffusion.load_pipeline("pocket")
    assert pipe.unet.dtype == dtype and [place.type for place in moved] == [kind] and pipe.vae.use_slicing


def test_no_thread_fetches_a_second_copy_of_a_model_without_safetensors(tmp_path, monkeypatch):
    """BLIP, CLIP and DINO are such on the hub: transformers would look for a converted copy, or ask for one to be made."""
    CLIPTextModel(CLIPTextConfig(**SMALL, vocab_size=10)).save_pretrained(tmp_path)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    there = lambda source, name, **_: str(tmp_path / name) if (tmp_path / name).exists() else None
    asked = []
    for asks in (modeling_utils, peft_utils):
        monkeypatch.setattr(asks, "cached_file", there)
    monkeypatch.setattr(modeling_utils, "has_file", lambda *_, **__: False)
    monkeypatch.setattr(modeling_utils, "is_offline_mode", lambda: False)
    monkeypatch.setattr(modeling_utils, "auto_conversion", lambda *_, **__: asked.append(threading.current_thread()))
    CLIPTextModel.from_pretrained("owner/name", config=CLIPTextConfig.from_pretrained(tmp_path))
    assert not asked


def test_weights_cut_short_are_told_in_a_sentence(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "cut")
    assert diffusion.load_pipeline(str(tmp_path / "cut")).unet.dtype == torch.float32
    path = tmp_path / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    for name in ("cut", "model.safetensors"):
        with pytest.raises(OSError, match=f"{name} is not a whole Stable Diffusion"):
            diffusion.load_pipeline(str(tmp_path / name))


def test_a_model_the_hub_does_not_give_is_told_in_a_sentence(monkeypatch):
    def refuse(config, settings):
        raise OSError("runwayml/none is not a local folder and is not a valid model identifier\nMore lines")

    monkeypatch.setattr(models, "_read", refuse)
    with pytest.raises(OSError, match="runwayml/none .*identifier.*SD15_WEIGHTS") as caught:
        diffusion.load_pipeline("runwayml/none")
    assert "\n" not in str(caught.value) and "More lines" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("sd15", ("stable-diffusion-v1-5/stable-diffusion-v1-5", models.REVISIONS)),
        ("owner/model@0123abc", ("owner/model", {"owner/model": "0123abc"})),
        ("owner/model", ("owner/model", {})),
    ],
)
def test_a_name_on_the_hub_stands_for_one_commit_or_it_is_told(name, asked, monkeypatch):
    seen = []

    def ask(source, **settings):
        seen.append((source, settings.get("revision")))
        raise RuntimeError("Nobody answers.")

    for kind in ("StableDiffusionPipeline", "BlipForConditionalGeneration", "CLIPModel"):
        monkeypatch.setattr(getattr(models, kind), "from_pretrained", ask)
    source, revisions = asked
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(OSError, match=source):
            diffusion.load_pipeline(name)
    assert seen == [(source, revisions.get(source))]
    assert bool([w for w in told if "@<commit>" in str(w.message)]) is (name == "owner/model")
    for load in (models.load_captioner, models.load_clip):
        with pytest.raises(OSError, match="did not come from the Hugging Face hub"):
            load("sd15")
    assert [revision for _, revision in seen[1:]] == [models.REVISIONS[source] for source, _ in seen[1:]]


@pytest.mark.parametrize("data", [b"", b"hello", bytes(1000), pickle.dumps(web_ui.Evil(), protocol=2)])
def test_a_malformed_captioner_or_clip_is_told_in_a_sentence(monkeypatch, tmp_path, capsys, data):
    for load, kind in ((models.load_captioner, "captioner"), (models.load_clip, "clip")):
        folder = tmp_path / kind
        shutil.copytree(getattr(model_config("pocket"), kind), folder, ignore=shutil.ignore_patterns("*.safetensors"))
        (folder / "pytorch_model.bin").write_bytes(data)
        monkeypatch.setenv(f"SD15_{kind.upper()}", str(folder))
        with pytest.raises(OSError, match=f"{kind} is not a whole") as caught:
            load("sd15")
        assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(("version", "keyword"), [("0.39.0", "torch_dtype"), ("0.42.1", "dtype")])
def test_the_keyword_for_precision_follows_the_version(version, keyword):
    assert models._dtype_keyword(SimpleNamespace(__version__=version), "0.42") == keyword
