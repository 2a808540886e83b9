"""Notebook 04 with its settings turned the other way, at the smallest size: the cells themselves, in this process."""

import contextlib
import dataclasses
import functools
import gc
import json
import os
import re
import weakref
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from cells import execute
from safetensors.torch import load_file

from helpers import examples, files, lora, models, notebooks, runtime, towers, training

pytestmark = pytest.mark.slow

LEFT_OUT = {"04-03", "04-08", "04-10", "04-15", "04-18", "04-35", "04-40", "04-42", "04-44"}  # nothing rests on these
LATER = {"04-62", "04-65", "04-70", "04-71"}  # all up to 04-52, then these
SETTINGS = {  # what notebook 04 says: what it says here
    'os.environ.get("LENGTH", "short")': '"paper"',
    "USE_CAPTIONS = False": "USE_CAPTIONS = True",
    'TEXT_ENCODER = plan["text_encoder"]': "TEXT_ENCODER = True",
    "RANK = 8": "RANK = 3",
    "[1, 2, 3, 4]": "[1]",
    "split(4, 0)": "split(1, 0)",
    "subjects = [": 'subjects = [concepts.Concept("amir_001 man", "a photo of a man", photos.prepared_folder("amir")), ',
    "subjects[0].check": "subjects[-1].check",
}


LEAN = {  # and as on the smallest GPU
    'SETTING = "plain" if MODEL == "pocket" else "8 bit"': 'SETTING = "on host"',
    "torch.cuda.is_available()": "True",
}


def cells(settings=SETTINGS, until="04-52", later=LATER):
    """(id, source) of the code that is run; every one of `settings` is found in it once."""
    every = notebooks.read(notebooks.FOLDER / "04_train_dreambooth.ipynb").cells
    wanted = [cell for cell in every if cell.cell_type == "code" and (cell.id <= until or cell.id in later)]
    found = {cell.id: cell.source for cell in wanted if cell.id not in LEFT_OUT}
    for old, new in settings.items():
        (place,) = [name for name, source in found.items() if old in source]
        found[place] = found[place].replace(old, new, 1)
    return found


def features(images):
    """In place of CLIP: unit vectors, one a picture."""
    rows = np.stack([np.asarray(image.resize((8, 8)), dtype=float).ravel() for image in images])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@contextlib.contextmanager
def small(runs, likeness):
    """The notebook's surroundings, in small: six steps, two class images, no CLIP; a MonkeyPatch."""
    row = models.MODELS["pocket"]
    plan = row.dreambooth | {"steps": 50, "paper_steps": 6, "class_images": 2, "batch_size": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "pocket", dataclasses.replace(row, dreambooth=plan, num_inference_steps=2))
        patch.setattr(runtime, "RUNS", runs)
        patch.setattr(runtime, "QUICK", False)
        patch.setattr(towers, "load_towers", lambda name: SimpleNamespace(likeness_features=likeness))
        for variable in ("MODEL", "SUBJECT", "LENGTH"):
            patch.delenv(variable, raising=False)
        yield patch


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The notebook's names after two people were learnt, and what was noted on the way."""
    noted = SimpleNamespace(parked=[], trained=[], heard=[], compared=[], runs=tmp_path_factory.mktemp("runs"))
    parked, train = examples.parked, training.train

    def note_training(folder, *others, **settings):
        noted.trained.append((folder.name, list(noted.parked)))
        return train(folder, *others, **settings)

    @contextlib.contextmanager
    def note_parked(*modules):
        with parked(*modules):
            noted.parked = [type(module).__name__ for module in modules]
            yield
        noted.parked = []

    def likeness(images):
        noted.compared.append(len(images))
        return features(images)

    with small(noted.runs, likeness) as patch:
        patch.setattr(training, "train", note_training)
        patch.setattr(examples, "parked", note_parked)
        names = {"os": os}
        for name, source in cells().items():
            execute(source, names)
            if name == "04-06":  # the first pipeline
                noted.first = weakref.ref(names["pipe"].unet)
            if name == "04-33":  # the training comes next: what each batch hears
                names["hear"] = functools.partial(note_heard, noted, names["hear"])
    return names, noted


def note_heard(noted, hear, prompts):
    noted.heard.append(list(prompts))
    return hear(prompts)


def test_two_people_are_learnt_at_once_each_with_their_own_class(done):
    names, noted = done
    batches = [prompts for prompts in noted.heard if len(prompts) == 4]  # 2 photos, 2 class images
    assert len(batches) == 6
    named = [prompt for prompts in batches for prompt in prompts[:2]]
    others = [prompt for prompts in batches for prompt in prompts[2:]]
    assert {re.search(r"(amir|nesrelah)_001", prompt)[1] for prompt in named} == {"amir", "nesrelah"}
    counts = {prompt: others.count(prompt) for prompt in others}
    assert counts == {"a photo of a man": 6, "a photo of a person": 6}  # 12 drawn of 2 + 2: three epochs
    for path, prompt in zip(names["learning"], names["photo_prompts"], strict=True):
        assert f"{path.parent.name}_001" in prompt  # each photo says its own name
    for path, prompt in zip(names["class_paths"], names["class_prompts"], strict=True):
        assert path.parent.name.startswith(prompt.replace(" ", "-"))
    assert len(names["subject_latents"]) == len(names["learning"]) and len(names["class_latents"]) == 4


