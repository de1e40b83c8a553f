"""Bootstrap confidence intervals of interquartile means and of growth rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from pprs._arguments import counts, positive
from pprs_experiments.study.statistics import Array, Cells, Unit, as_cells, trimmed

Answer: TypeAlias = Literal["yes", "no", "cannot say"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Args:
        value: the estimate; NaN where there is none.
        low: the lower end; minus infinity where the data set no limit.
        high: the upper end; infinity where the data set no limit.
    """

    value: float
    low: float
    high: float

    def near(self, value: float, margin: float) -> Answer:
        """Whether the figure is within a margin of a value; each answer errs as the interval does.

        Args:
            value: for instance 1, for an exponent of what grows in proportion.
            margin: what difference does not matter, above 0.

        Returns:
            `"yes"` if the whole interval is, `"no"` if none of it is.
        """
        positive(margin=margin)
        if value - margin <= self.low and self.high <= value + margin:
            return "yes"
        if self.high < value - margin or self.low > value + margin:
            return "no"
        return "cannot say"


def mean(values: ArrayLike) -> Interval:
    """With Student's interval of 95 %; without limits where a value is infinite."""
    from scipy.special import stdtrit

    held = np.asarray(values, float)
    if not np.isfinite(held).all():
        return Interval(math.inf, -math.inf, math.inf)
    half = stdtrit(len(held) - 1, 0.975) * held.std(ddof=1) / math.sqrt(len(held))
    return Interval(float(held.mean()), float(held.mean() - half), float(held.mean() + half))


def interval(
    cells: Cells,
    *,
    level: float = 0.95,
    draws: int = 4000,
    unit: Unit = "seed",
    seed: int = 0,
) -> Interval:
    r"""The interquartile mean over all cells and seeds, with a bootstrap interval.

    The middle half is taken of all outcomes together, so that cells with more seeds count more, and
    one far from the others is trimmed. Seeds are drawn again within each cell (a stratified
    bootstrap), so the interval is about these cells, not about others that could have been chosen.
    Its ends are percentiles, moved outwards for the small number of units: to
    $\Phi(\sqrt{n/(n-1)}\, t_{n-1})$ with n the seeds of the smallest cell, or the cells
    (Hesterberg, 2015). With 10 seeds, intervals of 95 % held the truth in 94 % to 98 % of
    simulations (six laws, 1 to 20 cells), where plain percentiles and BCa held it in 90 % to 94 %.

    With cells as units whole cells are drawn again: the interval is about cells like these, and
    takes in what the seeds of a cell share. No percentile leaves the range of the cells, within
    which the truth is with a chance of $1 - 2^{1-n}$: where that is less than the level, as of 5
    cells at 95 %, there are no limits. Of 6 to 10 cells, intervals of 95 % held it in 94 % to 96 %.

    Args:
        cells: outcomes or differences.
        level: above 0 and below 1.
        draws: of the bootstrap, at least 1.
        unit: that is drawn.
        seed: of the bootstrap.

    Raises:
        ValueError: for fewer than two seeds, NaN, or numbers out of range.

    Example:
        >>> interval([[1.0, 2.0, 3.0, 4.0]])
        Interval(value=2.5, low=1.0, high=4.0)
    """
    rows = as_cells(cells, "cells")
    _check(level, draws)
    if unit == "cell" and 2 ** (1 - len(rows)) > 1 - level:
        return Interval(float(_middle(rows)), -math.inf, math.inf)
    drawing = _cells_drawn if unit == "cell" else _seeds_drawn
    return _bootstrap(rows, _middle, drawing, level=level, draws=draws, seed=seed)


def _middle(cells: Sequence[Array]) -> Array:
    return trimmed(np.concatenate(cells, axis=-1))


