r"""Is the time of pipelined AGD proportional to $\Delta$, and how near is it to the lower bound?

On function (1), the hardest smooth convex one, with the theory's step size and momentum: nothing is
tuned and nothing drawn, so that one run for each depth tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pprs._arguments import positive
from pprs.theory.bounds import lower_smooth_convex
from pprs.theory.problems import beta_smooth_problem
from pprs.theory.sweep import sweep

DEPTHS = (1, 3, 10, 30, 100, 300, 1000)
_LIMIT = 100_000


class DepthResult(NamedTuple):
    r"""A measured time, and what no method beats.

    Args:
        depth: number $\Delta$ of nodes.
        time: pipeline time until AGD was within $\varepsilon$ of the minimum; infinite if it was
            not within 100,000 steps.
        bound: the lower bound on the time, Eq. (5) as printed, about half of what exact counts
            give.
    """

    depth: int
    time: float
    bound: float

    @property
    def ratio(self) -> float:
        """The time, in lower bounds."""
        return self.time / self.bound

    @property
    def steps(self) -> float:
        r"""How many AGD took, of $2 \Delta$ each: equal for two depths if and only if the time is
        proportional to them.
        """
        return self.time / (2 * self.depth)


def accelerated_times(depths: Sequence[int] = DEPTHS, ratio: float = 1e5) -> list[DepthResult]:
    r"""Times of AGD on function (1), next to the lower bound.

    Args:
        depths: numbers $\Delta$ of nodes, each at least 1.
        ratio: $\beta R^2/\varepsilon$, above 0.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> [(row.depth, row.time, round(row.ratio, 1)) for row in accelerated_times((1, 7), 1e3)]
        [(1, 40.0, 8.3), (7, 280.0, 10.0)]
    """
    positive(ratio=ratio)
    problem = beta_smooth_problem(ratio)
    times = sweep(
        problem.objective,
        problem.methods["agd"],
        depths,
        epsilon=problem.epsilon,
        minimum=problem.minimum,
        limit=_LIMIT,
    )
    return [DepthResult(depth, time, _lower(ratio, depth)) for depth, time in times]


def _lower(ratio: float, depth: int) -> float:
    """Eq. (5) as it is printed, which the study's record compares with."""
    return lower_smooth_convex(
        smoothness=1.0, radius=1.0, epsilon=1 / ratio, depth=depth, printed=True
    ).time
