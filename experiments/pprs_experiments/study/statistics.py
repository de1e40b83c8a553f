"""Statistics of the outcomes of many seeds: interquartile means and paired differences.

A cell is one setting of the study; its outcomes are one number for each seed. Numbers may be
infinite, where something was never reached. They may not be NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]

Cells: TypeAlias = Iterable[ArrayLike]
"""For each cell the outcomes of its seeds, at least two; cells may differ in their number."""

Unit: TypeAlias = Literal["seed", "cell"]
"""What is drawn by itself: a seed, or a whole cell, whose seeds share something that was drawn once
for all of them, such as how well the methods were tuned."""


def iqm(values: ArrayLike) -> Array:
    """The interquartile mean along the last axis: of what is left without a quarter at each end.

    Where n is not divisible by 4, the values at the two edges count with the fraction of them
    that is inside (trimming whole values only would trim 20 % of ten). The mean is infinite if
    more than a quarter of the values are, and NaN if that holds for both infinities.

    Args:
        values: shape `(..., n)`, n at least 1.

    Returns:
        Shape `(...)`.

    Raises:
        ValueError: for no values, or NaN.

    Example:
        >>> float(iqm([1.0, 2.0, 4.0, 100.0])), float(iqm([0.0, 0.0, 1.0, 1.0, 2.0, 9.0]))
        (3.0, 1.0)
    """
    array = np.asarray(values, float)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"values must have at least one along the last axis, got {array.shape}")
    if np.isnan(array).any():
        raise ValueError("values must not be NaN: say infinity for what was never reached")
    return trimmed(array)


def trimmed(values: Array) -> Array:
    """As `iqm`, for values without NaN."""
    n = values.shape[-1]
    position = np.arange(n)
    inside = np.minimum(position + 1, 0.75 * n) - np.maximum(position, 0.25 * n)
    kept = inside > 0  # infinity times a weight of 0 would be NaN
    with np.errstate(invalid="ignore"):
        weighted = np.sort(values, axis=-1)[..., kept] * inside[kept]
        return np.asarray(weighted.sum(axis=-1) / (0.5 * n))


def differences(method: Cells, rival: Cells) -> list[Array]:
    """What a method has more than its rival, seed by seed, in each cell.

    Two that never reached are equal; one that did not differs infinitely from one that did. For
    ratios, of times for instance, pass logarithms.

    Args:
        method: outcomes; the same seeds in the same order as those of the rival.
        rival: outcomes.

    Returns:
        For each cell the differences.

    Raises:
        ValueError: if cells or seeds do not match.
    """
    ours, theirs = as_cells(method, "method"), as_cells(rival, "rival")
    shapes = [cell.shape[0] for cell in ours], [cell.shape[0] for cell in theirs]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"method and rival must have the same seeds in every cell, got numbers of seeds "
            f"{shapes[0]} and {shapes[1]}: pass only what both have run"
        )
    return [_difference(a, b) for a, b in zip(ours, theirs, strict=True)]


def _difference(a: Array, b: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


def as_cells(cells: Cells, name: str) -> list[Array]:
    """Cells as arrays of one axis.

    Raises:
        ValueError: for none, fewer than two seeds, or NaN.
    """
    rows = [np.asarray(cell, float) for cell in cells]
    if not rows or any(row.ndim != 1 or row.shape[0] < 2 for row in rows):
        shapes = [row.shape for row in rows]
        raise ValueError(
            f"{name} must be cells of at least two seeds, got shapes {shapes}: "
            f"for one cell pass a list that holds it"
        )
    if any(np.isnan(row).any() for row in rows):
        raise ValueError(f"{name} must not hold NaN: say infinity for what was never reached")
    return rows
