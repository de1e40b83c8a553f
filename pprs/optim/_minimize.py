"""Minimise a function of tensors: what scipy's `minimize` is, in pipeline time."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pprs._arguments import counts, positive, real
from pprs.optim._function import Function, Layout, Tree
from pprs.optim._minimum import Minimum, Step
from pprs.optim._named_methods import Known, Planned, planned
from pprs.smoothing import fresh_seed
from pprs.theory.clock import Clock
from pprs.theory.graph import Graph
from pprs.theory.measured import Answer
from pprs.theory.methods import Procedure
from pprs.theory.objective import Array, Objective
from pprs.theory.vector import Vector

_STEPS = 1000  # where nothing else ends a run


def minimize(
    fun: Callable[[Tree], Tensor],
    x0: Tree,
    *,
    depth: int,
    method: str = "auto",
    epsilon: float | None = None,
    lipschitz: float | None = None,
    radius: float | None = None,
    lower: float | None = None,
    convex: bool = False,
    time: float | None = None,
    steps: int | None = None,
    target: float | None = None,
    seed: int | None = None,
    callback: Callable[[Tree, Step], object] | None = None,
    **options: Any,
) -> Minimum:
    r"""Minimise a function of tensors, by a method for pipelines.

    The points of a step are evaluated together under `torch.vmap`. Methods are those of
    `pprs.theory`, and time is the theory's: K passes through $\Delta$ nodes take
    $2(K + \Delta - 1)$. `fun` is also evaluated at every answer $y_t$, for `history` and `target`,
    which is not counted.

    - `"pprs-measured"`, which is `"auto"`: PPRS whose sigma follows the measured bias. It knows
      `epsilon`, `radius` and `lower` where they are given, and finds out by itself what is not.
    - `"pprs-proved"`: the same with a sigma that never rises, and with a proof, by `epsilon`,
      `lipschitz` and `radius`; samples, and the width of `pprs.theory.bounds`.
    - `"pprs"`: as published, by `epsilon`, `lipschitz` and `radius`; or lr, sigma, samples.
    - `"duchi"`: Duchi et al. (2012), by `lipschitz` and `radius`; samples.
    - `"subgradient"`: by `epsilon`, `lipschitz` and `radius`; or lr.
    - `"gd"`, `"agd"` and `"adam"`: gradient descent, Nesterov's, and Adam; lr.

    Args:
        fun: takes x as `x0` is, returns a scalar tensor. Random operations are refused.
        x0: where to start: a tensor, or a dictionary or tuple of tensors. It is not changed.
        depth: $\Delta \ge 1$: how many stages a pass goes through.
        method: see above.
        epsilon: precision $\varepsilon > 0$ that is asked for.
        lipschitz: constant L > 0 of the function.
        radius: distance R > 0 from `x0` to a minimizer.
        lower: a value that the function is never below; 0 for most losses.
        convex: whether the function is convex, which `bound` needs where there is no `lower`.
        time: the most pipeline time, above 0; no limit by default.
        steps: the most steps, at least 1. By default as many as are proved to reach `epsilon`,
            else 1,000, but no limit where `time` is given.
        target: a value that is good enough; `lower + epsilon` by default, where both are given.
        seed: an integer; other perturbations each time by default.
        callback: called with a copy of x and the `Step` after each; ends the run by StopIteration.
        options: those of the method: lr, momentum, sigma, samples, width.

    Raises:
        ValueError: for an argument out of its range, or what a method needs and is not given.
        TypeError: for an `x0` that has no numbers, or a `fun` that returns no scalar tensor.
        RuntimeError: if `fun` is not finite somewhere, below `lower`, has no gradient, or does not
            run under vmap.

    Example:
        >>> import torch
        >>> def distance(x):
        ...     return (x - torch.arange(6.0)).abs().max()
        >>> found = minimize(distance, torch.zeros(6), depth=100, lower=0, epsilon=0.1, seed=0)
        >>> found.success, found.fun <= 0.1
        (True, True)
    """
    layout = Layout(x0)
    start = layout.start
    known = Known(len(start), depth, epsilon, lipschitz, radius, lower)
    plan = planned(method, known, options)
    _check(steps, time, target, seed)
    if target is None and lower is not None and epsilon is not None:
        target = lower + epsilon
    if steps is None and time is None:
        steps = _STEPS if plan.proved is None else max(1, plan.proved)
    objective = Objective(Graph.chain(1), {"f1": Function(fun, layout)}, len(start))
    clock = _Clock(objective, Graph.chain(depth), start, fresh_seed() if seed is None else seed)
    limits = _Limits(math.inf if time is None else time, steps, target, lower)
    run = _Run(clock, plan.method, limits, lambda x: layout.tree(layout.tensors(x)))
    run.go(callback)
    return run.minimum(plan, epsilon if convex else None)


def _check(steps: int | None, time: float | None, target: float | None, seed: int | None) -> None:
    if steps is not None:
        counts(steps=steps)
    if time is not None:
        positive(time=time)
    if target is not None:
        real(target=target)
    if seed is not None and not (isinstance(seed, numbers.Integral) and seed >= 0):
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")


@dataclass(frozen=True)
class _Limits:
    """When a run ends, and what no loss may be below."""

    time: float
    steps: int | None
    target: float | None
    lower: float | None


class _Clock(Clock):
    """A clock that knows what `Step` tells: sigma and mean loss of the latest points."""

    sigma = 0.0
    smoothed = math.nan
    ngrad = 0

    def perturbed(self, point: Vector, sigma: float, samples: int) -> list[Vector]:
        self.sigma = sigma
        return super().perturbed(point, sigma, samples)

    def gradients(
        self, points: Sequence[Vector], examples: Sequence[int] | None = None, at: float = 0.0
    ) -> list[Vector]:
        found = super().gradients(points, examples, at)
        self.smoothed = float(self.losses(points).mean())
        self.ngrad += len(points)
        return found


class _Run:
    """A method at work: its steps so far, the best answer, and why it ended."""

    def __init__(
        self, clock: _Clock, method: Procedure, limits: _Limits, shown: Callable[[Array], Tree]
    ) -> None:
        self._clock, self._method, self._limits, self._shown = clock, method, limits, shown
        self._best, self._loss = clock.start.value, self._checked(clock.start.value)
        self._history: list[Step] = []
        self._ngrad = 0
        self._success, self._message = False, ""

    def go(self, callback: Callable[[Tree, Step], object] | None) -> None:
        """Take steps until there is a reason to end."""
        answers = self._method.iterates(self._clock)
        while not self._has_ended():
            answer = next(answers)
            if answer.ready > self._limits.time:
                self._end(self._limits.target is None, "all of the time is used up")
                return
            step = self._taken(answer)
            if callback is not None:
                try:
                    callback(self._shown(answer.value), step)
                except StopIteration:
                    self._end(False, "the callback ended it")
                    return

    def minimum(self, plan: Planned, epsilon: float | None) -> Minimum:
        """What was found, with the bounds that hold: epsilon is None unless f is convex."""
        steps, lower = len(self._history), self._limits.lower
        bounds = [] if lower is None else [self._loss - lower]
        if epsilon is not None and plan.proved is not None and steps >= plan.proved:
            bounds.append(epsilon)
        return Minimum(
            x=self._shown(self._best),
            fun=self._loss,
            success=self._success,
            message=self._message,
            nit=steps,
            time=self._history[-1].time if steps else 0.0,
            ngrad=self._ngrad,
            bound=min(bounds, default=None),
            history=tuple(self._history),
        )

    def _has_ended(self) -> bool:
        limits = self._limits
        if limits.target is not None and self._loss <= limits.target:
            self._end(True, f"fun is {self._loss:.6g}, at most the target {limits.target:.6g}")
        elif len(self._history) == limits.steps:
            missed = "" if limits.target is None else f", fun is {self._loss:.6g}, above the target"
            self._end(limits.target is None, f"all {limits.steps} steps are taken{missed}")
        return bool(self._message)

    def _end(self, success: bool, message: str) -> None:
        self._success, self._message = success, message

    def _taken(self, answer: Vector) -> Step:
        loss = self._checked(answer.value)
        if loss < self._loss:
            self._best, self._loss = answer.value, loss
        lr, smoothed = getattr(self._method, "lr", math.nan), self._clock.smoothed
        if isinstance(answer, Answer):
            lr, smoothed = answer.lr, answer.smoothed
        samples = getattr(self._method, "samples", 1)
        step = Step(answer.ready, smoothed, loss, self._clock.sigma, lr, samples)
        self._history.append(step)
        self._ngrad = self._clock.ngrad
        return step

    def _checked(self, point: Array) -> float:
        loss, lower = float(self._clock.objective.value(point)), self._limits.lower
        if lower is not None and loss < lower:
            raise RuntimeError(
                f"lower must be a value that fun is never below, got lower={lower:g} where fun is "
                f"{loss:.6g}"
            )
        return loss
