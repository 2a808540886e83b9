"""Figures: a method is known by its colour."""

from helpers.show import figures


def test_every_method_has_a_colour_of_its_own_by_whatever_name_it_goes():
    assert len({figures.color_of(name, None) for name in figures.METHODS} - {None}) == len(figures.METHODS)
    assert figures.color_of("DreamBooth, Nesrelah") == figures.color_of("dreambooth_nesrelah")
    assert figures.color_of("seed 1", "other") == "other"
