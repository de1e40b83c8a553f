"""Whole numbers of steps and perturbations, and the pipeline time they take."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from pprs._arguments import counts, finite

Noise: TypeAlias = Literal["shared", "example"]
"""Whether all examples share a perturbation, or each has its own."""


def whole(what: str, value: float, **inputs: float) -> int:
    """The smallest integer of at least `value`, or `ValueError` where that overflowed."""
    return math.ceil(finite(what, value, **inputs))


def chain_time(iterations: int, rows: int, depth: int) -> float:
    r"""Time of T steps of forward and backward passes of rows: $2T(rows + \Delta - 1)$."""
    try:
        return float(2 * iterations * (rows + depth - 1))
    except OverflowError:
        return finite("time", math.inf, iterations=iterations, rows=rows, depth=depth)


def perturbations(wanted: float, batch: int, noise: Noise) -> tuple[int, int]:
    r"""Perturbations of each example and rows of a step, for variance of at most $L^2$ / wanted.

    K perturbations that m examples share have variance $L^2/K$ and make $Km$ rows; n for each
    example of its own have $L^2/(nm)$ and make $nm$ rows.

    Raises:
        ValueError: for a batch below 1 or a noise of another name.
    """
    counts(batch=batch)
    if noise not in ("shared", "example"):
        raise ValueError(f'noise must be "shared" or "example", got {noise!r}')
    each = whole("samples", wanted if noise == "shared" else wanted / batch, wanted=wanted)
    return each, each * batch
