"""Intervals of paired differences, and which method they speak for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

LEVEL = 0.95
"""Of all intervals of one budget together."""

T = TypeVar("T")


@dataclass(frozen=True)
class Difference:
    """What a method has more than another, seed by seed: the mean and its interval."""

    mean: float
    low: float
    high: float

    @property
    def seen(self) -> bool:
        """Whether there is one: the interval excludes 0."""
        return self.low > 0 or self.high < 0


def difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    comparisons: int = 1,
    resolution: float = 0.0,
) -> Difference | None:
    """The mean of paired differences with Student's interval; nothing for fewer than two seeds.

    Args:
        ours: a number for each seed; one that is not finite (the run diverged) leaves no limits.
        theirs: those of the same seeds.
        comparisons: intervals that hold all together at the level (Bonferroni).
        resolution: the smallest difference that can be seen in one seed. Equal differences of
            few seeds do not mean that all seeds have them, so the deviation is at least half.

    Example:
        >>> found = difference([0.7, 0.8, 0.75], [0.6, 0.7, 0.6])
        >>> f"{found.mean:.3f} {found.low:.3f} {found.high:.3f}"
        '0.117 0.045 0.188'
    """
    from scipy.special import stdtrit

    pairs = [a - b for a, b in zip(ours, theirs, strict=True)]
    if len(pairs) < 2:
        return None
    if not all(map(math.isfinite, pairs)):
        return Difference(math.nan, -math.inf, math.inf)
    deviation = max(stdev(pairs), resolution / 2)
    quantile = float(stdtrit(len(pairs) - 1, 1 - (1 - LEVEL) / (2 * comparisons)))
    margin = quantile * deviation / math.sqrt(len(pairs))
    mean = fmean(pairs)
    return Difference(mean, mean - margin, mean + margin)


def differences(
    outcomes: Mapping[T, Sequence[float]], *, higher_is_better: bool, resolution: float = 0.0
) -> dict[T, Difference | None]:
    """What each method is better by than the first one; of the first one nothing.

    Args:
        outcomes: of each method, a number for each seed.
        higher_is_better: else a smaller number counts as better.
        resolution: as for `difference`.
    """
    first, *rivals = outcomes
    sign = 1.0 if higher_is_better else -1.0
    ahead = {
        rival: difference(
            [sign * x for x in outcomes[rival]],
            [sign * x for x in outcomes[first]],
            comparisons=len(rivals),
            resolution=resolution,
        )
        for rival in rivals
    }
    return {first: None, **ahead}


def best(
    outcomes: Mapping[T, Sequence[float]],
    price: Mapping[T, float],
    *,
    higher_is_better: bool,
    resolution: float = 0.0,
) -> T:
    """The method to use: the first one, unless others were seen to be better.

    Of these it is the best on average, or the cheapest from which that was not seen to differ.
    If none is better than the first one, another is named with a chance of (1 - LEVEL)/2, 2.5 %,
    at most (for normal differences).

    Args:
        outcomes: of each method, a number for each seed.
        price: of a step of each method.
        higher_is_better: else a smaller number counts as better.
        resolution: as for `difference`.
    """
    first = next(iter(outcomes))
    how = {"higher_is_better": higher_is_better, "resolution": resolution}
    ahead = differences(outcomes, **how)  # type: ignore[arg-type]
    better = {m: d.mean for m, d in ahead.items() if d is not None and d.low > 0}
    if not better:
        return first
    top = max(better, key=lambda method: better[method])
    able = [top]
    for method in better:
        apart = difference(outcomes[top], outcomes[method], resolution=resolution)
        if apart is not None and not apart.seen:
            able.append(method)
    return min(able, key=lambda method: (price[method], -better[method]))
