import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from launch import two_processes
from PIL import Image

from helpers import diffusion, machine
from helpers.compare import pictures, table2, trained
from helpers.diffusion import device, kept, models, png_info, sampling
from helpers.methods import difference, dreambooth, lora, textual_inversion
from tools import finished_runs

SAMPLER = {"guidance_scale": 5.0, "num_inference_steps": 20}
WISHES = {"horse": "Man riding a horse", "portrait": "Portrait of a man", "chibi": "Chibi man figurine"}
CROSSED = ["dreambooth_amir", "hypernetwork_nesrelah"]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Finished runs: a hypernetwork of Amir and a DreamBooth of Nesrelah; the crossed ones are missing."""
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    monkeypatch.setattr(trained, "FINISHED", tmp_path / "came")
    weights = {"hypernetwork_amir": "hypernetwork.pt", "dreambooth_nesrelah": "model/unet/u.safetensors"}
    for name, file in weights.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True)
        path.write_bytes(b"first training")
        (tmp_path / name / "card.md").write_text("done")
        settings = {"model": "pocket", "prompts": ["nesrelah_001 person"]}  # which mean nothing to a hypernetwork
        machine.write_json(tmp_path / name / "settings.json", settings)
    return tmp_path


def color(prompt, seed):
    return (len(prompt), seed, 7)


@pytest.fixture
def asked(monkeypatch):
    """Models of nothing, and a colour for each (prompt, seed) pair: the pairs asked for.

    As long as there is a safety checker, it withholds the portraits.
    """
    pairs = []

    def generate(pipe, prompts, seeds, **sampler):
        pairs.extend(zip(prompts, seeds))
        hidden = [pipe.safety_checker and "Portrait" in prompt for prompt in prompts]
        made = [Image.new("RGB", (8, 8), color(prompt, seed)) for prompt, seed in zip(prompts, seeds)]
        for image, hide in zip(made, hidden):
            image.info |= {"withheld": True} if hide else {}
        return made

    monkeypatch.setattr(sampling, "generate", generate)
    monkeypatch.setattr(trained, "load", lambda model, base: (base, {}))
    return pairs


def shoot(name="hypernetwork_amir", prompts=WISHES, seeds=(1, 2), checker=None, **sampler):
    pipe = SimpleNamespace(scheduler=SimpleNamespace(config={}), safety_checker=checker)
    return pictures.pictures(trained.find("pocket")[name], pipe, prompts, seeds, **SAMPLER | sampler)


def test_each_wish_meets_each_seed_in_order_and_each_png_tells_how_it_was_made(runs, asked):
    table = shoot(seeds=(3, 1, 2, 9))
    assert table["prompt_id"].tolist() == [key for key in WISHES for _ in range(4)]
    assert table["seed"].tolist() == [3, 1, 2, 9] * 3
    expected = [color(WISHES[row.prompt_id], row.seed) for row in table.itertuples()]
    assert [image.getpixel((0, 0)) for image in table["image"]] == expected
    assert set(table["method"]) == {"hypernetwork"} and set(table["subject"]) == {"amir"}
    prompt, _, told = png_info.read(runs / "compare" / table["file"][4])
    assert (prompt, told["Seed"], told["Steps"], told["CFG scale"]) == (WISHES["portrait"], 3, 20, 5.0)
    assert told["Hypernet"] == "hypernetwork_amir"


def test_only_what_is_missing_is_made_and_all_is_listed(runs, asked):
    shoot(prompts={"horse": WISHES["horse"]})
    asked.clear()
    shoot()
    shoot("base", seeds=(1,))
    assert asked[:4] == [(WISHES[key], seed) for key in ("portrait", "chibi") for seed in (1, 2)]
    listed = pictures.listed()
    assert list(listed.columns) == pictures.COLUMNS and len(listed) == 9
    assert (listed["model"] == "base").sum() == 3 and not listed["file"].duplicated().any()
    assert all((runs / "compare" / file).exists() for file in listed["file"])


def test_other_weights_or_settings_make_all_again(runs, asked):
    wish = {"horse": WISHES["horse"]}
    shoot(prompts=wish)
    (runs / "hypernetwork_amir" / "hypernetwork.pt").write_bytes(b"second training")
    shoot(prompts=wish, seeds=(1,))
    assert [seed for _, seed in asked] == [1, 2, 1]
    assert len(list((runs / "compare" / "images" / "hypernetwork_amir").glob("*.png"))) == 1
    assert len(pictures.listed()) == 1, "what is gone leaves the list"
    shoot(prompts=wish, seeds=(1,), num_inference_steps=5)
    assert len(asked) == 4


def test_withheld_pictures_are_marked_and_reach_neither_scores_nor_list(runs, asked):
    for _ in range(2):  # made, then read
        table = shoot("base", checker=True)
        assert table["withheld"].tolist() == [False, False, True, True, False, False]
    assert sorted(pictures.listed()["prompt_id"]) == ["chibi"] * 2 + ["horse"] * 2
    (passed,) = pictures.passed({"base": table}).values()
    assert set(passed["prompt_id"]) == {"horse", "chibi"}
    assert "Withheld" in png_info.read(runs / "compare" / table["file"][2])[2]


def test_a_checker_that_is_taken_off_gives_its_pictures_back(runs, asked):
    shoot("base", seeds=(1,), checker=True)
    asked.clear()
    table = shoot("base", seeds=(1,))
    assert not table["withheld"].any() and asked == [(WISHES["portrait"], 1)], "what had passed stays"
    assert len(pictures.listed()) == 3
    table = shoot("base", seeds=(1,), checker=True)
    assert len(asked) == 4 and table["withheld"].sum() == 1, "put on again, it looks at all of them"
    assert "portrait" not in set(pictures.listed()["prompt_id"])


def test_names_of_files_and_weights_are_never_the_same(tmp_path):
    long = "Man made of fire, intricate heat distortion designs, elegant, "
    prompts = ("a man", "A man", "a man!", long + "x", long + "y", "رجل", "")
    names = {kept.file_name(prompt, 1) for prompt in prompts}
    assert len(names) == 7 and all(name.isascii() and "/" not in name for name in names)
    assert all(name[0].isalnum() for name in names), "no tool takes one for an option"
    inner, prints = tmp_path / "unet" / "weights.safetensors", []
    inner.parent.mkdir()
    for content in (b"one", b"two"):
        inner.write_bytes(content)
        prints += [machine.weights_id(tmp_path), machine.weights_id(tmp_path)]
    assert prints[0] == prints[1] != prints[2] == prints[3]
    assert machine.weights_id("owner/on-the-hub") == "owner/on-the-hub"


def test_rows_of_a_grid_follow_wishes_and_seeds(runs, asked):
    one, other = shoot(), shoot("base", prompts={"chibi": WISHES["chibi"]}, seeds=(1,))
    rows = pictures.grid_rows([one, other], WISHES)
    assert [len(row) for row in rows] == [3, 3, 3]
    assert rows[1][0].getpixel((0, 0)) == color(WISHES["horse"], 2)
    assert rows[2][:2] == [None, None] and rows[2][2].getpixel((0, 0)) == color(WISHES["chibi"], 1)


def test_makers_know_what_is_there(runs):
    found = trained.find("pocket")
    assert set(found) == {"base", "hypernetwork_amir", "dreambooth_nesrelah", *CROSSED}
    assert sorted(name for name, model in found.items() if model.missing) == CROSSED
    assert 'NAME = "amir" in notebook 04' in found["dreambooth_amir"].missing
    assert found["dreambooth_nesrelah"].word == "nesrelah_001 person" and found["hypernetwork_amir"].word == "man"
    with pytest.raises(FileNotFoundError, match="hypernetwork_nesrelah"):
        trained.required(found, "hypernetwork_nesrelah")
    with pytest.raises(ValueError, match="'lora': there are base, hypernetwork_amir"):
        trained.required(found, "lora")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "title", "notebook"), [("lora", "LoRA", "05"), ("predicted", "predicted", "06")])
def test_a_lora_is_compared_like_the_others_once_there_is_one(runs, pipe, method, title, notebook):
    """By the name its subject has, in a pipeline of its own: the base stays as it was."""
    name = f"{method}_nesrelah"
    assert name not in trained.find("pocket")
    run, before = runs / name, pipe.unet.conv_in.weight.clone()
    machine.write_json(run / "settings.json", {"model": "pocket", "prompts": ["nesrelah_001 person"]})
    assert f'NAME = "nesrelah" in notebook {notebook}' in trained.find("pocket")[name].missing
    matrices = lora.add(copy := deepcopy(pipe.unet))
    with torch.no_grad():
        for matrix in matrices:
            matrix.fill_(0.02)
    lora.save(run / "nesrelah.safetensors", copy)
    (run / "card.md").write_text("done")
    found = trained.find("pocket")
    model = trained.required(found, name)
    assert (model.title, model.call, model.named) == (f"{title}, Nesrelah", "nesrelah_001 person", True)
    sampler = {"guidance_scale": 1.0, "num_inference_steps": 1}
    tables = [pictures.pictures(one, pipe, {"a": model.call}, [1], **sampler) for one in (found["base"], model)]
    assert len({table["image"][0].tobytes() for table in tables}) == 2
    assert not hasattr(pipe.unet, "peft_config") and torch.equal(pipe.unet.conv_in.weight, before)
    (run / "loss.csv").write_text("step,loss,held_out_loss,learning_rate,seconds\n9,1,1,0,60\n")
    whole = table2.table([model])
    assert whole.columns.tolist()[-1] == (title, "here, nesrelah") and whole.loc["steps"].tolist()[-1] == "9"


def test_a_new_word_is_compared_like_the_others_once_there_is_one(runs, pipe):
    """On the base's own U-Net; the base's tokenizer and text encoder never meet it."""
    assert "textual_inversion_amir" not in trained.find("pocket")
    run, before = runs / "textual_inversion_amir", pipe.text_encoder.get_input_embeddings().weight.clone()
    machine.write_json(run / "settings.json", {"model": "pocket", "word": "<amir>"})
    assert "--method textual_inversion --subject amir" in trained.find("pocket")["textual_inversion_amir"].missing
    textual_inversion.save(run / "learned_embeds.safetensors", "<amir>", torch.full((2, 160), 0.05))
    (run / "card.md").write_text("done")
    model = trained.required(trained.find("pocket"), "textual_inversion_amir")
    assert (model.title, model.call, model.named) == ("textual inversion, Amir", "<amir>", True)
    assert trained.address("Portrait of a man, 4k", model.word) == "Portrait of <amir>, 4k"
    sampler = {"guidance_scale": 1.0, "num_inference_steps": 1}
    base = trained.find("pocket")["base"]
    tables = [pictures.pictures(each, pipe, {"a": model.call}, [1], **sampler) for each in (base, model)]
    assert len({table["image"][0].tobytes() for table in tables}) == 2
    with trained.applied(model, pipe) as other:
        assert other.unet is pipe.unet and len(other.tokenizer) == len(pipe.tokenizer) + 2
    assert torch.equal(pipe.text_encoder.get_input_embeddings().weight, before)
    (run / "loss.csv").write_text("step,loss,held_out_loss,learning_rate,seconds\n9,1,1,0,60\n")
    assert table2.table([model]).columns.tolist()[-1] == ("textual inversion", "here, amir")


def test_where_nothing_was_trained_the_repository_has_both_methods_on_both_people(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    found = trained.find("pocket")
    assert not [name for name, model in found.items() if model.missing] and found["base"].state == "ready"
    assert {"hypernetwork_amir", "dreambooth_nesrelah", *CROSSED} == found.keys() - {"base"}
    for name in found.keys() - {"base"}:  # of the very base that lies beside them
        assert Path(found[name].weights).exists()
        settings = machine.read_json(found[name].run / "settings.json")
        assert "data/finished" in found[name].state
        assert settings["weights"] == machine.weights_id(found["base"].weights)
        assert settings["steps"] == getattr(models.MODELS["pocket"], name.split("_")[0])["steps"]
        assert trained.find("sd15")[name].missing
    packed, whole = (found[f"dreambooth_{who}"] for who in ("amir", "nesrelah"))
    sizes = [table2.column(model)["on disk"] for model in (packed, whole)]
    assert "a difference" in sizes[0] and "a difference" not in sizes[1]


def test_a_difference_becomes_a_model_in_memory_and_the_base_stays(pocket_pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    before = pocket_pipeline.unet.conv_in.weight.clone()
    with trained.applied(trained.find("pocket")["dreambooth_amir"], pocket_pipeline) as pipe:
        moved = pipe.unet.conv_in.weight - before
        assert 0 < moved.abs().max() < 0.1 and torch.isfinite(moved).all()
    assert torch.equal(pocket_pipeline.unet.conv_in.weight, before) and not list(tmp_path.iterdir())


def test_a_difference_from_other_weights_is_as_if_it_had_not_come(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    monkeypatch.setattr(machine, "weights_id", lambda weights: "those of a pocket model that was trained anew")
    found = trained.find("pocket")
    assert "dreambooth_amir" in found["dreambooth_amir"].missing
    assert not found["dreambooth_nesrelah"].missing and not list(tmp_path.iterdir())


def test_ones_own_training_comes_before_the_one_that_came(runs):
    own, came = runs / "hypernetwork_amir", trained.FINISHED / "hypernetwork_amir"
    shutil.copytree(own, came)
    find = lambda: trained.find("pocket")["hypernetwork_amir"]
    assert find().run == own
    machine.write_json(own / "settings.json", {"model": "sd15"})
    assert find().run == came, "one's own is of another model"
    shutil.rmtree(came)
    assert "a training of sd15, not of pocket" in find().missing


def test_a_run_is_kept_without_its_checkpoints_and_a_trial_not_at_all(runs, tmp_path):
    run, kept, row = runs / "dreambooth_nesrelah", tmp_path / "kept" / "dreambooth", models.MODELS["pocket"]
    (run / "model.ckpt").write_bytes(b"large")
    (kept / "old").mkdir(parents=True)
    machine.write_json(run / "settings.json", {"model": "pocket", "steps": 4})
    with pytest.raises(ValueError, match="of 300 steps"):
        finished_runs.keep(run, kept, row, 300)
    finished_runs.keep(run, kept, row, 4)
    assert sorted(path.name for path in kept.iterdir()) == ["card.md", "model", "settings.json"]
    assert (kept / "model" / "unet" / "u.safetensors").read_bytes() == b"first training"
    shutil.rmtree(run / "model")
    diffusion.load_pipeline("pocket").save_pretrained(run / "model")
    finished_runs.keep(run, kept, row, 4, whole=False)
    assert sorted(path.name for path in kept.iterdir()) == ["card.md", "difference.npz", "settings.json"]
    shutil.rmtree(run / "model")
    (run / "hypernetwork.pt").write_bytes(b"a network")
    finished_runs.keep(run, kept, row, 4)
    assert (kept / "hypernetwork.pt").read_bytes() == b"a network" and not (kept / "difference.npz").exists()


def test_the_papers_own_prompts_stay_as_they_are_and_others_are_addressed(runs):
    table = pd.read_csv(machine.REPO / "data" / "prompts.csv")
    ids, found = table.set_index("prompt_id")["prompt"], trained.find("pocket")
    for subject, method in (("amir", "hypernetwork"), ("nesrelah", "dreambooth")):
        for model in (found["base"], found[f"{method}_{subject}"]):
            prompts = trained.prompts_for(table, model, subject)
            assert list(prompts) == list(ids.index)
            assert all(prompts[key] == ids[key] for key in ids.index if key.startswith(method))
    crossed = trained.prompts_for(table, found["hypernetwork_nesrelah"], "nesrelah")
    assert crossed["hypernetwork_2"].startswith("Portrait of a person, trending")
    named = trained.prompts_for(table, found["dreambooth_nesrelah"], "nesrelah")
    assert named["hypernetwork_1"] == "nesrelah_001 person riding a horse, facing camera"


def test_addresses_put_one_word_for_another():
    assert trained.address("sculpture of nesrelah_001, fog", "person") == "sculpture of a person, fog"
    assert trained.address("Portrait of a man, 4k", "amir_001 man") == "Portrait of amir_001 man, 4k"
    assert trained.address("Man on a horse with a man", "person") == "Person on a horse with a man"
    assert trained.address("Chibi nesrelah_001 figurine", "man") == "Chibi man figurine"
    assert trained.address("a woman in Germany", "person") == "a woman in Germany"
    assert trained.address("portrait of nesrelah_001", "elder") == "portrait of an elder"
    elder = trained.TrainedModel("hypernetwork_ana", "hypernetwork", "ana", "elder", "", "")
    assert elder.call == "a photo of an elder"


TWO = """
import sys
from pathlib import Path
from helpers import diffusion
from helpers.compare import pictures, table2, trained
from helpers.diffusion import device
device.cpu_has_bf16 = lambda: False
base, state = diffusion.load_pipeline("pocket"), device.state()
assert state.num_processes == 2
made = pictures.pictures(trained.find("pocket")["base"], base, {"man": "a man"}, range(12), **SAMPLER)
assert len(made) == 12
state.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_make_the_very_pictures_that_one_makes(runs, monkeypatch):
    """12 are two batches, and each process makes one: together it would be other batches, which round otherwise."""
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    sampler = {"guidance_scale": 4.0, "num_inference_steps": 1}
    (runs / "two.py").write_text(TWO.replace("SAMPLER", repr(sampler)))
    two_processes(runs / "two.py", RUNS_DIR=str(runs))
    listed, place = pictures.listed(), runs / "compare"
    assert len(listed) == 12
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = diffusion.generate(diffusion.load_pipeline("pocket"), "a man", list(range(12)), batch_size=8, **sampler)
    torch.set_num_threads(threads)
    for image, file in zip(alone, listed.sort_values("seed")["file"], strict=True):
        assert image.tobytes() == kept.read(place / file).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LoRA", "difference", "folder"])
