"""What the library offers where nothing is tuned, until a function is at its goals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad

import pprs
from pprs.theory import pipeline_time
from pprs.theory.measured import samples_for
from pprs_experiments.attack.library import UNIT, Measured
from pprs_experiments.maxima.problems import Problem


class Taken(NamedTuple):
    """What a run took: the price of a step, and how many were taken to each goal.

    Args:
        passes: gradients of a step.
        begun: gradients before the first, each a step of its own; trials beside the first steps
            count as so many, rounded up.
        steps: to each goal; `None` where it was not reached.
        most: that were allowed.
    """

    passes: int
    begun: int
    steps: Sequence[int | None]
    most: int


def minimized(
    problem: Problem, depth: int, goals: Sequence[float], most: int, seed: int, **given: Any
) -> Taken:
    """`pprs.minimize`, by default told nothing."""
    found = pprs.minimize(
        problem.fun,
        problem.start,
        depth=depth,
        steps=most,
        target=goals[-1],
        seed=seed,
        **given,
    )
    passes = found.history[-1].samples + 1
    more = found.time - found.nit * pipeline_time(passes, depth)  # one gradient, or trials of sigma
    begun = math.ceil(more / pipeline_time(1, depth))
    losses = [step.loss for step in found.history]
    return Taken(passes, begun, reached(losses, goals), most)


def reached(losses: Sequence[float], goals: Sequence[float]) -> list[int | None]:
    """After how many steps a loss is first at each goal."""
    return [next((t for t, loss in enumerate(losses, 1) if loss <= g), None) for g in goals]


class Point(nn.Module):
    """A vector as the one parameter of a module."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(start.clone())

    def forward(self) -> Tensor:
        """The vector."""
        return self.x


class _Sigma(Measured):
    """By measured bias, as in the attack."""

    def __init__(self, problem: Problem) -> None:
        steepness = float(grad(problem.fun)(problem.start).norm())
        self.begin(problem.first, steepness, len(problem.start))


def searched(
    problem: Problem, depth: int, goals: Sequence[float], most: int, seed: int, *, adam: bool
) -> Taken:
    """Searched steps with a sigma by measured bias: before Adam, or of `pprs.PPRS`."""
    module, noise = Point(problem.start), _Sigma(problem)
    samples = UNIT * max(1, samples_for(depth) // UNIT)
    given: Any = {"perturbation": noise.averaged(samples), "seed": seed}
    step: Callable[[Callable[[], Tensor]], Tensor]
    if adam:
        step = pprs.SearchedStep(torch.optim.Adam(module.parameters()), module, **given).step
        answer = module.forward
    else:
        optimizer = pprs.PPRS(module, "search", **given)
        step = optimizer.step

        def answer() -> Tensor:
            with optimizer.evaluating():
                return module.x.detach().clone()

    losses = []
    for _ in range(most):
        smoothed = float(step(lambda: problem.fun(module())))
        with torch.no_grad():
            losses.append(float(problem.fun(answer())))
            noise.follow(float(problem.fun(module.x)), smoothed)
        if losses[-1] <= goals[-1]:
            break
    return Taken(samples + noise.passes, noise.begun, reached(losses, goals), most)
