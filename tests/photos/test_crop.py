"""Where the square goes, and what is measured in a photo."""

import io
import itertools
import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import blobs, encoded
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from skimage import data

from helpers.photos import check, crop

quick = settings(max_examples=40, deadline=None)


@quick
@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0, 1), st.floats(0, 1))
def test_crop_box_is_the_largest_square_around_the_focus(width, height, across, down):
    x, y = across * width, down * height
    left, top, right, bottom = crop.crop_box((width, height), (x, y))
    assert right - left == bottom - top == min(width, height)
    assert 0 <= left and right <= width and 0 <= top and bottom <= height
    assert left - 0.5 <= x <= right + 0.5 and top - 0.5 <= y <= bottom + 0.5
    if min(width, height) / 2 <= x <= width - min(width, height) / 2:
        assert abs((left + right) / 2 - x) <= 0.5


@settings(max_examples=8, deadline=None)
@given(st.integers(200, 600), st.integers(200, 600), st.floats(0.2, 0.8), st.floats(0.2, 0.8))
def test_what_stands_out_is_in_the_square_and_stays_round(width, height, across, down):
    x, y, radius = across * width, down * height, 0.12 * min(width, height)
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), "red")
    square = np.asarray(crop.cut(image, crop.crop_box(image.size, crop.find_focus(image)[0]), 100), int)
    rows, columns = np.nonzero(square[..., 0] - square[..., 1] > 120)
    assert np.ptp(rows) == pytest.approx(24, abs=3) and np.ptp(columns) == pytest.approx(24, abs=3)


def test_copies_are_near_and_others_are_far():
    """Of 1,500 such copies three lie a little further off, up to 0.27; of other pictures none is nearer than 0.42."""
    rng = np.random.default_rng(0)
    for seed in range(40):
        image = blobs(seed)
        copy = ImageEnhance.Brightness(image).enhance(rng.uniform(0.9, 1.05))
        copy = copy.crop((round(rng.uniform(0, 0.01) * image.width), 0, *image.size))
        copy = ImageOps.mirror(copy) if rng.random() < 0.5 else copy
        copy = copy.resize((120, 90)) if rng.random() < 0.5 else copy
        copy = Image.open(io.BytesIO(encoded(copy, "JPEG", quality=50)))
        one, other, stranger = (check.fingerprint(each) for each in (image, copy, blobs(seed + 1)))
        assert check.distance(one, other) == check.distance(other, one) < check.SAME
        assert check.distance(one, stranger) > check.SAME
        assert check.distance(one, one) == 0


