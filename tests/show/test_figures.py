"""Figures: a method is known by its colour."""

from helpers.show import figures


def test_every_method_has_a_colour_of_its_own_by_whatever_name_it_goes():
    assert len({figures.color_of(name, None) for name in figures.METHODS} - {None}) == len(figures.METHODS)
    assert figures.color_of("DreamBooth, Nesrelah") == figures.color_of("dreambooth_nesrelah")
    assert figures.color_of("seed 1", "other") == "other"


def test_no_two_lines_of_a_figure_look_alike():
    names = ["DreamBooth", "from nothing", "LoRA", "diffusers' script", "diffusers' script, our rate", "seed 1"]
    colors = figures.colors_of(names)
    assert list(colors) == names and len(set(colors.values())) == len(names)
    assert colors["LoRA"] == figures.color_of("lora") and colors["DreamBooth"] == figures.color_of("dreambooth_amir")
    assert set(figures.colors_of([*figures.METHODS, "more"])) == {*figures.METHODS, "more"}, "none is left over"
