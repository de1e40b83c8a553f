"""The pipeline model, fast: gradients computed together, and times from the timetable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from pprs._arguments import non_negative
from pprs.theory.graph import Graph, Node
from pprs.theory.makespan import makespan
from pprs.theory.objective import Array, Objective
from pprs.theory.oracle import ModelOracle
from pprs.theory.vector import ModelError, Rows, Vector, stacked


class Clock(ModelOracle):
    r"""Gives the gradients and the times of `Machine`, without its steps.

    The points of one call are evaluated as one array, and the makespan of their passes is added.
    Calls may overlap where the passes of two calls cannot meet at a node: on chains of nodes of
    equal cost without latencies, with starts that are whole periods of forward plus backward time
    apart. Asynchronous methods on other graphs need the machine.

    Args:
        objective: what is minimised.
        graph: whose times count, if not the objective's: how the objective is composed does not
            change its gradient, and one function is evaluated faster than a long chain.
        start: $\theta_0$, shape `(d,)`; zeros by default.
        seed: of the random vectors.

    Example:
        >>> from pprs.theory import GradientDescent, Machine, SmoothConvex, run
        >>> function = SmoothConvex(smoothness=1.0, radius=1.0, pairs=5).chain(4)
        >>> fast = run(GradientDescent(lr=1.0), Clock(function), iterations=3)
        >>> slow = run(GradientDescent(lr=1.0), Machine(function), iterations=3)
        >>> fast.times
        array([ 8., 16., 24.])
        >>> bool((fast.times == slow.times).all())
        True
    """

    def __init__(
        self,
        objective: Objective,
        graph: Graph | None = None,
        start: Array | None = None,
        seed: int = 0,
    ) -> None:
        if graph is not None and objective.branches:
            raise ValueError("graph must be left out for an objective with branches")
        super().__init__(objective, objective.graph if graph is None else graph, start, seed)
        self.time = 0.0
        self._started, self._passes = -np.inf, 0  # of the latest call
        self._makespans: dict[tuple[int, int], float] = {}  # every step has the same passes

    def gradients(
        self, points: Sequence[Vector], examples: Sequence[int] | None = None, at: float = 0.0
    ) -> Rows:
        """As `Machine.gradients`.

        Raises:
            ModelError: if passes could meet those of an earlier call.
        """
        non_negative(at=at)
        numbers = [0] * len(points) if examples is None else list(examples)
        start = max(at, *(point.ready for point in points))
        if start < self.time:
            self._check_overlap(start, len(points))
        end = start + self._duration(numbers)
        self._started, self._passes = start, len(points)
        self.time = max(self.time, end)
        return Rows(self._evaluated(stacked(points), numbers), self.graph.root, end)

    def _evaluated(self, points: Array, examples: Sequence[int]) -> Array:
        if len(set(examples)) == 1:
            return self.objective.gradient(points, examples[0])
        gradients = np.empty_like(points)
        for example in set(examples):
            chosen = np.equal(examples, example)
            gradients[chosen] = self.objective.gradient(points[chosen], example)
        return gradients

    def _check_overlap(self, start: float, passes: int) -> None:
        costs = {(node.forward, node.backward) for node in self.graph.nodes.values()}
        periods = (start - self._started) / sum(next(iter(costs)))
        chain = len(self.graph.nodes) == self.graph.depth and not any(self.graph.edges.values())
        several = max(passes, self._passes) > 1
        if several or len(costs) > 1 or not chain or periods < 1 or periods % 1:
            raise ModelError(
                f"passes that start at time {start} could meet others, which end at {self.time}: "
                f"use Machine"
            )

    def _duration(self, examples: Sequence[int]) -> float:
        branches = len(self._branches)
        passes = Counter(example % branches for example in examples)
        return max(self._makespan(branch, count) for branch, count in passes.items())

    def _makespan(self, branch: int, passes: int) -> float:
        key = (branch, passes)
        if key not in self._makespans:
            self._makespans[key] = makespan(self._branches[branch], passes)
        return self._makespans[key]

    @cached_property
    def _branches(self) -> list[Graph]:
        if not self.objective.branches:
            return [self.graph]
        root = self.graph.nodes[self.graph.root]
        if root != Node(0, 0):
            raise ValueError(f"the root that branches share must cost nothing, got {root}")
        parts = []
        for nodes in self.objective.branches:
            edges = {edge: t for edge, t in self.graph.edges.items() if nodes.issuperset(edge)}
            parts.append(Graph({n: self.graph.nodes[n] for n in nodes}, edges))
        return parts
