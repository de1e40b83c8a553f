"""A method of `minimize` at work, from one start or from several at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from pprs.optim._function import Function
from pprs.optim._layout import Layout, Tree
from pprs.optim._minimum import Minima, Minimum, Step
from pprs.theory.clock import Clock
from pprs.theory.graph import Graph
from pprs.theory.measured import Answer
from pprs.theory.objective import Array, Mask, Objective
from pprs.theory.procedure import Procedure
from pprs.theory.vector import Rows, Vector, stacked

Proved: TypeAlias = Callable[[int], float | None]
"""Of a number of steps, how far above the minimum they are proved to end."""


@dataclass(frozen=True)
class Limits:
    """When a run ends and has succeeded, and what no loss may be below.

    Args:
        time: the most pipeline time.
        steps: the most steps.
        target: the loss that is asked for.
        epsilon: the bound that is asked for, where no target is.
        lower: what no loss may be below.
    """

    time: float
    steps: int | None
    target: float | None
    epsilon: float | None
    lower: float | None

    @property
    def enough(self) -> float | None:
        """The loss that ends a run."""
        if self.target is None and self.lower is not None and self.epsilon is not None:
            return self.lower + self.epsilon
        return self.target


class End(Enum):
    """Why a start has ended, with what is said of it."""

    TARGET = "the target is reached"
    TIME = "all of the time is used up"
    STEPS = "all {steps} steps are taken"
    CALLBACK = "the callback ended it"


class Watch(Clock):
    """A clock that draws for each start by itself, and knows what `Step` tells of the points.

    Args:
        function: what is minimised.
        layout: of `x0`.
        depth: stages of the pipeline.
        seeds: one of each start.
    """

    def __init__(
        self, function: Function, layout: Layout, depth: int, seeds: Sequence[int]
    ) -> None:
        start = layout.start
        objective = Objective(Graph.chain(1), {"f1": function}, start.shape[-1])
        super().__init__(objective, Graph.chain(depth), start, seeds[0])
        self._function = function
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self.active: Mask = np.ones(start.shape[:-1], bool)
        self.sigma: float | Array = 0.0
        self.smoothed: float | Array = math.nan
        self.ngrad = 0

    def keep(self, active: Mask) -> None:
        """Go on with these starts only."""
        if active.ndim and active.any() and not np.array_equal(active, self.active):
            self._function.keep(np.flatnonzero(active))
        self.active = active

    def perturbed(self, point: Vector, sigma: float | Array, samples: int) -> Rows:
        """As a clock's."""
        self.sigma = sigma
        return super().perturbed(point, sigma, samples)

    def gradients(
        self, points: Sequence[Vector], examples: Sequence[int] | None = None, at: float = 0.0
    ) -> Rows:
        """As a clock's."""
        ready = max(point.ready for point in points)
        points = Rows(stacked(points), points[0].node, ready)  # one array, to be evaluated once
        found = super().gradients(points, examples, at)
        self.smoothed = self.losses(points).mean(0)
        self.ngrad += len(points)
        return found

    def _normals(self, samples: int) -> Array:
        shape = self.start.value.shape
        if len(shape) == 1:
            return self._generators[0].standard_normal((samples, *shape))
        normals = np.full((samples, *shape), np.nan)
        for start in np.flatnonzero(self.active):
            normals[:, start] = self._generators[start].standard_normal((samples, shape[-1]))
        return normals


@dataclass(frozen=True)
class _Taken:
    """What a step did at every start."""

    time: float
    ngrad: int
    samples: int
    smoothed: Array
    loss: Array
    sigma: Array
    lr: Array
    aside: Mask

    def step(self, start: tuple[int, ...]) -> Step:
        return Step(
            time=self.time,
            smoothed=float(self.smoothed[start]),
            loss=float(self.loss[start]),
            sigma=float(self.sigma[start]),
            lr=float(self.lr[start]),
            samples=self.samples,
        )


