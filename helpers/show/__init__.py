"""What a cell shows: grids of pictures, figures, flipbooks, small pieces of HTML. No torch."""

from helpers.show import figures, html
from helpers.show.figures import arrows, forest, held_out_curves, loss_curves, rate_curve, share_bars, stacked_bars
from helpers.show.grids import COLORS, INK, card, image_grid
from helpers.show.html import data_url, enable_widgets, flipbook
