"""The pipeline model: nodes that compute, each for itself, and send what they have."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pprs._arguments import non_negative
from pprs.theory.objective import Array, Objective
from pprs.theory.oracle import ModelOracle
from pprs.theory.vector import Kind, ModelError, Vector


@dataclass(frozen=True)
class Pass:
    """A pass of one node, from `start` to `end`."""

    node: str
    kind: Kind
    start: float
    end: float


class Machine(ModelOracle):
    r"""Runs the steps of a procedure on a graph of functions, and says how long they take.

    Every node has a memory and computes one thing at a time: a forward or a backward pass of its
    own function, of vectors that it holds. Sums and multiples are free, and so is drawing a random
    vector. A node can send what its own forward passes gave to its children, and what its backward
    passes gave to its parents, who hold it after the latency of the edge; it cannot relay what it
    was sent. A step starts as early as these rules allow, in a gap of the node's time if there is
    one.

    Args:
        objective: the graph and its functions. The root holds the parameters.
        start: $\theta_0$, shape `(d,)`, held by the root at time 0; zeros by default.
        seed: of the random vectors.

    Example:
        >>> from pprs.theory import SmoothConvex
        >>> machine = Machine(SmoothConvex(smoothness=1.0, radius=1.0, pairs=5).chain(3))
        >>> out = machine.forward("f1", machine.start)
        >>> out.ready, machine.send(out, "f2").node
        (1.0, 'f2')
    """

    def __init__(self, objective: Objective, start: Array | None = None, seed: int = 0) -> None:
        super().__init__(objective, objective.graph, start, seed)
        self.passes: list[Pass] = []
        self._busy: dict[str, list[tuple[float, float]]] = {name: [] for name in self.graph.nodes}

    @property
    def time(self) -> float:
        """When the last pass so far ends."""
        return max((p.end for p in self.passes), default=0.0)

    def forward(
        self, node: str, *inputs: Vector, example: int = 0, at: float | None = None
    ) -> Vector:
        """A forward pass of a node.

        Args:
            node: which; it must hold the inputs.
            inputs: the parents' outputs, in the graph's order; the root's input are parameters.
            example: of which example.
            at: when to start; as soon as possible by default.

        Raises:
            ModelError: if a vector is not there (yet), or the node is busy.
        """
        self._check_inputs(node, inputs)
        value = self.objective.components[node].forward(*_values(inputs), example=example)
        return Vector(value, node, self._pass(node, "forward", inputs, at), "forward")

    def backward(
        self,
        node: str,
        gradient: Vector,
        *inputs: Vector,
        example: int = 0,
        after: float = 0.0,
    ) -> tuple[Vector, ...]:
        """A backward pass of a node, from the gradient of its output to those of its inputs.

        Args:
            node: which; it must hold the gradient and the inputs.
            gradient: of its output.
            inputs: as in the forward pass.
            example: of which example.
            after: not before.

        Raises:
            ModelError: as for `forward`.
        """
        self._check_inputs(node, inputs)
        component = self.objective.components[node]
        parts = component.backward(gradient.value, *_values(inputs), example=example)
        end = self._pass(node, "backward", (gradient, *inputs), None, after)
        return tuple(Vector(part, node, end, "backward") for part in parts)

    def send(self, vector: Vector, to: str) -> Vector:
        """What a child holds of a forward pass's output, or a parent of a backward pass's.

        Raises:
            ModelError: for a node that is no neighbour, or a vector that was not made by a pass of
                its node in that direction: information travels by passes only.
        """
        node = vector.node
        edge: tuple[str, str] = (node, to) if vector.made == "forward" else (to, node)
        if not {(node, to), (to, node)} & set(self.graph.edges):
            raise ModelError(f"{node!r} cannot send to {to!r}: they are no neighbours")
        if vector.made is None or edge not in self.graph.edges:
            raise ModelError(
                f"{node!r} cannot send this vector to {to!r}: children get what its own forward "
                f"passes gave, parents what its backward passes gave"
            )
        return Vector(vector.value, to, vector.ready + self.graph.edges[edge])

    def gradients(
        self, points: Sequence[Vector], examples: Sequence[int] | None = None, at: float = 0.0
    ) -> list[Vector]:
        """Gradients at points that the root holds: all forward passes, then all backward passes.

        Args:
            points: held by the root.
            examples: the example of each, the first by default.
            at: not before.

        Returns:
            held by the root.
        """
        non_negative(at=at)
        points = [Vector(p.value, p.node, max(p.ready, at)) for p in points]
        numbers = [0] * len(points) if examples is None else examples
        before = len(self.passes)
        passes = [self._all_forward(p, j) for p, j in zip(points, numbers, strict=True)]
        # A node goes back once it has been forward with all: GPipe's order.
        ends: dict[str, float] = {}
        for each in self.passes[before:]:
            ends[each.node] = max(each.end, ends.get(each.node, 0.0))
        return [
            self._all_backward(inputs, outputs, j, ends)
            for (inputs, outputs), j in zip(passes, numbers, strict=True)
        ]

    def _all_forward(
        self, point: Vector, example: int
    ) -> tuple[dict[str, tuple[Vector, ...]], dict[str, Vector]]:
        """The inputs and the output of every node."""
        inputs: dict[str, tuple[Vector, ...]] = {}
        outputs: dict[str, Vector] = {}
        for node in self.objective.route(example):
            parents = self.graph.parents[node]
            given = tuple(self.send(outputs[p], node) for p in parents) if parents else (point,)
            inputs[node] = given
            outputs[node] = self.forward(node, *given, example=example)
        return inputs, outputs

    def _all_backward(
        self,
        inputs: dict[str, tuple[Vector, ...]],
        outputs: dict[str, Vector],
        example: int,
        after: dict[str, float],
    ) -> Vector:
        arrived: dict[str, Vector] = {}
        for node in reversed(self.objective.route(example)):
            if node not in arrived:  # a leaf: the gradient of its output is 1
                arrived[node] = Vector(np.ones(1), node, outputs[node].ready)
            parts = self.backward(
                node, arrived[node], *inputs[node], example=example, after=after[node]
            )
            for parent, part in zip(self.graph.parents[node], parts, strict=False):
                sent = self.send(part, parent)
                arrived[parent] = arrived[parent] + sent if parent in arrived else sent
        return parts[0]

    def _check_inputs(self, node: str, inputs: Sequence[Vector]) -> None:
        if node not in self.graph.nodes:
            raise ModelError(
                f"there is no node {node!r}: choose from {', '.join(self.graph.nodes)}"
            )
        needed = max(1, len(self.graph.parents[node]))
        if len(inputs) != needed:
            raise ModelError(f"{node!r} takes {needed} inputs, got {len(inputs)}")

    def _pass(
        self, node: str, kind: Kind, needed: Sequence[Vector], at: float | None, after: float = 0.0
    ) -> float:
        """Reserve the node's time; when the pass ends."""
        for vector in needed:
            if vector.node != node:
                raise ModelError(
                    f"{node!r} cannot use a vector that only {vector.node!r} holds in a {kind} "
                    f"pass: send it first"
                )
        ready = max(vector.ready for vector in needed)
        if at is not None and at < ready:
            raise ModelError(
                f"{node!r} cannot start a {kind} pass at time {at}: it holds what that needs only "
                f"from time {ready} on"
            )
        costs = self.graph.nodes[node]
        cost = costs.forward if kind == "forward" else costs.backward
        start = self._gap(node, max(ready, after) if at is None else at, cost)
        if at is not None and start > at:
            raise ModelError(f"{node!r} cannot start a {kind} pass at time {at}: it is busy")
        bisect.insort(self._busy[node], (start, start + cost))
        self.passes.append(Pass(node, kind, start, start + cost))
        return start + cost

    def _gap(self, node: str, earliest: float, cost: float) -> float:
        busy = self._busy[node]
        first = bisect.bisect_left(busy, (earliest, earliest))
        if first and busy[first - 1][1] > earliest:
            earliest = busy[first - 1][1]
        for start, end in busy[first:]:
            if start >= earliest + cost:
                break
            earliest = max(earliest, end)
        return earliest


def _values(vectors: Sequence[Vector]) -> list[Array]:
    return [vector.value for vector in vectors]
