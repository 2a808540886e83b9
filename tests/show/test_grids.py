import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import show, training
from helpers.show import grids

matplotlib.use("agg")


def colored(count):
    """Images of one colour each, all different."""
    return [Image.new("RGB", (16, 16), (7 * i % 250, 3 * i % 250, 20 + i)) for i in range(count)]


def pixels(*images):
    return {tuple(color) for image in images for color in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any), st.booleans())
def test_every_image_of_a_flat_list_and_of_ragged_rows_is_in_the_grid(lengths, labelled):
    images = colored(sum(lengths))
    rows = [images[sum(lengths[:i]) : sum(lengths[: i + 1])] for i in range(len(lengths))]
    labels = [f"row {i}" for i in range(len(rows))] if labelled else None
    for grid in (show.image_grid(rows, row_labels=labels, cell=16), show.image_grid(images, cell=16)):
        assert pixels(grid) >= pixels(*images)


def test_images_stand_in_their_row_and_column():
    images = colored(6)
    for given_images in ([images[:3], images[3:]], images):  # labels decide the columns of a flat list
        grid = show.image_grid(given_images, ["a", "b"], ["x", "y", "z"], cell=32)
        right, bottom = grid.width - grids.GAP - 16, grid.height - grids.GAP - 16
        for i, image in enumerate(images):
            at = (right - (2 - i % 3) * (32 + grids.GAP), bottom - (1 - i // 3) * (32 + grids.GAP))
            assert grid.getpixel(at) == image.getpixel((0, 0))


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (colored(5), {"row_labels": list("abc"), "column_labels": list("xyz")}, "3 row labels"),
        ([colored(3), colored(2)], {"column_labels": ["x", "y"]}, "2 column labels"),
        ([], {}, "no images"),
        ([[], []], {}, "no images"),
    ],
)
def test_what_makes_no_grid_is_refused(images, labels, words):
    with pytest.raises(ValueError, match=words):
        show.image_grid(images, **labels)


def test_an_oblong_image_is_shown_whole_and_none_leaves_its_cell_empty():
    image = Image.new("RGB", (40, 10), "red")
    image.paste("lime", (20, 0, 40, 10))
    assert {(255, 0, 0), (0, 255, 0)} <= pixels(show.image_grid([image, None], cell=40))


@settings(max_examples=40, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "), max_size=60),
    st.integers(20, 200),
)
def test_wrapping_fits_and_loses_no_letter(text, width):
    font = grids._font(12)
    lines = grids.wrap(text, font, width).split("\n")
    assert all(font.getlength(line) <= width or len(line) == 1 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_loss_curves_from_file_and_table(tmp_path):
    table = pd.DataFrame({"step": [1, 2, 3], "loss": [1.0, 0.8, 0.5], "held_out_loss": [0.9, np.nan, 0.7]})
    table.to_csv(tmp_path / "loss.csv", index=False)
    for source in (table, tmp_path / "loss.csv"):
        lines = show.loss_curves(source).axes[0].lines
        assert lines[0].get_ydata().tolist() == [1.0, 0.8, 0.5] and lines[2].get_ydata().tolist() == [0.9, 0.7]
    assert len(show.loss_curves(table[["step", "loss"]]).axes[0].lines) == 2


def test_share_bars_show_the_numbers_of_the_table():
    columns = ["prompt", "method", "mean", "low", "high"]
    rows = [
        ("a man", "base", 0.0, 0.0, 0.2),
        ("a man", "hypernetwork", 0.75, 0.5, 0.9),
        ("a woman", "base", 0.1, 0.0, 0.3),
    ]
    axes = show.share_bars(pd.DataFrame([*rows, ("a woman", "hypernetwork", 0.4, 0.2, 0.6)], columns=columns)).axes[0]
    bars = [container for container in axes.containers if hasattr(container, "patches")]
    assert [[bar.get_width() for bar in group] for group in bars] == [[0.0, 0.1], [0.75, 0.4]]
    whiskers = [segment[:, 0].tolist() for line in axes.collections for segment in line.get_segments()]
    assert np.allclose(sorted(whiskers), sorted([[0, 0.2], [0, 0.3], [0.5, 0.9], [0.2, 0.6]]))
    points = [("a man", "the world", 0.8, 0.8, 0.8), ("a woman", "the world", 0.2, np.nan, np.nan)]
    axes = show.share_bars(pd.DataFrame(points, columns=columns)).axes[0]  # ends that meet are no interval
    whiskers = [segment for line in axes.collections for segment in line.get_segments()]
    assert not any(np.isfinite(segment).all() for segment in whiskers if len(segment))


def test_held_out_curves_begin_at_zero_and_end_at_the_change():
    table = pd.DataFrame({"step": [0, 50, 100], "a.png": [0.2, 0.1, 0.15], "b.png": [0.4, 0.4, 0.8]})
    lines = {line.get_label(): line.get_ydata() for line in show.held_out_curves(table).axes[0].lines}
    assert list(lines["a.png"]) == pytest.approx([0, -50, -25]) and list(lines["b.png"]) == pytest.approx([0, 0, 100])
    assert list(lines["mean"]) == pytest.approx([0, -25, 37.5])


def test_a_rate_curve_ends_where_its_schedule_does():
    (line,) = show.rate_curve({"a": training.rates_of("1e-3:10, 1e-4:20", 30)}).axes[0].lines
    assert list(line.get_xdata()) == list(range(1, 21)) and list(line.get_ydata()) == [1e-3] * 10 + [1e-4] * 10
