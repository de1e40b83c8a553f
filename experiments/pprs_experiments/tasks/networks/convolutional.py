"""A small convolutional network with GroupNorm, which sees one example at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pprs._arguments import counts
from pprs.compare.initial_weights import drawn

_SMALLEST_SIDE = 8  # smaller images are not halved: of 1 pixel, GroupNorm would leave little


def convolutional_network(
    shape: tuple[int, int, int],
    filters: int,
    outputs: int,
    depth: int = 6,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """A chain of `depth` pieces: convolutions, each with GroupNorm and a ReLU, and a linear head.

    The first convolution and every second after it halve the sides, until one is below 8 pixels;
    all of these but the first double the channels. The head takes the mean of every channel.
    Weights are drawn as He et al. (2015) propose for ReLU layers, biases are zero.

    Args:
        shape: channels, height and width of an image.
        filters: channels that the first convolution gives, at least 2.
        outputs: output features.
        depth: number of pieces, at least 2: one more than there are convolutions.
        generator: draws the weights.
        dtype: of the parameters.

    Raises:
        ValueError: for an argument out of its range.
    """
    channels, *sides = shape
    counts(channels=channels, height=sides[0], width=sides[1], outputs=outputs)
    if filters < 2 or depth < 2:
        raise ValueError(f"filters and depth must be at least 2, got {filters} and {depth}")

    def build() -> nn.Sequential:
        pieces: list[nn.Module] = []
        incoming, side, given = channels, min(sides), filters
        for number in range(depth - 1):
            halve = number % 2 == 0 and side >= _SMALLEST_SIDE
            given *= 2 if halve and number else 1
            pieces.append(_block(incoming, given, 2 if halve else 1))
            incoming, side = given, math.ceil(side / 2) if halve else side
        return nn.Sequential(*pieces, nn.Sequential(Means(), nn.Linear(incoming, outputs)))

    return drawn(build, generator, dtype, follows="relu")


class Means(nn.Module):
    """Images `(m, c, h, w)` to the means of their channels, `(m, c)`."""

    def forward(self, images: Tensor) -> Tensor:
        """The means."""
        return images.mean((2, 3))


def _block(channels: int, filters: int, stride: int) -> nn.Sequential:
    # A bias would be taken away by the normalisation that follows, which has its own.
    convolution = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
    groups = math.gcd(4, filters)
    return nn.Sequential(convolution, nn.GroupNorm(groups, filters), nn.ReLU())
