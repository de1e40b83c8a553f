"""PPRS whose sigma follows the bias that the smoothing is measured to have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pprs._arguments import counts, positive, real
from pprs.theory.bias import BiasGoal
from pprs.theory.bounds._sequence import next_lambda
from pprs.theory.methods import all_gradients, mean
from pprs.theory.oracle import Oracle
from pprs.theory.vector import Vector

_STEP = 2.0  # in units of sigma / L
_DOWN, _UP = 0.85, 1.25  # the most that sigma changes by in a step
_FEWEST, _MOST = 4, 128


def samples_for(depth: int) -> int:
    r"""The number K of perturbations of a pipeline: half its depth $\Delta$, from 4 to 128.

    A step then takes about $3\Delta$ instead of the $2\Delta$ of one gradient.

    Example:
        >>> [samples_for(depth) for depth in (1, 50, 1000)]
        [4, 25, 128]
    """
    counts(depth=depth)
    return min(max(_FEWEST, math.ceil(depth / 2)), _MOST)


@dataclass(frozen=True)
class Answer(Vector):
    r"""An answer, with what led to it.

    Args:
        lr: step size $\eta$ of the step.
        smoothed: mean of the objective at the perturbations.
    """

    lr: float = 0.0
    smoothed: float = 0.0


@dataclass(frozen=True)
class MeasuredPPRS:
    r"""PPRS that measures the bias of its smoothing and sets $\sigma$ by it.

    A step takes K gradients at $x_t \pm \sigma X_k$, in pairs, and one at $x_t$ itself, which costs
    a pass more. The mean loss of the K less that at $x_t$ estimates what smoothing adds,
    $f^\sigma(x_t) - f(x_t)$. Sigma is multiplied by what brings that to its goal (`BiasGoal`), but
    by no less than 0.85 and no more than 1.25. The step size is $2\sigma/L$ with the largest norm
    of a gradient so far for L; the momentum is Nesterov's, and starts again where the step leads
    uphill ($\langle G_t, y_{t+1} - y_t \rangle > 0$; O'Donoghue and Candès, 2015).

    Sigma begins with $Rd^{-1/4}$. Without R, $(f(x_0) - \text{lower})/\|\nabla f(x_0)\|$ takes its
    place, which is at most R where f is convex and costs one gradient; without a lower bound
    $\|x_0\|$ does, or 1 for a start at 0.

    Nothing is proved of it: `ProvedPPRS` is the form with a proof, and slower.

    Args:
        samples: number K of perturbations, at least 1; `samples_for` has one for a depth.
        epsilon: precision $\varepsilon > 0$, if known.
        radius: distance $R > 0$ of the start to a minimizer, if known.
        lower: a value that the objective is never below, if known; 0 for most losses.
    """

    samples: int
    epsilon: float | None = None
    radius: float | None = None
    lower: float | None = None
    name: ClassVar[str] = "PPRS, measured"
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        counts(samples=self.samples)
        given = {"epsilon": self.epsilon, "radius": self.radius}
        positive(**{name: value for name, value in given.items() if value is not None})
        if self.lower is not None:
            real(lower=self.lower)

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """See `Procedure`."""
        unknown = self.epsilon is None or self.radius is None
        goal = BiasGoal(self.epsilon, self.lower, searching=unknown)
        scale, steepest = self._scale(oracle)
        sigma, weight = scale * oracle.objective.dimension**-0.25, 0.0
        lipschitz = float(np.linalg.norm(steepest.value))
        answer = oracle.start
        point = answer + 0.0 * steepest  # from when the gradient there is known
        while True:
            points = [point, *_pairs(oracle, point, sigma, self.samples)]
            gradients, losses = all_gradients(oracle, points), oracle.losses(points)
            gradient = mean(gradients[oracle.objective.examples :])
            norms = np.linalg.norm([each.value for each in gradients], axis=1)
            lipschitz = max(lipschitz, float(norms.max()))
            lr = _STEP * sigma / lipschitz if lipschitz else 0.0
            following = point - lr * gradient
            after = next_lambda(weight)
            momentum, weight = max(0.0, (weight - 1) / after), after
            if gradient.value @ (following.value - answer.value) > 0:
                momentum, weight = 0.0, 1.0
            point = (1 + momentum) * following - momentum * answer
            answer = following
            loss, smoothed = float(losses[0]), float(losses[1:].mean())
            yield Answer(answer.value, answer.node, answer.ready, lr=lr, smoothed=smoothed)
            bias, wanted = smoothed - loss, goal.at(loss, smoothed - loss)
            sigma *= min(max(wanted / bias, _DOWN), _UP) if bias > 0 else _UP

    def _scale(self, oracle: Oracle) -> tuple[float, Vector]:
        """What stands for R, and the gradient at the start, or 0 where none was taken."""
        start = oracle.start
        if self.radius is not None:
            return self.radius, 0.0 * start
        length = float(np.linalg.norm(start.value)) or 1.0
        if self.lower is None:
            return length, 0.0 * start
        gradient = mean(all_gradients(oracle, [start]))
        gap = float(oracle.losses([start])[0]) - self.lower
        norm = float(np.linalg.norm(gradient.value))
        return (gap / norm if norm and gap > 0 else length), gradient


def _pairs(oracle: Oracle, point: Vector, sigma: float, samples: int) -> list[Vector]:
    """Perturbations and their mirror images, as many as asked for."""
    drawn = oracle.perturbed(point, sigma, (samples + 1) // 2)
    return [*drawn, *(2.0 * point - each for each in drawn)][:samples]
