"""Initial weights from a given generator, where torch's own would come from the global one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn


def drawn(
    build: Callable[[], nn.Sequential],
    generator: torch.Generator,
    dtype: torch.dtype,
    follows: Literal["relu", "linear"],
) -> nn.Sequential:
    """Build a network, and draw its weights as He et al. (2015) propose; biases are zero.

    Args:
        build: makes the network from linear layers, convolutions and layers whose
            `reset_parameters` draws nothing.
        generator: draws the weights.
        dtype: of the parameters.
        follows: what comes after the layers: with `"relu"` weights are larger by a factor of
            √2, since half of their outputs are lost.
    """
    with torch.device("meta"):  # the layers' own initialisation draws nothing there
        network = build()
    network.to(dtype).to_empty(device="cpu")
    for layer in network.modules():
        draw(layer, generator, follows)
    return network


def draw(layer: nn.Module, generator: torch.Generator, follows: Literal["relu", "linear"]) -> None:
    """Draw the parameters of one layer, if it has any of its own."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity=follows, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, Drawn):
        layer.draw(generator)
    elif any(True for _ in layer.parameters(recurse=False)):
        layer.reset_parameters()  # type: ignore[operator]


class Drawn(nn.Module):
    """A layer that draws its own parameters."""

    def draw(self, generator: torch.Generator) -> None:
        """Give the parameters their initial values."""
        raise NotImplementedError