class Minimisation:
    """The steps so far, the best answers, and why each start has ended.

    Args:
        clock: at the start.
        method: which.
        layout: of `x0`.
        limits: when to end.
    """

    def __init__(self, clock: Watch, method: Procedure, layout: Layout, limits: Limits) -> None:
        self._clock, self._method, self._layout, self._limits = clock, method, layout, limits
        self._latest = self._best = clock.start.value
        self._loss = self._checked(self._best)
        self._nit = np.zeros(self._loss.shape, int)
        self._why = np.full(self._loss.shape, None, object)
        self._taken: list[_Taken] = []

    def go(self, callback: Callable[[Tree, Any], object] | None) -> None:
        """Take steps until every start has a reason to end."""
        answers = self._method.iterates(self._clock)
        self._end_reached()
        while self._clock.active.any():
            answer = next(answers)
            if answer.ready > self._limits.time:
                self._end(self._clock.active, End.TIME)
                return
            taken = self._take(answer)
            if callback is not None:
                try:
                    callback(self._layout.shown(self._latest), self._steps(taken))
                except StopIteration:
                    self._end(self._clock.active, End.CALLBACK)
                    return
            self._end_reached()

    def found(self, proved: Proved) -> Minimum | Minima:
        """What was found, with the least bound that holds: what is proved after so many steps."""
        if self._layout.starts is None:
            return self._minimum((), self._layout.shown(self._best), proved)
        each = [
            self._minimum((start,), self._layout.shown(self._best[start]), proved)
            for start in range(self._layout.starts)
        ]
        return Minima.of(each, self._layout.shown(self._best))

    def _minimum(self, start: tuple[int, ...], x: Tree, proved: Proved) -> Minimum:
        steps, loss, limits = int(self._nit[start]), float(self._loss[start]), self._limits
        bounds = [] if limits.lower is None else [loss - limits.lower]
        if (gap := proved(steps)) is not None:
            bounds.append(gap)
        bound = min(bounds, default=None)
        success, message = self._ending(self._why[start], loss, bound)
        return Minimum(
            x=x,
            fun=loss,
            success=success,
            message=message + self._aside(start, steps),
            nit=steps,
            time=self._taken[steps - 1].time if steps else 0.0,
            ngrad=self._taken[steps - 1].ngrad if steps else 0,
            bound=bound,
            history=tuple(taken.step(start) for taken in self._taken[:steps]),
        )

    def _ending(self, why: End, loss: float, bound: float | None) -> tuple[bool, str]:
        limits, said = self._limits, why.value.format(steps=self._limits.steps)
        target = limits.enough
        if target is not None and loss <= target:
            return True, f"fun is {loss:.6g}, at most the target {target:.6g}"
        if limits.target is None and limits.epsilon is not None and bound is not None:
            near = bound <= limits.epsilon
            above = f"fun is at most {bound:.3g} above the minimum"
            return near, f"{said}, {above}, {'within' if near else 'more than'} epsilon"
        if target is not None:
            return False, f"{said}, fun is {loss:.6g}, above the target"
        return False, f"{said}, and no target says whether fun is low enough"

    def _aside(self, start: tuple[int, ...], steps: int) -> str:
        """What is said of a lower bound that the method has left aside."""
        after = next((n for n in range(steps) if self._taken[n].aside[start]), None)
        if after is None:
            return ""
        lower, stalled = self._limits.lower, float(self._taken[after].loss[start])
        return (
            f"; lower={lower:g} was left aside after {after} steps, with fun stalled at "
            f"{stalled:.6g}: do not give a lower that fun comes nowhere near"
        )

    def _end_reached(self) -> None:
        limits, active = self._limits, self._clock.active
        if limits.enough is not None:
            self._end(active & (self._loss <= limits.enough), End.TARGET)
        if len(self._taken) == limits.steps:
            self._end(self._clock.active, End.STEPS)

    def _end(self, ended: Mask, why: End) -> None:
        self._why[ended] = why
        self._clock.keep(self._clock.active & ~ended)

    def _take(self, answer: Vector) -> _Taken:
        active = self._clock.active
        loss = self._checked(answer.value)
        self._latest = np.where(active[..., None], answer.value, self._latest)
        better = active & (loss < self._loss)
        self._best = np.where(better[..., None], answer.value, self._best)
        self._loss = np.where(better, loss, self._loss)
        self._nit = self._nit + active
        taken = self._told(answer, loss)
        self._taken.append(taken)
        return taken

    def _told(self, answer: Vector, loss: Array) -> _Taken:
        method, clock = self._method, self._clock
        lr, smoothed, aside = getattr(method, "lr", math.nan), clock.smoothed, np.zeros((), bool)
        if isinstance(answer, Answer):
            lr, smoothed = answer.lr[..., 0], answer.smoothed[..., 0]
            aside = answer.aside[..., 0] if answer.aside.ndim else answer.aside
        sigma = clock.sigma[..., 0] if isinstance(clock.sigma, np.ndarray) else clock.sigma
        told = (np.broadcast_to(x, loss.shape) for x in (smoothed, loss, sigma, lr, aside))
        return _Taken(answer.ready, clock.ngrad, getattr(method, "samples", 1), *told)

    def _steps(self, taken: _Taken) -> Step | list[Step | None]:
        if self._layout.starts is None:
            return taken.step(())
        return [taken.step((b,)) if on else None for b, on in enumerate(self._clock.active)]

    def _checked(self, point: Array) -> Array:
        loss, lower = self._clock.objective.value(point), self._limits.lower
        if lower is not None and (low := loss < lower).any():
            where = f" at start {np.flatnonzero(low)[0]}" if low.ndim else ""
            fun = float(loss[low][0])
            said = f"got lower={lower:g} where fun is {fun:.6g}{where}"
            if math.isclose(fun, lower, rel_tol=1e-5):
                said = f"got lower={lower!r} where fun is {fun!r}{where}: rounding asks for less"
            raise RuntimeError(f"lower must be a value that fun is never below, {said}")
        return loss
