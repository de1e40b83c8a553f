"""What procedures ask for gradients, and what the oracles of the pipeline model share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pprs.theory.graph import Graph
from pprs.theory.objective import Array, Objective
from pprs.theory.vector import Rows, Vector, stacked


class Oracle(Protocol):
    """What procedures ask: see `Machine`.

    Example:
        >>> from pprs.theory import Clock, SmoothConvex
        >>> clock = Clock(SmoothConvex(smoothness=1.0, radius=1.0, pairs=2).chain(3))
        >>> clock.start.ready
        0.0
    """

    objective: Objective
    start: Vector

    def perturbed(self, point: Vector, sigma: float | Array, samples: int) -> Sequence[Vector]:
        r"""Gaussian perturbations $x + \sigma X_k$ of a point, K = `samples`, held by the root."""

    def gradients(
        self, points: Sequence[Vector], examples: Sequence[int] | None = None, at: float = 0.0
    ) -> Sequence[Vector]:
        """Gradients at points, each of its example."""

    def losses(self, points: Sequence[Vector]) -> Array:
        """The objective at points whose gradients were asked for: the same passes give both."""


class ModelOracle:
    r"""What the oracles of the pipeline model share; each adds its gradients and its time.

    Args:
        objective: what is minimised.
        graph: whose times count.
        start: $\theta_0$, shape `(d,)`, held by the root at time 0; zeros by default. With shape
            `(B, d)`, B starts at once: vectors have this shape, and a pass is one of each start.
        seed: of the random vectors.
    """

    def __init__(self, objective: Objective, graph: Graph, start: Array | None, seed: int) -> None:
        self.objective = objective
        self.graph = graph
        self.start = Vector(objective.checked_start(start), graph.root, 0.0)
        self._random = np.random.default_rng(seed)

    def perturbed(self, point: Vector, sigma: float | Array, samples: int) -> Rows:
        r"""Points $x + \sigma X_k$ with standard normal $X_k$, drawn by the root, which holds x."""
        points = self._normals(samples)
        points *= sigma
        points += point.value
        return Rows(points, point.node, point.ready)

    def losses(self, points: Sequence[Vector]) -> Array:
        """The objective at points, shape `(K,)`. Their gradients' passes give it, so it is free."""
        return self.objective.value(stacked(points))

    def _normals(self, samples: int) -> Array:
        return self._random.standard_normal((samples, *self.start.value.shape))
