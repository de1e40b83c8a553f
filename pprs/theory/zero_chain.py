"""How fast coordinates can become non-zero: what the lower bounds rest on, Eq. (3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pprs._arguments import positive
from pprs.theory.machine import Machine
from pprs.theory.objective import Objective
from pprs.theory.procedure import Procedure
from pprs.theory.vector import ModelError, Vector


@dataclass(frozen=True)
class Growth:
    r"""Non-zero coordinates over time.

    Args:
        times: pipeline times, increasing.
        coordinates: $k_t$, the largest number of non-zero coordinates in any vector by then.

    Example:
        >>> from pprs.theory import SmoothConvex, fastest_growth
        >>> found = fastest_growth(
        ...     SmoothConvex(smoothness=1.0, radius=1.0, pairs=5).chain(4), until=20
        ... )
        >>> found.coordinates
        (0, 1, 2, 3, 4)
    """

    times: tuple[float, ...]
    coordinates: tuple[int, ...]


def growth_of(
    method: Procedure, objective: Objective, until: float, among: int | None = None
) -> Growth:
    """How a method's answers grow, run step by step on a `Machine`.

    Args:
        method: the procedure.
        objective: what it minimises.
        until: pipeline time at which to end.
        among: count only this many first coordinates; all by default.

    Example:
        >>> from pprs.theory import GradientDescent, SmoothConvex
        >>> objective = SmoothConvex(smoothness=1.0, radius=1.0, pairs=5).chain(4)
        >>> growth_of(GradientDescent(lr=1.0), objective, until=40).coordinates
        (1, 2, 3, 4, 5)
    """
    positive(until=until)
    seen = []
    for point in method.iterates(Machine(objective)):
        if point.ready > until:
            break
        seen.append((point.ready, int(np.count_nonzero(point.value[:among]))))
    return _running(seen)


def fastest_growth(
    objective: Objective, until: float, lr: float = 0.1, among: int | None = None
) -> Growth:
    r"""How the vectors grow under a procedure that wastes no pass.

    For functions that are split over the first and the last node of a chain, as (1), (6) and (8).
    It never runs the last node forward, and lets the first node go back from parameters that have
    just arrived: two coordinates in $2 \Delta - 1$ units of time. (The coordinates in the maximum
    of (8) lie in one node, which finds one in each backward pass: they need no trips.)

    Args:
        objective: on a chain of at least two nodes.
        until: pipeline time at which to end.
        lr: what gradients are multiplied by; no matter for the count, unless terms cancel.
        among: count only this many first coordinates, as the 2k + 1 of (8); all by default.

    Example:
        >>> from pprs.theory import SmoothConvex
        >>> found = fastest_growth(
        ...     SmoothConvex(smoothness=1.0, radius=1.0, pairs=5).chain(4), until=20
        ... )
        >>> found.times, found.coordinates
        ((4.0, 7.0, 11.0, 14.0, 18.0), (0, 1, 2, 3, 4))
    """
    positive(until=until, lr=lr)
    machine, graph = Machine(objective), objective.graph
    first, *middle, last = graph.order if graph.depth > 1 else ("", "")
    if graph.depth != len(graph.nodes) or not first:
        raise ValueError(f"objective must be on a chain of at least 2 nodes, got {graph.order}")
    seen: list[tuple[float, int]] = []

    def kept(vector: Vector) -> Vector:
        count = int(np.count_nonzero(vector.value[: objective.dimension][:among]))
        seen.append((vector.ready, count))
        return vector

    point = machine.start
    while machine.time < until:
        gradient = _to_the_last_and_back(machine, point, first, middle, last, kept)
        point = kept(point - lr * _parameters(gradient, point))
        (own,) = machine.backward(first, gradient, point)
        point = kept(point - lr * own)
    return _running([(time, count) for time, count in seen if time <= until])


def _to_the_last_and_back(
    machine: Machine,
    point: Vector,
    first: str,
    middle: list[str],
    last: str,
    kept: Callable[[Vector], Vector],
) -> Vector:
    vector, inputs = machine.forward(first, point), dict[str, Vector]()
    for node in [*middle, last]:
        vector = inputs[node] = machine.send(vector, node)
        if node != last:
            vector = machine.forward(node, vector)
    gradient = Vector(np.ones(1), last, vector.ready)
    for node, before in reversed(list(zip([*middle, last], [first, *middle], strict=True))):
        (part,) = machine.backward(node, gradient, inputs[node])
        gradient = machine.send(kept(part), before)
    return gradient


def _parameters(gradient: Vector, like: Vector) -> Vector:
    """What a gradient of an output, parameters and a partial sum, says of the parameters."""
    if gradient.value.shape <= like.value.shape:
        raise ModelError("the first node must pass the parameters on, with a partial sum")
    return Vector(gradient.value[: len(like.value)], gradient.node, gradient.ready)


def _running(seen: list[tuple[float, int]]) -> Growth:
    times: list[float] = []
    counts: list[int] = []
    for time, count in sorted(seen):
        if not counts or count > counts[-1]:
            times.append(time)
            counts.append(count)
    return Growth(tuple(times), tuple(counts))
