"""Lower bounds: the time that every linear-span procedure needs on some objective.

Such a procedure combines what passes have returned linearly. The source's "any black-box procedure"
is that; PPRS, which draws vectors, is none. Every bound takes a dimension that grows with it.
"""

from __future__ import annotations

import math

import numpy as np

from pprs._arguments import counts, finite, non_negative, positive
from pprs.theory.bounds._result import Bound
from pprs.theory.objective import Array

# Carmon et al. (2017), Lemma 3: their function of n coordinates falls by at most 12 n and is
# 152-smooth, and its gradient is longer than 1 while the last coordinate is 0.
_CARMON = 12 * 152
_ABOVE = 1 + 1e-12  # 1, and what rounding may add


def coordinates(*, time: float, depth: int) -> tuple[int, float]:
    r"""How many coordinates of the worst-case functions can be non-zero, Eq. (3).

    Returns:
        The number $\lfloor (t-1)/(\Delta-1) \rfloor + 1$ ($\lfloor t \rfloor$ for one node), and
        the simpler $2(t-1)/\Delta + 1$, which is at least as large. Both are 0 for $t < 1$, where
        no backward pass has ended (as printed, the simpler one is below 0 there for $t < 1/2$ and
        one node).

    Raises:
        ValueError: for a negative time or a depth below 1.

    Example:
        >>> coordinates(time=100.0, depth=10)
        (12, 20.8)
    """
    non_negative(time=time)
    counts(depth=depth)
    if time < 1:
        return 0, 0.0
    exact = math.floor(time) if depth == 1 else math.floor((time - 1) / (depth - 1)) + 1
    return exact, 2 * (time - 1) / depth + 1


def exact_coordinates(*, time: float, depth: int, last_first: bool = False) -> int:
    r"""How many coordinates can be non-zero, counted pass by pass: Theorem 4 of docs/theory.md.

    From the first one, at time 1, on the two ends of the chain find one each in every
    $2\Delta - 1$ units of time: about half as many as Eq. (3) allows.

    Args:
        last_first: whether the last node finds the first coordinate, as for the path of Eq. (8);
            else the first node does, as for Eqs. (1) and (6).

    Example:
        >>> exact_coordinates(time=100.0, depth=10)
        11
    """
    non_negative(time=time)
    counts(depth=depth)
    if time < 1 or depth == 1:
        return math.floor(time)
    trips, rest = divmod(time - 1, 2 * depth - 1)
    return 1 + 2 * int(trips) + (rest >= depth - last_first)


def _first_time(coordinate: int, depth: int) -> float:
    """The first time at which so many can be non-zero, where the first node finds the first."""
    if coordinate < 1 or depth == 1:
        return float(coordinate)
    trips, one = divmod(coordinate - 1, 2)
    return 1.0 + float(trips) * (2 * depth - 1) + one * depth


def gap_smooth_convex(
    *, smoothness: float, radius: float, time: float, depth: int, printed: bool = False
) -> float:
    r"""The precision that no linear-span procedure beats, $\beta$-smooth and convex, Eq. (5).

    $\frac{3\beta R^2}{4(2i+1)(4i+3)}$ with the i coordinates of `exact_coordinates`, on Eq. (1)
    with $k = i$: no other k gives more (Theorem 4 of docs/theory.md).

    Args:
        printed: $3\beta R^2 / (32 (k_t + 1)^2)$ with $k_t = 2(t-1)/\Delta + 1$, or 0 for $t < 1$.

    Returns:
        A lower bound on $f(\theta_t) - f(\theta^*)$ for some objective of dimension
        $2i + 1$ or more.

    Example:
        >>> round(gap_smooth_convex(smoothness=1.0, radius=1.0, time=1000.0, depth=10), 6)
        8e-06
    """
    positive(smoothness=smoothness, radius=radius)
    _, reached = coordinates(time=time, depth=depth)
    if printed:
        share = 3 / 32 / (reached + 1) ** 2
    else:
        found = exact_coordinates(time=time, depth=depth)
        share = 3 / 4 / (2 * found + 1) / (4 * found + 3)
    return finite("gap", smoothness * radius * share * radius, smoothness=smoothness, radius=radius)


