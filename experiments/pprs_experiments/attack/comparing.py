"""What the rows say: each method at its tuned setting and in hindsight, and pairs of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pprs_experiments.attack.plan import METHODS, REPORTED
from pprs_experiments.attack.results import Row, Setting, tuned
from pprs_experiments.study.intervals import Interval, mean
from pprs_experiments.study.statistics import Array

Values = Mapping[int, float]
"""A number for each image, by its place."""


@dataclass(frozen=True)
class Result:
    """A method on the images of a pair that are reported on.

    Args:
        method: its name.
        setting: that was best in tuning.
        final: the loss at the end.
        hindsight: that of the best of the grid for each image; of those images whose grid was run.
        distance: the largest change of a pixel.
        taken: whether it is taken for the target.
        curves: losses at equal parts of the budget, shape `(images, points)`.
        queries: gradients of each image.
    """

    method: str
    setting: Setting
    final: Values
    hindsight: Values
    distance: Sequence[float]
    taken: Sequence[bool]
    curves: Array
    queries: int


def result(
    rows: Sequence[Row], pair: str, method: str, depth: int, samples: int | None = None
) -> Result:
    """Of a method at the setting that was best in tuning.

    Args:
        rows: all results.
        pair: of classes.
        method: its name.
        depth: of the pipeline.
        samples: K, or that which was best.

    Raises:
        LookupError: if it has not been run.
    """
    ours = [r for r in rows if r.part in REPORTED and r.is_of(pair, method, depth, samples)]
    chosen = None if METHODS[method].untuned else tuned(rows, method, depth, samples)
    at = [row for row in ours if chosen in (None, row.setting)]
    parts = sorted({row.part: row for row in at}.values(), key=lambda row: row.part)
    if not parts:
        raise LookupError(f"{method} has not been run on {pair} at depth {depth}")
    return Result(
        method,
        parts[0].setting,
        {place: loss for row in parts for place, loss in zip(row.images, row.final, strict=True)},
        _hindsight(ours, METHODS[method].grid(samples)),
        [each for row in parts for each in row.distance],
        [each for row in parts for each in row.taken],
        np.array([curve for row in parts for curve in row.curve]),
        parts[0].queries,
    )


def _hindsight(rows: Sequence[Row], size: int) -> dict[int, float]:
    """The lowest final loss of each image over a grid of a size, where all of it was run."""
    found: dict[int, dict[Setting, float]] = {}
    for row in rows:
        for place, loss in zip(row.images, row.final, strict=True):
            found.setdefault(place, {})[row.setting] = loss
    return {place: min(held.values()) for place, held in found.items() if len(held) == size}


@dataclass(frozen=True)
class Comparison:
    """Final losses of a method and of a rival on the same images.

    Args:
        images: how many.
        lower: on how many the method's is lower.
        relative: the median of (ours - theirs) / theirs, with its interval.
        difference: the mean of ours - theirs, with its interval.
        p: of the sign test, two-sided.
    """

    images: int
    lower: int
    relative: Interval
    difference: Interval
    p: float

    @property
    def answer(self) -> str:
        """Whether the interval of the median lies below 0."""
        if self.relative.high < 0:
            return "yes"
        return "no, above" if self.relative.low > 0 else "cannot say"

    @property
    def bar(self) -> bool:
        """Lower on three quarters of the images, and by 5 % in the median."""
        return self.lower >= 0.75 * self.images and self.relative.value <= -0.05


def compare(ours: Values, theirs: Values) -> Comparison:
    """Image by image, for those that both have, at least two."""
    common = sorted(ours.keys() & theirs.keys())
    a, b = (np.array([each[place] for place in common]) for each in (ours, theirs))
    lower, higher = int((a < b).sum()), int((a > b).sum())
    p = stats.binomtest(lower, lower + higher).pvalue if lower + higher else 1.0
    with np.errstate(invalid="ignore"):
        change = np.where(a == b, 0.0, a - b)
    return Comparison(len(common), lower, median(change / b), mean(change), float(p))


def median(values: ArrayLike) -> Interval:
    """With a bootstrap interval of 95 %, by percentiles."""
    held = np.asarray(values, float)
    drawn = np.random.default_rng(0).integers(len(held), size=(4000, len(held)))
    low, high = np.quantile(np.median(held[drawn], axis=1), [0.025, 0.975], method="nearest")
    return Interval(float(np.median(held)), float(low), float(high))
