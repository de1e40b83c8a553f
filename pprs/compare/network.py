"""A deep chain of linear layers and ReLUs."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from pprs.compare.initial_weights import drawn


def relu_network(
    inputs: int,
    width: int,
    outputs: int,
    depth: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    flatten: bool = False,
) -> nn.Sequential:
    """A chain of `depth` linear layers, all but the last followed by a ReLU, no normalisation.

    Weights are drawn as He et al. (2015) propose for ReLU layers, biases are zero.

    Args:
        inputs: input features.
        width: features of every hidden layer.
        outputs: output features.
        depth: number of linear layers, at least 2.
        generator: draws the weights.
        dtype: of the parameters.
        flatten: take images `(m, c, h, w)`, whose pixels are the input features.

    Raises:
        ValueError: for less depth.
    """
    if depth < 2:
        raise ValueError(f"depth must be at least 2, got {depth}")

    def build() -> nn.Sequential:
        widths = [inputs, *[width] * (depth - 1), outputs]
        *hidden, last = (nn.Linear(*pair) for pair in pairwise(widths))
        first = [nn.Flatten()] if flatten else []
        pieces = [nn.Sequential(linear, nn.ReLU()) for linear in hidden]
        pieces[0] = nn.Sequential(*first, *pieces[0])
        return nn.Sequential(*pieces, last)

    return drawn(build, generator, dtype, follows="relu")
