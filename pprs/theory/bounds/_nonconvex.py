r"""Lipschitz objectives without convexity: PPRS to small Goldstein gradients, Eq. (19) to (23)."""

from __future__ import annotations

import math

from pprs._arguments import counts, finite, non_negative, positive
from pprs.theory.bounds._noisy import lemma2
from pprs.theory.bounds._result import Bound
from pprs.theory.bounds._steps import Noise, chain_time, perturbations, whole


def tail(a: float, dimension: int) -> float:
    r"""$p_a = \mathbb{P}(\|X\| > a\sqrt d)$ for a standard Gaussian X, exactly.

    Args:
        a: at least 0.
        dimension: number $d \ge 1$ of coordinates.

    Example:
        >>> round(tail(1.5, dimension=16), 4)
        0.0029
    """
    from scipy.stats import chi2

    non_negative(a=a)
    counts(dimension=dimension)
    return float(chi2.sf(a * a * dimension, dimension))


def tail_bounds(a: float, dimension: int) -> tuple[float, float]:
    r"""The bounds on $p_a$ after Eq. (21), the sharper one first.

    Chernoff's $(a^2 e^{1-a^2})^{d/2}$, and $(2e)^{d/2} e^{-da^2/4}$. Above 1 they are given as 1.

    Args:
        a: at least 1.
        dimension: number $d \ge 1$ of coordinates.

    Example:
        >>> tail(1.5, 16) <= min(tail_bounds(1.5, 16))
        True
    """
    positive(a=a)
    if a < 1:
        raise ValueError(f"a must be at least 1, got {a!r}")
    counts(dimension=dimension)
    square = a * a
    chernoff = dimension / 2 * (2 * math.log(a) + 1 - square)
    simple = dimension / 2 * (math.log(2 * math.e) - square / 2)
    return math.exp(min(0.0, chernoff)), math.exp(min(0.0, simple))


def smoothed_gradient_bound(
    *,
    lipschitz: float,
    gap: float,
    sigma: float,
    samples: int,
    iterations: int,
    dimension: int,
    printed: bool = False,
) -> float:
    r"""Bound on $\min_{t<T} \mathbb{E}\|\nabla f^\gamma(\theta_t)\|^2$ for PPRS, Eq. (19).

    `lemma2` with $\beta = L/\gamma$, noise $L/\sqrt K$ and a gap of $D + \gamma L\sqrt d$:
    smoothing raises the start's value by at most $\gamma L\sqrt d$, and cannot lower the infimum.

    Args:
        printed: with $D + 2\gamma L\sqrt d$, as the source has it.

    Returns:
        The bound on the squared norm.

    Example:
        >>> round(
        ...     smoothed_gradient_bound(
        ...         lipschitz=1.0, gap=1.0, sigma=0.1, samples=100, iterations=1000, dimension=16
        ...     ),
        ...     4,
        ... )
        0.038
    """
    positive(lipschitz=lipschitz, sigma=sigma)
    non_negative(gap=gap)
    counts(samples=samples, dimension=dimension)
    return lemma2(
        smoothness=lipschitz / sigma,
        gap=gap + (2 if printed else 1) * sigma * lipschitz * math.sqrt(dimension),
        noise=lipschitz / math.sqrt(samples),
        iterations=iterations,
    )


def goldstein_norm(*, smoothed: float, lipschitz: float, probability: float) -> float:
    r"""Eq. (21), inverted: $\|v\| \le (\|\nabla f^\gamma\| + p_a L)/(1 - p_a)$.

    v, the mean of the gradients at perturbations within $a\sqrt d\gamma$, is a Goldstein
    subgradient of that radius.

    Args:
        smoothed: norm of the smoothed objective's gradient, at least 0.
        probability: $p_a$ of a longer perturbation, in [0, 1).

    Example:
        >>> goldstein_norm(smoothed=0.1, lipschitz=1.0, probability=0.5)
        1.2
    """
    non_negative(smoothed=smoothed, probability=probability)
    positive(lipschitz=lipschitz)
    if probability >= 1:
        raise ValueError(f"probability must be below 1, got {probability!r}")
    return (smoothed + probability * lipschitz) / (1 - probability)


def goldstein_bound(
    *,
    lipschitz: float,
    gap: float,
    sigma: float,
    samples: int,
    iterations: int,
    dimension: int,
    goldstein_radius: float,
) -> float:
    r"""Bound on $\min_{t<T} \mathbb{E}\|v_t\|$ for Goldstein subgradients $v_t$, Eq. (22).

    With the exact tail $p_a$ for $a = r/(\gamma\sqrt d)$.

    Raises:
        ValueError: for an argument out of its range, or an r so small that no perturbation is
            within it.

    Example:
        >>> round(
        ...     goldstein_bound(
        ...         lipschitz=1.0,
        ...         gap=1.0,
        ...         sigma=0.01,
        ...         samples=100,
        ...         iterations=100_000,
        ...         dimension=100,
        ...         goldstein_radius=0.2,
        ...     ),
        ...     3,
        ... )
        0.11
    """
    positive(goldstein_radius=goldstein_radius)
    squared = smoothed_gradient_bound(
        lipschitz=lipschitz,
        gap=gap,
        sigma=sigma,
        samples=samples,
        iterations=iterations,
        dimension=dimension,
    )
    return goldstein_norm(
        smoothed=math.sqrt(squared),
        lipschitz=lipschitz,
        probability=tail(goldstein_radius / sigma / math.sqrt(dimension), dimension),
    )


