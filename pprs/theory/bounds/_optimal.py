r"""PPRS on Lipschitz convex objectives with the settings that make its proof's time least."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._fewest import shortest
from pprs.theory.bounds._noisy import lemma1
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._sequence import EXACT, lambdas
from pprs.theory.bounds._steps import Noise, chain_time, perturbations
from pprs.theory.bounds._width import root_or_width
from pprs.theory.objective import Array

# The gradient of f^γ is (√(2/π) L/γ)-Lipschitz: Theorem 2 of docs/theory.md.
SMOOTHNESS = math.sqrt(2 / math.pi)


def sharp_gap(
    *,
    lipschitz: float,
    radius: float,
    dimension: int,
    iterations: int,
    sigma: float,
    samples: int,
    width: float | None = None,
) -> float:
    r"""Bound on $\mathbb{E} f(\theta_T) - f(\theta^*)$ for PPRS with longer steps.

    Eq. (12) for steps of $\sqrt{\pi/2}\gamma/L$, by Theorem 2 of docs/theory.md: the
    smoothed objective is
    $\sqrt{2/\pi} L/\gamma$-smooth, not only $L/\gamma$, and it is at most $LW\gamma$ above f, for
    the Gaussian width $W \le \sqrt d$ of its subgradients.

    Args:
        samples: number of independent perturbations in a step, over all examples.
        width: W, above 0; $\sqrt d$ by default.

    Example:
        >>> from pprs.theory.bounds import pprs_gap
        >>> options = dict(lipschitz=1.0, radius=1.0, dimension=16, iterations=100, sigma=0.005)
        >>> sharp_gap(**options, samples=26) < pprs_gap(**options, samples=26)
        True
    """
    positive(lipschitz=lipschitz, radius=radius, sigma=sigma)
    counts(iterations=iterations, samples=samples)
    smoothing = lipschitz * sigma * root_or_width(dimension, width)
    return smoothing + lemma1(
        smoothness=SMOOTHNESS * lipschitz / sigma,
        radius=radius,
        noise=lipschitz / math.sqrt(samples),
        step=iterations,
    )


def pprs_optimal(
    *,
    lipschitz: float,
    radius: float,
    epsilon: float,
    dimension: int,
    depth: int,
    batch: int = 1,
    noise: Noise = "shared",
    width: float | None = None,
) -> Bound:
    r"""PPRS on a Lipschitz convex objective, with the T, K and $\gamma$ of least time.

    Theorem 3 of docs/theory.md: with $\lambda = \lambda_{T-1}$ and $s = \sqrt{2/\pi}$, and K
    independent perturbations in a step,

    $$ \gamma = \frac{sR}{\lambda\sqrt{2c}}, \quad \eta = \frac{\gamma}{sL}, \quad
       c = sW + \frac{8\lambda + 7}{12K} \quad\text{give}\quad
       \mathbb{E} f(\theta_T) - f(\theta^*) \le \frac{LR}{\lambda} \sqrt{2c}. $$

    For each K the smallest T that suffices follows; K is searched for the least
    $2T(K + \Delta - 1)$ (that of m examples: with shared noise Km rows, with noise of each example
    K is a multiple of m).

    Args:
        noise: `"shared"` or `"example"`.
        width: W, above 0; $\sqrt d$ by default.

    Returns:
        The settings and their time; $T = 0$ for $\varepsilon \ge LR$.

    Example:
        >>> bound = pprs_optimal(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=16, depth=20)
        >>> bound.iterations, bound.samples, bound.time
        (69, 8, 3726.0)
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(depth=depth)
    perturbations(1.0, batch, noise)  # which checks both
    smoothing = SMOOTHNESS * root_or_width(dimension, width)
    ratio = lipschitz * radius / epsilon
    finite("iterations", ratio * ratio * (4 + smoothing), lipschitz=lipschitz, epsilon=epsilon)
    own = batch if noise == "example" else 1  # independent perturbations for each passed one

    def steps(samples: Array) -> Array:
        return _steps(_least(ratio, smoothing, samples * own))

    samples = shortest(steps, batch, depth) if ratio > 1 else 1
    target = _least(ratio, smoothing, np.array([float(samples * own)]))
    iterations = int(_steps(target)[0]) if ratio > 1 else 0
    terms = _terms()  # beyond which the target stands for a lambda that is hardly larger
    reached = float(terms[max(1, iterations - 1)] if iterations <= EXACT else target[0])
    spread = smoothing + (8 * reached + 7) / (12 * samples * own)
    sigma = SMOOTHNESS * radius / (reached * math.sqrt(2 * spread))
    return Bound(
        time=chain_time(iterations, samples * batch, depth),
        equation="Theorem 3" if batch == 1 else f"Theorem 3, noise={noise!r}",
        iterations=iterations,
        samples=samples,
        sigma=sigma,
        lr=finite("lr", sigma / SMOOTHNESS / lipschitz, radius=radius, lipschitz=lipschitz),
        momentum="nesterov",
    )


def _least(ratio: float, smoothing: float, samples: Array) -> Array:
    r"""The $\lambda$ with $\lambda^2 = 2q^2(sW + (8\lambda + 7)/(12K))$, rounded up."""
    half = ratio * ratio * 2 / 3 / samples
    constant = 2 * ratio * ratio * (smoothing + 7 / 12 / samples)
    return np.asarray((half + np.hypot(half, np.sqrt(constant))) * (1 + 1e-12))


def _steps(target: Array) -> Array:
    r"""The first T with $\lambda_{T-1} \ge$ target, as `steps_until`, for many."""
    terms = _terms()
    beyond = EXACT + 1 + np.ceil(2 * np.maximum(target - terms[-1], 0.0))
    within = 1.0 + np.searchsorted(terms, target)
    first = np.where(target <= terms[-1], within, beyond)
    return np.where(target <= 1, 1.0, first)  # the first step has the law of the second


@cache
def _terms() -> Array:
    return lambdas(EXACT)
