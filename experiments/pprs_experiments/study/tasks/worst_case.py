"""The function that the lower bound for non-smooth convex functions is proved with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pprs.theory import NonSmooth
from pprs_experiments.study.tasks.convex import ConvexTask
from pprs_experiments.tasks.convex import WorstCase


@dataclass(frozen=True, kw_only=True)
class WorstCaseTask(ConvexTask):
    """Eq. (8) with L = R = 1; the same for all seeds.

    Args:
        pairs: k.
        coordinates: l, of the maximum.
    """

    pairs: int = 3
    coordinates: int = 90

    def function(self, seed: int, data_dir: Path | None) -> WorstCase:
        """The function of every seed."""
        return WorstCase(NonSmooth(1.0, 1.0, self.pairs, self.coordinates))
