"""All bounds that there are for given constants, regime by regime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pprs._arguments import positive
from pprs.theory.bounds._beta_smooth import (
    accelerated,
    gradient_descent,
    gradient_descent_nonconvex,
)
from pprs.theory.bounds._convex import pprs_convex, subgradient
from pprs.theory.bounds._delayed import delayed_gradients
from pprs.theory.bounds._duchi import randomized_smoothing
from pprs.theory.bounds._finite_sums import (
    finite_sum_example,
    finite_sum_gpipe,
    finite_sum_shared,
)
from pprs.theory.bounds._lower import lower_nonsmooth, lower_smooth_convex, lower_smooth_nonconvex
from pprs.theory.bounds._nonconvex import pprs_nonconvex
from pprs.theory.bounds._nonconvex_optimal import pprs_nonconvex_optimal
from pprs.theory.bounds._optimal import pprs_optimal
from pprs.theory.bounds._result import Bound


@dataclass(frozen=True)
class RegimeBound:
    """A bound on the time of a method in a regime.

    Args:
        regime: what is assumed of the objective.
        method: whose time it is, `"linear-span"` for lower bounds.
        bound: what is known.

    Example:
        >>> best_unlike_pprs(
        ...     lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=16, depth=10, batch=1
        ... ).method
        'subgradient'
    """

    regime: str
    method: str
    bound: Bound


def all_bounds(*, width: float | None = None, **constants: float) -> list[RegimeBound]:
    r"""The bounds of every regime.

    Args:
        width: $W \le \sqrt d$ of the convex Lipschitz objective; without it $\sqrt d$ stands.
        constants: `epsilon`, `depth`, `dimension`, `batch`, `lipschitz`, `smoothness`,
            `radius`, `gap` and `goldstein_radius`, as the package says.

    Raises:
        ValueError: for a constant out of its range.

    Example:
        >>> rows = all_bounds(
        ...     smoothness=1.0,
        ...     lipschitz=1.0,
        ...     radius=1.0,
        ...     gap=1.0,
        ...     epsilon=0.1,
        ...     goldstein_radius=1.0,
        ...     dimension=16,
        ...     depth=10,
        ...     batch=1,
        ... )
        >>> len(rows), rows[0].regime, rows[0].method
        (13, 'convex, β-smooth', 'linear-span')
    """
    mean = "" if constants["batch"] == 1 else f" (m = {constants['batch']})"
    return [
        RegimeBound(regime + mean, method, bound)
        for regime, bounds in (
            ("convex, β-smooth", _smooth(constants)),
            ("non-convex, β-smooth", _smooth_nonconvex(constants)),
            ("convex, Lipschitz", _lipschitz(constants, width)),
            ("non-convex, Lipschitz", _nonconvex(constants)),
        )
        for method, bound in bounds
    ]


def _smooth(c: dict[str, Any]) -> Iterator[tuple[str, Bound]]:
    given = _chosen(c, "smoothness radius epsilon depth")
    yield "linear-span", lower_smooth_convex(**given)
    yield "gradient descent", gradient_descent(**given, batch=c["batch"])
    yield "AGD", accelerated(**given, batch=c["batch"])


def _smooth_nonconvex(c: dict[str, Any]) -> Iterator[tuple[str, Bound]]:
    given = _chosen(c, "smoothness gap epsilon depth")
    yield "linear-span", lower_smooth_nonconvex(**given)
    yield "gradient descent", gradient_descent_nonconvex(**given, batch=c["batch"])


def _lipschitz(c: dict[str, Any], width: float | None) -> Iterator[tuple[str, Bound]]:
    given = _chosen(c, "lipschitz radius epsilon depth")
    yield "linear-span", lower_nonsmooth(**given)
    yield from _unlike_pprs(c)
    given |= _chosen(c, "dimension")
    if c["batch"] == 1:
        yield "PPRS", pprs_convex(**given, width=width)
        yield "PPRS, least time", pprs_optimal(**given, width=width)
        return
    given |= _chosen(c, "batch")
    yield "PPRS, noise shared", finite_sum_shared(**given)
    yield "PPRS, noise per example", finite_sum_example(**given)
    least = pprs_optimal(**given, noise="example", width=width)
    yield "PPRS, noise per example, least time", least


def _unlike_pprs(c: dict[str, Any]) -> Iterator[tuple[str, Bound]]:
    """The other methods for a convex Lipschitz objective."""
    given = _chosen(c, "lipschitz radius epsilon depth")
    if c["batch"] == 1:
        yield "subgradient", subgradient(**given)
        yield "delayed gradients", delayed_gradients(**given)
    else:
        yield "GPipe", finite_sum_gpipe(**given, batch=c["batch"])
    given |= _chosen(c, "dimension batch")
    yield "randomized smoothing", randomized_smoothing(**given)


def best_unlike_pprs(**constants: float) -> RegimeBound:
    r"""The method other than PPRS that has the least bound for a convex Lipschitz objective.

    Args:
        constants: `epsilon`, `depth`, `dimension`, `batch`, `lipschitz` and `radius`, as the
            package says.

    Raises:
        ValueError: for a constant out of its range.

    Example:
        >>> found = best_unlike_pprs(
        ...     lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=16, depth=10, batch=1
        ... )
        >>> found.method, found.bound.time
        ('subgradient', 2000.0)
    """
    found = [RegimeBound("convex, Lipschitz", *row) for row in _unlike_pprs(constants)]
    return min(found, key=lambda row: row.bound.time)


def _nonconvex(c: dict[str, Any]) -> Iterator[tuple[str, Bound]]:
    given = _chosen(c, "lipschitz gap epsilon goldstein_radius dimension depth batch")
    if c["epsilon"] > c["lipschitz"] > 0:
        positive(gap=c["gap"], goldstein_radius=c["goldstein_radius"])
        yield "PPRS", Bound(0.0, "no gradient is longer than lipschitz, below epsilon", 0)
    elif c["batch"] == 1:
        yield "PPRS", pprs_nonconvex(**given)
        yield "PPRS, least time", pprs_nonconvex_optimal(**given)
    else:
        yield "PPRS, noise shared", pprs_nonconvex(**given, noise="shared")
        yield "PPRS, noise per example", pprs_nonconvex(**given, noise="example")
        least = pprs_nonconvex_optimal(**given, noise="example")
        yield "PPRS, noise per example, least time", least


def _chosen(constants: dict[str, Any], names: str) -> dict[str, Any]:
    return {name: constants[name] for name in names.split()}
