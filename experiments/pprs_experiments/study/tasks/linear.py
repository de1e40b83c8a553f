"""Absolute deviations of real labels, and maxima of random linear functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from pprs._arguments import counts
from pprs_experiments.study.problem import drawing
from pprs_experiments.study.tasks.convex import ConvexTask, PenalisedTask
from pprs_experiments.tasks.convex import Polyhedral, absolute_regression, maximum_of_linear


@dataclass(frozen=True, kw_only=True)
class RegressionTask(PenalisedTask):
    """Regression of labels, -1 and 1, by absolute deviations."""

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
