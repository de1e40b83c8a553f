r"""Gradient methods on β-smooth objectives: each step takes $2(m + \Delta - 1)$."""

from __future__ import annotations

import math

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._sequence import steps_until
from pprs.theory.bounds._steps import chain_time, whole


def gradient_descent(
    *, smoothness: float, radius: float, epsilon: float, depth: int, batch: int = 1
) -> Bound:
    r"""Gradient descent with step $1/\beta$ on a $\beta$-smooth convex objective.

    $f(\theta_T) - f(\theta^*) \le \beta R^2/(4T+2)$, which is tight (Drori and Teboulle, 2014).

    Returns:
        The smallest T for which the bound is at most $\varepsilon$, and its time
        $2T(m + \Delta - 1)$.

    Example:
        >>> gradient_descent(smoothness=1.0, radius=1.0, epsilon=0.01, depth=5).iterations
        25
    """
    positive(smoothness=smoothness, radius=radius, epsilon=epsilon)
    counts(depth=depth, batch=batch)
    ratio = smoothness * radius * (radius / epsilon)
    iterations = whole("iterations", (ratio - 2) / 4, smoothness=smoothness, epsilon=epsilon)
    return _bound(max(0, iterations), smoothness, batch, depth, "Drori and Teboulle (2014)")


def gradient_descent_nonconvex(
    *, smoothness: float, gap: float, epsilon: float, depth: int, batch: int = 1
) -> Bound:
    r"""Gradient descent with step $1/\beta$ on a $\beta$-smooth objective, to a small gradient.

    $\min_{t<T} \|\nabla f(\theta_t)\|^2 \le 2\beta D/T$: Eq. (15) without noise.

    Args:
        epsilon: norm $\varepsilon > 0$ of the gradient.

    Returns:
        $T = \lceil 2\beta D/\varepsilon^2 \rceil$ and its time $2T(m + \Delta - 1)$.

    Example:
        >>> gradient_descent_nonconvex(smoothness=1.0, gap=1.0, epsilon=0.1, depth=10).time
        4000.0
    """
    positive(smoothness=smoothness, gap=gap, epsilon=epsilon)
    counts(depth=depth, batch=batch)
    ratio = 2 * smoothness * (gap / epsilon) / epsilon
    iterations = whole("iterations", ratio, smoothness=smoothness, gap=gap, epsilon=epsilon)
    return _bound(iterations, smoothness, batch, depth, "Eq. (15)")


def accelerated(
    *, smoothness: float, radius: float, epsilon: float, depth: int, batch: int = 1
) -> Bound:
    r"""Nesterov's accelerated gradient descent on a $\beta$-smooth convex objective.

    $f(y_T) - f(\theta^*) \le \beta R^2/(2\lambda_{T-1}^2)$ for $T \ge 2$ with the indices of
    Lemma 1, whose first step only moves y (Bubeck, 2015, Theorem 3.19, one step later).

    Returns:
        The smallest T for which the bound is at most $\varepsilon$ (beyond 100,000, a T that is
        less than one in 10,000 larger), and its time $2T(m + \Delta - 1)$.

    Example:
        >>> accelerated(smoothness=1.0, radius=1.0, epsilon=0.01, depth=5).iterations
        14
    """
    positive(smoothness=smoothness, radius=radius, epsilon=epsilon)
    counts(depth=depth, batch=batch)
    target = radius * math.sqrt(smoothness / epsilon / 2)
    iterations = steps_until(target) if target > 1 else 0  # at the start the gap is βR²/2
    return _bound(iterations, smoothness, batch, depth, "Bubeck (2015), Theorem 3.19", "nesterov")


def _bound(
    iterations: int,
    smoothness: float,
    batch: int,
    depth: int,
    equation: str,
    momentum: str | None = None,
) -> Bound:
    time = chain_time(iterations, batch, depth)
    lr = finite("lr", 1 / smoothness, smoothness=smoothness)
    return Bound(time, equation, iterations, lr=lr, momentum=momentum)
