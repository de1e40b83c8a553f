"""Lipschitz convex objectives: PPRS, Eq. (12) to (14), and the subgradient method."""

from __future__ import annotations

import math

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._noisy import lemma1
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._steps import Noise, chain_time, perturbations, whole
from pprs.theory.bounds._width import root_or_width

# From here on the form of Lemma 1 that is proved gives the 7/2 of Eq. (13).
_PROVED = 8


def subgradient(
    *, lipschitz: float, radius: float, epsilon: float, depth: int, batch: int = 1
) -> Bound:
    r"""The subgradient method with constant step $R/(L\sqrt T)$, m examples in a pipeline.

    $f - f(\theta^*) \le LR/\sqrt T$ at the best, and at the mean, of the T points where a
    subgradient is taken (Bubeck, 2015, Theorem 3.2).

    Returns:
        $T = \lceil (LR/\varepsilon)^2 \rceil$ and its time $2T(m + \Delta - 1)$.

    Example:
        >>> subgradient(lipschitz=1.0, radius=1.0, epsilon=0.1, depth=10).time
        2000.0
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth, batch=batch)
    ratio = lipschitz * radius / epsilon
    iterations = max(1, whole("iterations", ratio * ratio, lipschitz=lipschitz, epsilon=epsilon))
    return Bound(
        time=chain_time(iterations, batch, depth),
        equation="Bubeck (2015), Theorem 3.2",
        iterations=iterations,
        lr=finite("lr", radius / lipschitz / math.sqrt(iterations), lipschitz=lipschitz),
    )


def pprs_gap(
    *,
    lipschitz: float,
    radius: float,
    dimension: int,
    iterations: int,
    sigma: float,
    samples: int,
    width: float | None = None,
    printed: bool = False,
) -> float:
    r"""Bound on $\mathbb{E} f(\theta_T) - f(\theta^*)$ for PPRS on a convex objective, Eq. (12).

    `lemma1` with $\beta = L/\gamma$ and noise $L/\sqrt K$, and $L\gamma\sqrt d$ for the
    smoothing. The minimizer $\theta^*$ of f need not be one of the smoothed objective, so this
    takes the lemma for any point x.

    Args:
        width: W, above 0, which takes the place of $\sqrt d$ (Theorem 2 of docs/theory.md).
        printed: with Eq. (11) for Lemma 1, as the source has it.

    Example:
        >>> round(
        ...     pprs_gap(
        ...         lipschitz=1.0,
        ...         radius=1.0,
        ...         dimension=16,
        ...         iterations=100,
        ...         sigma=0.005,
        ...         samples=26,
        ...     ),
        ...     4,
        ... )
        0.0651
    """
    positive(lipschitz=lipschitz, radius=radius, sigma=sigma)
    counts(iterations=iterations, samples=samples)
    smoothed = lemma1(
        smoothness=lipschitz / sigma,
        radius=radius,
        noise=lipschitz / math.sqrt(samples),
        step=iterations,
        printed=printed,
    )
    return smoothed + lipschitz * sigma * root_or_width(dimension, width)


def pprs_convex(
    *,
    lipschitz: float,
    radius: float,
    epsilon: float,
    dimension: int,
    depth: int,
    width: float | None = None,
) -> Bound:
    r"""PPRS on a Lipschitz convex objective, with the settings of Eq. (13).

    $\gamma = Rd^{-1/4}/(T+1)$ and $K = \lceil (T+1)/\sqrt d \rceil$ turn Eq. (12) into
    $\frac72 LRd^{1/4}/(T+1)$. With the form of `lemma1` that is proved, this holds for
    $T \ge 8$; before that, the T here is at most one larger than with the printed one.
    (`pprs_optimal` has the settings of least time.)

    Args:
        width: W, above 0, which takes the place of $\sqrt d$: $\gamma = R/(\sqrt W(T+1))$ and
            $K = \lceil (T+1)/W \rceil$.

    Returns:
        The smallest such T and its time $2T(K + \Delta - 1)$; $T = 0$ for
        $\varepsilon \ge LR$, which the start fulfils.

    Example:
        >>> bound = pprs_convex(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=16, depth=20)
        >>> bound.iterations, bound.samples, bound.time
        (69, 18, 5106.0)
    """
    return convex_bound(
        lipschitz=lipschitz,
        radius=radius,
        epsilon=epsilon,
        dimension=dimension,
        depth=depth,
        batch=1,
        noise="shared",
        width=width,
    )


def time_bound_14(
    *,
    lipschitz: float,
    radius: float,
    epsilon: float,
    dimension: int,
    depth: int,
    width: float | None = None,
    printed: bool = False,
) -> float:
    r"""The right side of Eq. (14), an upper bound on the time of `pprs_convex`.

    With $a = \frac72 \frac{LR}{\varepsilon} d^{1/4}$, $T < a$ and $T + 1 < a + 1$, the time is
    below $2a(a+1)/\sqrt d + 2a\Delta$:

    $$ \frac{49}{2} \Big(\frac{LR}{\varepsilon}\Big)^2 + \frac{7LR}{\varepsilon} d^{-1/4}
       + \frac{7LR}{\varepsilon} \Delta d^{1/4}. $$

    The source leaves out the term in the middle, as if $T(T+1)$ were at most $a^2$. For
    $a \le 8$, where one more step may be needed, $a + 1$ takes the place of a.

    Args:
        width: W, above 0, which takes the place of $\sqrt d$.

    Example:
        >>> options = dict(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=16, depth=20)
        >>> pprs_convex(**options).time <= time_bound_14(**options)
        True
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    spread = root_or_width(dimension, width)
    steps, following = fewer_than(lipschitz, radius, epsilon, spread)
    if printed:
        steps = following = 3.5 * lipschitz * radius / epsilon * math.sqrt(spread)
    time = 2 * steps * (following / spread + depth)
    return finite("time", time, lipschitz=lipschitz, radius=radius, epsilon=epsilon, depth=depth)


