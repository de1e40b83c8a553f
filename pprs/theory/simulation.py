"""Procedures run on a worst-case problem at many depths, next to the lower bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from pprs.theory.problems import Problem
from pprs.theory.sweep import Sweep, collected, sweep

Measured: TypeAlias = Iterator[tuple[int, float]]
Watch: TypeAlias = Callable[[str, Measured, int], Iterable[tuple[int, float]]]
"""Passes a method's measurements on, of which it gets the name and the number."""


@dataclass(frozen=True)
class Simulation:
    """What was measured.

    Args:
        problem: on what.
        depths: shape `(n,)`.
        lower: the lower bound at each depth.
        sweeps: the times of each method.
    """

    problem: Problem
    depths: tuple[int, ...]
    lower: tuple[float, ...]
    sweeps: tuple[Sweep, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, in types that JSON knows; infinite times are null."""
        return {
            "function": self.problem.name,
            "epsilon": self.problem.epsilon,
            "depths": self.depths,
            "lower": self.lower,
            "methods": {
                s.method: {
                    "times": [[t if math.isfinite(t) else None for t in row] for row in s.times],
                    "fit": None if (fit := s.fit()) is None else asdict(fit),
                }
                for s in self.sweeps
            },
        }


def simulate(
    problem: Problem,
    methods: Sequence[str],
    depths: Iterable[int],
    *,
    seeds: int = 1,
    limit: int = 100_000,
    watch: Watch = lambda name, measured, number: measured,
) -> Simulation:
    """Run methods until they are within epsilon of the minimum.

    Args:
        problem: what they minimise.
        methods: names of some of its methods.
        depths: numbers of nodes of the chain, each at least 1.
        seeds: repetitions of methods that draw noise, at each depth.
        limit: the most steps.
        watch: is passed the measurements of each method, and passes them on.
    """
    depths = tuple(sorted(set(depths)))
    sweeps = []
    for name in methods:
        method = problem.methods[name]
        repetitions = seeds if method(depths[0]).random else 1
        measured = sweep(
            problem.objective,
            method,
            depths,
            epsilon=problem.epsilon,
            minimum=problem.minimum,
            limit=limit,
            seeds=repetitions,
        )
        sweeps.append(collected(name, watch(name, measured, len(depths) * repetitions)))
    lower = tuple(problem.lower(depth) for depth in depths)
    return Simulation(problem, depths, lower, tuple(sweeps))
