"""What failing devices make of a step's time."""

from __future__ import annotations

import math

import numpy as np

from pprs._arguments import positive


def failing(seconds: float, devices: int, mtbf: float, save: float, restart: float) -> float:
    r"""Seconds of a step where devices fail, with checkpoints as often as is best.

    Failures come at random, one of n devices every `mtbf / n` seconds. A run goes on from its last
    checkpoint, so that w seconds of work between two take
    $(\mathrm{MTBF}/n + r)(e^{n(w + c)/\mathrm{MTBF}} - 1)$ on average (Daly 2006).

    Args:
        seconds: of a step without failures.
        devices: n.
        mtbf: seconds between two failures of one device, on average.
        save: seconds c that a checkpoint takes.
        restart: seconds r to start again.

    Example:
        >>> round(failing(1.0, devices=1000, mtbf=3.6e6, save=10.0, restart=60.0), 3)
        1.096
    """
    positive(mtbf=mtbf)
    mean = mtbf / devices
    best = math.inf
    for work in np.geomspace(seconds, max(seconds, 20 * mean), 400):
        with np.errstate(over="ignore"):
            best = min(best, float((mean + restart) * np.expm1((work + save) / mean) / work))
    return seconds * best
