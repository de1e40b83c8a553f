"""The accelerated smoothing method of Duchi, Bartlett and Wainwright (2012), by their rate."""

from __future__ import annotations

import math

import numpy as np

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._fewest import shortest
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._steps import chain_time
from pprs.theory.objective import Array


def randomized_smoothing(
    *,
    lipschitz: float,
    radius: float,
    epsilon: float,
    dimension: int,
    depth: int,
    batch: int = 1,
) -> Bound:
    r"""`RandomizedSmoothing` on a Lipschitz convex objective, with the K of least time.

    $\mathbb{E} f(x_T) - f(\theta^*) \le 10LRd^{1/4}/T + 5LR/\sqrt{TK}$ (their Corollary 2.3, whose
    constants are cited here and not proved again). The m examples share the perturbations.

    Returns:
        K, the smallest T for it and their time $2T(Km + \Delta - 1)$; sigma is that of the first
        step, $Rd^{-1/4}$. $T = 0$ for $\varepsilon \ge LR$.

    Example:
        >>> found = randomized_smoothing(
        ...     lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=16, depth=20
        ... )
        >>> found.time, found.samples
        (32934.0, 14)
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(dimension=dimension, depth=depth, batch=batch)
    ratio = lipschitz * radius / epsilon
    root = float(dimension) ** 0.25
    finite("iterations", ratio * ratio * (100 + root), lipschitz=lipschitz, epsilon=epsilon)

    def steps(samples: Array) -> Array:
        noise = 5 * ratio / np.sqrt(samples)
        least = ((noise + np.hypot(noise, math.sqrt(40 * ratio * root))) / 2) ** 2
        return np.asarray(np.ceil(least * (1 + 1e-12)))

    samples = shortest(steps, batch, depth) if ratio > 1 else 1
    iterations = int(steps(np.array([float(samples)]))[0]) if ratio > 1 else 0
    return Bound(
        time=chain_time(iterations, samples * batch, depth),
        equation="Duchi et al. (2012), Corollary 2.3",
        iterations=iterations,
        samples=samples,
        sigma=radius / root,
    )
