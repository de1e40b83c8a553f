"""What a method is in the pipeline model, and what it reaches there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from pprs._arguments import counts
from pprs.theory.objective import Array
from pprs.theory.oracle import Oracle
from pprs.theory.vector import Vector


class Procedure(Protocol):
    """A procedure.

    Example:
        >>> from pprs.theory import GradientDescent
        >>> method = GradientDescent(lr=0.1)
        >>> method.name, method.random
        ('gradient descent', False)
    """

    @property
    def name(self) -> str:
        """As in tables and plots."""

    @property
    def random(self) -> bool:
        """Whether it draws perturbations, so that seeds change what it does."""

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """The points that are its answers, one after the other, without end."""


@dataclass(frozen=True)
class Trajectory:
    """What a procedure reached, and when.

    Args:
        times: pipeline times of the answers, shape `(T,)`.
        values: the objective there.
        last: the last answer, shape `(d,)`.

    Example:
        >>> found = Trajectory(np.array([8.0, 16.0]), np.array([0.5, 0.05]), np.zeros(2))
        >>> found.time_to(epsilon=0.1, minimum=0.0)
        16.0
    """

    times: Array
    values: Array
    last: Array

    def time_to(self, epsilon: float, minimum: float) -> float:
        """When the objective first came within epsilon of its minimum; infinite if it did not."""
        near = np.flatnonzero(self.values - minimum <= epsilon)
        return float(self.times[near[0]]) if len(near) else math.inf


def run(method: Procedure, oracle: Oracle, iterations: int, stop: float = -math.inf) -> Trajectory:
    """Run a procedure for a number of answers, or until the objective is at most `stop`.

    Where the start is good enough, it is the only answer, at time 0.

    Example:
        >>> from pprs.theory import Clock, GradientDescent, SmoothConvex
        >>> function = SmoothConvex(smoothness=1.0, radius=1.0, pairs=5)
        >>> found = run(GradientDescent(lr=1.0), Clock(function.chain(10)), iterations=3)
        >>> found.times
        array([20., 40., 60.])
    """
    counts(iterations=iterations)
    times, values = [], []
    point = oracle.start
    first = float(oracle.objective.value(point.value))
    if first <= stop:
        return Trajectory(np.zeros(1), np.array([first]), point.value)
    for point in islice(method.iterates(oracle), iterations):
        times.append(point.ready)
        values.append(float(oracle.objective.value(point.value)))
        if values[-1] <= stop:
            break
    return Trajectory(np.array(times), np.array(values), point.value)
