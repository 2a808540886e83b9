"""Notebooks 04 and 05 with settings turned the other way: the cells themselves, in this process, on random weights."""

import dataclasses
import gc
import os
import re
import shutil
import weakref
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from cells import execute, sources
from conftest import tiny_pipeline
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from helpers import diffusion, machine
from helpers.compare import features, scores
from helpers.diffusion import models
from helpers.methods import dreambooth
from helpers.training import examples, loop

pytestmark = pytest.mark.slow

RUN = {  # of each notebook the cells on which something rests, in their order
    "04_train_dreambooth": [
        "imports", "settings", "name", "before", "photos", "class-images", "step", "loss", "settings-of-run", "measure",
        "train", "after", "without", "best-last", "copied",
    ],
    "05_memory_files_lora": ["imports", "settings", "export", "size", "data", "lora", "train", "save"],
}  # fmt: skip
SETTINGS = {  # what the notebooks say: what they say here, as on the smallest GPU
    'os.environ.get("LENGTH", "short")': '"paper"',
    'SETTING = "plain" if MODEL == "pocket" else "in backward"': 'SETTING = "on host"',
    "USE_CAPTIONS = False": "USE_CAPTIONS = True",
    "[1, 2, 3, 4]": "[1]",
    "subjects, 4": "subjects, 1",
    "subjects = [": 'subjects = [concepts.Concept("amir_001 man", "a photo of a man", photos.prepared_folder("amir")), ',
    "RANK = 8": "RANK = 3",
    "list(range(1, 17))": "[1]",
    'CHECKPOINTING = MODEL != "pocket"': "CHECKPOINTING = True",
}


def cells():
    """{notebook: {id: source}} of the code that is run; every one of SETTINGS is found in it once."""
    found = {}
    for notebook, wanted in RUN.items():
        every = sources(notebook)
        found[notebook] = {name: every[name] for name in [f"{notebook[:2]}-{cell}" for cell in wanted]}
    for old, new in SETTINGS.items():
        (place,) = [(n, name) for n, every in found.items() for name, source in every.items() if old in source]
        found[place[0]][place[1]] = found[place[0]][place[1]].replace(old, new, 1)
    return found


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A function that runs the cells as a session of its own does; the runs of the one before are there."""
    noted = SimpleNamespace(moved=[], heard=[], folder=tmp_path_factory.mktemp("04"))
    noted.runs = noted.folder / "runs"

    tiny_pipeline().save_pretrained(noted.folder / "base")
    row, small = models.MODELS["pocket"], {"weights": str(noted.folder / "base"), "image_size": 16}
    small["num_inference_steps"] = 2
    small["dreambooth"] = row.dreambooth | {"paper_steps": 4, "steps": 4, "class_images": 2, "batch_size": 2}
    small["dreambooth"]["class_guidance"] = row.guidance_scale - 1  # so that one cannot be taken for the other
    encode_text = dreambooth.PromptEncoder.__call__
    tower = SimpleNamespace(likeness_features=lambda images: np.eye(len(images), 99))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "pocket", dataclasses.replace(row, **small))
        patch.setattr(machine, "RUNS", noted.runs)
        patch.setattr(machine, "QUICK", False)
        patch.setattr(features, "load_encoders", lambda name: tower)
        patch.setattr(scores, "load_scorers", lambda name, people: dict.fromkeys(people))
        hear = lambda self, said: noted.heard.append(said) or encode_text(self, said)
        patch.setattr(dreambooth.PromptEncoder, "__call__", hear)
        patch.setattr(examples, "_move", lambda parts, places: noted.moved.append((*map(type, parts), *places)))
        for variable in ("MODEL", "SUBJECT", "LENGTH", "CLASS_GUIDANCE"):
            patch.delenv(variable, raising=False)

        def run():
            names, light = {"os": os}, {"os": os}
            whole, small = cells().values()
            for name, source in whole.items():
                execute(source, names)
                if name == "04-name":
                    noted.first = weakref.ref(names["pipe"].unet)
            for source in small.values():
                execute(source, light)
            return names, noted

        yield run


@pytest.fixture(scope="module")
def done(session):
    """The notebook's names after two people were learnt in four steps, and what was noted on the way."""
    return session()


def told(noted, run):
    return machine.read_json(noted.runs / run / "settings.json")


def test_two_people_are_learnt_at_once_each_with_their_own_class(done):
    names, noted = done
    batches = [prompts for prompts in noted.heard if len(prompts) == 4][:4]  # 2 photos, 2 class images
    named = [prompt for prompts in batches for prompt in prompts[:2]]
    others = [prompt for prompts in batches for prompt in prompts[2:]]
    assert {re.search(r"(amir|nesrelah)_001", prompt)[1] for prompt in named} == {"amir", "nesrelah"}
    counts = {prompt: others.count(prompt) for prompt in others}
    assert counts == {"a photo of a man": 4, "a photo of a person": 4}  # 8 drawn of 2 + 2: two epochs
    for path, prompt in zip(names["train_paths"], names["photo_prompts"], strict=True):
        assert f"{path.parent.name}_001" in prompt  # each photo says its own name
    for path, prompt in zip(names["class_paths"], names["class_prompts"], strict=True):
        assert path.parent.name.startswith(prompt.replace(" ", "-"))
    assert len(names["photo_latents"]) == len(names["train_paths"]) and len(names["class_latents"]) == 4


