"""Settings of PPRS that are proved to reach a precision."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pprs.theory.bounds._nonconvex_optimal import pprs_nonconvex_optimal
from pprs.theory.bounds._optimal import pprs_optimal
from pprs.theory.bounds._regimes import RegimeBound, best_unlike_pprs
from pprs.theory.bounds._steps import Noise


@dataclass(frozen=True)
class PPRSSettings:
    r"""Settings of PPRS, and the pipeline time they take.

    Args:
        iterations: number T of steps; 0 where the start is good enough.
        samples: number of perturbations in a step, of each example.
        sigma: standard deviation $\gamma$ of the perturbations.
        lr: step size $\eta$.
        momentum: `"nesterov"` for convex objectives, 0 (gradient descent) for others.
        time: pipeline time; one forward or one backward pass of one node takes 1.
        equation: which bound proves it, an equation or a theorem of docs/theory.md.
        better: another method, where its guarantee takes less time.

    Example:
        >>> from pprs.theory import choose
        >>> found = choose(epsilon=0.1, dimension=16, depth=20, lipschitz=1.0, radius=1.0)
        >>> found.samples, found.time
        (8, 3726.0)
    """

    iterations: int
    samples: int
    sigma: float
    lr: float
    momentum: float | str
    time: float
    equation: str
    better: RegimeBound | None = None

    def __str__(self) -> str:
        settings = (
            f"{self.iterations} steps of {self.samples} samples, sigma={self.sigma:.3g}, "
            f"lr={self.lr:.3g}, momentum={self.momentum}: time {self.time:.4g}, by {self.equation}"
        )
        if self.better is None:
            return settings
        method, bound = self.better.method, self.better.bound
        return f"{settings}; {method} takes less, {bound.time:.4g}, by {bound.equation}"


def choose(
    *,
    epsilon: float,
    dimension: int,
    depth: int,
    lipschitz: float,
    radius: float | None = None,
    batch: int = 1,
    noise: Noise = "shared",
    convex: bool = True,
    gap: float | None = None,
    goldstein_radius: float | None = None,
    width: float | None = None,
) -> PPRSSettings:
    r"""Settings with which PPRS reaches a precision in expectation, and their time.

    For a convex objective the precision is $\mathbb{E} f(y_T) - f(\theta^*)$, and T, K and
    sigma are those of least time for the given depth, by Theorem 3 of docs/theory.md. Without
    convexity it is the norm of a Goldstein gradient at the best step, and they are by Theorem 6.

    Args:
        epsilon: precision $\varepsilon > 0$, at most `lipschitz` without convexity.
        dimension: number $d \ge 1$ of parameters.
        depth: number $\Delta$ of nodes of the chain, at least 1.
        lipschitz: constant $L > 0$ of the objective, of each example where there are several.
        radius: distance $R > 0$ of the start to a minimizer; convex objectives need it.
        batch: number m of examples whose mean is the objective.
        noise: `"shared"` for perturbations that all examples share, `"example"` for
            perturbations of each example's own.
        convex: whether the objective is convex.
        gap: $D > 0$, how far the start lies above the minimum; others need it.
        goldstein_radius: $r > 0$, how far from $\theta_t$ gradients count; others need it.
        width: Gaussian width $0 < W \le \sqrt d$ of the subgradients of a convex objective, from
            `bounds.sampled_width` or a closed form; $\sqrt d$ by default, which always holds.

    Raises:
        ValueError: for an argument that is absent or out of its range, a width without convexity,
            or a number of steps or a time that is no floating-point number.

    Example:
        >>> print(choose(epsilon=0.1, dimension=16, depth=20, lipschitz=1.0, radius=1.0))
        69 steps of 8 samples, sigma=0.0064, lr=0.00802, momentum=nesterov: time 3726, by Theorem 3
    """
    better = None
    if convex:
        given: dict[str, Any] = {
            "lipschitz": lipschitz,
            "radius": _given(convex, radius=radius),
            "epsilon": epsilon,
            "dimension": dimension,
            "depth": depth,
            "batch": batch,
        }
        bound = pprs_optimal(**given, noise=noise, width=width)
        other = best_unlike_pprs(**given)
        better = other if other.bound.time < bound.time else None
    elif width is not None:
        raise ValueError(f"width must be left out with convex=False, got {width!r}")
    else:
        bound = pprs_nonconvex_optimal(
            lipschitz=lipschitz,
            gap=_given(convex, gap=gap),
            epsilon=epsilon,
            goldstein_radius=_given(convex, goldstein_radius=goldstein_radius),
            dimension=dimension,
            depth=depth,
            batch=batch,
            noise=noise,
        )
    settings = asdict(bound) | {"momentum": bound.momentum or 0.0, "better": better}
    del settings["dimension"]  # of lower bounds
    return PPRSSettings(**settings)


def _given(convex: bool, **value: float | None) -> float:
    ((name, number),) = value.items()
    if number is None:
        raise ValueError(f"{name} must be a number above 0 with convex={convex}, got None")
    return number
