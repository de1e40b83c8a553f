"""One run: a method with its hyperparameters, on the problem of one seed, until its budget ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import torch

from pprs._arguments import counts
from pprs.smoothing import derive_seed
from pprs_experiments.study.cost import Price
from pprs_experiments.study.methods.method import Hyperparameters, Method, Stepper
from pprs_experiments.study.problem import Factory, Problem


@dataclass(frozen=True)
class Budget:
    """What a run may spend; it ends before the step that would exceed either.

    Args:
        time: pipeline time.
        evaluations: gradient evaluations per example.

    Raises:
        ValueError: if neither is given, or one is not above 0.
    """

    time: float = math.inf
    evaluations: float = math.inf

    def __post_init__(self) -> None:
        amounts = (self.time, self.evaluations)
        if not (all(amount > 0 for amount in amounts) and math.isfinite(min(amounts))):
            raise ValueError(
                f"a budget must give time or evaluations, above 0, got time={self.time!r}, "
                f"evaluations={self.evaluations!r}"
            )

    def steps(self, price: Price) -> int:
        """How many steps it pays for."""
        paid = min(self.time / price.time, self.evaluations / price.evaluations)
        return math.floor(paid * (1 + 1e-12))  # 0.3 pays three times 0.1


@dataclass(frozen=True)
class Point:
    """What is measured at the method's result after some steps.

    Args:
        step: how many.
        pipeline_time: spent on them.
        evaluations: gradient evaluations per example.
        wall_time: seconds spent in steps.
        training_loss: what is minimised.
        metrics: the problem's metrics; at the end of a run its final metrics too.
    """

    step: int
    pipeline_time: float
    evaluations: float
    wall_time: float
    training_loss: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    Args:
        history: what was measured, from the start to where the run ended.
        diverged: whether it ended early, since a loss was not finite.
    """

    history: tuple[Point, ...]
    diverged: bool

    @property
    def last(self) -> Point:
        """What was measured at the end."""
        return self.history[-1]


def run(
    factory: Factory,
    method: Method,
    hyperparameters: Hyperparameters,
    seed: int,
    budget: Budget,
    points: int,
    until: Callable[[Point], bool] | None = None,
    final: Collection[str] | None = None,
) -> Outcome:
    """Run a method on a problem.

    Args:
        factory: gives the problem of the seed.
        method: what is run.
        hyperparameters: of the method.
        seed: of the problem, and of all that the method draws.
        budget: when to end. Where it does not pay for a step, only the start is measured.
        points: how often to measure after the start, evenly spread over the steps, at least 1; the
            end is among them.
        until: ends the run at the first point for which it holds. Then the points are spread
            evenly over the logarithm of the steps, since it may end long before the budget.
        final: which of the final metrics to measure, all by default: some are costly.

    Raises:
        ValueError: for arguments out of range, or a method that cannot run on this problem.

    Returns:
        The outcome; the same but for wall times for the same arguments.
    """
    counts(points=points)
    problem = factory(seed)
    stepper = method.stepper(problem, hyperparameters, derive_seed(seed, "noise"))
    steps = budget.steps(stepper.price)
    measured = _measured(steps, points, spread_evenly=until is None)
    history = [_measure(problem, stepper, 0.0)]
    wall_time, finite = 0.0, math.isfinite(history[0].training_loss)
    for step in range(steps if finite else 0):
        start = time.perf_counter()
        finite = _stepped(stepper, step / steps)
        wall_time += time.perf_counter() - start
        if not finite or step + 1 in measured:
            history.append(_measure(problem, stepper, wall_time))
            finite = finite and math.isfinite(history[-1].training_loss)
        if not finite or (until is not None and until(history[-1])):
            break
    history[-1] = _ended(problem, stepper, history[-1], final)
    return Outcome(tuple(history), diverged=not finite)


def _measured(steps: int, points: int, *, spread_evenly: bool) -> set[int]:
    """After which steps to measure."""
    parts = [number / points for number in range(1, points + 1)]
    if spread_evenly:
        return {round(steps * part) for part in parts}
    return {1, *(math.ceil(steps**part) for part in parts)} if steps else set()


def _stepped(stepper: Stepper, progress: float) -> bool:
    """Take a step; tell whether all is finite."""
    return math.isfinite(float(stepper.step(progress)))


@torch.no_grad()
def _measure(problem: Problem, stepper: Stepper, wall_time: float) -> Point:
    spent = stepper.price * stepper.taken
    with stepper.evaluating():
        return Point(
            stepper.taken,
            spent.time,
            spent.evaluations,
            wall_time,
            problem.training_loss(),
            {name: metric() for name, metric in problem.metrics.items()},
        )


@torch.no_grad()
def _ended(
    problem: Problem, stepper: Stepper, point: Point, names: Collection[str] | None
) -> Point:
    """Add what is measured at the end only."""
    with stepper.evaluating():
        final = {
            name: metric()
            for name, metric in problem.final_metrics.items()
            if names is None or name in names
        }
    return replace(point, metrics={**point.metrics, **final})
