import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers import plots

matplotlib.use("agg")


def colored(count, size=(16, 16)):
    """Images of one colour each, all different."""
    return [Image.new("RGB", size, (7 * i % 250, 3 * i % 250, 20 + i)) for i in range(count)]


def pixels(image):
    return {tuple(color) for color in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def has_all(grid, images):
    return pixels(grid) >= set().union(*(pixels(image) for image in images))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70))
def test_every_image_of_a_flat_list_is_in_the_grid(count):
    images = colored(count)
    assert has_all(plots.image_grid(images, cell=16), images)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any), st.booleans())
def test_every_image_of_ragged_rows_is_in_the_grid(lengths, labelled):
    images = colored(sum(lengths))
    rows = [images[sum(lengths[:i]) : sum(lengths[: i + 1])] for i in range(len(lengths))]
    labels = [f"row {i}" for i in range(len(rows))] if labelled else None
    assert has_all(plots.image_grid(rows, row_labels=labels, cell=16), images)


def test_images_stand_in_their_row_and_column():
    images = colored(6)
    grid = plots.image_grid([images[:3], images[3:]], ["a", "b"], ["x", "y", "z"], cell=32)
    right, bottom = grid.width - plots.GAP - 16, grid.height - plots.GAP - 16
    for row in range(2):
        for column in range(3):
            at = (right - (2 - column) * (32 + plots.GAP), bottom - (1 - row) * (32 + plots.GAP))
            assert grid.getpixel(at) == images[3 * row + column].getpixel((0, 0))


def test_column_labels_decide_the_columns_of_a_flat_list():
    images = colored(5)
    assert has_all(plots.image_grid(images, column_labels=["x", "y", "z"], cell=16), images)
    with pytest.raises(ValueError, match="2 rows but 3 row labels"):
        plots.image_grid(images, row_labels=list("abc"), column_labels=["x", "y", "z"])
    with pytest.raises(ValueError, match="3 columns but 2 column labels"):
        plots.image_grid([images[:3], images[3:]], column_labels=["x", "y"])


def test_no_images_is_one_clear_sentence():
    for nothing in ([], [[]], [[], []]):
        with pytest.raises(ValueError, match="no images"):
            plots.image_grid(nothing)


def test_an_oblong_image_is_shown_whole():
    image = Image.new("RGB", (40, 10), "red")
    image.paste("lime", (20, 0, 40, 10))
    seen = pixels(plots.image_grid([image], cell=40))
    assert {(255, 0, 0), (0, 255, 0)} <= seen
    assert image.size == (40, 10)


def test_none_leaves_the_cell_empty():
    grid = plots.image_grid([None, Image.new("RGB", (8, 8), "red")], cell=20)
    assert {(255, 0, 0), (241, 241, 244)} <= pixels(grid)


def test_labels_are_drawn_and_make_room_for_themselves():
    images = colored(2)
    bare = plots.image_grid([images], cell=64)
    headed = plots.image_grid([images], column_labels=["a horse, facing the camera, at the beach", "short"], cell=64)
    sided = plots.image_grid([images], row_labels=["hypernetwork " * 20], cell=64)
    assert headed.height > bare.height and headed.width == bare.width
    assert sided.width > bare.width and sided.height > bare.height
    ink = np.asarray(headed.convert("L"))[: headed.height - bare.height] < 100
    assert ink.any()


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "), max_size=60),
    st.integers(20, 200),
)
def test_wrapping_fits_and_loses_no_letter(text, width):
    font = plots._font(12)
    lines = plots.wrap(text, font, width).split("\n")
    assert all(font.getlength(line) <= width or len(line) == 1 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_loss_curves_from_file_and_table(tmp_path):
    table = pd.DataFrame({"step": range(1, 41), "loss": np.linspace(1, 0.5, 40), "held_out_loss": None})
    table.loc[[9, 39], "held_out_loss"] = [0.9, 0.7]
    table["held_out_loss"] = table["held_out_loss"].astype(float)
    table.to_csv(tmp_path / "loss.csv", index=False)
    for source in (table, tmp_path / "loss.csv"):
        lines = plots.loss_curves(source).axes[0].lines
        assert [line.get_label() for line in lines] == ["each step", "running mean", "held out"]
        assert lines[2].get_ydata().tolist() == [0.9, 0.7]
    assert len(plots.loss_curves(table[["step", "loss"]]).axes[0].lines) == 2


def test_share_bars_show_the_numbers_of_the_table():
    table = pd.DataFrame(
        {
            "prompt": ["a man", "a man", "a woman", "a woman"],
            "method": ["base", "hypernetwork"] * 2,
            "mean": [0.0, 0.75, 0.1, 0.4],
            "low": [0.0, 0.5, 0.0, 0.2],
            "high": [0.2, 0.9, 0.3, 0.6],
        }
    )
    axes = plots.share_bars(table).axes[0]
    bars = [container for container in axes.containers if hasattr(container, "patches")]
    assert [[bar.get_width() for bar in group] for group in bars] == [[0.0, 0.1], [0.75, 0.4]]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a man", "a woman"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["base", "hypernetwork"]
    whiskers = [segment[:, 0].tolist() for line in axes.collections for segment in line.get_segments()]
    assert np.allclose(sorted(whiskers), sorted([[0, 0.2], [0, 0.3], [0.5, 0.9], [0.2, 0.6]]))