def test_captions_length_and_memory_are_as_set_and_the_run_says_all_that_made_it(done):
    names, noted = done
    assert len(set(names["photo_prompts"])) > 2 and any(" in " in prompt for prompt in names["photo_prompts"])
    table = pd.read_csv(noted.runs / "dreambooth_nesrelah" / "loss.csv")
    assert table["step"].iloc[-1] == 4 and table["learning_rate"].dropna().nunique() == 1  # the paper's is constant
    settings = told(noted, "dreambooth_nesrelah")
    expected = {
        "batch_size": 2,
        "captions": names["photo_prompts"],
        "text_encoder": True,
        "optimizer": "on_host",
        "class_images": [4, machine.fingerprint(names["class_paths"])],
        "guidance_scale": diffusion.model_config("pocket").dreambooth["class_guidance"],  # that of the class images
        "prompts": ["nesrelah_001 person", "a photo of a person"],  # trained_models.find reads the first
        "subjects": [["amir_001 man", "a photo of a man"], ["nesrelah_001 person", "a photo of a person"]],
    }
    assert {name: settings[name] for name in expected} == expected
    assert names["sampler"]["guidance_scale"] == expected["guidance_scale"] + 1, "all other pictures"


def test_every_training_has_what_it_does_not_need_out_of_the_way(done):
    """On a GPU the second training would not fit beside the first."""
    _, noted = done
    assert {part for *parts, _ in noted.moved for part in parts} == {AutoencoderKL}, "the text encoder learns"
    assert sum(place == "cpu" for *_, place in noted.moved) == 3, "three trainings"
    gc.collect()
    assert noted.first() is None


def test_with_and_without_class_images_differ_in_one_number(done):
    """The same choice of step and the same 16 bits on both sides, and every other setting."""
    _, noted = done
    runs = ["dreambooth_nesrelah", "dreambooth_nesrelah_without_class"]
    first, second = (told(noted, run) for run in runs)
    assert {name for name in first if first[name] != second[name]} == {"prior_weight"}
    base = diffusion.load_pipeline(str(noted.folder / "base"))
    for run in runs:
        best = torch.load(noted.runs / run / "checkpoints" / "best.pt", weights_only=True)["weights"]
        pipe = diffusion.load_pipeline(str(noted.runs / run / "model"))
        for part, before in ((pipe.unet, base.unet), (pipe.text_encoder, base.text_encoder)):
            assert any(not torch.equal(old, new) for old, new in zip(before.parameters(), part.parameters()))
        for weight, kept in zip(best, [*pipe.unet.parameters(), *pipe.text_encoder.parameters()], strict=True):
            assert torch.equal(weight.half(), kept.half())


def test_the_lora_has_the_rank_and_the_text_encoder_that_were_asked_for(done):
    _, noted = done
    settings = told(noted, "lora_nesrelah")
    assert (settings["prior_weight"], settings["rank"]) == (1.0, 3)
    for path, text in {"nesrelah": "text_encoder.text_model.", "nesrelah_webui": "lora_te_text_model_"}.items():
        tensors = load_file(noted.runs / "lora_nesrelah" / f"{path}.safetensors")
        assert any(name.startswith(text) for name in tensors) and any("unet" in name for name in tensors)
        downs = [tensor for name, tensor in tensors.items() if "lora_A" in name or "lora_down" in name]
        assert {tensor.shape[0] for tensor in downs} == {3}
        ups = [tensor for name, tensor in tensors.items() if "lora_B" in name or "lora_up" in name]
        assert ups and all(tensor.any() for tensor in ups), "a gradient came to each"


@pytest.mark.weekly
def test_a_later_session_without_the_checkpoints_reads_both_whole_models(done, session, monkeypatch):
    """As on Colab with Google Drive, where checkpoints go with the machine; last, for it changes what is there."""
    names, noted = done
    runs = [noted.runs / run for run in ("dreambooth_nesrelah", "dreambooth_nesrelah_without_class")]
    before = {path: path.read_bytes() for run in runs for path in (run / "model").rglob("*") if path.is_file()}
    for run in runs:
        shutil.rmtree(run / "checkpoints")
    monkeypatch.setattr(loop, "update", None)  # the LoRA, whose checkpoints stay, is finished, too
    again, _ = session()
    assert (again["kept"], again["kept_without"]) == (names["kept"], names["kept_without"])
    assert before == {path: path.read_bytes() for path in before}
    assert not any((run / "checkpoints").exists() for run in runs)
