"""Cut a chain of layers into consecutive pieces."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise


def partition(costs: Sequence[float], stages: int) -> list[range]:
    """Cut a chain into ``stages`` consecutive, non-empty pieces whose largest cost is least.

    Args:
        costs: the cost of each layer, at least 0, any unit.
        stages: number of pieces, between 1 and ``len(costs)``.

    Returns:
        The layers of each piece, in order; they cover all layers.

    Raises:
        ValueError: if there are fewer layers than stages.

    Example:
        >>> partition([1, 1, 1, 3], stages=2)
        [range(0, 3), range(3, 4)]
    """
    layers = len(costs)
    if not 1 <= stages <= layers:
        raise ValueError(
            f"a network of {layers} layers can be cut into 1 to {layers} stages, got {stages}"
        )
    before = [0.0, *accumulate(costs)]
    # least[n]: over all cuts of the first n layers into the pieces so far, the least largest cost,
    # and where the pieces end.
    least = {n: (before[n], [0, n]) for n in range(1, layers + 1)}
    for pieces in range(2, stages + 1):
        least = {
            n: min(
                (max(least[cut][0], before[n] - before[cut]), [*least[cut][1], n])
                for cut in range(pieces - 1, n)
            )
            for n in range(pieces, layers + 1)
        }
    return [range(start, stop) for start, stop in pairwise(least[layers][1])]
