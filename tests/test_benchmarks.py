"""The benchmarks walk their whole way, once and at the smallest size; how fast is for them to say."""

import contextlib
import dataclasses
import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fake_gpu
import pandas as pd
import pytest
import torch

from benchmarks import dreambooth as dreambooth_speed
from benchmarks import hypernetwork as hypernetwork_speed
from benchmarks import hypernetwork_limits, larger, likeness, marked, methods, sharper
from benchmarks.gpu import command as gpu
from benchmarks.gpu import model as gpu_model
from benchmarks.gpu import parts as gpu_parts
from benchmarks.gpu import table
from helpers import diffusion, machine, photos
from helpers.diffusion import models

pytestmark = pytest.mark.slow


def shares(output):
    """What the lines say of the share of time outside of the training itself, in per cent."""
    return [float(share) for share in re.findall(r"([-\d.]+)% (?:overhead|outside)", output)]


def test_dreambooth_beside_the_script_of_diffusers(capsys, monkeypatch):
    monkeypatch.delitem(dreambooth_speed.OURS, "ours")  # the two others go every way there is
    pipe = diffusion.load_pipeline("pocket")  # its own, for it learns
    pipe.vae.requires_grad_(False)
    before = pipe.unet.conv_in.weight.detach().clone()
    squares = photos.squares_in(photos.prepared_folder("nesrelah"))[:1]
    ratio = dreambooth_speed.compare(pipe, squares, squares, diffusion.model_config("pocket"), 1, steps=1, rounds=1)
    found = shares(capsys.readouterr().out)
    assert ratio > 0 and len(found) == 2 and all(0 < share < 100 for share in found)
    assert not torch.equal(pipe.unet.conv_in.weight, before)


def test_a_hypernetwork_beside_the_web_ui_s_loop(pipe, capsys, monkeypatch):
    monkeypatch.setattr(diffusion, "load_pipeline", lambda row: pipe)
    hypernetwork_speed.compare("pocket", rounds=1, block=1, batch_size=1)
    found = shares(capsys.readouterr().out)
    assert len(found) == 3 and all(0 < share < 100 for share in found)
    assert not any(module._forward_pre_hooks for module in pipe.unet.modules())


def test_what_a_hypernetwork_must_reach(tmp_path, capsys, monkeypatch):
    """Every limit has its row; a network of no strength leaves everybody as before."""
    quick = dataclasses.replace(models.MODELS["pocket"], num_inference_steps=2)
    monkeypatch.setitem(models.MODELS, "pocket", quick)
    monkeypatch.setattr(hypernetwork_limits, "SEARCH", range(2))
    how = [
        "--search",
        "--strength",
        "0",
        "--portraits",
        str(tmp_path / "portraits.png"),
        "--riders",
        str(tmp_path / "riders.png"),
    ]
    hypernetwork_limits.main(how)
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    limits = [limit for _, limit, _ in rows if limit]
    assert limits == ["70 %", "80 %", "40 %", "40 %", "90 %"] + ["at most 0.15"] * 3
    assert rows[0][2] == rows[1][2] and all(value.startswith("0.00") for _, limit, value in rows[-3:])
    values = [value for figure, _, value in rows if figure.startswith("no prompt")]
    assert len(values) == 4 and values[:2] == values[2:], "before and after"
    assert not set(hypernetwork_limits.SEARCH) & set(hypernetwork_limits.FINAL)
    assert (tmp_path / "portraits.png").exists() and (tmp_path / "riders.png").exists()


def test_drawn_and_decoded_faces_side_by_side(tmp_path, capsys):
    with torch.inference_mode():
        sharper.main(["--count", "8", "--decoder", str(diffusion.POCKET / "vae"), "--grid", str(tmp_path / "grid.png")])
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[4:6] for line in capsys.readouterr().out.splitlines()}
    assert rows["decoded"] == rows["decoded, trial"], "the same decoder"
    assert float(rows["drawn"][1]) > float(rows["decoded"][1]) > 15
    assert float(rows["decoded at 256"][0]) > float(rows["decoded"][0]) + 2, "four times as many latents"
    assert (tmp_path / "grid.png").exists()