def lower_smooth_convex(
    *, smoothness: float, radius: float, epsilon: float, depth: int, printed: bool = False
) -> Bound:
    r"""Time that linear-span procedures need for $\beta$-smooth convex objectives, from Eq. (5).

    The first t at which `gap_smooth_convex` is at most $\varepsilon$.

    Args:
        printed: with Eq. (5) as the source has it.

    Example:
        >>> lower_smooth_convex(smoothness=1.0, radius=1.0, epsilon=1e-4, depth=10).time
        277.0
    """
    positive(smoothness=smoothness, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    given = {"smoothness": smoothness, "radius": radius, "epsilon": epsilon, "depth": depth}
    if printed:
        wanted = radius * math.sqrt(3 / 32 * (smoothness / epsilon))  # of k_t + 1
        time = max(1.0, 1 + depth / 2 * (wanted - 2)) if wanted > 1 else 0.0
        return Bound(time=finite("time", time, **given), equation="Eq. (5)")
    least = finite("time", 3 / 4 * (smoothness / epsilon) * radius * radius / _ABOVE, **given)
    # The coordinates i that leave a gap above ε have (2i + 1)(4i + 3) < least, and 8 times the left
    # side is (8i + 5)² - 1.
    found = (math.isqrt(8 * math.ceil(least) - 7) - 5) // 8
    time = _first_time(found + 1, depth)
    time = finite("time", time, **given)
    return Bound(time, "Eq. (5), Theorem 4", dimension=2 * max(found, 0) + 1)


def lower_smooth_nonconvex(
    *, smoothness: float, gap: float, epsilon: float, depth: int, printed: bool = False
) -> Bound:
    r"""Time that linear-span procedures need to a gradient of norm $\varepsilon$, Eq. (7).

    $1 + (2\Delta-1)(n-1)/2$ (n for one node), with n the largest odd number of at most
    $\beta D/(c\varepsilon^2)$, and $c = 12 \cdot 152$ from Carmon et al. (2017): the time of
    the n-th coordinate, Theorem 4 of docs/theory.md. It takes n whole coordinates,
    and Eq. (6) an odd number; Eq. (7) leaves the rounding out.

    Args:
        epsilon: norm $\varepsilon > 0$ of the gradient.
        printed: Eq. (7) as the source has it, $1 + \Delta(n-1)/2$ with n not rounded.

    Returns:
        The bound; its time is 0 where n would be below 1 and nothing can be said.

    Example:
        >>> lower_smooth_nonconvex(smoothness=1.0, gap=1.0, epsilon=0.01, depth=10).time
        39.0
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
    number = max(0, 2 * math.floor((ratio - 1) / 2) + 1)
    time = 1 + depth / 2 * (ratio - 1) if printed else _first_time(number, depth)
    finite("time", time, smoothness=smoothness, gap=gap, epsilon=epsilon, depth=depth)
    if printed:
        return Bound(time, "Eq. (7)")
    return Bound(time, "Eq. (7), Theorem 4", dimension=max(number, 1))


def gap_nonsmooth(
    *, lipschitz: float, radius: float, time: float, depth: int, printed: bool = False
) -> float:
    r"""The precision that no linear-span procedure beats, Lipschitz and convex, Eq. (10).

    The larger of two bounds of docs/theory.md, with $l = \lfloor t \rfloor + 1$. Theorem 8,
    on `LargestCoordinate`, knows no depth: $LR/\sqrt l$. Theorem 5, on functions like Eq. (8) with
    the constants that say most among those, says more of deep chains: with k the half of
    `exact_coordinates`, rounded up, and $x = (\gamma/\delta)^2$,

    $$ LR \max_{x \ge 0} \frac{\frac{x}{2k} + \frac1l}{2\sqrt S (G + \sqrt S)}, \quad
       S = \frac{(2k+1)x}{4k^2} + \frac1l, \quad
       G^2 = \Big(8k + 1 + \frac2k + \frac1{4k^2}\Big) x + 1. $$

    Args:
        printed: $\frac{RL}{36} \sqrt{(1 + t/\Delta)^{-2} + (1 + t)^{-1}}$, as the source has it.

    Returns:
        A lower bound on $f(\theta_t) - f(\theta^*)$ for some objective of dimension l or more, by
        Theorem 8, or $2k + 1 + l$ or more, by Theorem 5.

    Example:
        >>> round(gap_nonsmooth(lipschitz=1.0, radius=1.0, time=1000.0, depth=10), 4)
        0.0316
    """
    positive(lipschitz=lipschitz, radius=radius)
    non_negative(time=time)
    counts(depth=depth)
    if printed:
        share = _decay(time, depth) / 36
    else:
        share = max(1 / math.sqrt(math.floor(time) + 1), _path_decay(time, depth))
    return finite("gap", lipschitz * radius * share, lipschitz=lipschitz, radius=radius)


def lower_nonsmooth(
    *, lipschitz: float, radius: float, epsilon: float, depth: int, printed: bool = False
) -> Bound:
    r"""Time that linear-span procedures need for Lipschitz convex objectives: Eq. (10), inverted.

    Until the whole number n of units of time for which `gap_nonsmooth` first is at most
    $\varepsilon$, no such procedure is there. By Theorem 8 it is at least
    $\lceil(LR/\varepsilon)^2\rceil - 1$, whatever the depth.

    Args:
        printed: with Eq. (10) as the source has it.

    Example:
        >>> lower_nonsmooth(lipschitz=1.0, radius=1.0, epsilon=1e-3, depth=10).time
        999999.0
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    ratio = lipschitz / epsilon * radius
    finite("time", ratio * ratio + depth * ratio, lipschitz=lipschitz, epsilon=epsilon, depth=depth)
    if printed:
        return Bound(time=_first_below(36 / ratio, depth), equation="Eq. (10)")
    whole = max(0, math.ceil((ratio / _ABOVE) ** 2) - 1)
    if _path_decay(whole, depth) * ratio <= _ABOVE:
        return Bound(float(whole), "Theorem 8", dimension=max(whole, 1))
    low, high = whole, 2 * whole + 1  # Theorem 5 says more; ε is not reached at the time `low`
    while _path_decay(high, depth) * ratio > _ABOVE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _path_decay(middle, depth) * ratio > _ABOVE:
            low = middle
        else:
            high = middle
    dimension = 2 * _pairs(low, depth) + 2 + low
    return Bound(float(high), "Eq. (10), Theorem 5", dimension=dimension)


def _first_below(target: float, depth: int) -> float:
    from scipy.optimize import brentq

    if target >= math.sqrt(2):
        return 0.0
    # At this time the squares of both terms are below half of target**2.
    late = 2 * max(1 / target / target, depth / target) + 1
    return float(brentq(lambda t: math.log(_decay(t, depth) / target), 0.0, late, rtol=1e-14))


def _decay(time: float, depth: int) -> float:
    return math.hypot(1 / (1 + time / depth), 1 / math.sqrt(1 + time))


def _pairs(time: float, depth: int) -> int:
    """The k of Theorem 5."""
    found = exact_coordinates(time=time, depth=depth, last_first=True)
    return max(1, (found + 1) // 2)


def _path_decay(time: float, depth: int) -> float:
    """Theorem 5 in units of LR. Every x gives a bound, so that the search may end anywhere."""
    k, count = float(_pairs(time, depth)), math.floor(time) + 1.0
    steepest = 8 * k + 1 + 2 / k + 1 / (4 * k * k)

    def gap(x: Array) -> Array:
        square = (2 * k + 1) / (4 * k * k) * x + 1 / count
        root = np.sqrt(square)
        return np.asarray(
            (x / (2 * k) + 1 / count) / (2 * root * (np.sqrt(steepest * x + 1) + root))
        )

    best = 0.0  # as a logarithm, of x in units of k / count
    with np.errstate(over="ignore"):  # to infinity, where x is of no use
        for reach in (35.0, 1.0, 0.03):
            tried = best + np.linspace(-reach, reach, 71)
            best = float(tried[np.argmax(gap(np.exp(tried) * (k / count)))])
        return float(gap(np.array(math.exp(best) * (k / count))))
