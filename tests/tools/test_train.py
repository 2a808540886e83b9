"""tools.train: what it learns is what notebooks 03 and 04 learn, and two processes learn what one learns."""

import dataclasses
import json
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from cells import execute, sources
from launch import two_processes

from benchmarks import hypernetwork_full_size
from helpers import diffusion, machine, photos, training
from helpers.diffusion import device, models
from helpers.methods import dreambooth, hypernetwork_file, lora, textual_inversion
from tools import train

PREPARED = machine.REPO / "data" / "prepared" / "amir"


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A copy of the finished photos of amir, so that nothing is written into data."""
    folder = tmp_path / "prepared"
    shutil.copytree(PREPARED, folder)
    monkeypatch.setattr(photos, "prepared_folder", lambda name: folder)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where runs are kept; pictures take one step, and no processor finds bfloat16 faster at times and at times not."""
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    config = models.MODELS["pocket"]
    plan = config.dreambooth | {"steps": 4, "class_images": 2, "batch_size": 1}
    monkeypatch.setitem(models.MODELS, "pocket", dataclasses.replace(config, dreambooth=plan, num_inference_steps=1))
    return tmp_path


def same_runs(one, other):
    """The same weights, losses and settings, bit for bit, in two runs' folders."""
    last = max((one / "checkpoints").glob("0*.pt")).name
    weights = [training.run.read(run / "checkpoints" / last)["weights"] for run in (one, other)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*weights, strict=True))
    losses = [[line.split(",")[:2] for line in (run / "loss.csv").read_text().splitlines()] for run in (one, other)]
    assert losses[0] == losses[1]
    told = [json.loads((run / "settings.json").read_text()) for run in (one, other)]
    for settings in told:
        settings.pop("preview", None)  # the command makes none
    assert told[0] == told[1], "each goes on with what the other began"


@pytest.mark.slow
def test_it_holds_out_the_photos_that_are_written_down_whatever_the_seed(prepared, folder):
    train.main(["--steps", "1", "--batch-size", "1", "--seed", "7"])
    dealt = json.loads((PREPARED / "split.json").read_text())
    header = (folder / "hypernetwork_amir" / "held_out.csv").read_text().splitlines()[0]
    assert header.split(",")[1:] == dealt["validation"]
    assert json.loads((prepared / "split.json").read_text()) == dealt


@pytest.mark.slow
def test_its_hypernetwork_is_that_of_notebook_03(prepared, folder, monkeypatch):
    monkeypatch.chdir(machine.REPO)
    source, names = sources("03_train_hypernetwork"), {"os": os, "exercises": None}
    for cell in ("03-imports", "03-settings"):
        execute(source[cell], names)
    names |= {"STEPS": 4, "CLASS": "man", "PROMPTS": ["a photo of a man"], "SEEDS": [1, 2]}
    names |= {"pipe": diffusion.load_pipeline("pocket")}
    names["sampler"] = {"guidance_scale": 5.0, "num_inference_steps": 1}
    names["before"] = [diffusion.generate(names["pipe"], "a photo of a man", [1, 2], **names["sampler"])]
    for cell in ("photos", "encode", "step", "measure", "train", "file"):
        execute(source[f"03-{cell}"], names)
    train.main(["--steps", "4", "--folder", str(folder / "command")])
    same_runs(folder / "command", names["RUN"])
    ours, theirs = (hypernetwork_file.load(run / "hypernetwork.pt") for run in (folder / "command", names["RUN"]))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    files = [{path.name for path in run.iterdir()} for run in (folder / "command", names["RUN"])]
    assert files[1] - files[0] == {"previews", "copies"}


@pytest.mark.slow
def test_a_hypernetwork_practises_what_the_model_made_before_it(prepared, folder, monkeypatch):
    asked, sides = [], []

    def class_images(pipe, prompt, folder, count, seed, **settings):
        asked.append((prompt, count, any(module._forward_pre_hooks for module in pipe.unet.modules())))
        return sorted(prepared.glob("*.png"))[:count]

    def loss(prediction, noise, prior_weight):
        sides.append((len(prediction), prior_weight))
        return dreambooth_loss(prediction, noise, prior_weight)

    dreambooth_loss = dreambooth.dreambooth_loss
    monkeypatch.setattr(dreambooth, "class_images", class_images)
    monkeypatch.setattr(dreambooth, "dreambooth_loss", loss)
    prompts = ["--class-prompt", "a photo of a woman", "--class-prompt", "a woman riding a horse", "--class-prompt", ""]
    train.main(["--steps", "1", "--batch-size", "3", "--class-images", "6", "--prior-weight", "0.3", *prompts])
    assert asked == [(prompt, 2, False) for prompt in prompts[1::2]] and sides == [(6, 0.3)]
    settings = machine.read_json(folder / "hypernetwork_amir" / "settings.json")
    assert settings["class_prompts"] == prompts[1::2] and settings["prior_weight"] == 0.3
    assert (folder / "hypernetwork_amir" / "hypernetwork.pt").exists()


