"""A critic: a small network that learns to tell drawn pictures from what another network made, which learns against it.

As the decoder of Stable Diffusion was taught (Esser et al. 2021, arXiv 2012.09841). A mean of many sharp pictures is a
soft one, and near to all of them; the critic does not let it pass. Its layers are kept from growing (spectral norm,
Miyato et al. 2018, arXiv 1802.05957).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """Pixels (n, 3, side, side) in -1..1 to one number for each patch of 8 x 8: the larger, the more it looks drawn."""

    def __init__(self, width=48):
        super().__init__()
        sizes = (3, width, 2 * width, 2 * width)
        layers = [(spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)) for a, b in pairwise(sizes)]
        last = spectral_norm(nn.Conv2d(sizes[-1], 1, 3, 1, 1))
        self.layers = nn.Sequential(*(part for layer in layers for part in layer), last)

    def forward(self, pixels):
        return self.layers(pixels)

    def rivalry(self, made, drawn, share=0.5):
        """The critic's loss on made and on drawn pixels; who made the first learns to make it large.

        share: how strong the critic's pull on the made pixels is, beside that of their mean absolute error. It is always
        this strong: with a fixed weight it pushed pixels out of all bounds within 300 steps.
        """
        return F.softplus(self(_Reversed.apply(made, share))).mean() + F.softplus(-self(drawn)).mean()


class _Reversed(torch.autograd.Function):
    """Hands pixels on to the critic, and its gradient back with the sign changed: one learns what the other unlearns.

    What comes back has `share` times the length of the gradient of a mean absolute error.
    """

    @staticmethod
    def forward(context, pixels, share):
        context.length = share / pixels.numel() ** 0.5
        return pixels.view_as(pixels)

    @staticmethod
    def backward(context, gradient):
        return -gradient * context.length / gradient.norm().clamp(min=1e-12), None
