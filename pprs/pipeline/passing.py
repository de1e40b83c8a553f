"""What a network's layers give, as tensors side by side: for the next stage, or for the loss."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten

from pprs.pipeline.cutting.values import described, side_by_side

Tensors = tuple[Tensor, ...]


def for_next(output: Any, layer: str) -> Tensors:
    """What a stage sends, which the next one takes as it is.

    Args:
        output: of the stage's last piece: a tensor, or a tuple of several.
        layer: the name of that piece.

    Raises:
        ValueError: if the next stage could not tell what it was.
    """
    parts = side_by_side(output)
    if parts is not None:
        return parts
    raise ValueError(
        f"a stage ends with the piece of layer {layer!r}, which gives {described(output)}: only a "
        "tensor, or a tuple of several tensors, passes from one stage to the next. Let the stage "
        "end elsewhere, with cut=, or pass an example, with which it does"
    )


def for_loss(output: Any) -> tuple[Tensors, TreeSpec]:
    """The tensors that a network gives, and how they lie in it.

    Raises:
        ValueError: if there is anything else in it.
    """
    leaves, structure = tree_flatten(output)
    if leaves and all(isinstance(leaf, Tensor) for leaf in leaves):
        return tuple(leaves), structure
    raise ValueError(f"a network must give tensors, but this one gives {described(output)}")
