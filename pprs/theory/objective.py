"""Objectives that are composed along a graph: what the procedures of the model minimise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pprs._arguments import counts
from pprs.theory.graph import Graph

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]


class Component(Protocol):
    """The function of one node. Leading dimensions, if any, are separate inputs.

    Example:
        >>> import numpy as np
        >>> from pprs.theory import Identity
        >>> Identity().backward(np.ones(2), np.zeros(2), example=0)[0]
        array([1., 1.])
    """

    def forward(self, *inputs: Array, example: int) -> Array:
        """The output `(..., p)` for the parents' outputs (the root's: the parameters)."""

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        """The product of a gradient `(..., p)` with the Jacobian by each input."""


class Identity:
    """Passes its input on.

    Example:
        >>> Identity().forward(np.ones(3), example=0)
        array([1., 1., 1.])
    """

    def forward(self, *inputs: Array, example: int) -> Array:
        """The input."""
        return inputs[0]

    def backward(self, gradient: Array, *inputs: Array, example: int) -> tuple[Array, ...]:
        """The gradient."""
        return (gradient,)


@dataclass(frozen=True)
class Objective:
    """The mean over examples of functions that a graph composes.

    Args:
        graph: says whose outputs a node takes.
        components: the function of each node; those of the leaves have outputs `(..., 1)`.
        dimension: number d of parameters.
        examples: number m of examples.
        branches: for graphs with copies of a network, the nodes that an example goes through, one
            set for each branch; example j goes through branch `j % len(branches)`. By default,
            all examples go through all nodes.

    Raises:
        ValueError: if a node has no function, or a branch lacks the root or a parent.

    Example:
        >>> from pprs.theory import on_chain
        >>> f = on_chain(lambda x, _: (x**2).sum(-1), lambda x, _: 2 * x, dimension=2, depth=3)
        >>> f.gradient(np.array([1.0, 2.0]))
        array([2., 4.])
    """

    graph: Graph
    components: Mapping[str, Component]
    dimension: int
    examples: int = 1
    branches: tuple[frozenset[str], ...] = ()

    def __post_init__(self) -> None:
        counts(dimension=self.dimension, examples=self.examples)
        if set(self.components) != set(self.graph.nodes):
            odd = sorted(set(self.graph.nodes) ^ set(self.components))
            raise ValueError(f"components must name the nodes of the graph, but differ in {odd}")
        for branch in self.branches:
            absent = [p for name in branch for p in self.graph.parents[name] if p not in branch]
            if self.graph.root not in branch or absent:
                raise ValueError(f"a branch must hold the root and all parents, got {branch}")

    def route(self, example: int) -> tuple[str, ...]:
        """The nodes that an example goes through, each after its parents."""
        if not self.branches:
            return self.graph.order
        branch = self.branches[example % len(self.branches)]
        return tuple(name for name in self.graph.order if name in branch)

    def checked_start(self, start: Array | None) -> Array:
        """Where a procedure starts, `(d,)`, or several starts, `(B, d)`: zeros unless given.

        Raises:
            ValueError: for another shape.
        """
        value = np.zeros(self.dimension) if start is None else np.asarray(start, np.float64)
        if value.shape[-1:] != (self.dimension,) or value.ndim > 2:
            raise ValueError(f"start must have shape ({self.dimension},), got shape {value.shape}")
        return value

    def value(self, theta: Array) -> Array:
        """The objective at parameters `(..., d)`, shape `(...)`."""
        total = sum(self._value(theta, example) for example in range(self.examples))
        return np.asarray(total) / self.examples

    def gradient(self, theta: Array, example: int | None = None) -> Array:
        """The gradient at parameters `(..., d)`, of one example or (by default) of the mean."""
        if example is not None:
            return self._gradient(theta, example)
        total = sum(self._gradient(theta, example) for example in range(self.examples))
        return np.asarray(total) / self.examples

    def _forward(self, theta: Array, example: int) -> tuple[dict[str, tuple[Array, ...]], Array]:
        inputs: dict[str, tuple[Array, ...]] = {}
        outputs: dict[str, Array] = {}
        for name in self.route(example):
            parents = self.graph.parents[name]
            inputs[name] = tuple(outputs[p] for p in parents) if parents else (theta,)
            outputs[name] = self.components[name].forward(*inputs[name], example=example)
        leaves = [outputs[name] for name in self.graph.leaves if name in outputs]
        return inputs, np.sum(leaves, axis=0)[..., 0]

    def _value(self, theta: Array, example: int) -> Array:
        return self._forward(theta, example)[1]

    def _gradient(self, theta: Array, example: int) -> Array:
        inputs, value = self._forward(theta, example)
        arrived: dict[str, Array] = dict.fromkeys(self.graph.leaves, np.ones((*value.shape, 1)))
        for name in reversed(self.route(example)):
            parts = self.components[name].backward(arrived[name], *inputs[name], example=example)
            for parent, part in zip(self.graph.parents[name] or ("",), parts, strict=True):
                arrived[parent] = arrived[parent] + part if parent in arrived else part
        return arrived[""]
