r"""Measured times to a precision over depths, and how they grow with $\Delta$."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pprs._arguments import counts, positive
from pprs.theory.clock import Clock
from pprs.theory.graph import Graph
from pprs.theory.objective import Array, Objective
from pprs.theory.procedure import Procedure, run

MethodAt: TypeAlias = Callable[[int], Procedure]
"""The method for a depth: settings may depend on it."""


@dataclass(frozen=True)
class Fit:
    r"""Straight lines through measured times.

    Args:
        intercept: a of $a + b \Delta$, by least squares of relative errors.
        intercept_error: its standard error.
        slope: b.
        slope_error: its standard error.
        exponent: p of $\Delta^p$, over all depths.
        exponent_error: its standard error.
    """

    intercept: float
    intercept_error: float
    slope: float
    slope_error: float
    exponent: float
    exponent_error: float


@dataclass(frozen=True)
class Sweep:
    """Times to a precision.

    Args:
        method: its name.
        depths: shape `(n,)`.
        times: of every seed, shape `(n, seeds)`; infinite where the precision was not reached.
    """

    method: str
    depths: Array
    times: Array

    @property
    def median(self) -> Array:
        """Over the seeds, shape `(n,)`."""
        return np.asarray(np.median(self.times, axis=1))

    def fit(self) -> Fit | None:
        """How the times grow; `None` for fewer than three depths, or if some are infinite or 0.

        A time is 0 where the start is near enough.
        """
        if len(self.depths) < 3 or not (np.isfinite(self.times) & (self.times > 0)).all():
            return None
        from scipy import stats

        depths = np.repeat(self.depths, self.times.shape[1])
        times = self.times.ravel()
        design = np.stack([1 / times, depths / times], axis=1)  # a / t + b Δ / t = 1
        line, *_ = np.linalg.lstsq(design, np.ones_like(times))
        residual = 1 - design @ line
        spread = residual @ residual / max(1, len(times) - 2)
        error = np.sqrt(spread * np.diag(np.linalg.inv(design.T @ design)))
        power = stats.linregress(np.log(depths), np.log(times))
        (a, b), (a_error, b_error) = line.tolist(), error.tolist()
        return Fit(a, a_error, b, b_error, float(power.slope), float(power.stderr))


def sweep(
    objective: Objective,
    method: MethodAt,
    depths: Sequence[int],
    *,
    epsilon: float,
    minimum: float,
    limit: int,
    seeds: int = 1,
) -> Iterator[tuple[int, float]]:
    r"""Run a method at every depth, on a chain of unit nodes, until it is near enough.

    Args:
        objective: in one node; it is the same function on every chain.
        method: for each depth.
        depths: $\Delta$, each at least 1.
        epsilon: the precision, above 0.
        minimum: of the objective.
        limit: the most iterations.
        seeds: repetitions, each with noise of its own.

    Yields:
        The depth and the time, infinite if it was not reached, of every depth and seed.
    """
    positive(epsilon=epsilon)
    counts(limit=limit, seeds=seeds)
    for depth in depths:
        counts(depth=depth)
        for seed in range(seeds):
            clock = Clock(objective, Graph.chain(depth), seed=seed * 100_003 + depth)
            found = run(method(depth), clock, limit, stop=minimum + epsilon)
            yield depth, found.time_to(epsilon, minimum)


def collected(method: str, measured: Iterable[tuple[int, float]]) -> Sweep:
    """A sweep's results, by depth."""
    by_depth: dict[int, list[float]] = {}
    for depth, time in measured:
        by_depth.setdefault(depth, []).append(time)
    return Sweep(method, np.array(list(by_depth), float), np.array(list(by_depth.values())))


def crossing(first: Sweep, second: Sweep) -> float:
    """The depth from which on the first is faster, by its fitted line; infinite if nowhere."""
    one, other = first.fit(), second.fit()
    if one is None or other is None or one.slope >= other.slope:
        return math.inf
    return max(1.0, (one.intercept - other.intercept) / (other.slope - one.slope))
