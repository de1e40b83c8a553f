"""Logistic regression: a smooth convex function of real data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pprs._arguments import positive
from pprs.compare.examples import Examples
from pprs_experiments.study.problem import Problem
from pprs_experiments.study.tasks.convex import DataTask
from pprs_experiments.tasks.convex import Convex, Optimum

_STEPS = 200


class Logistic(Convex):
    r"""$f(\theta) = \frac1m \sum_i \log(1 + e^{-y_i x_i^\top \theta}) + \frac{\lambda_2}{2}
    \|\theta\|^2$.

    Args:
        examples: of two classes, x of shape `(m, d)`; class 0 has $y = -1$, class 1 has $y = 1$.
        l2: $\lambda_2$, above 0.

    Raises:
        ValueError: for another number of classes, or an l2 that is not above 0.
    """

    signed: Tensor

    def __init__(self, examples: Examples, l2: float) -> None:
        positive(l2=l2)
        if examples.classes != 2:
            raise ValueError(f"the examples must have 2 classes, got {examples.classes}")
        super().__init__(examples.x.shape[1], len(examples))
        signed = examples.x.to(torch.float64) * (2 * examples.y[:, None] - 1)
        self.register_buffer("signed", signed, persistent=False)
        self.l2 = l2

    def forward(self, examples: Tensor | None = None) -> Tensor:
        """The value at `theta`.

        Args:
            examples: numbers `(n,)` of the examples to take the mean over, all by default.
        """
        # Choosing all examples would copy them all.
        every = examples is None or len(examples) == self.examples
        return self._value(self.theta, self.signed if every else self.signed[examples])

    @property
    def smoothness(self) -> float:
        r"""A Lipschitz constant $\beta$ of the gradient."""
        largest = float(torch.linalg.matrix_norm(self.signed, 2))
        return largest**2 / (4 * self.examples) + self.l2

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant L, within `reach` of 0."""
        return float(self.signed.norm(dim=1).mean()) + self.l2 * self.reach

    @property
    def reach(self) -> float:
        r"""How far from 0 a point can be where f is no larger than at 0."""
        return self.radius + math.sqrt(2 * (math.log(2) - self.minimum) / self.l2)

    @torch.no_grad()
    def _solve(self) -> Optimum:
        """Solve by Newton's method, with steps halved until the value falls enough."""
        theta, decrease = torch.zeros_like(self.theta), torch.inf
        for _ in range(_STEPS):
            if decrease <= 1e-24:
                break
            gradient, hessian = self._derivatives(theta)
            step = torch.linalg.solve(hessian, gradient)
            decrease, length = float(gradient @ step), 1.0
            value = self._value(theta, self.signed)
            # Smaller decreases are within rounding, and full steps are right by then.
            while decrease > 1e-12 and (
                self._value(theta - length * step, self.signed) > value - length * decrease / 4
            ):
                length /= 2
            theta = theta - length * step
        if not decrease <= 1e-12:
            raise ValueError(f"the least value was not found in {_STEPS} steps: choose another l2")
        return Optimum(float(self._value(theta, self.signed)), theta)

    def _value(self, theta: Tensor, signed: Tensor) -> Tensor:
        return self.l2 / 2 * theta.square().sum() - logsigmoid(signed @ theta).mean()

    def _derivatives(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        wrong = torch.sigmoid(-(self.signed @ theta))
        gradient = self.l2 * theta - wrong @ self.signed / self.examples
        weights = (wrong * (1 - wrong) / self.examples)[:, None]
        hessian = self.signed.T @ (weights * self.signed)
        return gradient, hessian + self.l2 * torch.eye(self.dimension, dtype=theta.dtype)


@dataclass(frozen=True, kw_only=True)
class SmoothTask(DataTask):
    r"""Logistic regression with a square penalty.

    Args:
        l2: $\lambda_2$, the factor of $\frac12 \|\theta\|^2$, above 0.
        divisible: whether GPipe may divide the examples into microbatches; if not, a pass is of all
            of them, as in the theory.
    """

    l2: float = 1e-3
    divisible: bool = True

    def function(self, seed: int, data_dir: Path | None) -> Logistic:
        """The function of a seed."""
        return Logistic(self.drawn(seed, data_dir), self.l2)

    def _built(self, function: Convex) -> Problem:
        problem = super()._built(function)
        if not self.divisible:
            return problem
        index = torch.arange(function.examples)
        cost = replace(problem.cost, divisible=True)
        return replace(problem, loss=function, batch=(index,), cost=cost)
