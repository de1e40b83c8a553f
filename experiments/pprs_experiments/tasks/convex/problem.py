"""What methods for convex functions are measured on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor, nn

from pprs_experiments.tasks.convex.optimum import Optimum


class Convex(nn.Module, ABC):
    """A convex function of one parameter vector, in double precision.

    It is a module whose only parameter is `theta`, 0 at first, and its own closure:
    `pprs.smooth(problem, problem, sigma, samples)` smooths it, `problem()` is its value.

    Args:
        dimension: number d of parameters.
        examples: number m of examples.
    """

    def __init__(self, dimension: int, examples: int) -> None:
        super().__init__()
        self.dimension, self.examples = dimension, examples
        self.theta = nn.Parameter(torch.zeros(dimension, dtype=torch.float64))

    @abstractmethod
    def forward(self) -> Tensor:
        """The value at `theta`, a scalar."""

    @property
    @abstractmethod
    def lipschitz(self) -> float:
        """A Lipschitz constant L, within `reach` of 0."""

    @property
    def reach(self) -> float:
        """How far from 0 the Lipschitz constant holds: at least wherever the value is no larger
        than at 0.
        """
        return math.inf

    @cached_property
    def optimum(self) -> Optimum:
        """The least value and where it is, found once."""
        return self._solve()

    @property
    def minimum(self) -> float:
        r"""The least value $f^*$."""
        return self.optimum.value

    @property
    def radius(self) -> float:
        """R, how far from 0 the minimiser is that was found."""
        return float(self.optimum.theta.norm())

    @abstractmethod
    def _solve(self) -> Optimum: ...
