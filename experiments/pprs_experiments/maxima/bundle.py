"""A proximal bundle method: the rival that a black box with kinks ought to be given to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor
from torch.func import grad_and_value

Array = npt.NDArray[np.float64]

_SERIOUS = 0.1  # of the decrease that the model promises


def bundle(fun: Callable[[Tensor], Tensor], start: Tensor, size: float) -> Iterator[float]:
    r"""The value at the centre after each gradient (Kiwiel, 1990, with all cuts and one $t$).

    The next point is the least of the model, the maximum of the tangents so far, plus
    $\|x - c\|^2 / (2t)$; it becomes the centre c where it is better by a tenth of what the model
    promises.

    Args:
        fun: convex, of a vector in double precision.
        start: the first centre, shape `(d,)`.
        size: t > 0.
    """
    oracle: Any = grad_and_value(fun)
    slopes: list[Array] = []
    heights: list[float] = []  # of the tangents at 0
    centre, point = start.numpy(), start.numpy()
    value, promised = np.inf, 0.0
    while True:
        slope, found = oracle(torch.from_numpy(point))
        slopes.append(slope.numpy())
        heights.append(float(found) - slopes[-1] @ point)
        if float(found) <= value - _SERIOUS * promised or not np.isfinite(value):
            centre, value = point, float(found)
        yield value
        matrix = np.stack(slopes)
        errors = value - (np.array(heights) + matrix @ centre)  # each at least 0
        weights = _weights(size * matrix @ matrix.T, errors)
        mean = weights @ matrix
        promised = float(size * mean @ mean + weights @ errors)
        point = centre - size * mean


def _weights(quadratic: Array, linear: Array) -> Array:
    r"""The least of $\frac12 w^\top Q w + q^\top w$ with $w \ge 0$ that sum to 1, by Clarabel."""
    clarabel: Any = import_module("clarabel")
    count = len(linear)
    unit = max(float(np.trace(quadratic)) / count, float(linear.max()), 1e-300)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    solver = clarabel.DefaultSolver(
        sparse.csc_array(np.triu(quadratic / unit)),
        linear / unit,
        sparse.csc_array(np.vstack([np.ones((1, count)), -np.eye(count)])),
        np.concatenate([[1.0], np.zeros(count)]),
        [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(count)],
        settings,
    )
    weights = np.asarray(solver.solve().x).clip(0)
    return np.asarray(weights / weights.sum())
