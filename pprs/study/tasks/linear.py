"""Absolute deviations of real labels, and maxima of random linear functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from pprs._arguments import counts
from pprs.study.problem import drawing
from pprs.study.tasks.convex import ConvexTask, DataTask
from pprs.tasks.convex import Aggregate, Polyhedral, absolute_regression, maximum_of_linear


@dataclass(frozen=True, kw_only=True)
class RegressionTask(DataTask):
    r"""Regression of labels, -1 and 1, by absolute deviations.

    Args:
        aggregate: of the deviations.
        l1: $\lambda_1$, the factor of $\|\theta\|_1$.
        l2: $\lambda_2$, the factor of $\frac12 \|\theta\|^2$; above 0, cvxpy finds the optimum.
    """

    aggregate: Aggregate = "mean"
    l1: float = 0.0
    l2: float = 0.0

    def function(self, seed: int, data_dir: Path | None) -> Polyhedral:
        """The function of a seed."""
        examples = self.drawn(seed, data_dir)
        labels = 2 * examples.y - 1
        return absolute_regression(examples.x, labels, self.aggregate, l1=self.l1, l2=self.l2)


@dataclass(frozen=True, kw_only=True)
class MaximumOfLinearTask(ConvexTask):
    r"""The maximum of random linear functions $a_i^\top \theta + b_i$.

    Slopes have lengths of about 1. Their mean is taken off, so that there is a least value.

    Args:
        functions: how many, at least 2.
        dimension: number d of parameters.
    """

    functions: int
    dimension: int

    def function(self, seed: int, data_dir: Path | None) -> Polyhedral:
        """The function of a seed."""
        counts(functions=self.functions, dimension=self.dimension)
        slopes = _normal(self.functions, self.dimension, generator=drawing(seed, "slopes"))
        slopes = (slopes - slopes.mean(0)) / math.sqrt(self.dimension)
        return maximum_of_linear(
            slopes, _normal(self.functions, generator=drawing(seed, "offsets"))
        )


def _normal(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator)
