"""Is there a default: in how many cells is nothing that matters lost if only the step is tuned?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pprs_experiments.study.intervals import Answer, Interval
from pprs_experiments.study.report.comparing import Contest, Family, compare, kind, named, pprs

MARGIN = 0.01
"""The accuracy, one point, that a default may lose."""


@dataclass(frozen=True)
class Default:
    """A candidate against the best tuned method of PPRS.

    Args:
        method: the candidate's name.
        family: the comparisons, in cells that are judged by an accuracy.
    """

    method: str
    family: Family

    @property
    def cells(self) -> int:
        """The number of cells in which it can be judged."""
        return len(self.family.each)

    @property
    def estimated(self) -> int:
        """The number of cells in which it loses no more than the margin, by the estimate."""
        return sum(each.difference.value >= -MARGIN for _, each in self.family.each)

    def number(self, answer: Answer) -> int:
        """The number of cells in which the interval gives an answer."""
        return sum(within(verdict.difference) == answer for _, verdict in self.family.each)

    @property
    def mostly(self) -> bool:
        """Whether it is within the margin in more than half of the cells, by the estimate."""
        return 2 * self.estimated > self.cells


def within(found: Interval) -> Answer:
    """Whether no more than the margin is lost, as far as the interval tells."""
    if found.low >= -MARGIN:
        return "yes"
    return "no" if found.high < -MARGIN else "cannot say"


def defaults(among: Sequence[Contest], *, draws: int = 4000) -> list[Default]:
    """The candidates that ran in a cell with PPRS that is judged by an accuracy.

    Args:
        among: cells of one budget.
        draws: of the bootstrap.
    """
    judged = [c for c in among if c.measure.better == "higher" and not c.measure.timed and pprs(c)]
    names = sorted({name for contest in judged for name in contest.results})
    found = []
    for name in [each for each in names if kind(each) == "default"]:
        there = [contest for contest in judged if name in contest.results]
        family = compare(there, named(name), pprs, draws=draws)
        found.append(Default(name, family))
    return found
