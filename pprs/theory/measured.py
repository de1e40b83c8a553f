"""PPRS whose sigma follows the bias that the smoothing is measured to have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pprs._arguments import counts, positive, real
from pprs.theory.bias import BiasGoal
from pprs.theory.bounds._sequence import next_lambda
from pprs.theory.methods import all_gradients, mean
from pprs.theory.objective import Array, Mask
from pprs.theory.oracle import Oracle
from pprs.theory.scale import ScaleSearch, pairs
from pprs.theory.vector import Rows, Vector, stacked

_STEP = 2.0  # in units of sigma / L
_DOWN, _UP = 0.85, 1.25  # the most that sigma changes by in a step
_FEWEST, _MOST = 4, 128


def samples_for(depth: int) -> int:
    r"""The number K of perturbations of a pipeline: half its depth $\Delta$, from 4 to 128.

    A step then takes about $3\Delta$ instead of the $2\Delta$ of one gradient. K is even: one whose
    mirror image is missing leaves noise in the mean, of which the pairs have much less.

    Example:
        >>> [samples_for(depth) for depth in (1, 50, 1000)]
        [4, 26, 128]
    """
    counts(depth=depth)
    return min(max(_FEWEST, 2 * math.ceil(depth / 4)), _MOST)


@dataclass(frozen=True)
class Answer(Vector):
    r"""An answer, with what led to it.

    Args:
        lr: step size $\eta$ of the step, shape `(1,)`, or `(B, 1)` for B starts.
        smoothed: mean of the objective at the perturbations, shaped so too.
        aside: where the lower bound was left aside by then (`BiasGoal`), `()` or shaped so too.
    """

    lr: Array = field(kw_only=True)
    smoothed: Array = field(kw_only=True)
    aside: Mask = field(kw_only=True)


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
    $\|x_0\|$ does, or 1 for a start at 0, from where the first passes search (`ScaleSearch`).

    Nothing is proved of it: `ProvedPPRS` is the form with a proof, and slower.

    Args:
        samples: number K of perturbations, at least 1; `samples_for` has one for a depth.
        epsilon: precision $\varepsilon > 0$, if known.
        radius: distance $R > 0$ of the start to a minimizer, if known.
        lower: a value that the objective is never below, if known.

    Example:
        >>> from pprs.theory import Clock, on_chain, run
        >>> f = on_chain(
        ...     lambda x, _: abs(x[..., 0]), lambda x, _: np.sign(x), dimension=1, depth=10
        ... )
        >>> method = MeasuredPPRS(samples=4, lower=0.0)
        >>> bool(run(method, Clock(f, start=np.ones(1)), iterations=50).values.min() < 0.05)
        True
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
        """See `Procedure`. Numbers of each of B starts have shape `(B, 1)`, else `(1,)`."""
        unknown = self.epsilon is None or self.radius is None
        goal = BiasGoal(self.epsilon, self.lower, searching=unknown)
        scale, steepest = self._scale(oracle)
        sigma, weight = scale * oracle.objective.dimension**-0.25, np.zeros_like(scale)
        lipschitz = _norm(steepest.value)
        answer = oracle.start
        point = answer + 0.0 * steepest  # from when the gradient there is known
        search = ScaleSearch(answer.value, on=self.radius is None and self.lower is None)
        begun = np.zeros(scale.shape, bool)
        while True:
            trials = search.rows(oracle, point, sigma)
            passed = _Pass.around(oracle, point, sigma, self.samples, trials)
            lipschitz = np.maximum(lipschitz, passed.steepest)
            lr = quotient(_STEP * sigma, lipschitz, 0.0)
            following = point - lr * passed.gradient
            jump = search.jump(following.value, sigma, passed.loss, passed.tried)
            step = following.value - point.value
            search.propose(point.value, sigma, step, lr, passed.loss, passed.drawn)
            following = replace(following, value=jump.point)
            change = following.value - answer.value
            uphill = jump.moved | (_dot(passed.gradient.value, change) > 0)
            after = next_lambda(weight)
            momentum = np.where(uphill, 0.0, np.maximum(0.0, (weight - 1) / after))
            weight = np.where(uphill, 1.0, after)
            point = (1 + momentum) * following - momentum * answer
            answer = following
            where = answer.value, answer.node, answer.ready
            yield Answer(*where, lr=lr, smoothed=passed.smoothed, aside=goal.aside)
            bias, kept = passed.smoothed - passed.loss, jump.moved | jump.searching
            wanted = quotient(goal.at(passed.loss, bias, ~begun), bias, _UP)
            sigma = np.where(kept, jump.sigma, sigma * np.clip(wanted, _DOWN, _UP))
            begun |= ~kept

    def _scale(self, oracle: Oracle) -> tuple[Array, Vector]:
        """What stands for R, and the gradient at the start, or 0 where none was taken."""
        start = oracle.start
        if self.radius is not None:
            return np.full_like(start.value[..., :1], self.radius), 0.0 * start
        length = _norm(start.value)
        length = np.where(length > 0, length, 1.0)
        if self.lower is None:
            return length, 0.0 * start
        gradient = mean(all_gradients(oracle, [start]))
        gap = oracle.losses([start])[0][..., None] - self.lower
        scale = quotient(gap, _norm(gradient.value), 0.0)
        return np.where(scale > 0, scale, length), gradient


@dataclass(frozen=True)
class _Pass:
    """What a step has evaluated; numbers have shape `(1,)`, or `(B, 1)`.

    Args:
        gradient: mean at the perturbations, held since all of the pass is there.
        steepest: longest gradient of the step.
        loss: at the point itself.
        smoothed: mean loss at the perturbations.
        tried: losses at other points, shape `(n, ..., 1)`.
        drawn: gradients at these, shape `(n, ..., d)`.
    """

    gradient: Vector
    steepest: Array
    loss: Array
    smoothed: Array
    tried: Array
    drawn: Array

    @classmethod
    def around(
        cls, oracle: Oracle, point: Vector, sigma: Array, samples: int, others: Array
    ) -> _Pass:
        """At a point, so many perturbations of it, and others."""
        own = samples + 1
        points = np.empty((own + len(others), *point.value.shape))
        points[0], points[own:] = point.value, others
        pairs(oracle, point, sigma, points[1:own])
        rows = Rows(points, point.node, point.ready)
        found, losses = all_gradients(oracle, rows), oracle.losses(rows)[..., None]
        examples = stacked(found).reshape(len(points), -1, *point.value.shape)
        return cls(
            Vector(examples[1:own].mean((0, 1)), point.node, max(each.ready for each in found)),
            _norm(examples[:own]).max((0, 1)),
            losses[0],
            losses[1:own].mean(0),
            losses[own:],
            examples[own:].mean(1),
        )


def _norm(vectors: Array) -> Array:
    """Lengths, in a last dimension of 1."""
    return np.sqrt(_dot(vectors, vectors))


def _dot(left: Array, right: Array) -> Array:
    product: Array = np.einsum("...i,...i", left, right, dtype=np.float64)
    return product[..., None]


def quotient(over: Array, under: Array, otherwise: float) -> Array:
    """Over / under where that is above 0, else what is given."""
    found: Array = np.divide(over, under, out=np.full_like(under, otherwise), where=~(under <= 0))
    return found