@pytest.fixture
def practice(monkeypatch):
    """Class images are photos that are there: the prompts asked for, with their guidance, and those of both losses."""
    seen = SimpleNamespace(asked=[], guidance=set(), learnt=[], practised=[])

    def class_images(pipe, prompt, folder, count, seed, guidance_scale, **settings):
        seen.asked.append(prompt)
        seen.guidance.add(guidance_scale)
        return sorted(PREPARED.glob("*.png"))[:count]

    def loss(unet, scheduler, encode_text, photos, class_images, **weights):
        seen.learnt, seen.practised = photos[1], class_images[1]
        return denoising_loss(unet, scheduler, encode_text, photos, class_images, **weights)

    denoising_loss = dreambooth.denoising_loss
    monkeypatch.setattr(dreambooth, "class_images", class_images)
    monkeypatch.setattr(dreambooth, "denoising_loss", loss)
    return seen


MORE = ["--class-prompt", "a photo of a woman", "--class-prompt", ""]


@pytest.mark.slow
def test_a_lora_practises_other_classes_beside_its_subject_s(folder, practice):
    train.main(["--method", "lora", "--steps", "1", "--batch-size", "1", *MORE])
    assert practice.asked == ["a photo of a person", *MORE[1::2]]
    assert practice.practised == [prompt for prompt in practice.asked for _ in range(2)]
    assert set(practice.learnt) == {"nesrelah_001 person"} and practice.guidance == {3.0}
    assert machine.read_json(folder / "lora_nesrelah" / "settings.json")["class_prompts"] == MORE[1::2]


@pytest.mark.slow
def test_without_an_identifier_the_class_word_learns_and_is_not_practised(prepared, folder, practice):
    (prepared / "consent.json").write_text('{"who": "he", "what_for": "this test", "until": "2099-01-01"}')
    how = ["--method", "lora", "--subject", "amir", "--no-identifier", "--captions", "--class-guidance", "1", *MORE]
    train.main([*how, "--steps", "1", "--batch-size", "1"])
    captions = photos.read_captions(prepared).set_index("file")["caption"]
    assert practice.asked == MORE[1::2] and practice.guidance == {1.0}
    assert practice.learnt == [captions[path.name] for path in photos.split(sorted(prepared.glob("*.png")), 4)[0]]
    assert (folder / "lora_amir_class_word" / "amir_webui.safetensors").exists()
    assert not (folder / "lora_amir").exists(), "whoever compares looks there for a LoRA with a name"


@pytest.mark.slow
def test_its_dreambooth_and_its_lora_are_those_of_notebooks_04_and_05(folder, monkeypatch):
    monkeypatch.chdir(machine.REPO)
    monkeypatch.setattr(machine, "QUICK", False)
    given = {"CLASS_PROMPT": "a photo of a person", "INSTANCE_PROMPT": "nesrelah_001 person"}
    given |= {"PROMPTS": list(reversed(given.values())), "sampler": {"guidance_scale": 5.0, "num_inference_steps": 1}}
    source, names = sources("04_train_dreambooth"), {"os": os}
    for cell in (
        "imports",
        "settings",
        "photos",
        "class-images",
        "step",
        "loss",
        "settings-of-run",
        "measure",
        "train",
    ):
        execute(source[f"04-{cell}"], names)
        names |= {"pipe": names.get("pipe") or diffusion.load_pipeline("pocket")} | given
    source, light = sources("05_memory_files_lora"), {"os": os, "weights": 1, "size": 1, "made": {}}
    for cell in ("imports", "settings", "data", "lora", "train", "save"):
        execute(source[f"05-{cell}"], light)
        light |= given | {"pictures": lambda pipe: None}
    assert len(names["class_paths"]) == 2
    for method in ("dreambooth", "lora"):
        train.main(["--method", method, "--folder", str(folder / method)])
        same_runs(folder / method, folder / f"{method}_nesrelah")
    assert len(list((folder / "class_images").iterdir())) == 1, "the notebook's class images are the command's"
    pipe = diffusion.load_pipeline(str(folder / "dreambooth" / "model"))
    weights = training.run.read(folder / "dreambooth" / "checkpoints" / "000004.pt")["weights"]
    saved = [*pipe.unet.parameters(), *pipe.text_encoder.parameters()]
    assert all(torch.equal(one.half(), other.half()) for one, other in zip(weights, saved, strict=True))
    lora.load(pipe, folder / "lora" / "nesrelah_webui.safetensors")


@pytest.mark.slow
def test_a_new_word_learns_from_the_captions_and_is_saved_for_both_tools(prepared, folder):
    train.main(["--method", "textual_inversion", "--subject", "amir", "--steps", "2", "--batch-size", "1"])
    run, (vectors,) = folder / "textual_inversion_amir", training.run.read(folder / LAST)["weights"]
    pipe = diffusion.load_pipeline("pocket")
    for file in ("learned_embeds.safetensors", "amir.pt"):
        word, saved = textual_inversion.read(run / file, pipe)
        assert word == "<amir>" and torch.equal(saved, vectors)
    begun = textual_inversion.begin(pipe, "man", len(vectors))
    assert 0 < (vectors - begun).abs().max() < 1
    said = json.loads((run / "settings.json").read_text())
    assert said["words"] == "man" and {"captions", "photos", "templates"} <= said.keys()