def test_every_kind_of_training_is_on_the_base_from_a_file(kind, tmp_path):
    base, other = (diffusion.load_pipeline("pocket") for _ in range(2))
    if kind == "LoRA":
        lora.add(other.unet)
        torch.nn.init.ones_(next(p for name, p in other.unet.named_parameters() if "lora_B" in name))
        lora.save(path := tmp_path / "his.safetensors", other.unet)
    else:
        other.unet.conv_out.bias.data += 1
        name = machine.weights_id(models.POCKET)
        path = tmp_path / (difference.NAME if kind == "difference" else "model")
        difference.save(path, other, base, name) if kind == "difference" else dreambooth.save(path, other)
    guess = lambda pipe: pipe.unet(torch.ones(1, 4, 16, 16), 500, torch.ones(1, 77, 160)).sample
    with torch.no_grad():
        before = guess(base)
        with trained.from_file(path, base, models.POCKET) as pipe:
            torch.testing.assert_close(guess(pipe), guess(other), atol=1e-4, rtol=1e-4)
            assert not torch.allclose(guess(pipe), before, atol=1e-2)
        if kind == "LoRA":  # the others have no strength
            with trained.from_file(path, diffusion.load_pipeline("pocket"), models.POCKET, 0.0) as pipe:
                torch.testing.assert_close(guess(pipe), before, atol=1e-4, rtol=1e-4)