def convex_bound(
    *,
    lipschitz: float,
    radius: float,
    epsilon: float,
    dimension: int,
    depth: int,
    batch: int,
    noise: Noise,
    width: float | None = None,
) -> Bound:
    """PPRS for the mean of m convex examples, with shared noise or each example's own."""
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    spread = root_or_width(dimension, width)
    iterations = _iterations(lipschitz, radius, epsilon, spread)
    samples, rows = perturbations((iterations + 1) / spread, batch, noise)
    sigma = radius / math.sqrt(spread) / (iterations + 1)
    return Bound(
        time=chain_time(iterations, rows, depth),
        equation="Eq. (14)" if batch == 1 else f"Eq. (14), noise={noise!r}",
        iterations=iterations,
        samples=samples,
        sigma=sigma,
        lr=finite("lr", sigma / lipschitz, radius=radius, lipschitz=lipschitz),
        momentum="nesterov",
    )


def _iterations(lipschitz: float, radius: float, epsilon: float, spread: float) -> int:
    if epsilon >= lipschitz * radius:
        return 0
    scale = lipschitz * radius * math.sqrt(spread)
    wanted = 3.5 * scale / epsilon
    iterations = max(1, whole("iterations", wanted, lipschitz=lipschitz, epsilon=epsilon) - 1)
    while iterations < _PROVED and scale * _unit_gap(iterations) > epsilon:
        iterations += 1
    return iterations


def _unit_gap(iterations: int) -> float:
    r"""Eq. (12) in units of $LR\sqrt W$, before K is rounded up."""
    return pprs_gap(
        lipschitz=1.0,
        radius=1.0,
        dimension=1,
        iterations=iterations,
        sigma=1 / (iterations + 1),
        samples=iterations + 1,
    )


def fewer_than(
    lipschitz: float, radius: float, epsilon: float, spread: float
) -> tuple[float, float]:
    r"""Numbers that T and T + 1 of a convex bound do not exceed; the spread is $\sqrt d$ or W."""
    wanted = 3.5 * lipschitz * radius / epsilon * math.sqrt(spread)
    steps = wanted if wanted > _PROVED else wanted + 1
    return steps, steps + 1
