"""Objectives laid out on devices: a function at the end of a chain, and copies of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pprs._arguments import counts
from pprs.theory.graph import Graph, Node
from pprs.theory.objective import Array, Component, Identity, Objective

Function = Callable[[Array, int], Array]


@dataclass(frozen=True)
class Whole:
    """A function of all parameters, in one node.

    Args:
        value: of parameters `(..., d)` and the number of an example, shape `(...)`.
        gradient: the same, shape `(..., d)`.
    """

    value: Function
    gradient: Function

    def forward(self, *inputs: Array, example: int) -> Array:
        """The value, shape `(..., 1)`."""
        found = np.asarray(self.value(inputs[0], example))
        _check_shape("value", found, inputs[0].shape[:-1], inputs[0])
        return found[..., None]

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        """The gradient, times that of the output."""
        found = np.asarray(self.gradient(inputs[0], example))
        _check_shape("gradient", found, inputs[0].shape, inputs[0])
        return (gradient * found,)


def _check_shape(what: str, found: Array, expected: tuple[int, ...], theta: Array) -> None:
    if found.shape != expected:
        raise ValueError(
            f"{what} must have shape {expected} for parameters of shape {theta.shape}, since "
            f"leading dimensions are separate points: got shape {found.shape}"
        )


def on_chain(
    value: Function, gradient: Function, dimension: int, depth: int = 1, examples: int = 1
) -> Objective:
    r"""A function on the last of $\Delta$ nodes; the others pass the parameters on.

    Args:
        value: of parameters `(..., d)` and the number of an example, shape `(...)`.
        gradient: the same, shape `(..., d)`.
        dimension: d.
        depth: $\Delta$.
        examples: m; the objective is the mean over them.

    Example:
        >>> f = on_chain(lambda x, _: (x**2).sum(-1), lambda x, _: 2 * x, dimension=2, depth=3)
        >>> f.graph.depth, float(f.value(np.array([1.0, 2.0])))
        (3, 5.0)
    """
    graph = Graph.chain(depth)
    components: dict[str, Component] = {name: Identity() for name in graph.nodes}
    components[graph.leaves[0]] = Whole(value, gradient)
    return Objective(graph, components, dimension, examples)


def data_parallel(objective: Objective, replicas: int, latency: float = 0.0) -> Objective:
    """Copies of a graph, between which the examples are divided.

    A root without cost of its own holds the parameters; the copies' roots are its children. So data
    parallelism is pipeline parallelism on another graph.

    Args:
        objective: on the graph that is copied.
        replicas: number of copies, from 1 to the number of examples.
        latency: of sending the parameters to a copy, and a gradient back.

    Example:
        >>> from pprs.theory import makespan
        >>> f = on_chain(
        ...     lambda x, j: x[..., 0] * j,
        ...     lambda x, j: np.full_like(x, j),
        ...     1,
        ...     depth=4,
        ...     examples=6,
        ... )
        >>> data_parallel(f, replicas=2).graph.depth
        5
    """
    counts(replicas=replicas)
    if objective.branches:
        raise ValueError("objective must be one without branches: it has copies already")
    if replicas > objective.examples:
        raise ValueError(
            f"replicas must be from 1 to the number of examples, {objective.examples}: the others "
            f"would have nothing to do; got {replicas}"
        )
    nodes: dict[str, Node] = {"parameters": Node(0, 0)}
    edges: dict[tuple[str, str], float] = {}
    components: dict[str, Component] = {"parameters": Identity()}
    branches = []
    graph = objective.graph
    for r in range(replicas):
        names = {name: f"{name}@{r}" for name in graph.nodes}
        nodes |= {names[name]: node for name, node in graph.nodes.items()}
        edges["parameters", names[graph.root]] = latency
        edges |= {(names[tail], names[head]): t for (tail, head), t in graph.edges.items()}
        components |= {names[name]: part for name, part in objective.components.items()}
        branches.append(frozenset({"parameters", *names.values()}))
    return Objective(
        Graph(nodes, edges), components, objective.dimension, objective.examples, tuple(branches)
    )
