"""Delayed gradients on Lipschitz convex objectives: the pipeline never drains."""

from __future__ import annotations

import math

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._steps import whole


def delayed_gradients(*, lipschitz: float, radius: float, epsilon: float, depth: int) -> Bound:
    r"""Subgradient descent with gradients that are $\tau = \Delta - 1$ steps old: `PipeDream`.

    With the constant step $\eta = R/(L\sqrt{T(2\tau + 1)})$ the best of the points where gradients
    are taken has $f - f(\theta^*) \le LR\sqrt{(2\tau + 1)/T}$: Theorem 1 of docs/theory.md. For one
    node it is the subgradient method.

    Returns:
        $T = \lceil (2\Delta - 1)(LR/\varepsilon)^2 \rceil$, its step and its time
        $2(T + \Delta - 1)$: one pass starts in every two units of time.

    Example:
        >>> bound = delayed_gradients(lipschitz=1.0, radius=1.0, epsilon=0.1, depth=3)
        >>> bound.iterations, bound.lr, bound.time
        (500, 0.02, 1004.0)
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    ratio, delays = lipschitz * radius / epsilon, 2 * depth - 1
    wanted = delays * ratio * ratio
    iterations = max(1, whole("iterations", wanted, lipschitz=lipschitz, epsilon=epsilon))
    step = radius / lipschitz / math.sqrt(iterations) / math.sqrt(delays)
    return Bound(
        time=finite("time", 2.0 * iterations + 2.0 * (depth - 1), epsilon=epsilon, depth=depth),
        equation="Theorem 1",
        iterations=iterations,
        lr=finite("lr", step, lipschitz=lipschitz, radius=radius),
    )
