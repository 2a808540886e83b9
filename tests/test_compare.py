import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import compare, files, finished_runs, makers, models, parallel, png_info, runtime, sampling

SAMPLER = {"guidance_scale": 5.0, "num_inference_steps": 20}
WISHES = {"horse": "Man riding a horse", "portrait": "Portrait of a man", "chibi": "Chibi man figurine"}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Finished runs: a hypernetwork of Amir and a DreamBooth of Nesrelah; the crossed ones are missing."""
    monkeypatch.setattr(runtime, "RUNS", tmp_path)
    monkeypatch.setattr(makers, "FINISHED", tmp_path / "came")
    for name, weights in (
        ("hypernetwork_amir", "hypernetwork.pt"),
        ("dreambooth_nesrelah", "model/unet/u.safetensors"),
    ):
        path = tmp_path / name / weights
        path.parent.mkdir(parents=True)
        path.write_bytes(b"first training")
        (tmp_path / name / "card.md").write_text("done")
        told = {"model": "pocket"} | ({"prompts": ["nesrelah_001 person"]} if "dream" in name else {})
        files.write_json(tmp_path / name / "settings.json", told)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Replaces models by nothing and the diffusion by a colour a (prompt, seed) pair; returns the pairs asked for."""
    pairs = []

    def generate(pipe, prompts, seeds, **sampler):
        assert sampler["guidance_scale"] == 5.0
        pairs.extend(zip(prompts, seeds))
        return [Image.new("RGB", (8, 8), color(prompt, seed)) for prompt, seed in zip(prompts, seeds)]

    monkeypatch.setattr(sampling, "generate", generate)
    monkeypatch.setattr(makers, "load", lambda maker, base: (base, {}))
    return pairs


def color(prompt, seed):
    return (len(prompt), seed, 7)


PIPE = SimpleNamespace(scheduler=SimpleNamespace(config={}))  # as much as the settings of a PNG ask for


def shoot(name="hypernetwork_amir", wishes=WISHES, seeds=(1, 2), **sampler):
    return compare.pictures(makers.find("pocket")[name], PIPE, wishes, seeds, **SAMPLER | sampler)


def test_each_wish_meets_each_seed_in_order(runs, asked):
    table = shoot(seeds=(3, 1, 2, 9))
    assert table["prompt_id"].tolist() == [key for key in WISHES for _ in range(4)]
    assert table["seed"].tolist() == [3, 1, 2, 9] * 3
    expected = [color(WISHES[row.prompt_id], row.seed) for row in table.itertuples()]
    assert [image.getpixel((0, 0)) for image in table["image"]] == expected
    assert set(table["method"]) == {"hypernetwork"} and set(table["subject"]) == {"amir"}


def test_only_what_is_missing_is_made_and_all_is_listed(runs, asked):
    shoot(wishes={"horse": WISHES["horse"]})
    asked.clear()
    shoot()
    shoot("base", seeds=(1,))
    assert asked[:4] == [(WISHES[key], seed) for key in ("portrait", "chibi") for seed in (1, 2)]
    listed = compare.listed()
    assert list(listed.columns) == compare.COLUMNS and len(listed) == 9
    assert (listed["maker"] == "base").sum() == 3 and not listed["file"].duplicated().any()
    assert all((runs / "compare" / file).exists() for file in listed["file"])


def test_each_png_tells_how_it_was_made(runs, asked):
    table = shoot(seeds=(7,))
    prompt, negative, told = png_info.read(runs / "compare" / table["file"][1])
    assert (prompt, negative) == (WISHES["portrait"], "")
    assert (told["Seed"], told["Steps"], told["CFG scale"]) == (7, 20, 5.0)
    assert (told["Model"], told["Hypernet"]) == ("hypernetwork_amir", "hypernetwork_amir")


def test_other_weights_or_settings_make_all_again(runs, asked):
    wish = {"horse": WISHES["horse"]}
    shoot(wishes=wish)
    (runs / "hypernetwork_amir" / "hypernetwork.pt").write_bytes(b"second training")
    shoot(wishes=wish, seeds=(1,))
    assert [seed for _, seed in asked] == [1, 2, 1]
    assert len(list((runs / "compare" / "images" / "hypernetwork_amir").glob("*.png"))) == 1
    assert len(compare.listed()) == 1, "what is gone leaves the list"
    shoot(wishes=wish, seeds=(1,), num_inference_steps=5)
    assert len(asked) == 4


@pytest.fixture
def checker(monkeypatch, asked):
    """A safety checker, as long as it is on the pipeline, withholds the portraits."""
    plain = sampling.generate

    def generate(pipe, prompts, seeds, **sampler):
        made = plain(pipe, prompts, seeds, **sampler)
        hidden = [pipe.safety_checker and "Portrait" in prompt for prompt in prompts]
        return [sampling._card((64, 64)) if hide else image for image, hide in zip(made, hidden)]

    monkeypatch.setattr(sampling, "generate", generate)
    pipe = SimpleNamespace(scheduler=PIPE.scheduler, safety_checker=object())
    return lambda: pipe


