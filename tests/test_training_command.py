import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from cells import execute

from benchmarks import hypernetwork_full_size
from helpers import examples, hypernetwork, models, photos, processes, runtime, training, training_command

PREPARED = runtime.REPO / "data" / "prepared" / "amir"
NOTEBOOK = runtime.REPO / "notebooks" / "03_train_hypernetwork.ipynb"


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A copy of the finished photos of amir, so that nothing is written into data."""
    folder = tmp_path / "prepared"
    shutil.copytree(PREPARED, folder)
    monkeypatch.setattr(photos, "prepared_folder", lambda name: folder)
    return folder


@pytest.mark.parametrize("seed", ["1", "7"])
def test_it_holds_out_the_photos_that_are_written_down_whatever_the_seed(prepared, monkeypatch, seed):
    monkeypatch.setattr(examples, "encode", lambda pipe, images, *others, flip=False: len(images))
    options = training_command._options(["--seed", seed])
    learnt, held_out, names, told = training_command._photos(options, models.model("pocket"), None)
    dealt = json.loads((PREPARED / "split.json").read_text())
    assert names == dealt["validation"] and (learnt, held_out) == (16, 4)
    assert json.loads((prepared / "split.json").read_text()) == dealt and len(told["captions"]) == 20


def cells():
    return {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"]}


@pytest.mark.slow
def test_its_result_is_that_of_notebook_03(prepared, tmp_path, monkeypatch, pocket_pipeline):
    """The notebook's own cells, four steps, against the command: the same weights and losses, bit for bit."""
    monkeypatch.chdir(runtime.REPO)
    source, names = cells(), {"os": os, "exercises": None}
    execute(source["4ada3780"], names)
    names |= {
        "STEPS": 4,
        "RUN": tmp_path / "notebook",
        "CLASS": "man",
        "PROMPTS": ["a photo of a man"],
        "SEEDS": [1, 2],
    }
    names |= {"pipe": models.load_pipeline("pocket"), "bend": lambda x, first, second: x + second(first(x))}
    names["sampler"] |= {"num_inference_steps": 1}
    made = ("03-09", "03-13", "b4d59ff2", "20c1f4b4", "b167bfc6", "b44d7f7e", "8be27d94", "d3e4c792", "2c37a255")
    for cell in (*made, "d21b0038"):
        execute(source[cell], names)
    execute(source["a01ab2f9"], names)
    execute(source["3602b2ae"], names)
    training_command.main(["--steps", "4", "--folder", str(tmp_path / "command")])
    ours, theirs = (hypernetwork.load(tmp_path / name / "hypernetwork.pt") for name in ("command", "notebook"))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "command/held_out.csv").read_bytes() == (tmp_path / "notebook/held_out.csv").read_bytes()
    files = lambda name: {path.name for path in (tmp_path / name).iterdir()}
    assert files("notebook") - files("command") == {"previews", "copies"}


@pytest.mark.slow
def test_accelerate_s_single_process_is_reported(tmp_path):
    """`accelerate launch --cpu --num_processes 2` quietly starts one; the command must not be quiet about it."""
    script = tmp_path / "follow.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(runtime.REPO)!r})\n"
        "from helpers import processes, training_command\nprocesses.start()\ntraining_command._follow([])\n"
    )
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", str(script)]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "training in 1 process\naccelerate has started one process; torchrun" in done.stdout


def test_a_process_alone_is_no_reproach(capsys, monkeypatch):
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)
    training_command._follow([training.Step(3, 0.2, 0.1, 1e-3, 5.0)])
    assert capsys.readouterr().out.splitlines() == [
        "training in 1 process",
        "step      3   held-out loss 0.1000        5 s",
    ]
    assert processes.count() == 1


def test_the_help_says_what_it_does_not_train(capsys):
    with pytest.raises(SystemExit):
        training_command.main(["--help"])
    assert "hypernetworks only; DreamBooth and LoRA" in " ".join(capsys.readouterr().out.split())
    assert "Hypernetworks alone" in training_command.__doc__


@pytest.mark.slow
def test_the_full_size_benchmark_walks_every_path(pipe, capsys):
    """On pocket; at full size it takes minutes."""
    hypernetwork_full_size.full_size(pipe, size=128)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told[1:-1]] == ["step 0", "step 1", "stopped, taken up again", "step 2"]
    assert "held-out loss" in told[4] and "128 pixels wide" in told[4] and "peak memory" in told[-1]
