"""How far above the minimum methods are after T steps, with the steps that they take."""

from __future__ import annotations

import math

from pprs._arguments import counts, positive


def subgradient_gap(*, lipschitz: float, radius: float, iterations: int, lr: float) -> float:
    r"""Bound on $f - f(\theta^*)$ at the best of the first T points of subgradient descent.

    $(R^2 + \eta^2 L^2 T)/(2\eta T)$, and at most LR, as at the start, for a convex objective
    (Bubeck, 2015, Theorem 3.2); $\eta = R/(L\sqrt T)$ makes it $LR/\sqrt T$.

    Example:
        >>> subgradient_gap(lipschitz=1.0, radius=1.0, iterations=100, lr=0.1)
        0.1
    """
    positive(lipschitz=lipschitz, radius=radius, lr=lr)
    counts(iterations=iterations)
    found = radius / iterations / lr * radius / 2 + lr * lipschitz * lipschitz / 2
    return min(found, lipschitz * radius)


def gradient_descent_gap(*, smoothness: float, radius: float, iterations: int) -> float:
    r"""Bound on $f(\theta_T) - f(\theta^*)$ for steps of $1/\beta$: $\beta R^2/(4T + 2)$.

    Of a $\beta$-smooth convex objective (Drori and Teboulle, 2014).

    Example:
        >>> gradient_descent_gap(smoothness=2.0, radius=1.0, iterations=12)
        0.04
    """
    positive(smoothness=smoothness, radius=radius)
    counts(iterations=iterations)
    return smoothness * radius * radius / (4 * iterations + 2)


def randomized_smoothing_gap(
    *, lipschitz: float, radius: float, dimension: int, iterations: int, samples: int
) -> float:
    r"""Bound on $\mathbb{E} f(x_T) - f(\theta^*)$ for `RandomizedSmoothing`.

    $10LRd^{1/4}/T + 5LR/\sqrt{TK}$ for a convex objective (Duchi et al., 2012, Corollary 2.3), and
    at most LR where the best point counts, the start among them.

    Example:
        >>> round(
        ...     randomized_smoothing_gap(
        ...         lipschitz=1.0, radius=1.0, dimension=16, iterations=100, samples=25
        ...     ),
        ...     3,
        ... )
        0.3
    """
    positive(lipschitz=lipschitz, radius=radius)
    counts(dimension=dimension, iterations=iterations, samples=samples)
    smoothing: float = 10 * float(dimension) ** 0.25 / iterations
    noise = 5 / math.sqrt(iterations) / math.sqrt(samples)
    return lipschitz * radius * min(1.0, smoothing + noise)
