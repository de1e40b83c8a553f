"""What a run of `minimize` gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from pprs.optim._function import Tree


@dataclass(frozen=True)
class Step:
    r"""What a step did.

    Args:
        time: pipeline time at its end.
        smoothed: mean loss of the points whose gradients it took.
        loss: the function at its answer, $y_t$.
        sigma: standard deviation of the perturbations; 0 for methods without.
        lr: step size; `nan` for methods that have none of their own.
        samples: number K of perturbations; 1 for methods without.
    """

    time: float
    smoothed: float
    loss: float
    sigma: float
    lr: float
    samples: int


@dataclass(frozen=True)
class Minimum:
    r"""What `minimize` found.

    Args:
        x: the best answer, in the structure and the types of `x0`.
        fun: the function there.
        success: whether the target was reached; without one, whether all steps were taken.
        message: how it ended, in a sentence.
        nit: number of steps T.
        time: pipeline time.
        ngrad: number of gradients, K a step.
        bound: the most that `fun` is above the minimum: by `lower`, or by the theory where the
            function is said to be convex (for `pprs` in expectation); `None` where neither says it.
        history: what each step did.
    """

    x: Tree
    fun: float
    success: bool
    message: str
    nit: int
    time: float
    ngrad: int
    bound: float | None
    history: tuple[Step, ...] = field(repr=False)
