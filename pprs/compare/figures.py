"""Figures of differences: with as many digits as their intervals bear."""

from __future__ import annotations

import math

from pprs.compare.statistics import Difference

POINTS = "points"
"""Of accuracy: percentage points."""


def scaled(metric: str) -> tuple[float, str]:
    """What differences of a metric are multiplied by, and what they are then called."""
    return (100.0, POINTS) if metric == "accuracy" else (1.0, metric)


def difference_in_words(ahead: Difference, metric: str) -> tuple[str, str, str]:
    """Its mean, and the lower and the upper end of its interval: above 0 it is better.

    Args:
        ahead: the difference.
        metric: of which.
    """
    scale = scaled(metric)[0]
    low, high = scale * ahead.low, scale * ahead.high
    width = (high - low) / 2
    digits = 2
    if 0 < width < math.inf:
        digits = max(0, 1 - math.floor(math.log10(width)))  # two of the interval's size
    return tuple(f"{x:+.{digits}f}".replace("-", "−") for x in (scale * ahead.mean, low, high))  # type: ignore[return-value]
