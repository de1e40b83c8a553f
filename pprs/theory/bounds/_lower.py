"""Lower bounds: the time that every black-box procedure needs on some objective."""

from __future__ import annotations

import math

from pprs._arguments import counts, finite, non_negative, positive
from pprs.theory.bounds._result import Bound

# Carmon et al. (2017), Lemma 3: their function of n coordinates falls by at most 12 n and is
# 152-smooth, and its gradient is longer than 1 while the last coordinate is 0.
_CARMON = 12 * 152


def coordinates(*, time: float, depth: int) -> tuple[int, float]:
    r"""How many coordinates of the worst-case functions can be non-zero, Eq. (3).

    Returns:
        The number $\lfloor (t-1)/(\Delta-1) \rfloor + 1$ ($\lfloor t \rfloor$ for one node), and
        the simpler $2(t-1)/\Delta + 1$, which is at least as large. Both are 0 for $t < 1$, where
        no backward pass has ended and Eq. (3) does not hold as printed.

    Raises:
        ValueError: for a negative time or a depth below 1.
    """
    non_negative(time=time)
    counts(depth=depth)
    if time < 1:
        return 0, 0.0
    exact = math.floor(time) if depth == 1 else math.floor((time - 1) / (depth - 1)) + 1
    return exact, 2 * (time - 1) / depth + 1


def gap_smooth_convex(*, smoothness: float, radius: float, time: float, depth: int) -> float:
    r"""The precision that no procedure beats at a time, $\beta$-smooth and convex, Eq. (5).

    $3\beta R^2 / (32 (k_t + 1)^2)$ with $k_t = 2(t-1)/\Delta + 1$, or 0 for $t < 1$.

    Returns:
        A lower bound on $f(\theta_t) - f(\theta^*)$ for some objective of high enough dimension.
    """
    positive(smoothness=smoothness, radius=radius)
    _, reached = coordinates(time=time, depth=depth)
    scaled = radius / (reached + 1)
    gap = 3 / 32 * smoothness * scaled * scaled
    return finite("gap", gap, smoothness=smoothness, radius=radius)


def lower_smooth_convex(*, smoothness: float, radius: float, epsilon: float, depth: int) -> Bound:
    r"""Time that every procedure needs for $\beta$-smooth convex objectives, from Eq. (5).

    The first t at which `gap_smooth_convex` is at most $\varepsilon$.

    Example:
        >>> round(lower_smooth_convex(smoothness=1.0, radius=1.0, epsilon=1e-4, depth=10).time)
        144
    """
    positive(smoothness=smoothness, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    wanted = radius * math.sqrt(3 / 32 * (smoothness / epsilon))  # of k_t + 1
    time = max(1.0, 1 + depth / 2 * (wanted - 2)) if wanted > 1 else 0.0
    finite("time", time, smoothness=smoothness, radius=radius, epsilon=epsilon, depth=depth)
    return Bound(time=time, equation="Eq. (5)")


def lower_smooth_nonconvex(
    *, smoothness: float, gap: float, epsilon: float, depth: int, printed: bool = False
) -> Bound:
    r"""Time that every procedure needs to a gradient of norm $\varepsilon$, Eq. (7).

    $1 + \Delta(n-1)/2$, with n the largest odd number of at most $\beta D/(c\varepsilon^2)$, and
    $c = 12 \cdot 152$ from Carmon et al. (2017). A function of n coordinates needs n whole
    coordinates, and Eq. (6) an odd number; Eq. (7) leaves the rounding out and so claims more.

    Args:
        epsilon: norm $\varepsilon > 0$ of the gradient.
        printed: Eq. (7) as the source has it, without rounding.

    Returns:
        The bound; its time is 0 where n would be below 1 and nothing can be said.
    """
    positive(smoothness=smoothness, gap=gap, epsilon=epsilon)
    counts(depth=depth)
    ratio = finite(
        "number of coordinates",
        smoothness * (gap / epsilon) / epsilon / _CARMON,
        smoothness=smoothness,
        gap=gap,
        epsilon=epsilon,
    )
    length = ratio if printed else 2 * math.floor((ratio - 1) / 2) + 1
    time = 1 + depth / 2 * (length - 1) if printed or length >= 1 else 0.0
    finite("time", time, smoothness=smoothness, gap=gap, epsilon=epsilon, depth=depth)
    return Bound(time=time, equation="Eq. (7)")


def gap_nonsmooth(*, lipschitz: float, radius: float, time: float, depth: int) -> float:
    r"""The precision that no procedure beats at a time, for Lipschitz convex objectives, Eq. (10).

    $\frac{RL}{36} \sqrt{(1 + t/\Delta)^{-2} + (1 + t)^{-1}}$.

    Returns:
        A lower bound on $f(\theta_t) - f(\theta^*)$ for some objective of high enough dimension.
    """
    positive(lipschitz=lipschitz, radius=radius)
    non_negative(time=time)
    counts(depth=depth)
    gap = lipschitz * radius / 36 * _decay(time, depth)
    return finite("gap", gap, lipschitz=lipschitz, radius=radius)


def lower_nonsmooth(*, lipschitz: float, radius: float, epsilon: float, depth: int) -> Bound:
    r"""Time that every procedure needs for Lipschitz convex objectives: Eq. (10), inverted.

    Example:
        >>> round(lower_nonsmooth(lipschitz=1.0, radius=1.0, epsilon=1e-3, depth=10).time)
        859
    """
    from scipy.optimize import brentq

    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    target = 36 * (epsilon / lipschitz) / radius
    if target >= math.sqrt(2):
        return Bound(time=0.0, equation="Eq. (10)")
    # Here the squares of both terms are below half of target**2.
    late = finite(
        "time",
        2 * max(1 / target / target, depth / target) + 1 if target else math.inf,
        lipschitz=lipschitz,
        radius=radius,
        epsilon=epsilon,
        depth=depth,
    )
    time = brentq(lambda t: math.log(_decay(t, depth) / target), 0.0, late, rtol=1e-14)
    return Bound(time=float(time), equation="Eq. (10)")


def _decay(time: float, depth: int) -> float:
    return math.hypot(1 / (1 + time / depth), 1 / math.sqrt(1 + time))