def pprs_nonconvex(
    *,
    lipschitz: float,
    gap: float,
    epsilon: float,
    goldstein_radius: float,
    dimension: int,
    depth: int,
    batch: int = 1,
    noise: Noise = "shared",
) -> Bound:
    r"""PPRS to a Goldstein gradient of norm $\varepsilon$, with the settings before Eq. (23).

    $\gamma = r/\sqrt{4\log(3L/\varepsilon) + 2d\log(2e)}$ makes $p_a \le \varepsilon/(3L)$, and
    $K = \lceil 18L^2/\varepsilon^2 \rceil$ and
    $T = \lceil 36L(D + 2\gamma L\sqrt d)/(\gamma\varepsilon^2) \rceil$ make the root in Eq. (22)
    at most $\varepsilon/3$. These give $2\varepsilon/(3 - \varepsilon/L)$, hence
    $\varepsilon \le L$. (`pprs_nonconvex_optimal` has the settings of least time.)

    Args:
        epsilon: norm $0 < \varepsilon \le L$ of the Goldstein gradient.
        noise: perturbations that the examples share, or each example's own; then
            $\lceil K/m \rceil$ of them do.

    Returns:
        The settings and their time, $2T(K + \Delta - 1)$ for one example.

    Example:
        >>> found = pprs_nonconvex(
        ...     lipschitz=1.0, gap=1.0, epsilon=0.1, goldstein_radius=1.0, dimension=16, depth=10
        ... )
        >>> found.samples, found.equation
        (1800, 'Eq. (23)')
    """
    positive(lipschitz=lipschitz, gap=gap, epsilon=epsilon, goldstein_radius=goldstein_radius)
    counts(dimension=dimension, depth=depth)
    check_precision(epsilon, lipschitz)
    ratio = lipschitz / epsilon
    logs = 4 * math.log(3 * ratio) + 2 * math.log(2 * math.e) * dimension
    sigma = goldstein_radius / math.sqrt(logs)
    lr = finite("lr", sigma / lipschitz, goldstein_radius=goldstein_radius, lipschitz=lipschitz)
    wanted = 36 * ratio * (gap / sigma / epsilon + 2 * ratio * math.sqrt(dimension))
    iterations = whole("iterations", wanted, lipschitz=lipschitz, gap=gap, epsilon=epsilon)
    samples, rows = perturbations(18 * ratio * ratio, batch, noise)
    time = chain_time(iterations, rows, depth)
    return Bound(time, "Eq. (23)", iterations, samples, sigma, lr)


def time_scale_23(
    *,
    lipschitz: float,
    gap: float,
    epsilon: float,
    goldstein_radius: float,
    dimension: int,
    depth: int,
    printed: bool = False,
) -> float:
    r"""What the O of Eq. (23) holds; the time of `pprs_nonconvex` is below 3700 times it.

    $$ \frac{L(D + rL)}{r\varepsilon^2} \Big(\frac{L^2}{\varepsilon^2} + \Delta\Big)
       \sqrt{d + \log\frac{L}{\varepsilon}}. $$

    The source has D for $D + rL$, and so loses the part $72L^2\sqrt d/\varepsilon^2$ of T that the
    smoothing adds: no constant makes up for it as $D \to 0$.

    Args:
        epsilon: norm $0 < \varepsilon \le L$ of the Goldstein gradient.

    Example:
        >>> round(
        ...     time_scale_23(
        ...         lipschitz=1.0,
        ...         gap=1.0,
        ...         epsilon=0.1,
        ...         goldstein_radius=1.0,
        ...         dimension=16,
        ...         depth=10,
        ...     )
        ... )
        94119
    """
    positive(lipschitz=lipschitz, gap=gap, epsilon=epsilon, goldstein_radius=goldstein_radius)
    counts(dimension=dimension, depth=depth)
    check_precision(epsilon, lipschitz)
    ratio = lipschitz / epsilon
    drop = gap / goldstein_radius if printed else gap / goldstein_radius + lipschitz
    steps = ratio * (drop / epsilon) * math.sqrt(dimension + math.log(ratio))
    return finite("time", steps * (ratio * ratio + depth), lipschitz=lipschitz, epsilon=epsilon)


def check_precision(epsilon: float, lipschitz: float) -> None:
    if epsilon > lipschitz:
        raise ValueError(
            f"epsilon must be at most lipschitz={lipschitz!r}, since every gradient is that short "
            f"anyway, got {epsilon!r}"
        )