def test_withheld_pictures_are_marked_and_reach_neither_scores_nor_list(runs, asked, checker, capsys):
    pipe, maker = checker(), makers.find("pocket")["base"]
    for _ in range(2):  # made, then read
        table = compare.pictures(maker, pipe, WISHES, (1, 2), **SAMPLER)
        assert table["withheld"].tolist() == [False, False, True, True, False, False]
    assert sorted(compare.listed()["prompt_id"]) == ["chibi"] * 2 + ["horse"] * 2
    (passed,) = compare.passed({"base": table}).values()
    assert set(passed["prompt_id"]) == {"horse", "chibi"} and "2 of 6 pictures were withheld" in capsys.readouterr().out
    assert png_info.read(runs / "compare" / table["file"][2])[2]["Withheld"] == "by the safety checker"
    compare.passed({"base": passed})
    assert not capsys.readouterr().out, "nothing to say"


def test_a_checker_that_is_taken_off_gives_its_pictures_back(runs, asked, checker):
    pipe, maker = checker(), makers.find("pocket")["base"]
    compare.pictures(maker, pipe, WISHES, (1,), **SAMPLER)
    asked.clear()
    on, pipe.safety_checker = pipe.safety_checker, None
    table = compare.pictures(maker, pipe, WISHES, (1,), **SAMPLER)
    assert not table["withheld"].any() and asked == [(WISHES["portrait"], 1)], "what had passed stays"
    assert len(compare.listed()) == 3
    asked.clear()
    pipe.safety_checker = on
    table = compare.pictures(maker, pipe, WISHES, (1,), **SAMPLER)
    assert len(asked) == 3 and table["withheld"].sum() == 1, "put on again, it looks at all of them"
    assert "portrait" not in set(compare.listed()["prompt_id"])


def test_several_devices_share_what_is_missing(runs, asked, monkeypatch):
    shared = []

    def share(maker, base, wanted, sampler):
        shared.append((maker.name, [pair for pair in wanted.values()], sampler))
        compare.make(base, wanted, maker, **sampler)
        return True

    monkeypatch.setattr(parallel, "share", share)
    shoot(seeds=(1,))
    assert shared == [("hypernetwork_amir", [(prompt, 1) for prompt in WISHES.values()], SAMPLER)]


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


def test_rows_of_a_grid_follow_wishes_and_seeds(runs, asked):
    one, other = shoot(), shoot("base", wishes={"chibi": WISHES["chibi"]}, seeds=(1,))
    rows = compare.grid_rows([one, other], WISHES)
    assert [len(row) for row in rows] == [3, 3, 3]
    assert rows[1][0].getpixel((0, 0)) == color(WISHES["horse"], 2)
    assert rows[2][:2] == [None, None] and rows[2][2].getpixel((0, 0)) == color(WISHES["chibi"], 1)


def test_makers_know_what_is_there(runs):
    found = makers.find("pocket")
    crossed = ["hypernetwork_nesrelah", "dreambooth_amir"]
    assert list(found) == [
        "base",
        "hypernetwork_amir",
        "dreambooth_amir",
        "hypernetwork_nesrelah",
        "dreambooth_nesrelah",
    ]
    assert [name for name, maker in found.items() if maker.missing] == sorted(crossed)
    told = 'set NAME = "amir" in notebook 04_train_dreambooth and run it.'
    assert told in found["dreambooth_amir"].missing
    assert found["dreambooth_nesrelah"].word == "nesrelah_001 person" and found["hypernetwork_amir"].word == "man"
    with pytest.raises(FileNotFoundError, match="No finished run hypernetwork_nesrelah"):
        makers.required(found, "hypernetwork_nesrelah")
    with pytest.raises(ValueError, match="no method 'lora': there are base, hypernetwork_amir"):
        makers.required(found, "lora")
    settings = runs / "hypernetwork_amir" / "settings.json"
    settings.write_text(json.dumps({"model": "sd15"}))
    assert "a training of sd15, not of pocket" in makers.find("pocket")["hypernetwork_amir"].missing


def test_where_nothing_was_trained_the_repository_has_the_papers_two(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "RUNS", tmp_path)
    found = makers.find("pocket")
    came = [name for name, maker in found.items() if maker.state == "ready, as it came in data/finished"]
    assert came == ["hypernetwork_amir", "dreambooth_nesrelah"] and found["base"].state == "ready"
    for name in came:  # of the very base that lies beside them
        settings = files.read_json(found[name].run / "settings.json")
        assert settings["weights"] == compare.fingerprint(found["base"].weights)
        assert settings["steps"] == getattr(models.MODELS["pocket"], name.split("_")[0])["steps"]
    assert found["dreambooth_nesrelah"].word == "nesrelah_001 person"
    assert all("No finished run" in makers.find("sd15")[name].state for name in came)