def growth(
    sizes: Sequence[float],
    times: Cells,
    *,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Interval:
    r"""The exponent p of a time that grows as $\text{size}^p$, with a bootstrap interval.

    It is the slope, by least squares, of the interquartile mean of the logarithms of the times.
    Where a mean is infinite there is no exponent: NaN, with no limits.

    Args:
        sizes: $\Delta$, m or d: above 0, and not all the same.
        times: for each size the times of its seeds, above 0, infinite where never reached.
        level: above 0 and below 1.
        draws: of the bootstrap, at least 1.
        seed: of the bootstrap.

    Raises:
        ValueError: for sizes or times that are not as said, and as `interval`.

    Example:
        >>> exponent = growth([1, 2, 4], [[5.0, 5.0], [10.0, 10.0], [20.0, 20.0]])
        >>> round(exponent.value, 9), exponent.near(1, margin=0.1)
        (1.0, 'yes')
    """
    positive(**{f"sizes[{i}]": size for i, size in enumerate(sizes)})
    rows = as_cells(times, "times")
    if len(rows) != len(sizes):
        raise ValueError(f"times must have a row for each of {len(sizes)} sizes, got {len(rows)}")
    if len(set(sizes)) < 2:
        raise ValueError(f"sizes must hold at least two that differ, got {list(sizes)}")
    if any((row <= 0).any() for row in rows):
        raise ValueError("times must be above 0: leave out sizes that took no time")
    x = np.log(np.asarray(sizes, float))
    x -= x.mean()

    def slope(drawn: Sequence[Array]) -> Array:
        logarithms = np.stack([trimmed(row) for row in drawn])
        known = np.isfinite(logarithms).all(axis=0)
        logarithms = np.where(known, logarithms, 0)
        return np.where(known, np.tensordot(x / (x @ x), logarithms, axes=1), math.nan)

    _check(level, draws)
    logarithms = [np.log(row) for row in rows]
    return _bootstrap(logarithms, slope, _seeds_drawn, level=level, draws=draws, seed=seed)


def _check(level: float, draws: int) -> None:
    counts(draws=draws)
    if not 0 < level < 1:
        raise ValueError(f"level must be above 0 and below 1, got {level!r}")


Statistic: TypeAlias = Callable[[Sequence[Array]], Array]
"""A statistic of cells, each of shape `(..., seeds)`."""


class _Drawn(NamedTuple):
    values: Array  # of the statistic, one for each draw
    units: int


def _seeds_drawn(
    cells: Sequence[Array], statistic: Statistic, draws: int, random: np.random.Generator
) -> _Drawn:
    drawn = [cell[random.integers(len(cell), size=(draws, len(cell)))] for cell in cells]
    return _Drawn(statistic(drawn), min(map(len, cells)))


def _cells_drawn(
    cells: Sequence[Array], statistic: Statistic, draws: int, random: np.random.Generator
) -> _Drawn:
    """Seeds stay as they are: the law of cell means holds what they vary by (Davison, 1997)."""
    picks = random.integers(len(cells), size=(draws, len(cells)))
    values = [statistic([cells[number] for number in pick]) for pick in picks]
    return _Drawn(np.array(values, float), len(cells))


def _bootstrap(
    cells: Sequence[Array],
    statistic: Statistic,
    drawing: Callable[[Sequence[Array], Statistic, int, np.random.Generator], _Drawn],
    *,
    level: float,
    draws: int,
    seed: int,
) -> Interval:
    drawn, units = drawing(cells, statistic, draws, np.random.default_rng(seed))
    skipped = math.floor(_tail(level, units) * draws)
    # A draw without a value could have any: it counts against both ends.
    low = np.sort(np.where(np.isnan(drawn), -math.inf, drawn))[skipped]
    high = np.sort(np.where(np.isnan(drawn), math.inf, drawn))[draws - 1 - skipped]
    return Interval(float(statistic(cells)), float(low), float(high))


def _tail(level: float, units: int) -> float:
    """The part of the draws beyond each end; less than (1 - level) / 2 for few units."""
    from scipy.special import ndtr, stdtrit

    student = stdtrit(units - 1, (1 - level) / 2)
    return float(ndtr(math.sqrt(units / (units - 1)) * student))
