"""A trace made in one mode, compared with its model in the other one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_flatten

from pprs.pipeline.partitioner.example import Example

_NUMBERS = (bool, int, float)


def same_in_other_mode(example: Example, pieces: nn.Sequential) -> bool:
    """Whether a chain still gives what its model does when both change between training and eval.

    Args:
        example: of the model.
        pieces: traced in the model's present mode.
    """
    if any(p.is_meta for p in example.model.parameters()):
        return True

    def model_has() -> dict[str, Tensor]:
        return dict(example.model.named_buffers(remove_duplicate=False))

    def pieces_have() -> dict[str, Tensor]:
        return {name: b for piece in pieces for name, b in piece.named_buffers()}

    with example.in_other_mode() as other:
        try:
            right, states = example.run(example.adapter, model_has)
        except Exception:  # whatever the model's own code raises in a mode it is never run in
            return False
        pieces.train(other)
        try:
            found, own = example.run(pieces, pieces_have)
        finally:
            pieces.train(not other)
    kept = all(_alike(states[name], own[name]) for name in states.keys() & own.keys())
    return kept and len(right) == len(found) and all(map(_alike, right, found))


def take_both(graph: fx.Graph, other: fx.Graph, training: bool) -> bool:
    """Note at each call of a graph what its arguments are in the other mode.

    Args:
        graph: of a model.
        other: of the same in the other mode.
        training: the mode of the first.

    Returns:
        Whether they differ in numbers and flags only, and no call else.
    """
    if len(graph.nodes) != len(other.nodes):
        return False
    same = dict(zip(other.nodes, graph.nodes, strict=True))
    for theirs, own in same.items():
        if theirs.op != own.op or theirs.target != own.target:
            return False
        arguments = fx.node.map_arg((theirs.args, theirs.kwargs), same.__getitem__)
        if arguments != (own.args, own.kwargs):
            if not _numbers_only((own.args, own.kwargs), arguments):
                return False
            own.meta |= {"other": arguments, "training": training}
        own.meta.pop("follows", None)
    return True


def _numbers_only(own: Any, other: Any) -> bool:
    leaves, structure = tree_flatten(own)
    others, same = tree_flatten(other)
    return structure == same and all(
        one == two or (isinstance(one, _NUMBERS) and isinstance(two, _NUMBERS))
        for one, two in zip(leaves, others, strict=True)
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)