def test_ones_own_training_comes_before_the_one_that_came(runs):
    place = makers.FINISHED / "hypernetwork_amir"
    shutil.copytree(runs / "hypernetwork_amir", place)
    own = makers.find("pocket")["hypernetwork_amir"]
    assert (own.run, own.state) == (runs / "hypernetwork_amir", "ready")
    for trained in ("sd15", None):  # one's own is of another model, then unfinished
        if trained:
            files.write_json(own.run / "settings.json", {"model": trained})
        else:
            (own.run / "card.md").unlink()
        came = makers.find("pocket")["hypernetwork_amir"]
        assert came.run == place and came.state.startswith("ready, as it came") and came.weights.startswith(str(place))


def test_a_run_is_kept_without_its_checkpoints_and_a_trial_not_at_all(runs, tmp_path):
    run, kept = runs / "dreambooth_nesrelah", tmp_path / "kept" / "dreambooth_nesrelah"
    row = models.MODELS["pocket"]
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "000300.pt").write_bytes(b"large")
    (run / "model.ckpt").write_bytes(b"large")
    with pytest.raises(ValueError, match="no finished training of pocket of 300 steps: run its notebook first"):
        files.write_json(run / "settings.json", {"model": "pocket", "steps": 4})
        finished_runs.keep(run, kept, row, 300)
    files.write_json(run / "settings.json", {"model": "pocket", "steps": 300})
    (kept / "old").mkdir(parents=True)
    finished_runs.keep(run, kept, row, 300)
    assert sorted(path.name for path in kept.iterdir()) == ["card.md", "model", "settings.json"]
    assert (kept / "model" / "unet" / "u.safetensors").read_bytes() == b"first training"


def test_the_papers_own_prompts_stay_as_they_are(runs):
    prompts = pd.read_csv(runtime.REPO / "data" / "prompts.csv")
    ids = prompts.set_index("prompt_id")["prompt"]
    found = makers.find("pocket")
    for subject, method in (("amir", "hypernetwork"), ("nesrelah", "dreambooth")):
        for maker in (found["base"], found[f"{method}_{subject}"]):
            wishes = makers.wishes(prompts, maker, subject)
            assert list(wishes) == list(ids.index)
            assert all(wishes[key] == ids[key] for key in ids.index if key.startswith(method))
    crossed = makers.wishes(prompts, found["hypernetwork_nesrelah"], "nesrelah")
    assert crossed["dreambooth_1"] == "Person on a horse" or crossed["dreambooth_1"] == "person on a horse"
    assert crossed["hypernetwork_2"].startswith("Portrait of a person, trending")
    named = makers.wishes(prompts, found["dreambooth_nesrelah"], "nesrelah")
    assert named["hypernetwork_1"] == "nesrelah_001 person riding a horse, facing camera"
    assert named["hypernetwork_2"].startswith("Portrait of nesrelah_001 person, trending")


def test_addresses_put_one_word_for_another():
    assert makers.address("sculpture of nesrelah_001, fog", "person") == "sculpture of a person, fog"
    assert makers.address("Portrait of a man, 4k", "amir_001 man") == "Portrait of amir_001 man, 4k"
    assert makers.address("Man on a horse with a man", "person") == "Person on a horse with a man"
    assert makers.address("Chibi nesrelah_001 figurine", "man") == "Chibi man figurine"
    assert makers.address("a woman in Germany", "person") == "a woman in Germany"
    assert makers.address("portrait of nesrelah_001", "elder") == "portrait of an elder"


@pytest.mark.slow
def test_two_processes_make_what_one_makes(runs, monkeypatch):
    """Real processes, started through torch's launcher and shared out by accelerate."""
    from helpers import models

    monkeypatch.setenv("RUNS_DIR", str(runs))
    base, sampler = models.load_pipeline("pocket"), {"guidance_scale": 4.0, "num_inference_steps": 1}
    maker = makers.find("pocket")["base"]
    wanted = {runs / f"{seed}.png": ("a man", seed) for seed in range(3)}
    assert not parallel.share(maker, base, wanted, sampler), "one device: nothing to share"
    monkeypatch.setenv("PICTURE_PROCESSES", "2")
    assert parallel.share(maker, base, wanted, sampler)
    alone = sampling.generate(base, "a man", [0, 1, 2], **sampler)
    far = lambda one, other: np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean()
    for path, image in zip(wanted, alone):  # other batches in bfloat16, the same picture
        assert far(compare.read(path), image) < 0.2 * min(far(image, other) for other in alone if other is not image)
