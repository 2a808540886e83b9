"""tools.second_round: who is chosen, what lies in the folder, and that a training learns from it."""

import dataclasses
import random

import numpy as np
import pytest
from pictures import noise_images

from helpers import diffusion, machine, photos
from helpers.compare import scores
from helpers.diffusion import models
from helpers.methods import difference
from pocket.draw import draw
from pocket.scenes import scene
from pocket.world import subject_scene
from tools import second_round, train

PROMPT = "a photo of a man riding a horse"


class ByNumber:
    """Likeness is a picture's number."""

    def __init__(self, likeness):
        self.likeness = likeness

    def shows_subject(self, images, subject):
        assert len(images) == len(self.likeness)
        return np.array(self.likeness)


def test_who_is_chosen_is_the_subject_and_does_what_is_asked():
    rng = random.Random(1)
    on_a_horse = [subject_scene("amir", rng, context="horse", style="photo") for _ in range(4)]
    others = [subject_scene("amir", rng, context="portrait", style="photo"), *(scene("small", i) for i in range(6))]
    pictures = {i: draw(shown) for i, shown in enumerate([*others, *on_a_horse])}
    judge = scores.load_reader("pocket")
    first = len(others)
    assert second_round.best(pictures, PROMPT, "amir", judge, 8) == [first, first + 1, first + 2, first + 3]
    assert second_round.best(pictures, PROMPT, "amir", judge, 2) == [first, first + 1]


def test_a_judge_of_likeness_puts_the_most_like_first():
    pictures = dict(zip("abcd", noise_images(4)))
    assert second_round.best(pictures, PROMPT, "amir", ByNumber([0.2, 0.6, -0.1, 0.4]), 3) == ["b", "d", "a"]
    assert second_round.best(pictures, PROMPT, "amir", ByNumber([0.2, 0.6, -0.1, 0.4]), 9) == ["b", "d", "a"]


@pytest.mark.slow
def test_what_is_chosen_is_learnt_beside_the_photos(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    plan = models.MODELS["pocket"].dreambooth | {"class_images": 1, "batch_size": 1}
    quick = dataclasses.replace(models.MODELS["pocket"], num_inference_steps=1, dreambooth=plan)
    monkeypatch.setitem(models.MODELS, "pocket", quick)
    monkeypatch.setattr(scores, "load_scorers", lambda *_: {"amir": ByNumber([0.0, 0.5, 0.7])})
    pipe = diffusion.load_pipeline("pocket")
    difference.save(path := tmp_path / difference.NAME, pipe, pipe, machine.weights_id(diffusion.POCKET))
    folder, made = tmp_path / "second_round_amir", []
    for _ in range(2):  # the second time nothing is made again
        second_round.main([str(path), "--subject", "amir", "--tries", "3"])  # of his class, on a horse
        made.append({one.name: one.stat().st_mtime_ns for one in (folder / "tries").glob("*.png")})
    pipe.unet.conv_out.bias.data += 1
    difference.save(path, pipe, diffusion.load_pipeline("pocket"), machine.weights_id(diffusion.POCKET))
    second_round.main([str(path), "--subject", "amir", "--tries", "3"])
    again = {one.name: one.stat().st_mtime_ns for one in (folder / "tries").glob("*.png")}
    assert made[0].keys() == again.keys() and not made[0].items() & again.items(), "another training, other pictures"
    table = photos.read_captions(folder)
    assert made[0] == made[1] and [name[-9:-4] for name in table["file"]] == ["50002", "50001"]
    assert set(table["caption"]) == {PROMPT} and len(photos.squares_in(folder)) == 2
    learnt = []
    monkeypatch.setattr(train.dreambooth, "denoising_loss", lambda *sides, **_: learnt.append(sides[3][1]) or stop())
    how = ["--method", "lora", "--subject", "amir", "--no-identifier", "--captions", "--class-prompt", ""]
    with pytest.raises(KeyboardInterrupt):
        train.main([*how, "--further", str(folder), "--steps", "1"])
    count = len(photos.split(photos.squares_in(photos.prepared_folder("amir")), 4)[0])
    assert learnt[0][count:] == [PROMPT, PROMPT], "few as they are, each photo counts as often"
    (folder / "consent.json").unlink()
    with pytest.raises(FileNotFoundError, match="consent.json"):
        train.main([*how, "--further", str(folder), "--steps", "1"])


def test_somebody_s_own_pictures_are_not_written_over(tmp_path, capsys):
    noise_images(1)[0].save(own := tmp_path / "own.png")
    with pytest.raises(SystemExit):
        second_round.main(["no.pt", "--subject", "amir", "--folder", str(tmp_path)])
    assert own.exists() and "own.png" in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1


def stop():
    raise KeyboardInterrupt
