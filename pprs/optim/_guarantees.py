"""What is proved of a method on a convex function."""

from __future__ import annotations

import math

from pprs.optim._known import Known
from pprs.theory.bounds import (
    gradient_descent_gap,
    lemma1,
    proved_gap,
    randomized_smoothing_gap,
    subgradient_gap,
)
from pprs.theory.bounds._proved import worst_sigmas
from pprs.theory.methods import (
    PPRS,
    Accelerated,
    GradientDescent,
    RandomizedSmoothing,
)
from pprs.theory.procedure import Procedure
from pprs.theory.proved import ProvedPPRS

_ROUNDING = 1 + 1e-12
_LONGEST = math.sqrt(math.pi / 2)  # steps in units of sigma / L: Theorem 2 of docs/theory.md


def gap_after(steps: int, method: Procedure, known: Known) -> float | None:
    """The most that the best of the answers is above the minimum of a convex function.

    Of random methods in expectation. `None` where nothing is proved of the method with its
    settings, or what the proof needs is not known.
    """
    if not steps or known.radius is None:
        return None
    if isinstance(method, RandomizedSmoothing):
        return randomized_smoothing_gap(
            lipschitz=method.lipschitz,
            radius=method.radius,
            dimension=known.dimension,
            iterations=steps,
            samples=method.samples,
        )
    if isinstance(method, PPRS | ProvedPPRS):
        return _smoothed(steps, method, known, known.radius)
    if isinstance(method, Accelerated):
        return _accelerated(steps, method, known, known.radius)
    if not isinstance(method, GradientDescent):
        return None
    return _descent(steps, method, known, known.radius)


def _proved(steps: int, method: ProvedPPRS, dimension: int) -> float:
    radius, width, lipschitz = method.radius, method.width, method.lipschitz
    gap = proved_gap(
        lipschitz=lipschitz,
        radius=radius,
        dimension=dimension,
        samples=method.samples,
        sigmas=worst_sigmas(radius=radius, dimension=dimension, iterations=steps, width=width),
        width=width,
    )
    return min(gap, lipschitz * radius)


def _smoothed(steps: int, method: PPRS | ProvedPPRS, known: Known, radius: float) -> float | None:
    if isinstance(method, ProvedPPRS):
        return _proved(steps, method, known.dimension)
    lipschitz = known.lipschitz
    if lipschitz is None or not method.sigma or method.momentum != "nesterov":
        return None
    if method.lr * lipschitz > _LONGEST * method.sigma * _ROUNDING:
        return None
    noise = lipschitz / math.sqrt(method.samples)
    gap = lemma1(smoothness=1 / method.lr, radius=radius, noise=noise, step=steps)
    return min(gap + lipschitz * method.sigma * math.sqrt(known.dimension), lipschitz * radius)


def _accelerated(steps: int, method: Accelerated, known: Known, radius: float) -> float | None:
    if not _short(method.lr, known) or method.momentum != "nesterov":
        return None
    return lemma1(smoothness=1 / method.lr, radius=radius, noise=0.0, step=steps)


def _descent(steps: int, method: GradientDescent, known: Known, radius: float) -> float | None:
    gaps = []
    if known.lipschitz is not None:
        given = {"lipschitz": known.lipschitz, "radius": radius}
        gaps.append(subgradient_gap(**given, iterations=steps, lr=method.lr))
    if _short(method.lr, known):  # whose smoothness is at most 1 / lr, too
        gaps.append(gradient_descent_gap(smoothness=1 / method.lr, radius=radius, iterations=steps))
    return min(gaps, default=None)


def _short(lr: float, known: Known) -> bool:
    return known.smoothness is not None and lr * known.smoothness <= _ROUNDING
