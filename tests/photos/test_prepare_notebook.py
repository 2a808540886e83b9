"""What a person decides in notebook 01 is in the squares, for somebody who brings nothing but a zip, too."""

import zipfile

import numpy as np
import pytest
from cells import execute, sources
from pictures import blobs, encoded

from helpers import machine, photos
from helpers.photos import consent

NAME = "Åse Nyström-Bâ"
REPORT, EDITOR, SQUARES, MOVED = "01-20", "d87f5347", "01-29", "01-27"


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """({id: source}, names of a notebook whose set-up, settings and consent cells are done), a zip alone in `raw`."""
    source = sources("01_prepare_photos")
    monkeypatch.setattr(machine, "REPO", tmp_path)
    monkeypatch.setattr(machine, "RUNS", tmp_path / "runs")
    raw = tmp_path / "data" / "subjects" / NAME / "raw"
    raw.mkdir(parents=True)
    with zipfile.ZipFile(raw / "from the phone.zip", "w") as archive:
        for seed in range(3):
            archive.writestr(f"IMG_100{seed}.PNG", encoded(blobs(seed, 300, 400), "PNG"))
        archive.writestr("IMG_1003.PNG", encoded(blobs(2, 300, 400), "PNG"))
    consent.write_consent(raw.parent, NAME, "this test", "2099-01-01")
    names = {"NAMES": [NAME], "RAW": {NAME: raw}, "SIZE": 64, "display": lambda shown: None}
    execute(next(text for text in source.values() if text.startswith("import pandas")), names)
    return source, names


def pixels(names):
    return [np.asarray(image) for _, image in photos.load_prepared(names["OUT"][NAME])]


def test_a_frame_that_was_moved_is_in_the_squares_below_and_what_was_kept_by_hand_stays(cells):
    source, names = cells
    execute(source[REPORT].replace("BY_HAND = {}", f"BY_HAND = {{{NAME!r}: {{'keep': ['IMG_1003.PNG']}}}}"), names)
    before, kept = pixels(names), ["IMG_1000.PNG", "IMG_1001.PNG", "IMG_1003.PNG"]
    assert list(names["reports"][NAME].query("kept").file) == kept, "of a photo that is there twice the one chosen"
    execute(source[EDITOR].replace("CropEditor", "editor = CropEditor"), names)
    assert set(kept) <= set(names["editor"].files), "what comes in a zip can be moved, too"
    names["editor"].keep("IMG_1000.PNG", (0, 0, 100, 100))
    execute(source[SQUARES], names)
    first, *rest = pixels(names)
    assert not np.array_equal(first, before[0]) and all(map(np.array_equal, rest, before[1:]))
    execute(
        source[MOVED].replace('"amir": {"IMG_2086.jpg": (768, 1150)}', f"{NAME!r}: {{'IMG_1001.PNG': (150, 390)}}"),
        names,
    )
    moved = pixels(names)
    assert list(names["reports"][NAME].query("kept").file) == kept
    assert np.array_equal(moved[0], first) and not np.array_equal(moved[1], before[1])
