"""A bound with the settings that reach it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    r"""A bound on the pipeline time to a precision, and the settings that reach it.

    Args:
        time: pipeline time; one forward or one backward pass of one node takes 1.
        equation: where it comes from.
        iterations: number T of steps; `None` for lower bounds.
        samples: number K of perturbations in a step, of each example; `None` without smoothing.
        sigma: standard deviation $\gamma$ of the perturbations.
        lr: step size $\eta$.
        momentum: `"nesterov"` for the sequence of Lemma 1, a number, or `None` for none.
        dimension: of the function that proves a lower bound, which holds from there on.

    Example:
        >>> from pprs.theory.bounds import subgradient
        >>> found = subgradient(lipschitz=1.0, radius=1.0, epsilon=0.1, depth=10)
        >>> found.time, found.iterations, found.equation
        (2000.0, 100, 'Bubeck (2015), Theorem 3.2')
    """

    time: float
    equation: str
    iterations: int | None = None
    samples: int | None = None
    sigma: float | None = None
    lr: float | None = None
    momentum: float | str | None = None
    dimension: int | None = None
