"""A backward pass in two parts: gradients by the inputs first, by the weights later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

Gradients = tuple[Tensor | None, ...]


def backward_by_inputs(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None] | None,
    inputs: Sequence[Any],
) -> tuple[Gradients, list[Part]] | None:
    """The gradients by the inputs, and the rest of the backward pass, to be run later.

    Args:
        outputs: of a stage, or its loss; their graph is freed.
        gradients: by the outputs; `None` for ones.
        inputs: of the stage; a gradient is found for the tensors among them that need one.

    Returns:
        A gradient or `None` for each input, and the rest of the work. Nothing, with nothing
        done, where a function has a backward of its own: it computes all its gradients at once, so
        that two halves would cost more than the whole, and may do what must be done once.
    """
    given = gradients if gradients is not None else [torch.ones_like(y) for y in outputs]
    ends = [(y, g) for y, g in zip(outputs, given, strict=True) if y.requires_grad]
    edges = [(get_gradient_edge(y), g) for y, g in ends]
    users = _users([edge.node for edge, _ in edges])
    if any(isinstance(node, BackwardCFunction) for node in users):
        return None
    wanted = {i: x for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad}
    on_the_way = _above([get_gradient_edge(x).node for x in wanted.values()], users)
    parts = list(_parts(users, on_the_way))
    for part in parts:
        part.begin([(edge, g) for edge, g in edges if edge.node not in on_the_way])
    hooks = [hook for part in parts for hook in part.watch()]
    try:
        found = torch.autograd.grad(
            [y for y, _ in ends],
            list(wanted.values()),
            [g for _, g in ends],
            retain_graph=True,
            allow_unused=True,
        ) if ends and wanted else ()  # fmt: skip
    finally:
        for hook in hooks:
            hook.remove()
    by_input = dict(zip(wanted, found, strict=False))
    for y in outputs:
        if not y._is_view():  # frees what only the first half needs
            y.detach_()
    return tuple(by_input.get(i) for i in range(len(inputs))), parts


class Part:
    """Parameters that share functions of the graph, and the gradients that arrive at these.

    Args:
        leaves: where the gradients of the parameters are accumulated.
        exits: the functions on the way to an input that have those parameters below them.
        inside: the functions between.
    """

    def __init__(self, leaves: Sequence[Node], exits: Sequence[Node], inside: set[Node]) -> None:
        self._leaves, self._exits, self._inside = leaves, exits, inside
        self._starts: list[tuple[GradientEdge, Tensor | None]] = []
        self._arrived: dict[Node, Gradients] = {}

    def begin(self, ends: Sequence[tuple[GradientEdge, Tensor | None]]) -> None:
        """Take those of the outputs that are not on the way to an input."""
        self._starts = [(edge, g) for edge, g in ends if edge.node in self._inside]

    def watch(self) -> Iterator[Any]:
        """Hooks that keep the gradients of the first part; they have to be removed."""
        for node in self._exits:

            def keep(gradients: Gradients, node: Node = node) -> None:
                self._arrived[node] = gradients

            yield node.register_prehook(keep)

    def backward(self) -> None:
        """Accumulate the gradients of the parameters: the part by weights."""
        starts = [
            *self._starts,
            *(
                (GradientEdge(node, i), gradient)
                for node, gradients in self._arrived.items()
                for i, gradient in enumerate(gradients)
                if gradient is not None
            ),
        ]
        # Whatever comes from one exit to another, or a hook changes, has been counted already.
        hooks = [node.register_prehook(_constant(g)) for node, g in self._arrived.items()]
        try:
            if starts:
                torch.autograd.backward(
                    [edge for edge, _ in starts],
                    [gradient for _, gradient in starts],
                    retain_graph=True,  # the ways between exits are shared
                    inputs=[leaf.variable for leaf in self._leaves],  # type: ignore[attr-defined]
                )
        finally:
            for hook in hooks:
                hook.remove()
            self._arrived.clear()


def _constant(gradients: Gradients) -> Any:
    return lambda _: gradients


def _users(ends: Sequence[Node]) -> dict[Node, list[Node]]:
    """Every function of a graph, with those that use its result."""
    users: dict[Node, list[Node]] = {node: [] for node in ends}
    left = list(users)
    while left:
        node = left.pop()
        for below in _below(node):
            if below not in users:
                users[below] = []
                left.append(below)
            users[below].append(node)
    return users


def _above(nodes: Sequence[Node], users: dict[Node, list[Node]]) -> set[Node]:
    """These nodes, if the graph has them, and all that depend on them."""
    found: set[Node] = set()
    left = [node for node in nodes if node in users]
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += users[node]
    return found


def _parts(users: dict[Node, list[Node]], on_the_way: set[Node]) -> Iterator[Part]:
    """The rest of a graph, in parts that have nothing in common."""
    seen: set[Node] = set()
    for leaf in users:
        if leaf in seen or leaf in on_the_way or not hasattr(leaf, "variable"):
            continue
        inside, exits, left = set[Node](), set[Node](), [leaf]
        while left:
            node = left.pop()
            if node in inside or node in exits:
                continue
            if node in on_the_way:
                exits.add(node)
            else:
                inside.add(node)
                left += users[node]
            left += [below for below in _below(node) if below not in on_the_way]
        seen |= inside
        yield Part([n for n in inside if hasattr(n, "variable")], list(exits), inside)


def _below(node: Node) -> list[Node]:
    return [below for below, _ in node.next_functions if below is not None]
