"""Training and validation photos."""

import json

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import blobs
from PIL import ImageOps

from helpers import machine, photos
from helpers.machine import read_json


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(0, 39), st.integers(0, 99), st.randoms())
def test_split_deals_each_photo_once_and_the_same_again(tmp_path, count, held_out, seed, shuffler):
    files = [tmp_path / f"{i:02d}.png" for i in range(count)]
    if held_out >= count:
        with pytest.raises(ValueError, match="cannot be held out"):
            photos.split(files, held_out, seed)
        return
    training, validation = photos.split(files, held_out, seed)
    assert sorted(training + validation) == files and len(validation) == held_out
    shuffler.shuffle(files)
    assert photos.split(files, held_out, seed) == (training, validation)
    names = {"training": [p.name for p in training], "validation": [p.name for p in validation]}
    assert read_json(tmp_path / "split.json") == {"seed": seed} | names


@pytest.mark.parametrize("copies", [[1, 1, 1], [1, 3, 2, 1], [2, 2, 3], [3, 3, 3]])
def test_copies_of_a_photo_are_never_on_both_sides(tmp_path, copies):
    photo_of = {}
    for number, copy in ((number, copy) for number, count in enumerate(copies) for copy in range(count)):
        image, path = blobs(number, 96, 96), tmp_path / f"{(7 * number + 3 * copy) % 50:02d}_{number}_{copy}.png"
        (ImageOps.mirror(image) if copy == 1 else image).save(path)
        photo_of[path] = number
    for seed in range(5):
        if min(copies) > 2:
            with pytest.raises(ValueError, match="too few photos"):
                photos.split(photo_of, 2, seed)
            continue
        training, validation = photos.split(photo_of, 2, seed)
        assert sorted(training + validation) == sorted(photo_of) and 1 <= len(validation) <= 2
        assert not {photo_of[path] for path in training} & {photo_of[path] for path in validation}


def test_pieces_of_one_photo_stay_together(tmp_path):
    rows = [{"output": "0.png", "copies": json.dumps(["1.png", "2.png"])}, {"output": "3.png", "copies": "[]"}]
    pd.DataFrame(rows).to_csv(tmp_path / "report.csv", index=False)
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for seed in range(8):
        training, _ = photos.split(files, 3, seed)
        assert len({"0.png", "1.png", "2.png"} & {path.name for path in training}) in (0, 3)


def test_the_finished_sets_keep_the_split_they_came_with(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "REPO", tmp_path)
    files = [tmp_path / "data" / "set" / f"{i}.png" for i in range(6)]
    photos.split(files, 2, seed=0)
    kept = (tmp_path / "data" / "set" / "split.json").read_bytes()
    photos.split(files, 1, seed=3)
    assert (tmp_path / "data" / "set" / "split.json").read_bytes() == kept
