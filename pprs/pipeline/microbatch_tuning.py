"""Choose the number of microbatches by a measured model of what one costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np


def best_microbatches(
    possible: Sequence[int], slots: Callable[[int], int], seconds: Callable[[int], float]
) -> int:
    r"""The number of microbatches whose step is fastest.

    A microbatch of r rows takes $t(r) = a + b r$ on a stage, so with M of N rows altogether a step
    takes `slots(M)` times $a + b N / M$. The fewest and the most are measured, a and b fitted,
    and the number that they predict as best is measured, too, until it has been already.

    Args:
        possible: the numbers to choose from, increasing, at least one.
        slots: how many such times follow each other in a step.
        seconds: measures a step; called at most once for each number.

    Returns:
        Of the numbers measured the one with the shortest time.

    Example:
        >>> best_microbatches([1, 2, 4, 8], lambda m: m + 1, lambda m: (m + 1) * (0.1 + 1 / m))
        4
    """
    if len(possible) == 1:
        return possible[0]
    measured = {number: seconds(number) for number in (possible[-1], possible[0])}
    while (guess := _fastest(possible, slots, measured)) not in measured:
        measured[guess] = seconds(guess)
    return min(measured, key=lambda number: measured[number])


def fit(slots: Callable[[int], int], measured: Mapping[int, float]) -> tuple[float, float]:
    """The a and b N of least squares of relative errors, each at least 0.

    Args:
        slots: as for `best_microbatches`.
        measured: seconds of a step by the number of microbatches, at least two.
    """
    numbers = np.array(list(measured), dtype=np.float64)
    times = np.array(list(measured.values()))
    scale = np.array([slots(int(number)) for number in numbers]) / times
    columns = np.stack([scale, scale / numbers], axis=1)
    both = np.linalg.lstsq(columns, np.ones(len(times)))[0]
    if both.min() >= 0:
        return float(both[0]), float(both[1])
    alone = [(c @ np.ones(len(times)) / (c @ c), c) for c in columns.T]
    errors = [float(((value * c - 1) ** 2).sum()) for value, c in alone]
    return (float(alone[0][0]), 0.0) if errors[0] < errors[1] else (0.0, float(alone[1][0]))


def _fastest(
    possible: Sequence[int], slots: Callable[[int], int], measured: Mapping[int, float]
) -> int:
    fixed, rows = fit(slots, measured)
    return min(possible, key=lambda number: slots(number) * (fixed + rows / number))