def test_a_base_of_256_pixels_beside_today_s(capsys):
    larger.main(["--rounds", "1"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [name for name, *_ in rows] == ["today", *larger.LEVELS] and float(rows[0][-1]) == 1
    net = larger.larger(diffusion.load_pipeline(models.MODELS["pocket"]).unet.config, 32)
    assert net.config.sample_size == 32 and len(net.down_blocks) == 4 and not hasattr(net.down_blocks[0], "attentions")


def test_time_to_likeness_of_every_method(tmp_path, capsys, monkeypatch):
    """A step of each, two rough pictures; what was measured before stays in the table, and is not measured again."""
    one_step = likeness.steps
    monkeypatch.setattr(likeness, "steps", lambda task, run, checks: itertools.islice(one_step(task, run, [1]), 1))
    monkeypatch.setattr(likeness, "SAMPLER", {"guidance_scale": 1.0, "num_inference_steps": 1})
    monkeypatch.setattr(likeness, "CLASS_IMAGES", 1)
    first, *rest = likeness.METHODS
    out = tmp_path / "likeness.csv"
    for names in ([first], rest):
        likeness.main(["--methods", *names, "--pictures", "2", "--out", str(out)])
    table = pd.read_csv(out)
    assert list(table["method"]) == list(likeness.METHODS) and list(table["images"]) == [2] * len(table)
    assert list(table["steps"]) == [0] + [1] * len(rest) and (table["seconds"] > 0).all()
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("60% of the pictures") == 1 + len(table)


def test_the_first_check_that_is_enough_counts():
    rows = [("a", 10, 1.0, 0.5), ("a", 20, 0.04562, 0.7), ("a", 30, 3.0, 0.6), ("b", 10, 1.0, 0.1)]
    table = pd.DataFrame(rows, columns=["method", "steps", "seconds", "mean"])
    assert likeness.reached(table, 0.6) == {"a": (20, 0.04562), "b": None}
    other = pd.DataFrame([("DreamBooth", 5, 9.0, 1.0)], columns=table.columns)
    for beside, ratio in ((table, ""), (pd.concat([table, other]), "200")):
        lines = likeness.texts(beside)["table"].splitlines()[2:]
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
        assert cells[0] == ["a", "20", "0.0456", ratio] and cells[1][::3] == ["b", ""] and "10 %" in cells[1][2]


def test_a_training_that_ends_before_its_last_check_stops_there():
    task = SimpleNamespace(clock=contextlib.nullcontext)
    assert list(likeness.steps(task, (number for number in range(3)), (1, 2, 9))) == [1, 2]


def test_a_soak_in_miniature():
    """In a process of its own, which forks: every fortieth write of a toy run, and some files."""
    command = [sys.executable, "-m", "benchmarks.soak", "--every", "40", "--real", "0", "--hostile", "60"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=machine.REPO, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    counts = {line[:-14].strip(): line.split()[-2:] for line in done.stdout.splitlines()[3:]}
    assert {"kill", "interrupt", "full", "hostile file"} <= set(counts)
    assert all(int(tried) >= 4 and wrong == "0" for tried, wrong in counts.values())


@pytest.fixture(scope="module")
def gpu_day(tmp_path_factory):
    """What `python -m benchmarks.gpu --tenth` leaves on this processor, but for the launch of two processes."""
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    names = [name for name in gpu_parts.PARTS if name != "processes"]
    gpu.main(["--tenth", "--out", str(out), "--minutes", "600", "--parts", *names])
    return out


def test_all_that_a_gpu_is_asked_runs_at_a_tenth_of_the_size(gpu_day):
    results = machine.read_json(gpu_day)
    assert results.keys() == {"made", *gpu_parts.PARTS} - {"processes"}
    rows = [row for name, part in results.items() if name != "made" for row in part]
    without = importlib.util.find_spec("bitsandbytes") is None
    assert not [row for row in rows if "error" in row and not (without and "bitsandbytes" in row["error"])]
    assert all(row["largest difference"] == 0 for row in results["resume"] if "error" not in row)
    assert {row["steps"] if "steps" in row else len(row["losses"]) for row in results["precision"]} == {
        gpu_model.TENTH.losses
    }
    for title in table.TITLES.values():
        assert (f"### {title}" in gpu_day.with_suffix(".md").read_text()) == (title != "Two processes")


def test_a_part_that_takes_too_long_is_cut_and_what_it_had_is_kept(monkeypatch):
    now, rows, kept = [0], [], []
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])

    def too_long(row):
        row["begun"], now[0] = True, 61
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # as the part's own clock, at its end
        time.sleep(60)

    def part(bench):
        yield {"what": "first"}, lambda row: row.update(found=1)
        yield {"what": "fails"}, lambda row: row["gone"]
        yield {"what": "long"}, too_long
        yield {"what": "never"}, lambda row: row

    gpu.run_part(None, part, rows, 60, lambda: kept.append(len(rows)))
    assert rows[0] == {"what": "first", "found": 1} and "KeyError" in rows[1]["error"]
    assert rows[2]["begun"] and "cut after" in rows[2]["error"] and "there was more" in rows[3]["error"]
    assert kept == [1, 2, 3, 4]


FOUND = {
    "made": {"card": "Tesla T4", "torch": "2.13", "date": "2026-12-01", "scale": {"image_size": 512}},
    "guided": [{"kind": "pure", "batch": 8, "seconds": 0.96}],
    "settings": [
        {"method": "hypernetwork", "setting": "plain", "seconds a step": 0.6, "allocator": 3 * 10**9},
        {"method": "dreambooth", "setting": "plain", "error": "OutOfMemoryError: too little"},
        {"method": "dreambooth", "setting": "in backward", "seconds a step": 0.75, "allocator": 12 * 10**9},
    ],
    "forecast": [{"method": "dreambooth", "setting": "in backward", "peak": 13_500_000_000}],
}


def test_texts_take_their_figures_from_the_file_and_stay_predicted_where_it_has_none(tmp_path):
    figures = marked.pattern("gpu")
    for name in ("README.md", "docs/measured.md", "docs/memory.md"):
        path = Path(shutil.copy(machine.REPO / name, tmp_path))
        before = path.read_text(encoding="utf-8")
        table.write(path, {name: value for name, value in FOUND.items() if name == "made"})
        bare = path.read_text(encoding="utf-8")
        assert (bare == before) == (path.stem != "measured")
        table.write(path, FOUND)
        table.write(path, FOUND)
        after = path.read_text(encoding="utf-8")
        assert "Tesla T4" in after and figures.sub("", after) == figures.sub("", before)
    assert "3.0 s, eight at a time, the 2,000 steps of notebook 03 20 minutes" in (tmp_path / "README.md").read_text()
    assert "| dreambooth | in backward | 0.75 | 12.00 GB | 13.50 GB |" in (tmp_path / "memory.md").read_text()
    with pytest.raises(ValueError, match="has no <!-- gpu"):
        table.write(shutil.copy(machine.REPO / "CONTRIBUTING.md", tmp_path), FOUND)


def day(_, out):
    """Everything, on the GPU that is not there, but for what only the CPU does."""
    names = [name for name in gpu_parts.PARTS if name != "forecast"]
    few = [("dreambooth", "in backward"), ("hypernetwork", "plain"), ("lora", "8 bit")]  # all: test_ledger_on_gpu.py
    gpu_parts.training_rows.ROWS[:] = few
    gpu.main(["--tenth", "--out", out, "--minutes", "600", "--parts", *names])
    return {name: rows for name, rows in machine.read_json(out).items() if name != "made"}


@fake_gpu.possible
@pytest.mark.parametrize("card", ["T4", pytest.param("A100", marks=pytest.mark.weekly)])
def test_the_day_there_is_a_gpu_nothing_of_it_fails(card, tmp_path):
    parts = fake_gpu.run(day, str(tmp_path / "gpu.json"), card=card)
    assert not [row for rows in parts.values() for row in rows if "error" in row]
    assert all(row["on the card"] > 0 for row in parts["settings"]) and parts["device"][0]["cards"] == 1
    assert len(parts["processes"]) == 1, "two want two cards"


@pytest.mark.weekly
def test_two_processes_are_measured_where_there_are_two_cards(tmp_path):
    """Here they share the processor, a thread each."""
    gpu.main(["--tenth", "--out", str(tmp_path / "gpu.json"), "--minutes", "600", "--parts", "processes"])
    one, two = machine.read_json(tmp_path / "gpu.json")["processes"]
    assert (one["processes"], two["processes"]) == (1, 2) and two["seconds a step"] > 0


def test_which_method_for_whom_in_miniature(tmp_path, capsys, monkeypatch):
    """Trains the two new words, beside the hypernetwork that came; who is best in nothing is told so."""
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    quick = dataclasses.replace(models.MODELS["pocket"], num_inference_steps=1)
    monkeypatch.setitem(models.MODELS, "pocket", quick)
    monkeypatch.setattr(methods, "SENTENCES", methods.SENTENCES[:2])
    arguments = ["--train", "--steps", "1", "--images", "2", "--out", str(tmp_path / "out")]
    methods.main([*arguments, "--methods", "textual_inversion"])
    assert "for nobody here" in capsys.readouterr().out, "after one step it shows nobody"
    table = pd.read_csv(tmp_path / "out" / "methods.csv")
    assert len(table) == 2 * 5 and set(table["subject"]) == {"amir", "nesrelah"}
    assert (table.loc[table["measure"] == "class moved", "mean"] == 0).all()
    text = tmp_path / "text.md"
    text.write_text("<!-- methods verdicts -->\n<!-- /methods -->\n<!-- methods table -->\n<!-- /methods -->\n")
    methods.main([*arguments, "--methods", "predicted", "--write", str(text)])
    both = pd.read_csv(tmp_path / "out" / "methods.csv")
    assert list(both["method"].unique()) == ["textual inversion", "predicted"] and len(both) == 2 * len(table)
    kept = both[both["method"] == "textual inversion"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, table, check_dtype=False)
    assert text.read_text().count("* **") == 2 and text.read_text().count("| Amir |") == 2
    assert (tmp_path / "out" / "methods.png").read_bytes()[:4] == b"\x89PNG"
    table.loc[table["measure"] == "shows the person", ["mean", "low", "high"]] = [0.5, 0.4, 0.6]
    worse = table.assign(method="other", mean=table["mean"] * 2 + 1)
    worse.loc[~worse["measure"].map(lambda name: methods.MEASURES[name][0]), ["mean", "low", "high"]] = -1
    both = pd.concat([table, worse.assign(low=worse["mean"], high=worse["mean"])])
    assert methods.sentence(both, "other").startswith("other, for nobody here"), "it shows nobody"
    assert "for whoever keeps many people" in methods.sentence(both, "textual inversion")
    both.loc[(both["method"] == "other") & (both["measure"] == "shows the person"), ["mean", "low", "high"]] = 0.1
    assert methods.sentence(both, "other").startswith("other, the best in none")
    assert not any("other" in methods.among_the_best(both, measure) for measure in methods.MEASURES)
