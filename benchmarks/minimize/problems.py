"""Convex functions with L = R = 1 from a start at 0, whose minimum is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pprs.theory import NonSmooth


@dataclass(frozen=True)
class Problem:
    """A function, its minimum, and what is asked of methods.

    Args:
        name: what it is.
        fun: of a vector of d numbers.
        dimension: d.
        ratio: LR / ε.
        minimum: of the function.
        scale: R.
    """

    name: str
    fun: Callable[[Tensor], Tensor]
    dimension: int
    ratio: int
    minimum: float
    scale: float = 1.0

    @property
    def epsilon(self) -> float:
        return self.scale / self.ratio

    def scaled(self, scale: float) -> Problem:
        """R f(x/R), with R times the distance to the minimizer, and the same slopes."""
        return replace(
            self,
            fun=lambda x: scale * self.fun(x / scale),
            minimum=scale * self.minimum,
            scale=scale * self.scale,
        )


def worst_case(pairs: int, coordinates: int, ratio: int) -> Problem:
    """Function (8)."""
    theory = NonSmooth(1.0, 1.0, pairs, coordinates)
    path, kink, weight = 2 * pairs + 1, 1 / (9 * math.sqrt(pairs)), 1 / 9
    pull = kink * (1 + 1 / math.sqrt(2 * pairs))

    def fun(x: Tensor) -> Tensor:
        kinks = kink * x[:path].diff().abs().sum() - pull * x[0]
        square = theory.curvature / 2 * x.square().sum()
        return kinks + weight * x[path:].max(0).values + square

    name = f"(8), k = {pairs}, l = {coordinates}"
    return Problem(name, fun, theory.dimension, ratio, theory.minimum)


def maximum_of_linear(dimension: int, rows: int, ratio: int) -> Problem:
    """The maximum of random linear functions, d + 1 of which meet at the minimum."""
    random = torch.Generator().manual_seed(7 * dimension + rows)
    a = torch.randn(rows, dimension, generator=random, dtype=torch.float64)
    a /= a.norm(dim=1, keepdim=True)
    active = min(dimension + 1, rows)
    balance = -a[: active - 1].sum(0)
    a[active - 1] = balance / balance.norm()  # 0 is among the means of their gradients
    goal = _goal(dimension, random)
    b = -a @ goal
    slack = torch.randn(rows - active, generator=random, dtype=torch.float64).abs()
    b[active:] -= 0.1 * slack
    return Problem(
        f"maximum of {rows} linear", lambda x: (a @ x + b).max(0).values, dimension, ratio, 0.0
    )


def distance(norm: float, dimension: int, ratio: int) -> Problem:
    """The distance to a random point, in a norm of 1, 2 or infinity."""
    goal = _goal(dimension, torch.Generator().manual_seed(dimension))
    measures: dict[float, Callable[[Tensor], Tensor]] = {
        1: lambda x: (x - goal).abs().sum() / math.sqrt(dimension),
        2: lambda x: (x - goal).square().sum().sqrt(),
        math.inf: lambda x: (x - goal).abs().max(0).values,
    }
    name = f"l{'∞' if norm == math.inf else norm} distance"
    return Problem(name, measures[norm], dimension, ratio, 0.0)


def problems() -> list[Problem]:
    """Those of the table; the rule's constants were chosen on others."""
    return [
        worst_case(1, 30, 30),
        worst_case(10, 100, 300),
        worst_case(2, 200, 100),
        maximum_of_linear(10, 40, 100),
        maximum_of_linear(30, 100, 300),
        maximum_of_linear(100, 300, 100),
        distance(1, 50, 300),
        distance(1, 400, 30),
        distance(2, 200, 100),
        distance(math.inf, 30, 300),
        distance(math.inf, 400, 30),
        worst_case(1, 7, 1000),  # these two take as long as all others
        distance(2, 20, 1000),
    ]


def _goal(dimension: int, random: torch.Generator) -> Tensor:
    goal = torch.randn(dimension, generator=random, dtype=torch.float64)
    return torch.nn.functional.normalize(goal, dim=0)
