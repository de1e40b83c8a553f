"""Another task for a trained network."""

from __future__ import annotations

import copy

import torch
from torch import nn

from pprs._arguments import counts
from pprs.compare.initial_weights import draw


def with_new_head(
    network: nn.Sequential, outputs: int, *, generator: torch.Generator
) -> nn.Sequential:
    """A copy of a network with a last linear layer of other outputs, drawn anew.

    All other parameters are those of the network: where fine-tuning starts.

    Args:
        network: its last piece is a linear layer, or a chain that ends with one.
        outputs: output features, at least 1.
        generator: draws the weights, with variance 1 / inputs; biases are zero.

    Raises:
        ValueError: if the network ends otherwise.
    """
    counts(outputs=outputs)
    copied = copy.deepcopy(network)
    last = copied
    while isinstance(last[-1], nn.Sequential):
        last = last[-1]
    old = last[-1]
    if not isinstance(old, nn.Linear):
        raise ValueError(
            f"the last layer of the network must be linear, got a {type(old).__name__}"
        )
    new = nn.Linear(old.in_features, outputs, device="meta", dtype=old.weight.dtype)
    new.to_empty(device=old.weight.device)
    draw(new, generator, follows="linear")
    last[-1] = new
    return copied
