import json
import os
import shlex
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from test_training import rows
from torch import nn

from helpers import diffusion, examples, hypernetwork, processes, runtime, training_command
from helpers.examples import Examples


def test_templates_have_a_name_and_the_words_of_the_file():
    assert examples.fill_template("photo of [name], [filewords]", "amir", "a man") == "photo of amir, a man"
    assert examples.fill_template("[filewords]", "amir", "a man [1]") == "a man [1]"
    with pytest.raises(ValueError, match=r"\[name\] and \[filewords\]"):
        examples.fill_template("a [photo] of [name]", "amir", "a man")


def test_what_is_cached_is_what_the_pipeline_would_compute(tiny):
    pictures = [Image.linear_gradient("L").rotate(90 + turn).convert("RGB").resize((16, 16)) for turn in (0, 20, 40)]
    prompts = [["a man", "a man with a beard"], ["a man"], ["a woman", "a man"]]
    made = examples.encode(tiny, pictures, prompts, 16, flip=True)
    assert made.latents.shape == (3, 2, 4, 8, 8) and len(made.prompt_embeds) == 3, "each different prompt once"
    plain = diffusion.encode_images(tiny.vae, pictures, 16)
    mirrored = diffusion.encode_images(tiny.vae, [ImageOps.mirror(p) for p in pictures], 16)
    torch.testing.assert_close(made.latents, torch.stack([plain, mirrored], dim=1))
    for which, texts in zip(made.which, prompts, strict=True):
        expected = diffusion.encode_prompts(tiny, texts)
        torch.testing.assert_close(made.prompt_embeds[list(which)], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made.first(), (plain, made.prompt_embeds[[0, 0, 2]]))
    with pytest.raises(ValueError, match="3 images need as many lists of prompts"):
        examples.encode(tiny, pictures, prompts[:2], 16)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 2), st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 99))
def test_every_variant_is_drawn_and_only_with_its_own_photo(batch, sides, counts, seed):
    """Photo i at side s is the number 10 i + s; prompt p of photo i is 10 i + p."""
    photos = len(counts)
    latents = torch.stack([torch.stack([torch.full((1,), 10.0 * i + s) for s in range(sides)]) for i in range(photos)])
    texts = [10.0 * i + p for i, count in enumerate(counts) for p in range(count)]
    starts = [sum(counts[:i]) for i in range(photos)]
    which = tuple(tuple(range(start, start + count)) for start, count in zip(starts, counts, strict=True))
    made = Examples(latents, torch.tensor(texts)[:, None], which)
    seen = set()
    torch.manual_seed(seed)
    for draw in range(60):
        indices = [(draw + i) % photos for i in range(batch)]
        drawn, heard = made.draw(indices)
        assert (drawn // 10).flatten().tolist() == (heard // 10).flatten().tolist() == indices
        seen |= {(int(a), int(b)) for a, b in zip(drawn, heard, strict=True)}
    if batch == 6 and photos == 1:
        assert len(seen) == sides * counts[0], "a cache must not freeze one variant for the whole training"


def test_parked_modules_are_away_and_come_back(monkeypatch):
    """Moves are only written down here; there may be no second device."""
    moves, vae, text = [], nn.Linear(1, 1), nn.Linear(1, 1)
    monkeypatch.setattr(examples.gc, "collect", lambda: 0)  # takes seconds after many tests
    monkeypatch.setattr(nn.Module, "to", lambda module, place: moves.append((module is text, str(place))))
    with pytest.raises(KeyboardInterrupt), examples.parked(vae, text):
        assert moves == [(False, "cpu"), (True, "cpu")]
        with examples.fetched("cuda", text):
            assert moves[2:] == [(True, "cuda")]
        assert moves[3:] == [(True, "cpu")]
        raise KeyboardInterrupt
    assert moves[4:] == [(False, "cpu"), (True, "cpu")], "back to where they were when it began"


def test_the_mean_over_photos_is_the_held_out_loss(tiny):
    torch.manual_seed(0)
    scheduler = diffusion.training_scheduler(tiny)
    frozen = diffusion.held_out_examples(torch.randn(3, 4, 8, 8), torch.randn(3, 77, 16), scheduler, 1, copies=2)
    by_photo = examples.held_out_by_photo(tiny.unet, scheduler, frozen, ["a", "b", "c"], batch_size=4)
    whole = diffusion.held_out_loss(tiny.unet, scheduler, frozen)
    assert sum(by_photo.values()) / 3 == pytest.approx(whole, rel=1e-4) and len(set(by_photo.values())) == 3
    alone = {name: values[1::3] for name, values in frozen.items()}
    assert by_photo["b"] == pytest.approx(diffusion.held_out_loss(tiny.unet, scheduler, alone), rel=1e-4)


# The command

COMMAND = shlex.split("""--steps 2 --batch-size 1 --accumulate 3 --checkpoint-every 2 --flip --gradient-checkpointing
    --template [filewords] --template picture:[filewords] --folder""")


@pytest.mark.slow
def test_two_processes_do_what_one_does_up_to_the_order_of_sums(tmp_path):
    """Three parts a step, so that one process has twice as many as the other."""
    one, two, threads = tmp_path / "one", tmp_path / "two", torch.get_num_threads()
    torch.set_num_threads(1)  # as in the two processes: in bfloat16 another number of threads rounds otherwise
    training_command.main([*COMMAND, str(one)])
    torch.set_num_threads(threads)
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launched += ["-m", "helpers.training", *COMMAND, str(two)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(launched, cwd=runtime.REPO, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("step      2") == 1, "the first process alone speaks"
    assert json.loads((two / "settings.json").read_text())["versions"]["processes"] == 2
    ours, theirs = (hypernetwork.load(folder / "hypernetwork.pt") for folder in (one, two))
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), atol=2e-5, rtol=1e-3)
    losses = [[float(row["loss"]) for row in rows(folder)[1:]] for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and len(losses[0]) == 2
    assert ours.facts["step"] == 2 and ours.facts["sd_checkpoint_name"] == "pocket"


def test_more_processes_than_parts_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(SystemExit, match="--accumulate 3"):
        training_command.main(["--accumulate", "2"])