LAST = "textual_inversion_amir/checkpoints/000002.pt"
SMALL = """
import dataclasses
import json
import sys
from helpers.diffusion import device, models
device.cpu_has_bf16 = lambda: False
models.MODELS["pocket"] = dataclasses.replace(models.MODELS["pocket"], num_inference_steps=1)
from tools import train
state = device.state()
leave, state.destroy_process_group = state.destroy_process_group, lambda: None  # the next training stays in the group
for arguments in sys.argv[1:]:
    train.main(json.loads(arguments))
leave()
"""
METHODS = {
    "hypernetwork": ["--flip", "--template", "a picture of [filewords]", "--setting", "checkpointing"],
    "dreambooth": ["--class-images", "2"],
    "lora": ["--class-images", "2", "--captions", "--rank", "2"],
    "textual_inversion": ["--template", "[filewords]", "--template", "a photo of [name]", "--vectors", "3"],
}


def command(method, folder):
    """Two steps, each of two parts."""
    steps = ["--steps", "2", "--batch-size", "1", "--accumulate", "2"]
    return ["--method", method, *steps, *METHODS[method], "--folder", str(folder / method)]


@pytest.fixture(scope="module")
def learnt_by_two(tmp_path_factory):
    """The folder in which two processes, started once, have trained by each method."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "small.py").write_text(SMALL)
    commands = [json.dumps(command(method, folder)) for method in METHODS]
    printed = two_processes(folder / "small.py", *commands, RUNS_DIR=str(folder))
    assert printed.count("training in 2 processes") == printed.count("step      2") == len(METHODS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_learn_what_one_learns(learnt_by_two, folder, method):
    """Up to the order of sums."""
    shutil.copytree(learnt_by_two / "class_images", folder / "class_images")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train.main(command(method, folder))
    torch.set_num_threads(threads)
    runs = folder / method, learnt_by_two / method
    one, two = (training.run.read(run / "checkpoints" / "000002.pt")["weights"] for run in runs)
    begun = training.run.read(runs[0] / "checkpoints" / "best.pt")["weights"]
    torch.testing.assert_close(two, one, atol=2e-5, rtol=1e-3)
    assert len(begun) == len(one)
    files = [{path.relative_to(run) for path in run.rglob("*")} for run in runs]
    assert files[0] == files[1]


def test_more_processes_than_parts_are_refused(monkeypatch):
    monkeypatch.setattr(device, "state", lambda: SimpleNamespace(num_processes=3))
    with pytest.raises(SystemExit, match="say --accumulate 3 or more"):
        train.main(["--accumulate", "2"])


def test_optimizer_and_checkpointing_are_the_notebooks(monkeypatch):
    """On a GPU: pocket needs to save nothing, sd15 does for the whole model."""
    monkeypatch.setattr(device, "find_device", lambda: torch.device("cuda"))

    def chosen(*arguments):
        options = train._options(arguments)
        checkpointing, optimizer = train._setting(options, diffusion.model_config(options.model))
        return checkpointing, optimizer.__name__

    assert chosen() == (False, "AdamW") == chosen("--model", "sd15")
    assert chosen("--method", "lora") == (False, "adamw")
    assert chosen("--method", "textual_inversion", "--model", "sd15") == (False, "AdamW")
    assert chosen("--method", "lora", "--model", "sd15")[1] == "adamw"
    whole = ("--method", "dreambooth", "--model", "sd15")
    assert chosen(*whole) == (True, "in_backward") == chosen("--setting", "in backward")
    assert chosen(*whole, "--accumulate", "2") == (True, "adamw_8bit")  # what moves in the backward pass has one part


@pytest.mark.slow
def test_the_full_size_benchmark_walks_every_path(pipe, capsys):
    """On pocket; at full size it takes minutes."""
    hypernetwork_full_size.full_size(pipe, size=128)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told[1:-1]] == ["step 0", "step 1", "stopped, taken up again", "step 2"]
    assert "held-out loss" in told[4] and "128 pixels wide" in told[4] and "peak memory" in told[-1]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--method", "textual_inversion", "--class-prompt", "a photo of a woman"], "practises no class"),
        (["--prior-weight", "0.3"], "beside class images"),
        (["--class-guidance", "1"], "of class images"),
        (["--method", "lora", "--class-guidance", "nan"], "a number from 0 up"),
        (["--method", "lora", "--prior-weight", "-1"], "a number from 0 up"),
        (["--method", "lora", "--no-identifier"], "add --class-prompt"),
        (["--further", "runs/second_round_amir"], "for DreamBooth and a LoRA"),
        (["--no-identifier", "--class-prompt", "a photo of a woman"], "for DreamBooth or a LoRA"),
    ],
)
def test_what_a_method_does_not_practise_is_refused(arguments, said, capsys):
    with pytest.raises(SystemExit):
        train.main(arguments)
    assert said in capsys.readouterr().err
