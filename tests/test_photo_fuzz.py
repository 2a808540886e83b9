"""Some thousand damaged picture files: none may raise anything but one clear sentence, none may pass for good.

PYTHONPATH=. python tests/test_photo_fuzz.py 5000       more of them, a table of what became of each kind, and which share passed
                                           for good although it shows
"""

import functools
import io
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from pictures import blobs, encoded

from helpers import photo_examine, photos
from helpers.photo_open import open_photo

SIZE = (160, 120)
KINDS = {
    "jpeg": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 90}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "avif": ("AVIF", {"quality": 80}),
    "tiff": ("TIFF", {}),
    "packed tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "heic": ("HEIC", {}),
}


@functools.cache
def whole_file(kind, seed):
    name, options = KINDS[kind]
    image = blobs(seed, *SIZE)
    if name != "HEIC":
        return encoded(image, name, **options)
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=80)
    return file.getvalue()


def cut(content, rng):
    """The file ends early: between a fifth and nine tenths of it are there."""
    return content[: rng.randrange(len(content) // 5, len(content) * 9 // 10)]


def zeros(content, rng):
    """The space was reserved, but the copy broke off."""
    kept = cut(content, rng)
    return kept + bytes(len(content) - len(kept))


def hole(content, rng):
    """A stretch of the file was written over with something else."""
    length = rng.randrange(len(content) // 8, len(content) // 3)
    at = rng.randrange(len(content) - length)
    return content[:at] + rng.randbytes(length) + content[at + length :]


def flips(content, rng):
    """A few bytes are wrong."""
    wrong = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
    return bytes(wrong)


def head(content, rng):
    """The first bytes are wrong: sizes, marks, tables."""
    wrong = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        wrong[rng.randrange(min(64, len(wrong)))] = rng.randrange(256)
    return bytes(wrong)


def shifted(content, rng):
    """A stretch is missing, or is there twice."""
    length, at = rng.randrange(1, 200), rng.randrange(len(content) // 2)
    return content[:at] + content[at + length :] if rng.random() < 0.5 else content[: at + length] + content[at:]


def joined(content, rng):
    """Two halves that do not belong together."""
    other = whole_file(rng.choice(list(KINDS)), rng.randrange(9))
    return content[: len(content) // 2] + other[len(other) // 2 :]


# The share of its damaged files that passes for good although the damage shows: measured with another seed, and a
# tenth of all files more. What is above it has become worse.
AT_MOST = {"png": 0, "gif": 0.12, "lossless webp": 0.16, "progressive": 0.17, "packed tiff": 0.2, "avif": 0.22}
AT_MOST |= {"bmp": 0.27, "webp": 0.31, "heic": 0.32, "jpeg": 0.34, "tiff": 0.34}
DAMAGES = (cut, zeros, hole, flips, head, shifted, joined)
MEASURED = ("webp", "lossless webp", "avif", "heic")  # formats that say how long they are
# What no program can tell by the file alone: in a format without check sums most bytes say some colour.
UNTOLD = {(kind, damage) for kind in KINDS for damage in (hole, flips, head, joined) if kind != "png"}
UNTOLD |= {(kind, shifted) for kind in KINDS if kind not in (*MEASURED, "png")}


def damaged(count, seed=0):
    """Yields (kind, damage, its file's content, the whole picture), all kinds and damages in turn."""
    rng = random.Random(seed)
    for number in range(count):
        kind, damage = list(KINDS)[number % len(KINDS)], DAMAGES[number // len(KINDS) % len(DAMAGES)]
        picture = number // (len(KINDS) * len(DAMAGES)) % 5
        yield kind, damage, damage(whole_file(kind, picture), rng), blobs(picture, *SIZE)


def what_becomes_of(path, whole, folder):
    """ "refused", "set aside" (opened, but left out by what was measured), "good" or, kept though it shows, "BAD"."""
    try:
        image = open_photo(path)
    except ValueError as error:
        assert str(error).startswith(path.name) and "\n" not in str(error)
        return "refused"
    assert image.mode == "RGB" and image.info == {}
    (settings,) = photos.settings_of({path.name: path}, 64)
    record = photo_examine.examine(path, folder, "key", settings)
    if not record["row"]["kept"]:
        return "set aside"
    if image.size != whole.size:
        return "BAD"
    error = abs(np.asarray(image, float) - np.asarray(whole)).mean(axis=2)
    cells = error.reshape(SIZE[1] // 8, 8, SIZE[0] // 8, 8).mean(axis=(1, 3))
    return "BAD" if (cells > 30).mean() > 0.1 else "good"


def run(count, folder, seed=0):
    """Counter of (kind, damage, what became of it)."""
    found = Counter()
    for number, (kind, damage, content, whole) in enumerate(damaged(count, seed)):
        path = Path(folder) / f"{number:05d}.{random.Random(number).choice(['jpg', 'png', 'heic', 'photo'])}"
        path.write_bytes(content)
        found[kind, damage, what_becomes_of(path, whole, Path(folder))] += 1
        path.unlink()
    return found


def passed_for_good(found):
    """{kind: the share of its damaged files that were kept although the damage shows}."""
    bad, total = Counter(), Counter()
    for (kind, _, what), count in found.items():
        total[kind] += count
        bad[kind] += count * (what == "BAD")
    return {kind: bad[kind] / total[kind] for kind in total}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run(2310, tmp_path_factory.mktemp("fuzz"))


@pytest.mark.slow
def test_two_thousand_damaged_files_are_opened_or_refused_in_words(found):
    assert found.total() >= 2000 and {kind for kind, _, _ in found} == set(KINDS)
    refused = sum(count for (_, _, what), count in found.items() if what == "refused")
    assert refused > 0.5 * found.total()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_bad_file_passes_for_good(found, kind):
    bad = {
        damage.__name__: count
        for (k, damage, what), count in found.items()
        if k == kind and what == "BAD" and (k, damage) not in UNTOLD
    }
    assert not bad


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_ends_early_is_always_refused(found, kind):
    became = {what for (k, damage, what), _ in found.items() if k == kind and damage is cut}
    assert became == {"refused"}


def test_the_share_that_passes_is_counted_by_kind():
    counted = Counter(
        {("png", cut, "refused"): 3, ("bmp", hole, "BAD"): 1, ("bmp", cut, "good"): 1, ("bmp", cut, "set aside"): 2}
    )
    assert passed_for_good(counted) == {"png": 0, "bmp": 0.25}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_passes_is_no_more_than_the_format_cannot_tell(found, kind):
    assert passed_for_good(found)[kind] <= AT_MOST[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_pass(tmp_path, kind):
    (tmp_path / "a").write_bytes(whole_file(kind, 1))
    assert what_becomes_of(tmp_path / "a", blobs(1, *SIZE), tmp_path) == "good"


def test_a_folder_of_them_goes_through(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for number, (_, _, content, _) in enumerate(damaged(77, seed=1)):
        (raw / f"{number}.jpg").write_bytes(content)
    blobs(7).save(raw / "good.png")
    report = photos.prepare(raw, tmp_path / "out", 64)
    assert len(report) == 78 and report.kept[77] and report.why[~report.kept].str.endswith(".").all()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        table = run(int(sys.argv[1]), place, seed=1)
    outcomes = ("refused", "set aside", "good", "BAD")
    print(f"{'':15}{'':9}", *(f"{what:>10}" for what in outcomes))
    for kind in KINDS:
        for damage in DAMAGES:
            print(f"{kind:15}{damage.__name__:9}", *(f"{table[kind, damage, what]:10}" for what in outcomes))
    print(
        "passed for good although it shows:", {kind: f"{share:.0%}" for kind, share in passed_for_good(table).items()}
    )
    print("all", table.total(), {what: sum(n for (*_, w), n in table.items() if w == what) for what in outcomes})
