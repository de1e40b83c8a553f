"""What the root of a graph holds: where a procedure starts, and random vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pprs.theory.graph import Graph
from pprs.theory.vector import Vector
from pprs.theory.objective import Array, Objective


class ModelOracle:
    r"""What all oracles share; each adds its gradients and its time.

    Args:
        objective: what is minimised.
        graph: whose times count.
        start: $\theta_0$, shape `(d,)`, held by the root at time 0; zeros by default.
        seed: of the random vectors.
    """

    def __init__(self, objective: Objective, graph: Graph, start: Array | None, seed: int) -> None:
        self.objective = objective
        self.graph = graph
        self.start = Vector(objective.checked_start(start), graph.root, 0.0)
        self._random = np.random.default_rng(seed)

    def perturbed(self, point: Vector, sigma: float, samples: int) -> list[Vector]:
        r"""Points $x + \sigma X_k$ with standard normal $X_k$, drawn by the root, which holds x."""
        drawn = self._random.standard_normal((samples, self.objective.dimension))
        return [Vector(value, point.node, point.ready) for value in point.value + sigma * drawn]

    def losses(self, points: Sequence[Vector]) -> Array:
        """The objective at points, shape `(K,)`. Their gradients' passes give it, so it is free."""
        return self.objective.value(np.stack([point.value for point in points]))
