"""Finding the first sigma of a method where nobody knows any scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pprs.theory.objective import Array, Mask
from pprs.theory.oracle import Oracle
from pprs.theory.vector import Vector, stacked

_FINER = tuple(8.0**-power for power in (4, 3, 2, 1))  # times sigma, the finest first
_DRAWN = 4  # perturbations with each of them: two pairs
_LONGER = (8.0, 64.0)  # times the step
_ENOUGH = 0.5  # of the most that a trial gains
_PASSES = 4  # two rounds


@dataclass(frozen=True)
class Jump:
    """Where each start goes on, if elsewhere than by its step.

    Args:
        moved: which do, shape `(1,)` or `(B, 1)`.
        searching: which have not found their sigma yet, shaped so too.
        point: where to, shape `(d,)` or `(B, d)`.
        sigma: with which, shape `(1,)` or `(B, 1)`.
    """

    moved: Mask
    searching: Mask
    point: Array
    sigma: Array


class ScaleSearch:
    r"""Finds, in the first four passes of a method, a sigma that suits the function.

    With a sigma that is much too small a step gains as much less. With one that is much too large
    it gains no more than with others, or nothing. So that is taken which is the smallest to gain at
    least half of the most:

    - the first pass also draws two pairs with each of $\sigma/8, \dots, \sigma/4096$;
    - the second also looks at the ends of the steps that these give, and of steps 8 and 64 times as
      long as that of sigma itself, whose sigma is half their length;
    - if a longer one was best, the third and fourth try longer ones from there.

    These points are lanes of passes that are taken anyway, and cost as many perturbations do.

    Args:
        start: where the method starts, shape `(d,)` or `(B, d)`.
        on: whether to search; else nothing is added or changed.
    """

    def __init__(self, start: Array, *, on: bool) -> None:
        self._searching = np.full_like(start[..., :1], on, dtype=bool)
        self._passes = 0 if on else _PASSES
        self._ends: list[Array] = []
        self._sigmas: list[Array] = []
        self._plain, self._loss = 0, np.zeros(())

    def rows(self, oracle: Oracle, point: Vector, sigma: Array) -> Array:
        """What to evaluate besides the points of the step, shape `(n, ..., d)`."""
        if self._passes == 0:
            rows = np.empty((len(_FINER), _DRAWN, *point.value.shape))
            for finer, these in zip(_FINER, rows, strict=True):
                pairs(oracle, point, finer * sigma, these)
            return rows.reshape(-1, *point.value.shape)
        others = self._ends[: self._plain] + self._ends[self._plain + 1 :]
        return np.stack(others) if others else np.empty((0, *point.value.shape))

    def jump(self, point: Array, sigma: Array, loss: Array, tried: Array) -> Jump:
        """What the pass says of the trials that were among its points, if some were.

        Args:
            point: where the method goes on by itself.
            sigma: with which.
            loss: where the latest step ended.
            tried: losses at `rows`, shape `(n, ..., 1)`.
        """
        searching, moved = self._searching, np.zeros_like(self._searching)
        if self._ends:
            gains = self._loss - np.insert(tried, self._plain, loss, axis=0)
            index = np.argmax(gains >= _ENOUGH * gains.max(0), axis=0)
            moved = searching & (index != self._plain)
            searching = searching & (index > self._plain)
            point, sigma = (
                np.where(moved, np.take_along_axis(np.stack(each), index[None], 0)[0], now)
                for each, now in ((self._ends, point), (self._sigmas, sigma))
            )
        self._passes += 1
        self._searching = searching = searching & (self._passes < _PASSES)
        return Jump(moved, searching, point, sigma)

    def propose(
        self, point: Array, sigma: Array, step: Array, lr: Array, loss: Array, drawn: Array
    ) -> None:
        """Set what the next pass tries, if it is one that does.

        Args:
            point: where the gradients were taken.
            sigma: of the perturbations.
            step: that they led to.
            lr: its size, to which sigma is proportional.
            loss: at the point.
            drawn: gradients at `rows`, shape `(n, ..., d)`.
        """
        self._ends, self._sigmas = [], []
        if self._passes >= _PASSES or self._passes % 2 == 0:
            return
        if self._passes == 1:
            means = drawn.reshape(len(_FINER), _DRAWN, *point.shape).mean(1)
            self._ends = [point - f * lr * g for f, g in zip(_FINER, means, strict=True)]
            self._sigmas = [finer * sigma for finer in _FINER]
        self._plain, self._loss = len(self._ends), loss
        length = np.sqrt(np.square(step).sum(-1, keepdims=True))
        for longer in (1.0, *_LONGER):
            self._ends.append(point + longer * step)
            self._sigmas.append(np.maximum(sigma, longer * length / 2))


def pairs(oracle: Oracle, point: Vector, sigma: Array, rows: Array) -> None:
    """Fill rows with perturbations of a point and their mirror images, as far as these go."""
    half = (len(rows) + 1) // 2
    rows[:half] = stacked(oracle.perturbed(point, sigma, half))
    np.subtract(2 * point.value, rows[: len(rows) - half], out=rows[half:])
