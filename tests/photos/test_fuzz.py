"""Some hundred damaged picture files: none may raise anything but one clear sentence, none may pass for good.

PYTHONPATH=.:tests python tests/photos/test_fuzz.py 5000       more of them, and what became of each kind and damage
"""

import functools
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import blobs, encoded

from helpers.photos import check, open_photo, preparation

SIZE = (160, 120)
KINDS = {"png": {}, "tiff": {}, "bmp": {}, "gif": {}, "heif": {"quality": 80}, "avif": {"quality": 80}}
KINDS |= {"jpeg": {"quality": 90}, "jpeg progressive": {"quality": 90, "progressive": True}}
KINDS |= {"webp": {"quality": 90}, "webp lossless": {"lossless": True}, "tiff packed": {"compression": "tiff_lzw"}}


@functools.cache
def whole_file(kind, seed):
    return encoded(blobs(seed, *SIZE), kind.split()[0].upper(), **KINDS[kind])


def cut(content, rng):
    return content[: rng.randrange(len(content) // 5, len(content) * 9 // 10)]


def zeros(content, rng):
    """The space was reserved, but the copy broke off."""
    return cut(content, rng).ljust(len(content), b"\0")


def hole(content, rng):
    length = rng.randrange(len(content) // 8, len(content) // 3)
    at = rng.randrange(len(content) - length)
    return content[:at] + rng.randbytes(length) + content[at + length :]


def flips(content, rng, within=None):
    wrong = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        wrong[rng.randrange(min(within or len(wrong), len(wrong)))] ^= rng.randrange(1, 256)
    return bytes(wrong)


def shifted(content, rng):
    """A stretch is missing, or is there twice."""
    length, at = rng.randrange(1, 200), rng.randrange(len(content) // 2)
    return content[:at] + content[at + length :] if rng.random() < 0.5 else content[: at + length] + content[at:]


def joined(content, rng):
    """Two halves that do not belong together."""
    other = whole_file(rng.choice(list(KINDS)), rng.randrange(9))
    return content[: len(content) // 2] + other[len(other) // 2 :]


DAMAGES = {damage.__name__: damage for damage in (cut, zeros, hole, flips, shifted, joined)}
DAMAGES["head"] = functools.partial(flips, within=64)  # wrong sizes, marks, tables


def told(kind, damage):
    """Whether the file alone can tell: in a format without check sums or lengths most bytes say some colour."""
    lengths = kind.startswith(("webp", "avif", "heif"))
    return kind == "png" or damage in ("cut", "zeros") or (damage == "shifted" and lengths)


def what_becomes_of(path, content, whole):
    """ "refused", "set aside" (opened, but left out by what was measured), "good" or, kept though it shows, "BAD"."""
    path.write_bytes(content)
    try:
        image = open_photo(path)
    except ValueError as error:
        assert str(error).startswith(path.name) and "\n" not in str(error)
        return "refused"
    assert image.mode == "RGB" and image.info == {}
    (settings,) = preparation.settings_of({path.name: path}, 64)
    if not check.examine(path, path.parent, "key", settings)["row"]["kept"]:
        return "set aside"
    if image.size != whole.size:
        return "BAD"
    error = abs(np.asarray(image, float) - np.asarray(whole)).mean(axis=2)
    cells = error.reshape(SIZE[1] // 8, 8, SIZE[0] // 8, 8).mean(axis=(1, 3))
    return "BAD" if (cells > 30).mean() > 0.1 else "good"


def became(kind, damage, count, folder, seed=0):
    """Counter of what became of `count` damaged files of a kind."""
    rng, found = random.Random(f"{kind} {damage} {seed}"), Counter()
    for number in range(count):
        content = DAMAGES[damage](whole_file(kind, number % 5), rng)
        path = folder / f"photo.{rng.choice(['jpg', 'png', 'heic', 'photo'])}"
        found[what_becomes_of(path, content, blobs(number % 5, *SIZE))] += 1
    return found


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_file_can_tell_is_told(tmp_path, kind, damage):
    sure = told(kind, damage)
    found = became(kind, damage, 10 if sure else 1, tmp_path)
    assert not (sure and found["BAD"]) and (damage != "cut" or found["refused"] == 10)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_pass(tmp_path, kind):
    assert what_becomes_of(tmp_path / "a", whole_file(kind, 1), blobs(1, *SIZE)) == "good"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        each = int(sys.argv[1]) // (len(KINDS) * len(DAMAGES))
        rows = {(kind, damage): became(kind, damage, each, Path(place), 1) for kind in KINDS for damage in DAMAGES}
    table = pd.DataFrame(rows).T.fillna(0).astype(int)
    print(table, table.groupby(level=0).sum(), table.sum(), sep="\n\n")
