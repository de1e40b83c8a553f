"""PPRS whose sigma follows the measured bias and never rises: slower, and with a proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pprs._arguments import counts, positive, real
from pprs.theory.bias import BiasGoal
from pprs.theory.bounds._optimal import SMOOTHNESS
from pprs.theory.bounds._proved import LEEWAY, damping, sigma_scale
from pprs.theory.bounds._sequence import next_lambda
from pprs.theory.bounds._width import root_or_width
from pprs.theory.measured import Answer, quotient
from pprs.theory.methods import all_gradients, mean
from pprs.theory.oracle import Oracle
from pprs.theory.vector import Vector


@dataclass(frozen=True)
class ProvedPPRS:
    r"""PPRS in the form of dual averaging, with a sigma that is measured and never rises.

    With $\lambda_1 = 1, \lambda_2, \dots$ of Nesterov's sequence and $z_1 = x_0$, step t takes the
    mean $g_t$ of K gradients at $y_t + \sigma_t X_k$, and one gradient at $y_t$ more to measure,

    $$ y_t = \Big(1 - \frac1{\lambda_t}\Big) x_{t-1} + \frac1{\lambda_t} z_t, \quad
       z_{t+1} = x_0 - \frac{1}{A_{t+1}} \sum_{j \le t} \lambda_j g_j, \quad
       x_t = \Big(1 - \frac1{\lambda_t}\Big) x_{t-1} + \frac1{\lambda_t} z_{t+1}, $$

    with $A_t = \sqrt{2/\pi} L/\sigma_t + e_t$. So a step is $1/A_t$, at most
    $\sqrt{\pi/2} \sigma_t/L$; the noise of the K gradients takes the
    $e_t = \sqrt{4/3} L\lambda_t^{3/2}/(R\sqrt K)$. Sigma is multiplied by what brings
    $f^\sigma(y_t) - f(y_t)$ to its goal (`BiasGoal`) where that is below 1, but stays between half
    of $\rho/\lambda_t$ and all of it, $\rho = R\sqrt{\sqrt{2/\pi}/(2W)}$.

    Whatever it measures, `bounds.pprs_proved` has the time until $\varepsilon$ for a convex
    objective, and `bounds.proved_gap` what the sigmas of a run promise: Theorem 7 of
    docs/theory.md. (`MeasuredPPRS` is faster, and nothing is proved of it.)

    Args:
        lipschitz: constant $L > 0$.
        radius: distance $R > 0$ of the start to a minimizer.
        samples: number K of perturbations, at least 1.
        epsilon: precision $\varepsilon > 0$.
        lower: a value that the objective is never below, if known.
        width: Gaussian width W of the subgradients, above 0; $\sqrt d$ by default.

    Example:
        >>> from pprs.theory import Clock, on_chain, run
        >>> f = on_chain(
        ...     lambda x, _: abs(x[..., 0]), lambda x, _: np.sign(x), dimension=1, depth=10
        ... )
        >>> method = ProvedPPRS(lipschitz=1.0, radius=1.0, samples=4, epsilon=0.1)
        >>> bool(run(method, Clock(f, start=np.ones(1)), iterations=100).values[-1] < 0.1)
        True
    """

    lipschitz: float
    radius: float
    samples: int
    epsilon: float
    lower: float | None = None
    width: float | None = None
    name: ClassVar[str] = "PPRS, proved"
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(lipschitz=self.lipschitz, radius=self.radius, epsilon=self.epsilon)
        counts(samples=self.samples)
        if self.lower is not None:
            real(lower=self.lower)
        if self.width is not None:
            positive(width=self.width)

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """See `Procedure`. Numbers of each of B starts have shape `(B, 1)`, else `(1,)`."""
        goal = BiasGoal(self.epsilon, self.lower, searching=False)
        largest = sigma_scale(self.radius, root_or_width(oracle.objective.dimension, self.width))
        damped = damping(self.lipschitz, self.radius, self.samples)
        examples = oracle.objective.examples
        answer = mirror = oracle.start
        total, weight = 0.0 * oracle.start, 1.0
        sigma = np.full_like(answer.value[..., :1], largest)  # of each start
        while True:
            point = (1 - 1 / weight) * answer + (1 / weight) * mirror
            points = [point, *oracle.perturbed(point, sigma, self.samples)]
            gradients, losses = all_gradients(oracle, points), oracle.losses(points)[..., None]
            total += weight * mean(gradients[examples:])
            lr = 1 / (SMOOTHNESS * self.lipschitz / sigma + damped * weight**1.5)
            loss, smoothed = losses[0], losses[1:].mean(0)
            bias, after = smoothed - loss, next_lambda(weight)
            measured = sigma * np.clip(quotient(goal.at(loss, bias), bias, 1.0), 0.0, 1.0)
            most = largest / after
            sigma = np.clip(measured, most / LEEWAY, most)
            curvature = SMOOTHNESS * self.lipschitz / sigma + damped * after**1.5
            mirror = oracle.start - (1 / curvature) * total
            answer = (1 - 1 / weight) * answer + (1 / weight) * mirror
            weight = after
            where = answer.value, answer.node, answer.ready
            yield Answer(*where, lr=lr, smoothed=smoothed, aside=goal.aside)
