"""The outputs of stages as tensors side by side: for the next stage, or for the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from pprs.pipeline.partitioner.layer_outputs import described, side_by_side

Tensors = tuple[Tensor, ...]


def for_next(output: Any, layer: str) -> Tensors:
    """The tensors that a stage sends to the next one.

    Args:
        output: of the stage's last piece: a tensor, or a tuple of several.
        layer: the name of that piece.

    Raises:
        ValueError: for anything that tensors alone do not give back.
    """
    parts = side_by_side(output)
    if parts is not None:
        return parts
    raise ValueError(
        f"a stage ends with the piece of layer {layer!r}, which gives {described(output)}: only a "
        "tensor, or a tuple of several tensors, passes from one stage to the next. Let the stage "
        "end elsewhere, with cut=, or pass an example, with which it does"
    )


@dataclass(frozen=True)
class OutputSpec:
    """The structure of a network's output, with places for its tensors.

    Args:
        structure: of all its parts.
        places: the numbers of those that are tensors; the others are `None`.
    """

    structure: TreeSpec
    places: tuple[int, ...]

    def filled(self, tensors: Sequence[Tensor]) -> Any:
        """The output of this structure with these tensors."""
        parts: list[Tensor | None] = [None] * self.structure.num_leaves
        for place, tensor in zip(self.places, tensors, strict=True):
            parts[place] = tensor
        return tree_unflatten(parts, self.structure)


def for_loss(output: Any) -> tuple[Tensors, OutputSpec]:
    """The tensors of a network's output, and its structure.

    Raises:
        ValueError: if there is anything but tensors and `None` in it.
    """
    leaves, structure = tree_flatten(output)
    tensors = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
    if tensors and all(leaf is None or i in tensors for i, leaf in enumerate(leaves)):
        return tuple(tensors.values()), OutputSpec(structure, tuple(tensors))
    raise ValueError(f"a network must give tensors, but this one gives {described(output)}")
