"""How many perturbations of each example make a run the shortest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pprs.theory.objective import Array

_ALL = 2_000  # up to here every number is tried


@np.errstate(over="ignore")  # to infinity, which is never the least
def shortest(steps: Callable[[Array], Array], batch: int, depth: int) -> int:
    r"""The n for which $T(n)(nm + \Delta - 1)$ is least; beyond 2,000 to within 1 %.

    Args:
        steps: T for numbers n of perturbations, shape `(i,)` to `(i,)`; falls as n grows.
        batch: number m of examples.
        depth: number $\Delta$ of nodes.
    """

    def best(tried: Array) -> int:
        return int(tried[np.argmin(steps(tried) * (tried * batch + (depth - 1)))])

    alone, ever = steps(np.array([1.0, 1e18]))
    # With more than these, not even the T of infinitely many makes up for the passes.
    most = max(1.0, min(alone * (batch + depth - 1) / ever / batch, 1e15))
    few = np.arange(1.0, min(most, _ALL) + 1)
    many = np.floor(np.geomspace(_ALL, most, 2_000)) if most > _ALL else few
    found = best(np.union1d(few, many))
    near = np.unique(np.floor(np.linspace(0.99 * found, 1.01 * found + 1, 2_000)))
    return best(np.maximum(near, 1.0))
