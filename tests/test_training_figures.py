import pandas as pd
import pytest
from matplotlib import pyplot

from helpers import hypernetwork, hypernetwork_map, training_figures
from helpers.schedules import parse


def words(chart):
    return [text.get_text() for text in chart.axes[0].texts]


def test_the_map_names_every_width_and_counts_every_layer(pocket_pipeline):
    unet = pocket_pipeline.unet
    parts = hypernetwork_map.contexts(unet)
    widths = hypernetwork.widths_of(unet)
    layers = [module.to_k.in_features for module in unet.modules() if hasattr(module, "to_k")]
    assert {width: sum(count[width] for _, count in parts) for width in widths} == {w: layers.count(w) for w in widths}
    assert [block["name"] for block, _ in parts] == ["down"] * 3 + ["middle"] + ["up"] * 3
    chart = hypernetwork_map.hypernetwork_map(unet)
    for width in widths:
        kind = "the prompt" if width == 160 else "the picture"
        assert f"{kind}, {width} wide\n{layers.count(width)} layers share one pair" in words(chart)
    middle = parts[3][0]
    assert f"{middle['side']} x {middle['side']}, 256 wide" in words(chart)
    assert not pyplot.get_fignums(), "shown once, by the cell"


def test_held_out_curves_begin_at_zero_and_end_at_the_change():
    table = pd.DataFrame({"step": [0, 50, 100], "a.png": [0.2, 0.1, 0.15], "b.png": [0.4, 0.4, 0.8]})
    lines = {line.get_label(): line.get_ydata() for line in training_figures.held_out_curves(table).axes[0].lines}
    assert list(lines["a.png"]) == pytest.approx([0, -50, -25]) and list(lines["b.png"]) == pytest.approx([0, 0, 100])
    assert list(lines["mean"]) == pytest.approx([0, -25, 37.5])


def test_a_rate_curve_ends_where_its_schedule_does():
    text = "1e-3:10, 1e-4:20"
    (line,) = training_figures.rate_curve([text], 30).axes[0].lines
    assert list(line.get_xdata()) == list(range(1, 21)) and parse(text, 30)[-1].last == 20
    assert line.get_ydata()[9] == 1e-3 and line.get_ydata()[10] == 1e-4
    with pytest.raises(ValueError, match="is not rate:step"):
        training_figures.rate_curve(["fast"], 30)
