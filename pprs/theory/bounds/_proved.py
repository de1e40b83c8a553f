r"""PPRS whose sigma may follow a measurement, as long as it never rises: Theorem 7."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._fewest import shortest
from pprs.theory.bounds._optimal import SMOOTHNESS
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._sequence import lambdas
from pprs.theory.bounds._steps import chain_time
from pprs.theory.bounds._width import root_or_width
from pprs.theory.objective import Array

LEEWAY = 2.0  # how many times sigma may be below its largest
_DAMPING = math.sqrt(4 / 3)  # makes the two terms of the noise equal


def sigma_scale(radius: float, spread: float) -> float:
    r"""The $\rho$ of Theorem 7: sigma is at most $\rho/\lambda_t$. The spread is $\sqrt d$ or W."""
    return radius * math.sqrt(SMOOTHNESS * LEEWAY / 4 / spread)


def damping(lipschitz: float, radius: float, samples: int) -> float:
    r"""The $\zeta$ of Theorem 7: $e_t = \zeta \lambda_t^{3/2}$ shortens the steps for the noise."""
    return _DAMPING * lipschitz / radius / math.sqrt(samples)


def proved_gap(
    *,
    lipschitz: float,
    radius: float,
    dimension: int,
    samples: int,
    sigmas: Sequence[float] | Array,
    width: float | None = None,
) -> float:
    r"""Bound on $\mathbb{E} f(x_T) - f(\theta^*)$ for `ProvedPPRS`, by Theorem 7 of docs/theory.md.

    Where the sigmas depend on what was measured, its expectation is the bound.

    Args:
        sigmas: $\sigma_1 \ge \dots \ge \sigma_{T+1} > 0$, the last one for the step after.
        width: W, above 0; $\sqrt d$ by default.

    Example:
        >>> sigmas = [0.4 / (t + 1) for t in range(101)]
        >>> round(proved_gap(lipschitz=1, radius=1, dimension=4, samples=50, sigmas=sigmas), 4)
        0.0774
    """
    positive(lipschitz=lipschitz, radius=radius)
    counts(samples=samples)
    spread, given = root_or_width(dimension, width), np.asarray(sigmas, dtype=np.float64)
    if given.ndim != 1 or len(given) < 2 or not (given > 0).all() or (np.diff(given) > 0).any():
        raise ValueError("sigmas must be two or more numbers above 0 that never rise")
    terms = lambdas(len(given))[1:]
    damped = damping(lipschitz, radius, samples) * terms**1.5
    start = (SMOOTHNESS * lipschitz / given[-1] + damped[-1]) * radius * radius / 2
    bias = lipschitz * spread * float(terms[:-1] @ given[:-1])
    noise = lipschitz * lipschitz / 2 / samples * float(np.sum(terms[:-1] ** 2 / damped[:-1]))
    return finite("gap", float(start + bias + noise) / float(terms[-2]) ** 2, radius=radius)


def worst_sigmas(*, radius: float, dimension: int, iterations: int, width: float | None) -> Array:
    r"""Of all that `ProvedPPRS` may measure, what makes `proved_gap` largest, shape `(T + 1,)`."""
    sigmas = sigma_scale(radius, root_or_width(dimension, width)) / lambdas(iterations + 1)[1:]
    sigmas[-1] /= LEEWAY
    return sigmas


def pprs_proved(
    *,
    lipschitz: float,
    radius: float,
    epsilon: float,
    dimension: int,
    depth: int,
    width: float | None = None,
    samples: int | None = None,
) -> Bound:
    r"""`ProvedPPRS` on a Lipschitz convex objective, whatever it measures.

    Within its leeway the gap of Theorem 7 is largest where every sigma but the last is
    $\rho/\lambda_t$ and the last half of that. With the sums bounded by integrals (docs/theory.md)
    it is in units of LR at most

    $$ \frac{s(\lambda + \frac58)}{r\lambda^2} + \frac{(2\lambda - 1) r W}{\lambda^2}
       + \frac{z(\lambda + \frac58)^{3/2} + (\frac43 \lambda^{3/2} + \sqrt\lambda)/z}
              {2\sqrt K \lambda^2} $$

    for $\lambda = \lambda_T$, $s = \sqrt{2/\pi}$, $r = \rho/R = \sqrt{s/(2W)}$ and
    $z = \sqrt{4/3}$, and falls as $\lambda$ grows.

    Args:
        width: W, above 0; $\sqrt d$ by default.
        samples: K; by default that of least time.

    Returns:
        T, K, and the time $2T(K + 1 + \Delta - 1)$ with the pass that measures; sigma is the first
        one, $\rho$, and lr the first step. $T = 0$ for $\varepsilon \ge LR$.

    Example:
        >>> found = pprs_proved(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=16, depth=20)
        >>> found.time, found.samples
        (10024.0, 8)
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    spread, ratio = root_or_width(dimension, width), lipschitz * radius / epsilon
    finite("iterations", ratio * ratio * (4 + spread), lipschitz=lipschitz, epsilon=epsilon)

    def steps(tried: Array) -> Array:
        # From the T-th term on, which is at least (T + 1) / 2.
        return np.ceil(2 * _least(ratio, spread, tried)) - 1

    if samples is None:
        samples = shortest(steps, 1, depth + 1) if ratio > 1 else 1
    counts(samples=samples)
    iterations = int(steps(np.array([float(samples)]))[0]) if ratio > 1 else 0
    sigma = sigma_scale(radius, spread)
    step = 1 / (SMOOTHNESS * lipschitz / sigma + damping(lipschitz, radius, samples))
    return Bound(
        time=chain_time(iterations, samples + 1, depth),
        equation="Theorem 7",
        iterations=iterations,
        samples=samples,
        sigma=sigma,
        lr=finite("lr", step, lipschitz=lipschitz, radius=radius),
    )


def _least(ratio: float, spread: float, samples: Array) -> Array:
    r"""A $\lambda$ that is enough for the precision, for numbers of samples, by bisection."""
    scale = sigma_scale(1.0, spread)
    low, high = np.zeros_like(samples), np.full_like(samples, 60.0)  # logarithms
    for _ in range(70):
        middle = (low + high) / 2
        enough = ratio * _unit_gap(np.exp(middle), scale, spread, samples) <= 1
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(np.exp(high))


def _unit_gap(terms: Array, scale: float, spread: float, samples: Array) -> Array:
    after = terms + 5 / 8  # at least the next term
    start = SMOOTHNESS * LEEWAY * after / (2 * scale)
    bias = spread * scale * (2 * terms - 1)
    noise = _DAMPING * after**1.5 + (4 / 3 * terms**1.5 + np.sqrt(terms)) / _DAMPING
    return np.asarray((start + bias + noise / (2 * np.sqrt(samples))) / terms**2)
