"""Networks that the command line knows."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


def relu_network(
    inputs: int,
    width: int,
    outputs: int,
    depth: int,
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """A chain of ``depth`` linear layers, all but the last followed by a ReLU, no normalisation.

    Weights are drawn as He et al. (2015) propose for ReLU layers, biases are zero.

    Args:
        inputs: input features.
        width: features of every hidden layer.
        outputs: output features.
        depth: number of linear layers, at least 2.
        generator: draws the weights.
        dtype: of the parameters.
    """
    widths = [inputs, *[width] * (depth - 1), outputs]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        linear = _undrawn(fan_in, fan_out, dtype)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(linear.bias)
        layers.append(linear if len(layers) == depth - 1 else nn.Sequential(linear, nn.ReLU()))
    return nn.Sequential(*layers)


def _undrawn(fan_in: int, fan_out: int, dtype: torch.dtype) -> nn.Linear:
    # nn.Linear's own initialisation would draw from torch's global generator.
    linear = nn.Linear(fan_in, fan_out, device="meta", dtype=dtype)
    return linear.to_empty(device="cpu")
