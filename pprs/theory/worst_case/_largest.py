"""The Lipschitz convex function that is hardest whatever the depth: a maximum that one node has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from pprs._arguments import counts, finite, non_negative, positive
from pprs.theory.objective import Array
from pprs.theory.worst_case._split import Half, Split


@dataclass(frozen=True)
class LargestCoordinate(Split):
    r"""The function of Theorem 8 of docs/theory.md, whose minimiser is R away from 0.

    $f(\theta) = L\max\{\max_{i \leq l} \theta_i,\ \|\theta\| - R(1 + 1/\sqrt l)\}$: convex and
    L-Lipschitz everywhere. The first node of a chain has the maximum over coordinates, and finds
    one of them in each of its backward passes; the last one has the norm, and finds none. While one
    coordinate is 0, f is at least 0. From Drori and Teboulle, An optimal variant of Kelley's
    cutting-plane method, 2016.

    Args:
        lipschitz: L, above 0.
        radius: R, the norm of the minimiser, above 0.
        coordinates: l, at least 1, the number of all coordinates.

    Raises:
        ValueError: for an argument outside its range, or a minimum that overflows.

    Example:
        >>> f = LargestCoordinate(lipschitz=1.0, radius=2.0, coordinates=4)
        >>> f.minimum, f.minimiser
        (-1.0, array([-1., -1., -1., -1.]))
    """

    lipschitz: float
    radius: float
    coordinates: int

    def __post_init__(self) -> None:
        positive(lipschitz=self.lipschitz, radius=self.radius)
        counts(coordinates=self.coordinates)
        finite("the minimum", self.minimum, lipschitz=self.lipschitz, radius=self.radius)

    @classmethod
    def for_time(cls, lipschitz: float, radius: float, time: float) -> Self:
        r"""The instance that is hard up to a time t: $l = \lfloor t \rfloor + 1$.

        Args:
            lipschitz: L, above 0.
            radius: R, above 0.
            time: pipeline time t, at least 0.
        """
        non_negative(time=time)
        return cls(lipschitz, radius, math.floor(time) + 1)

    @property
    def dimension(self) -> int:
        """Number of coordinates, l."""
        return self.coordinates

    @property
    def minimiser(self) -> Array:
        r"""$-R/\sqrt l$ in every coordinate; shape `(d,)`."""
        return np.full(self.coordinates, -self.radius / math.sqrt(self.coordinates))

    @property
    def minimum(self) -> float:
        r"""$-LR/\sqrt l$."""
        return -self.lipschitz * self.radius / math.sqrt(self.coordinates)

    def _joined(self, first: Array, last: Array) -> Array:
        return np.maximum(first, last)

    def _slopes(self, first: Array, last: Array) -> tuple[Array, Array]:
        inside = (first >= last).astype(np.float64)
        return inside, 1 - inside

    def _half(self, theta: Array, half: Half) -> Array:
        if half == 0:
            return np.asarray(self.lipschitz * np.max(theta, axis=-1))
        ball = self.radius * (1 + 1 / math.sqrt(self.coordinates))
        return np.asarray(self.lipschitz * (np.linalg.norm(theta, axis=-1) - ball))

    def _half_gradient(self, theta: Array, half: Half) -> Array:
        if half == 0:
            gradient = np.zeros(theta.shape)
            first = np.argmax(theta, axis=-1, keepdims=True)
            np.put_along_axis(gradient, first, self.lipschitz, axis=-1)
            return gradient
        norm = np.linalg.norm(theta, axis=-1, keepdims=True)
        return self.lipschitz * theta / np.where(norm > 0, norm, 1.0)