def sitter(turn, mouth, arm=None):
    """Somebody before a white wall: which way the face is turned, how open the mouth is, and where an arm is held."""
    image = Image.new("RGB", (600, 800), (244, 243, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((110, 620, 490, 800), "royalblue")
    draw.rectangle((160, 650, 240, 720), "gold")  # people are not symmetrical
    draw.ellipse((180, 220, 420, 580), "tan")
    draw.pieslice((170, 190, 430, 480), 180, 360, "saddlebrown")
    for eye in (245 + turn, 355 + turn):
        draw.ellipse((eye - 20, 370, eye + 20, 395), "white")
        draw.ellipse((eye - 9, 372, eye + 9, 392), "black")
    draw.ellipse((265 + turn, 490 - mouth, 335 + turn, 490 + mouth), "darkred")
    if arm:
        draw.line((470, 640, *arm), "royalblue", 50)
    return image


def test_poses_before_one_wall_are_different_photos_and_their_copies_are_not():
    poses = [sitter(0, 5), sitter(-50, 20), sitter(60, 5), sitter(0, 5, (580, 300))]
    marks = [check.fingerprint(pose) for pose in poses]
    assert check.near_duplicates(marks, [70] * 4) == {}
    for pose in poses:
        copy = ImageOps.mirror(ImageEnhance.Brightness(pose).enhance(0.92).crop((5, 4, 600, 800)).resize((300, 400)))
        copy = Image.open(io.BytesIO(encoded(copy, "JPEG", quality=50)))
        assert check.distance(check.fingerprint(pose), check.fingerprint(copy)) < check.SAME / 2


def test_sharpness_falls_with_blur_and_not_with_size_or_darkness():
    image = blobs(4, 800, 800)
    values = [check.sharpness(image.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 3, 8, 20)]
    assert values == sorted(values, reverse=True) and values[2] > check.BLURRED > values[3], "1 % of the width"
    double = image.resize((1600, 1600), Image.Resampling.BICUBIC)
    assert check.sharpness(double) == pytest.approx(values[0], rel=0.1)
    assert check.sharpness(ImageEnhance.Brightness(image).enhance(0.2)) == pytest.approx(values[0], rel=0.1)
    assert check.sharpness(Image.new("RGB", (300, 200), "teal")) == 0


def test_a_complaint_names_the_trouble():
    fine = {"size": (800, 600), "target": 512, "sharp": 70, "dark": 20, "bright": 220}
    wrong = [("size", (800, 500), "only 800 x 500"), ("size", (6000, 600), "strip"), ("cut", 100, "frame")]
    wrong += [("sharp", 10, "blurred"), ("bright", 40, "too dark"), ("dark", 230, "too bright")]
    assert check.complaint(**fine) == check.complaint(**fine | {"size": (6000, 600), "chosen": True}) == ""
    for key, value, words in wrong:
        assert words in check.complaint(**fine | {key: value})


def test_every_real_face_is_found_once_and_an_even_picture_is_cropped_in_the_middle():
    assert crop.find_focus(Image.new("RGB", (300, 200), "teal")) == ((150, 100), "centre")
    one, two = Image.fromarray(data.astronaut()).crop((100, 0, 356, 256)), Image.new("RGB", (512, 256))
    for x in (0, 256):
        two.paste(one, (x, 0))
    found = sorted(crop.find_faces(two))  # her eyes and mouth lie between (90, 80) and (160, 170)
    for x, (left, top, right, bottom) in zip((0, 256), found, strict=True):
        assert left < x + 100 and right > x + 150 and top < 90 and bottom > 150 and right - left < 200
    assert crop.find_focus(one)[1] == "face"


FACES = json.loads((Path(__file__).parent / "faces.json").read_text())  # sizes of photos, with the box of the face
UPRIGHT = [photo for photo in FACES if photo["size"][1] > photo["size"][0]]


def whole_heads(photos, focus):
    """Whether the head, the face with 35 % above it and 10 % beside, is whole in the square, if it fits into one."""
    for photo in photos:
        (width, height), (left, top, right, bottom) = photo["size"], photo["face"]
        aside, above = (right - left) / 10, 0.35 * (bottom - top)
        head = max(0, left - aside), max(0, top - above), min(width, right + aside), min(height, bottom)
        if max(head[2] - head[0], head[3] - head[1]) <= min(width, height):
            box = crop.crop_box((width, height), focus(photo))
            yield all(a <= b + 0.5 for a, b in zip((*box[:2], *head[2:]), (*head[:2], *box[2:])))


def test_with_the_face_known_the_square_keeps_the_whole_head():
    focus = lambda photo: crop.find_focus(Image.new("1", photo["size"]), [photo["face"]])[0]
    for photos in (FACES, UPRIGHT):
        kept = list(whole_heads(photos, focus))
        assert len(kept) >= len(photos) - 1 and np.mean(kept) >= 0.97


def portrait(photo, ground):
    """A head of one colour and, below it, clothes that stand out far more, before a wall or before leaves."""
    image = Image.new("RGB", photo["size"], "beige") if ground == "wall" else blobs(1, *photo["size"])
    height, (left, top, right, bottom) = photo["size"][1], photo["face"]
    draw, above, high = ImageDraw.Draw(image), 0.35 * (bottom - top), bottom - top
    draw.ellipse((left, top - above, right, bottom), "saddlebrown")
    draw.rectangle((left - high, min(bottom + high / 8, height), right + high, height), "red")
    return image


@pytest.mark.parametrize("ground", ["wall", "leaves"])
def test_where_no_face_is_found_an_upright_photo_keeps_its_head_not_its_clothes(ground):
    photos = [photo for photo in UPRIGHT if photo["face"][3] <= photo["size"][0]]
    assert all(whole_heads(photos, lambda photo: crop.find_focus(portrait(photo, ground), [])[0]))
    stars = Image.new("RGB", (300, 500), "navy")
    ImageDraw.Draw(stars).point([(40, 30), (200, 90)], "white")
    ImageDraw.Draw(stars).rectangle((60, 300, 240, 500), "red")
    assert crop.crop_box(stars.size, crop.find_focus(stars, [])[0]) == (0, 200, 300, 500), "nobody is in the sky"


def test_yunet_does_the_work_where_it_is(monkeypatch):
    yunet = Mock()  # as OpenCV's
    faces = [[10, 20, 50, 60] + 10 * [0] + [0.9], [200, 0, 100, 120] + 10 * [0] + [0.8]]
    yunet.detect.return_value = 1, np.array(faces, "float32")
    monkeypatch.setattr(crop, "_yunet", lambda: yunet)
    assert crop.detector() == "YuNet"
    assert crop.find_faces(Image.new("RGB", (800, 400), (1, 2, 3))) == [(400, 0, 600, 240), (20, 40, 120, 160)]
    yunet.setInputSize.assert_called_once_with((400, 200))
    (pixels,) = yunet.detect.call_args.args
    assert pixels.shape == (200, 400, 3) and tuple(pixels[0, 0]) == (3, 2, 1), "blue comes first"


@quick
@given(st.integers(16, 4000), st.integers(16, 4000))
def test_pieces_cover_a_long_photo_and_share_a_fifth(width, height):
    boxes = crop.pieces((width, height))
    side = min(width, height)
    assert all(b[2] - b[0] == b[3] - b[1] == side for b in boxes)
    assert all(0 <= b[0] and 0 <= b[1] and b[2] <= width and b[3] <= height for b in boxes)
    if len(boxes) > 1:
        starts = [box[0] + box[1] for box in boxes]
        assert starts[0] == 0 and starts[-1] == max(width, height) - side
        assert all(b - a <= 0.8 * side + 1 for a, b in itertools.pairwise(starts))
    else:
        assert side > crop.STRIP * max(width, height) or side == max(width, height)


@quick
@given(st.integers(1, 900), st.integers(1, 900), st.integers(8, 200))
def test_padding_keeps_all_of_the_photo_and_its_shape(width, height, size):
    square = np.asarray(crop.pad(Image.new("RGB", (width, height), "red"), size, "blue"), int)
    red = square[..., 0] > square[..., 2]
    wanted = size * min(width, height) / max(width, height)
    assert square.shape == (size, size, 3)
    assert sorted((red.any(0).sum(), red.any(1).sum())) == pytest.approx([max(1, wanted), size], abs=1)


edges = st.one_of(st.floats(-1e5, 1e5), st.sampled_from([np.nan, np.inf, -np.inf, "", "9", "x", None]))


@quick
@given(st.lists(edges, max_size=5), st.integers(1, 3000), st.integers(1, 3000))
def test_any_crop_becomes_a_square_within_the_photo_or_is_refused(box, width, height):
    try:
        left, top, right, bottom = crop.clamp(box, (width, height))
    except ValueError as error:
        assert "is not a crop" in str(error)
        return
    assert right - left == bottom - top >= min(16, width, height)
    assert 0 <= left and 0 <= top and right <= width and bottom <= height
    assert crop.clamp((left, top, right, bottom), (width, height)) == (left, top, right, bottom)


def test_the_sharpest_copy_stays_unless_a_person_chose():
    a, b = check.fingerprint(blobs(1)), check.fingerprint(blobs(2))
    assert check.near_duplicates([a, b, a], [100, 50, 105]) == {2: 0}, "hardly sharper: the earlier stays"
    assert check.near_duplicates([a, a, b, a], [100, 120, 1, 140]) == {0: 3, 1: 3}
    assert check.near_duplicates([a, a], [100, 500], stay={0}) == {1: 0}
    assert check.near_duplicates([a, a, b], [500, 100, 9], stay={1, 2}) == {0: 1}
    assert check.near_duplicates([a, a, a], [1, 2, 9], stay={0, 1}) == {2: 0}


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(1, 1000)), max_size=12))
def test_of_every_photo_one_copy_is_kept(shown):
    prints = {seed: check.fingerprint(blobs(seed)) for seed in range(4)}
    instead = check.near_duplicates([prints[seed] for seed, _ in shown], [sharp for _, sharp in shown])
    kept = [i for i in range(len(shown)) if i not in instead]
    assert sorted(shown[i][0] for i in kept) == sorted({seed for seed, _ in shown})
    assert all(shown[loser][0] == shown[winner][0] and winner in kept for loser, winner in instead.items())
