"""Support vector machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pprs.study.tasks.convex import DataTask
from pprs.tasks.convex import Aggregate, Polyhedral, svm


@dataclass(frozen=True, kw_only=True)
class SvmTask(DataTask):
    r"""A linear support vector machine, see :func:`pprs.tasks.convex.svm`.

    The maximum of hinges of a9a has its minimum where it starts, or nearly: hundreds of its
    examples cannot be separated.

    Args:
        aggregate: of the hinges.
        l1: $\lambda_1$, the factor of $\|\theta\|_1$.
        l2: $\lambda_2$, the factor of $\frac12 \|\theta\|^2$; above 0, cvxpy finds the optimum.
    """

    aggregate: Aggregate = "mean"
    l1: float = 0.0
    l2: float = 0.0

    def function(self, seed: int, data_dir: Path | None) -> Polyhedral:
        """The function of a seed."""
        return svm(self.drawn(seed, data_dir), self.aggregate, l1=self.l1, l2=self.l2)
