"""Autograd's graph, walked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from torch import Tensor
from torch.autograd.graph import Node


def nodes(results: Iterable[Tensor], through: Collection[Tensor] = ()) -> Iterator[Node]:
    """Every node that results depend on, once; those of leaves have the leaf as `variable`.

    Args:
        results: where to begin.
        through: tensors behind which nothing is looked for.
    """
    seen, stack = {x.grad_fn for x in through}, [result.grad_fn for result in results]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            for following, _ in node.next_functions:
                stack.append(following)


def leaves(results: Iterable[Tensor], through: Collection[Tensor] = ()) -> set[Tensor]:
    """The tensors whose gradients the results would give, but not through others."""
    found = (getattr(node, "variable", None) for node in nodes(results, through))
    return {leaf for leaf in found if leaf is not None}
