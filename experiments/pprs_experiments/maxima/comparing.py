"""What the rows say: times of methods at their best, and ratios of them over the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from scipy import stats

from pprs_experiments.maxima.plan import FIRST_ORDER
from pprs_experiments.maxima.results import Row
from pprs_experiments.study.intervals import Interval

_SEARCHED = ("searched", "pprs-search")


@dataclass(frozen=True)
class Time:
    """Of a method at its best setting, for one function, seed, gap and depth.

    Args:
        value: pipeline time; that of the last step where it did not arrive.
        arrived: whether it did.
    """

    value: float
    arrived: bool


def times(
    rows: Sequence[Row], problem: str, methods: Sequence[str], place: int, depth: int
) -> dict[int, Time]:
    """The least time of some methods and all their settings, by seed.

    Args:
        rows: all results.
        problem: the function.
        methods: their names.
        place: of the gap.
        depth: of the pipeline.
    """
    ours = [
        row
        for row in rows
        if row.problem == problem and row.method in methods and _is_at(row, depth)
    ]
    found = {}
    for seed, each in groupby(sorted(ours, key=lambda row: row.seed), lambda row: row.seed):
        held = list(each)
        arrived = [time for row in held if (time := row.time(place, depth)) is not None]
        value = min(arrived) if arrived else max(row.last(depth) for row in held)
        found[seed] = Time(value, bool(arrived))
    return found


def _is_at(row: Row, depth: int) -> bool:
    same = (1, 10) if row.method in _SEARCHED else (row.depth,)  # which have the same K
    return row.depth in (0, depth) or (row.depth in same and depth in same)


@dataclass(frozen=True)
class Ratio:
    """Of the times of a method and a rival, over the seeds.

    Args:
        mean: the geometric mean with its interval of 95 %.
        sign: "≥" or "≤" where it hangs on a method that did not arrive, else empty.
    """

    mean: Interval
    sign: str

    @property
    def answer(self) -> str:
        """Whether the method takes less time."""
        if math.isnan(self.mean.value):
            return "not compared"
        if self.mean.high < 1 and self.sign != "≥":
            return "yes"
        return "no, more" if self.mean.low > 1 and self.sign != "≤" else "cannot say"


def ratio(ours: dict[int, Time], theirs: dict[int, Time]) -> Ratio:
    """Seed by seed, for those where one of the two arrives, at least two."""
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    known = [(a, b) for a, b in pairs if a.arrived or b.arrived]
    if len(known) < 2:
        return Ratio(Interval(math.nan, math.nan, math.nan), "")
    logs = np.array([math.log(a.value / b.value) for a, b in known])
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    late, ahead = (any(not pair[i].arrived for pair in known) for i in (0, 1))
    sign = "" if late == ahead else "≥" if late else "≤"
    mean = Interval(*(float(np.exp(logs.mean() + side * half)) for side in (0, -1, 1)))
    return Ratio(mean, sign)


RIVALS = (
    ("the best of subgradient, AGD, Adam", FIRST_ORDER),
    ("Duchi et al.", ("duchi",)),
    ("proximal bundle", ("bundle",)),
)
"""What the claims are about, and what they are made of."""
