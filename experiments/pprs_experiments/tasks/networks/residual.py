"""A deep chain of residual layers with GroupNorm."""

from __future__ import annotations

import math

import torch
from torch import nn

from pprs.compare.initial_weights import drawn
from pprs_experiments.tasks.networks.transformer import Residual


def residual_network(
    inputs: int, width: int, outputs: int, depth: int, *, generator: torch.Generator
) -> nn.Sequential:
    r"""A chain of `depth` pieces, each with a linear layer, on images `(m, c, h, w)`.

    All but the first normalise what they take, and all but the first and the last add their result
    to it: $x + W \max(0, \mathrm{GroupNorm}(x))$. Weights are drawn as He et al. (2015) propose for
    ReLU layers.

    Args:
        inputs: pixels of an image, of all its channels.
        width: features of the hidden layers.
        outputs: output features.
        depth: number of pieces, at least 2.
        generator: draws the weights.

    Raises:
        ValueError: for less depth.
    """
    if depth < 2:
        raise ValueError(f"depth must be at least 2, got {depth}")

    def normalised(features: int) -> tuple[nn.Module, nn.Sequential]:
        norm = nn.GroupNorm(math.gcd(4, width), width)
        return norm, nn.Sequential(nn.ReLU(), nn.Linear(width, features))

    def build() -> nn.Sequential:
        first = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width))
        hidden = [Residual(*normalised(width)) for _ in range(depth - 2)]
        return nn.Sequential(first, *hidden, nn.Sequential(*normalised(outputs)))

    return drawn(build, generator, torch.float32, follows="relu")
