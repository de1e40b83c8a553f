r"""The sequence $\lambda_t$ of Nesterov's method, which sets its momentum and its rate."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from pprs.theory.bounds._steps import whole
from pprs.theory.objective import Array

Number = TypeVar("Number", float, Array)

EXACT = 100_000  # terms that are computed; later ones grow by a little more than 1/2 each


def next_lambda(current: Number) -> Number:
    r"""The term after one: $\lambda_{t+1} = (1 + \sqrt{1 + 4\lambda_t^2})/2$."""
    root: Number = (1 + 4 * current * current) ** 0.5
    return (1 + root) / 2


def lambdas(count: int) -> Array:
    r"""$\lambda_0 = 0$ and count more terms."""
    terms = np.zeros(count + 1)
    current = 0.0
    for t in range(1, count + 1):
        current = next_lambda(current)
        terms[t] = current
    return terms


def steps_until(target: float) -> int:
    r"""A step $t \ge 2$ with $\lambda_{t-1} \ge$ target, the first one up to 100,000.

    Later ones follow from $\lambda_{t+1} \ge \lambda_t + 1/2$, and are at most $\log(t/10^5)/2 + 1$
    steps late.
    """
    current = 1.0
    for index in range(1, EXACT):
        if current >= target:
            return index + 1
        current = next_lambda(current)
    return EXACT + 1 + max(0, whole("iterations", 2 * (target - current), target=target))
