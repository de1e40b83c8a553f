"""Cells that differ in one setting: how outcomes grow with it, and where two methods cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeGuard

from pprs_experiments.study.intervals import Interval, growth
from pprs_experiments.study.report.comparing import (
    FEWEST,
    Comparison,
    Contest,
    compare,
    named,
    pprs,
)
from pprs_experiments.study.results import Result
from pprs_experiments.study.verdicts import Verdict

GPIPE = "sgd"
"""The method that fills the pipeline with examples."""


@dataclass(frozen=True)
class Sweep:
    """Cells of one budget and goal whose tasks differ in one setting.

    Args:
        setting: the name of what differs.
        sizes: its values, ascending.
        contests: the cells.
    """

    setting: str
    sizes: tuple[float, ...]
    contests: tuple[Contest, ...]

    @property
    def methods(self) -> list[str]:
        """Those that ran at two sizes at least."""
        names = sorted({name for contest in self.contests for name in contest.results})
        return [name for name in names if len(self.of(name)) > 1]

    def of(self, method: str) -> list[tuple[float, Result]]:
        """A method's results, where it ran."""
        return [
            (size, contest.results[method])
            for size, contest in zip(self.sizes, self.contests, strict=True)
            if method in contest.results
        ]

    def exponent(self, method: str) -> Interval | None:
        """The exponent of the size in a method's times; `None` for too few seeds."""
        ran = [(size, each.values) for size, each in self.of(method) if len(each.runs) >= FEWEST]
        usable = [(size, times) for size, times in ran if size > 0 and min(times) > 0]
        if len(usable) < 2:
            return None
        return growth([size for size, _ in usable], [times for _, times in usable])


def sweeps(contests: Sequence[Contest]) -> list[Sweep]:
    """All there are, of two sizes or more, for each setting that is a number."""
    found = []
    for setting in sorted({key for contest in contests for key in contest.task}):
        groups: dict[str, dict[float, Contest]] = {}
        for contest in contests:
            if _number(size := contest.task.get(setting)):
                others = sorted((key, repr(contest.task[key])) for key in contest.task)
                others.remove((setting, repr(size)))
                same = repr((contest.spent, contest.goal, others))
                groups.setdefault(same, {})[float(size)] = contest
        for group in groups.values():
            if len(group) > 1:
                sizes = tuple(sorted(group))
                found.append(Sweep(setting, sizes, tuple(group[size] for size in sizes)))
    return found


def crossings(sizes: Sequence[float], gains: Sequence[float]) -> list[float]:
    """Where gains change their sign, on a straight line over the logarithm of the size.

    Args:
        sizes: ascending, above 0.
        gains: at each; a change from or to an infinite one is put in the middle.

    Example:
        >>> crossings([1, 4, 16], [1.0, 1.0, -1.0])
        [8.0]
    """
    found = []
    for i in range(len(sizes) - 1):
        a, b = gains[i], gains[i + 1]
        if a * b < 0:
            part = a / (a - b) if math.isfinite(a) and math.isfinite(b) else 0.5
            found.append(round(sizes[i] * (sizes[i + 1] / sizes[i]) ** part, 9))
    return found


def against_gpipe(sweep: Sweep) -> dict[float, tuple[Comparison, Verdict]]:
    """The best of PPRS against GPipe at each size that ran both."""
    found = compare(sweep.contests, pprs, named(GPIPE)).each
    sizes = {c.name: size for size, c in zip(sweep.sizes, sweep.contests, strict=True)}
    return {sizes[pair[0].contest.name]: pair for pair in found}


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)
