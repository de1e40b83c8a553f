"""How long passes through a pipeline take in the unit-time model."""

from __future__ import annotations


def pipeline_time(samples: int, depth: int) -> int:
    r"""Time of K forward and backward passes through a chain of $\Delta$ unit-time nodes.

    $2(K + \Delta - 1)$, as in Eq. (14): the passes follow each other one unit apart. (The line
    above that equation has a slip in the sign of $\Delta$; see ``docs/errata.md``.)

    Args:
        samples: number K of passes, at least 1.
        depth: number $\Delta$ of nodes, at least 1.

    Raises:
        ValueError: for numbers below 1.

    Example:
        >>> pipeline_time(samples=10, depth=20)
        58
    """
    if samples < 1 or depth < 1:
        raise ValueError(f"samples and depth must be at least 1, got {samples} and {depth}")
    return 2 * (samples + depth - 1)