def test_captions_and_the_paper_s_length_are_as_set(done):
    names, noted = done
    assert len(set(names["photo_prompts"])) > 2 and any(" in " in prompt for prompt in names["photo_prompts"])
    table = pd.read_csv(noted.runs / "dreambooth_nesrelah" / "loss.csv")
    assert table["step"].iloc[-1] == 6 == names["STEPS"]
    assert table["learning_rate"].dropna().nunique() == 1  # the paper's length has a constant rate


def test_the_run_says_all_that_made_it(done):
    names, noted = done
    told = json.loads((noted.runs / "dreambooth_nesrelah" / "settings.json").read_text())
    assert told["batch_size"] == 2 and told["captions"] == names["photo_prompts"] and told["text_encoder"]
    assert told["class_images"] == [4, files.fingerprint(names["class_paths"])]
    assert told["guidance_scale"] == models.model("pocket").dreambooth["class_guidance"]  # that of the class images
    assert told["prompts"] == ["nesrelah_001 person", "a photo of a person"]  # makers.find reads the first
    assert told["subjects"] == [["amir_001 man", "a photo of a man"], told["prompts"]]


def test_what_was_trained_before_is_no_longer_in_memory(done):
    """On a GPU the second training would not fit beside the first."""
    _, noted = done
    gc.collect()
    assert noted.first() is None


def test_the_leanest_setting_trains_both_ways_and_lets_go(tmp_path):
    """Averages on the host, weights that move in the backward pass, checkpointing everywhere, as on 8 GB."""
    names, runs = {"os": os}, tmp_path / "runs"
    with small(runs, features):
        for name, source in cells(SETTINGS | LEAN, "04-39", {"04-70", "04-71"}).items():
            execute(source, names)
            if name == "04-39":
                trained = weakref.ref(names["pipe"].unet)
                before = models.load_pipeline("pocket").unet.conv_in.weight
                assert not torch.equal(names["pipe"].unet.conv_in.weight, before)
    assert json.loads((runs / "dreambooth_nesrelah" / "settings.json").read_text())["optimizer"] == "on_host"
    tensors = load_file(runs / "lora_nesrelah" / "nesrelah.safetensors")
    silent = [name for name, tensor in tensors.items() if "lora_B" in name and not tensor.any()]
    assert not silent, "no gradient came so far"
    gc.collect()
    assert trained() is None


def test_every_training_has_what_it_does_not_need_out_of_the_way(done):
    _, noted = done
    assert [name for name, _ in noted.trained] == [
        "dreambooth_nesrelah",
        "dreambooth_nesrelah_without_class",
        "lora_nesrelah",
    ]
    assert all(parts == ["AutoencoderKL"] for _, parts in noted.trained)  # the text encoder learns


def test_with_and_without_class_images_differ_in_one_number(done):
    """The same choice of step and the same 16 bits on both sides, and every other setting."""
    _, noted = done
    runs = [noted.runs / name for name in ("dreambooth_nesrelah", "dreambooth_nesrelah_without_class")]
    first, second = (json.loads((run / "settings.json").read_text()) for run in runs)
    assert {name for name in first if first[name] != second[name]} == {"prior_weight"}
    for run_folder in runs:
        best = torch.load(run_folder / "checkpoints" / "best.pt", weights_only=True)["weights"]
        pipe = models.load_pipeline(str(run_folder / "model"))
        saved = [*pipe.unet.parameters(), *pipe.text_encoder.parameters()]
        for weight, kept in zip(best, saved, strict=True):
            assert torch.equal(weight.half(), kept.half())
    texts = [models.load_pipeline(str(place)).text_encoder.state_dict() for place in (models.POCKET, runs[0] / "model")]
    assert any(not torch.equal(old, new) for old, new in zip(texts[0].values(), texts[1].values()))


def test_copies_are_looked_for_in_the_best_and_in_the_last_weights(done):
    names, noted = done
    assert noted.compared == [len(names["learning"]), len(names["best"][0]), len(names["last"][0])]


def test_the_lora_has_the_rank_and_the_text_encoder_that_were_asked_for(done):
    names, noted = done
    place = noted.runs / "lora_nesrelah"
    for path, text in {"nesrelah": "text_encoder.text_model.", "nesrelah_webui": "lora_te_text_model_"}.items():
        tensors = load_file(place / f"{path}.safetensors")
        assert any(name.startswith(text) for name in tensors) and any("unet" in name for name in tensors)
        downs = [tensor for name, tensor in tensors.items() if "lora_A" in name or "lora_down" in name]
        assert downs and {tensor.shape[0] for tensor in downs} == {3}
        assert any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name or "lora_up" in name)
    told = json.loads((place / "settings.json").read_text())
    assert told["prior_weight"] == names["PRIOR_WEIGHT"]
    assert told["rank"] == 3 == lora.rank_of(load_file(place / "nesrelah.safetensors"))
