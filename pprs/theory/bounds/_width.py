r"""Gaussian width: how much smoothing costs a convex function, in place of $\sqrt d$."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pprs._arguments import counts, positive
from pprs.theory.objective import Array

_ROWS = 1_000  # draws that are in memory at once


@dataclass(frozen=True)
class Width:
    """A width that was sampled.

    Args:
        estimate: the mean over the draws.
        upper: a bound that the width exceeds with at most the probability asked for: what to give
            to the bounds.

    Example:
        >>> found = sampled_width(lambda x: x.max(-1), lipschitz=1.0, dimension=100)
        >>> found.estimate < found.upper < width_of_pieces(100)
        True
    """

    estimate: float
    upper: float


def width_of_rank(rank: int) -> float:
    r"""Bound on W where all subgradients lie in one subspace of so many dimensions.

    $\mathbb{E}\|PX\| = \sqrt2\, \Gamma(\frac{s+1}{2}) / \Gamma(\frac s2) \le \sqrt s$ for the
    projection P on it, exact where they fill a ball. With rank d this is for any function.

    Args:
        rank: number $s \ge 1$ of dimensions.

    Example:
        >>> round(width_of_rank(1), 4), round(width_of_rank(100), 4)
        (0.7979, 9.975)
    """
    counts(rank=rank)
    half = rank / 2
    if half > 1e4:  # where the difference of logarithms loses digits: √s (1 - 1/(4s) + 1/(32s²))
        return math.sqrt(rank) * (1 - 1 / (4 * rank) + 1 / (32 * rank * rank))
    return math.sqrt(2) * math.exp(math.lgamma(half + 0.5) - math.lgamma(half))


def width_of_pieces(pieces: int) -> float:
    r"""Bound on W for the maximum of n linear functions: $\sqrt{2 \log n}$.

    For $t > 0$, $e^{t\,\mathbb{E}\max_i} \le \sum_i \mathbb{E} e^{t\langle a_i, X\rangle / L} \le
    n e^{t^2/2}$; take $t = \sqrt{2\log n}$. It is also one for $|x|_\infty$ (2d pieces), and for
    any function whose subgradients are means of n vectors no longer than L.

    Args:
        pieces: number $n \ge 2$ of linear functions (one alone loses nothing by smoothing).

    Example:
        >>> round(width_of_pieces(1000), 2)
        3.72
    """
    counts(pieces=pieces)
    if pieces < 2:
        raise ValueError(f"pieces must be an integer of at least 2, got {pieces!r}")
    return math.sqrt(2 * math.log(pieces))


def sampled_width(
    support: Callable[[Array], Array],
    *,
    lipschitz: float,
    dimension: int,
    draws: int = 10_000,
    error: float = 1e-6,
    seed: int = 0,
) -> Width:
    r"""The Gaussian width $W = \mathbb{E} \max_{g \in S} \langle g, X \rangle / L$, by sampling.

    S holds all subgradients of the objective. The maximum is an L-Lipschitz function of X, so that
    the mean of N draws of it over L falls short of W by more than
    $\sqrt{2\log(1/\delta)/N}$ with probability of at most $\delta$ (Gaussian concentration),
    whatever S is. `upper` is the mean and that.

    Args:
        support: $\max_{g \in S} \langle g, x \rangle$ of points, shape `(n, d)` to `(n,)`; for the
            linear functions in the rows of A, `lambda x: (x @ A.T).max(-1)`.
        lipschitz: $L > 0$, no less than the length of any g.
        dimension: number $d \ge 1$ of parameters.
        draws: number N of them, at least 1.
        error: $\delta$, above 0 and below 1.
        seed: of the draws.

    Raises:
        ValueError: for an argument out of its range, or values of another shape, that are not
            finite, or that only subgradients longer than L have.

    Example:
        >>> found = sampled_width(lambda x: x.max(-1), lipschitz=1.0, dimension=100)  # of max(x)
        >>> round(found.estimate, 1)
        2.5
    """
    positive(lipschitz=lipschitz, error=error)
    counts(dimension=dimension, draws=draws)
    if error >= 1:
        raise ValueError(f"error must be below 1, got {error!r}")
    random, total = np.random.default_rng(seed), 0.0
    for first in range(0, draws, _ROWS):
        points = random.standard_normal((min(_ROWS, draws - first), dimension))
        total += float(np.sum(_checked(np.asarray(support(points)), points, lipschitz)))
    estimate = total / draws / lipschitz
    return Width(estimate, max(0.0, estimate + math.sqrt(2 * math.log(1 / error) / draws)))


def _checked(values: Array, points: Array, lipschitz: float) -> Array:
    if values.shape != points.shape[:1] or not np.isfinite(values).all():
        raise ValueError(
            f"support must give one finite number for each of {len(points)} points, got shape "
            f"{values.shape}"
        )
    if (values > lipschitz * np.linalg.norm(points, axis=1) * (1 + 1e-9)).any():
        raise ValueError(
            f"support must be at most lipschitz={lipschitz!r} times the length of a point: some "
            "subgradient is longer than that"
        )
    return values


def root_or_width(dimension: int, width: float | None) -> float:
    r"""W where it is given, else $\sqrt d$, which no width exceeds."""
    counts(dimension=dimension)
    root = math.sqrt(dimension)
    if width is None:
        return root
    positive(width=width)
    if width > root:
        raise ValueError(
            f"width must be at most sqrt(dimension) = {root:.6g}, which always holds, got {width!r}"
        )
    return width
