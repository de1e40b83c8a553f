r"""Optimisation methods as procedures of the pipeline model.

Each is an object with a `name`, whether it is `random`, and `iterates(oracle)`, which yields
$y_1, y_2, \dots$ with the pipeline time at which the root holds them. The oracle is a
`Machine`, which runs and checks every step, or a `Clock`,
which is faster.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from pprs._arguments import counts, non_negative, positive
from pprs.theory.bounds._sequence import next_lambda
from pprs.theory.objective import Array
from pprs.theory.oracle import Oracle
from pprs.theory.vector import Vector, stacked

Momentum: TypeAlias = float | Literal["nesterov"]


@dataclass(frozen=True)
class GradientDescent:
    r"""$y_{t+1} = y_t - \eta \nabla f(y_t)$; with a subgradient, subgradient descent.

    On a finite sum the passes of the m examples follow each other: that is GPipe.

    Args:
        lr: step size $\eta > 0$.

    Example:
        >>> from pprs.theory import Clock, SmoothConvex, run
        >>> function = SmoothConvex(smoothness=1.0, radius=1.0, pairs=5)
        >>> found = run(GradientDescent(lr=1.0), Clock(function.chain(10)), iterations=100)
        >>> found.time_to(epsilon=0.01, minimum=function.minimum)
        100.0
    """

    lr: float
    name: ClassVar[str] = "gradient descent"
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive(lr=self.lr)

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """See `Procedure`."""
        point = oracle.start
        while True:
            point -= self.lr * self._gradient(oracle, point)
            yield point

    def _gradient(self, oracle: Oracle, point: Vector) -> Vector:
        return _mean_gradient(oracle, [point])


class SubgradientDescent(GradientDescent):
    """Gradient descent by another name, where the objective has subgradients only.

    Example:
        >>> from pprs.theory import Clock, on_chain, run
        >>> f = on_chain(lambda x, _: abs(x[..., 0]), lambda x, _: np.sign(x), dimension=1)
        >>> found = run(SubgradientDescent(lr=0.25), Clock(f, start=np.ones(1)), iterations=4)
        >>> float(found.values[-1])
        0.0
    """

    name: ClassVar[str] = "subgradient descent"


class GPipe(GradientDescent):
    """Gradient descent on a finite sum, whose examples follow each other through the pipeline.

    Example:
        >>> from pprs.theory import Clock, on_chain, run
        >>> f = on_chain(
        ...     lambda x, j: x[..., 0] * j,
        ...     lambda x, j: np.full_like(x, j),
        ...     1,
        ...     depth=4,
        ...     examples=3,
        ... )
        >>> run(GPipe(lr=0.1), Clock(f), iterations=2).times  # 2(m + depth - 1) a step
        array([12., 24.])
    """

    name: ClassVar[str] = "GPipe"


class Sequential(GradientDescent):
    """Gradient descent on a finite sum, one example at a time: a pass begins as the last ended.

    Example:
        >>> from pprs.theory import Clock, on_chain, run
        >>> f = on_chain(
        ...     lambda x, j: x[..., 0] * j,
        ...     lambda x, j: np.full_like(x, j),
        ...     1,
        ...     depth=4,
        ...     examples=3,
        ... )
        >>> run(Sequential(lr=0.1), Clock(f), iterations=2).times  # 2m times the depth
        array([24., 48.])
    """

    name: ClassVar[str] = "sequential"

    def _gradient(self, oracle: Oracle, point: Vector) -> Vector:
        examples = range(oracle.objective.examples)
        gradients: list[Vector] = []
        for example in examples:
            at = gradients[-1].ready if gradients else 0.0
            gradients += oracle.gradients([point], [example], at)
        return mean(gradients)


@dataclass(frozen=True)
class Accelerated:
    r"""Nesterov's method, one gradient a step: the naive pipelined AGD.

    Args:
        lr: step size $\eta > 0$.
        momentum: $\mu$ in $[0, 1]$, or `"nesterov"` for the sequence of Lemma 1.

    Example:
        >>> from pprs.theory import Clock, SmoothConvex, run
        >>> function = SmoothConvex(smoothness=1.0, radius=1.0, pairs=5)
        >>> found = run(Accelerated(lr=1.0), Clock(function.chain(10)), iterations=100)
        >>> found.time_to(epsilon=0.01, minimum=function.minimum)
        100.0
    """

    lr: float
    momentum: Momentum = "nesterov"
    name: ClassVar[str] = "AGD"
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        _check_momentum(self.momentum)

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """See `Procedure`."""
        point = answer = oracle.start
        for momentum in momenta(self.momentum):
            following = point - self.lr * self._gradient(oracle, point)
            point = (1 + momentum) * following - momentum * answer
            answer = following
            yield answer

    def _gradient(self, oracle: Oracle, point: Vector) -> Vector:
        return _mean_gradient(oracle, [point])


@dataclass(frozen=True)
class PPRS(Accelerated):
    r"""Algorithm 1: AGD with the mean of K gradients at perturbed points.

    Args:
        sigma: $\gamma \ge 0$, the perturbations' standard deviation.
        samples: number K of perturbations, at least 1.
        noise: `"shared"`: a perturbation is shared by all examples; `"example"`: each example
            has its own.

    Example:
        >>> import numpy as np
        >>> from pprs.theory import Clock, on_chain, run
        >>> f = on_chain(
        ...     lambda x, _: abs(x).max(-1),
        ...     lambda x, _: np.sign(x) * (abs(x) == abs(x).max(-1, keepdims=True)),
        ...     dimension=4,
        ...     depth=20,
        ... )
        >>> method = PPRS(lr=0.01, sigma=0.01, samples=8)
        >>> run(method, Clock(f, start=np.ones(4)), iterations=10).times[:2]
        array([ 54., 108.])
    """

    sigma: float = 0.0
    samples: int = 1
    noise: Literal["shared", "example"] = "shared"
    name: ClassVar[str] = "PPRS"
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        non_negative(sigma=self.sigma)
        counts(samples=self.samples)
        if self.noise not in {"shared", "example"}:
            raise ValueError(f"noise must be 'shared' or 'example', got {self.noise!r}")

    def _gradient(self, oracle: Oracle, point: Vector) -> Vector:
        examples = oracle.objective.examples
        if self.noise == "shared":
            return _mean_gradient(oracle, oracle.perturbed(point, self.sigma, self.samples))
        points = oracle.perturbed(point, self.sigma, self.samples * examples)
        return mean(oracle.gradients(points, list(range(examples)) * self.samples))


@dataclass(frozen=True)
class RandomizedSmoothing:
    r"""The accelerated method of Duchi, Bartlett and Wainwright (2012), unconstrained.

    From $\theta_0 = 1$, $\theta_{t+1} = 2 / (1 + \sqrt{1 + 4/\theta_t^2})$, with
    $y_t = (1 - \theta_t) x_t + \theta_t z_t$, it takes the mean $g_t$ of K gradients at $y_t + u
    \theta_t X_k$, and

    $$z_{t+1} = z_0 - \frac{\sum_{s \le t} g_s / \theta_s}{L_{t+1} + \eta_{t+1} / \theta_{t+1}},
    \qquad x_{t+1} = (1 - \theta_t) x_t + \theta_t z_{t+1},$$

    where $L_t = L / (u \theta_t)$, $\eta_t = L \sqrt{t + 1} / (R \sqrt{K})$ and $u = R d^{-1/4}$
    (their Corollary 2.3).

    Args:
        lipschitz: L > 0.
        radius: R > 0.
        samples: number K of perturbations.

    Example:
        >>> from pprs.theory import Clock, on_chain, run
        >>> f = on_chain(
        ...     lambda x, _: abs(x[..., 0]), lambda x, _: np.sign(x), dimension=1, depth=10
        ... )
        >>> method = RandomizedSmoothing(lipschitz=1.0, radius=1.0, samples=4)
        >>> run(method, Clock(f, start=np.ones(1)), iterations=2).times
        array([26., 52.])
    """

    lipschitz: float
    radius: float
    samples: int
    name: ClassVar[str] = "randomized smoothing"
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(lipschitz=self.lipschitz, radius=self.radius)
        counts(samples=self.samples)

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """See `Procedure`."""
        answer = mirror = oracle.start
        total = 0.0 * oracle.start
        scale = self.radius * oracle.objective.dimension**-0.25
        theta, t = 1.0, 0
        while True:
            point = (1 - theta) * answer + theta * mirror
            points = oracle.perturbed(point, scale * theta, self.samples)
            total += (1 / theta) * _mean_gradient(oracle, points)
            following, t = 2 / (1 + math.sqrt(1 + 4 / theta**2)), t + 1
            eta = self.lipschitz * math.sqrt((t + 1) / self.samples) / self.radius
            curvature = self.lipschitz / (scale * following) + eta / following
            mirror = oracle.start - (1 / curvature) * total
            answer = (1 - theta) * answer + theta * mirror
            theta = following
            yield answer


@dataclass(frozen=True)
class PipeDream:
    r"""Asynchronous descent with delayed gradients, as PipeDream's: the pipeline never drains.

    A pass starts every `period`, at the newest parameters; gradients are applied as they arrive.
    On a chain of unit nodes they are $\tau = \Delta - 1$ steps old; `bounds.delayed_gradients` has
    the step that is proved for convex functions.

    Args:
        lr: step size $\eta > 0$.
        period: between the starts of two passes: the longest forward plus backward time of a node.

    Example:
        >>> from pprs.theory import Clock, SmoothConvex, run
        >>> function = SmoothConvex(smoothness=1.0, radius=1.0, pairs=5)
        >>> run(PipeDream(lr=0.05), Clock(function.chain(10)), iterations=3).times  # one every 2
        array([20., 22., 24.])
    """

    lr: float
    period: float = 2.0
    name: ClassVar[str] = "PipeDream"
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive(lr=self.lr, period=self.period)

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """See `Procedure`."""
        point, under_way, passes = oracle.start, deque[Vector](), 0
        while True:
            example = passes % oracle.objective.examples
            under_way += oracle.gradients([point], [example], passes * self.period)
            passes += 1
            while under_way and under_way[0].ready <= passes * self.period:
                point -= self.lr * under_way.popleft()
                yield point


def momenta(momentum: Momentum) -> Iterator[float]:
    r"""$\mu_0, \mu_1, \dots$; for `"nesterov"`, $\mu_t = (\lambda_t - 1) / \lambda_{t+1}$."""
    weight = 0.0
    while True:
        after = next_lambda(weight)
        yield (weight - 1) / after if momentum == "nesterov" else float(momentum)
        weight = after


def _check_momentum(momentum: Momentum) -> None:
    if momentum != "nesterov" and not (isinstance(momentum, int | float) and 0 <= momentum <= 1):
        raise ValueError(f"momentum must be from 0 to 1, or 'nesterov', got {momentum!r}")


def all_gradients(oracle: Oracle, points: Sequence[Vector]) -> Sequence[Vector]:
    """The gradients of all m examples at each point, one point after the other."""
    examples = list(range(oracle.objective.examples))
    if len(examples) == 1:
        return oracle.gradients(points)
    repeated = [point for point in points for _ in examples]
    return oracle.gradients(repeated, examples * len(points))


def mean(vectors: Sequence[Vector]) -> Vector:
    """The mean of vectors of one node, held since the last of them."""
    value: Array = stacked(vectors).mean(axis=0, dtype=np.float64)
    return Vector(value, vectors[0].node, max(vector.ready for vector in vectors))


def _mean_gradient(oracle: Oracle, points: Sequence[Vector]) -> Vector:
    """The mean over points and examples: m passes for each point."""
    return mean(all_gradients(oracle, points))
