"""Support vector machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pprs_experiments.study.tasks.convex import PenalisedTask
from pprs_experiments.tasks.convex import Polyhedral, svm


@dataclass(frozen=True, kw_only=True)
class SvmTask(PenalisedTask):
    r"""A linear support vector machine, see `pprs_experiments.tasks.convex.svm`.

    The maximum of hinges of a9a has its minimum where it starts, or nearly: hundreds of its
    examples cannot be separated.
    """

    def function(self, seed: int, data_dir: Path | None) -> Polyhedral:
        """The function of a seed."""
        return svm(self.drawn(seed, data_dir), self.aggregate, l1=self.l1, l2=self.l2)
