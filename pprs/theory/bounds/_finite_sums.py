"""Objectives that are the mean of m convex examples, each Lipschitz."""

from __future__ import annotations

import math

from pprs._arguments import counts, finite, positive
from pprs.theory.bounds._convex import convex_bound, fewer_than, subgradient
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._steps import Noise, perturbations


def finite_sum_gpipe(
    *, lipschitz: float, radius: float, epsilon: float, depth: int, batch: int
) -> Bound:
    r"""The subgradient method with the m examples in a pipeline: `subgradient`.

    Example:
        >>> finite_sum_gpipe(lipschitz=1.0, radius=1.0, epsilon=0.05, depth=10, batch=20).time
        23200.0
    """
    return subgradient(
        lipschitz=lipschitz, radius=radius, epsilon=epsilon, depth=depth, batch=batch
    )


def finite_sum_shared(
    *, lipschitz: float, radius: float, epsilon: float, dimension: int, depth: int, batch: int
) -> Bound:
    r"""PPRS whose K perturbations all examples share: $2T(Km + \Delta - 1)$.

    The settings are those of `pprs_convex`; a step passes $Km$ rows.

    Example:
        >>> finite_sum_shared(
        ...     lipschitz=1.0, radius=1.0, epsilon=0.05, dimension=100, depth=10, batch=20
        ... ).time
        207298.0
    """
    return convex_bound(
        lipschitz=lipschitz,
        radius=radius,
        epsilon=epsilon,
        dimension=dimension,
        depth=depth,
        batch=batch,
        noise="shared",
    )


def finite_sum_example(
    *, lipschitz: float, radius: float, epsilon: float, dimension: int, depth: int, batch: int
) -> Bound:
    r"""PPRS with perturbations of each example's own: $2T(nm + \Delta - 1)$.

    The mean of n independent perturbations of each of m examples is unbiased for the smoothed
    objective's gradient, with variance of at most $L^2/(nm)$. So
    $n = \lceil (T+1)/(m\sqrt d) \rceil$ does for Eq. (13), and a step passes $nm$ rows, fewer than
    $(T+1)/\sqrt d + m$.

    Example:
        >>> finite_sum_example(
        ...     lipschitz=1.0, radius=1.0, epsilon=0.05, dimension=100, depth=10, batch=20
        ... ).time
        21658.0
    """
    return convex_bound(
        lipschitz=lipschitz,
        radius=radius,
        epsilon=epsilon,
        dimension=dimension,
        depth=depth,
        batch=batch,
        noise="example",
    )


def time_bound_finite_sum(
    *,
    lipschitz: float,
    radius: float,
    epsilon: float,
    dimension: int,
    depth: int,
    batch: int,
    noise: Noise,
) -> float:
    r"""An upper bound on the time of `finite_sum_shared` and `finite_sum_example`.

    With noise of each example and $q = LR/\varepsilon$ it is

    $$ \tfrac{49}{2} q^2 + 7 q d^{-1/4} + 7 q d^{1/4} (m + \Delta - 1)
       \le \tfrac{49}{2} q^2 + 7 q d^{1/4} (m + \Delta). $$

    Shared noise multiplies the first two terms by m. Where $a = \frac72 q d^{1/4}$ is at most 8,
    $a + 1$ takes the place of a, as in `time_bound_14`.

    Args:
        noise: `"shared"` or `"example"`.

    Example:
        >>> options = dict(
        ...     lipschitz=1.0, radius=1.0, epsilon=0.05, dimension=100, depth=10, batch=20
        ... )
        >>> finite_sum_example(**options).time <= time_bound_finite_sum(
        ...     **options, noise="example"
        ... )
        True
    """
    positive(lipschitz=lipschitz, radius=radius, epsilon=epsilon)
    counts(dimension=dimension, depth=depth)
    steps, following = fewer_than(lipschitz, radius, epsilon, math.sqrt(dimension))
    # One perturbation of each example more than any variance asks for: the rounding.
    _, rounding = perturbations(1.0, batch, noise)
    rows = following / math.sqrt(dimension) * (batch if noise == "shared" else 1)
    time = 2 * steps * (rows + rounding + depth - 1)
    return finite("time", time, lipschitz=lipschitz, epsilon=epsilon, depth=depth, batch=batch)
