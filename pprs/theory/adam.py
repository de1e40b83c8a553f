"""Adam as a procedure of the pipeline model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pprs._arguments import positive
from pprs.theory.methods import all_gradients, mean
from pprs.theory.oracle import Oracle
from pprs.theory.vector import Vector

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # torch's defaults


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015), one gradient a step.

    Args:
        lr: step size, above 0.

    Example:
        >>> from pprs.theory import Clock, SmoothConvex, run
        >>> function = SmoothConvex(smoothness=1.0, radius=1.0, pairs=5)
        >>> run(Adam(lr=0.01), Clock(function.chain(10)), iterations=3).times
        array([20., 40., 60.])
    """

    lr: float = 0.001
    name: ClassVar[str] = "Adam"
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        positive(lr=self.lr)

    def iterates(self, oracle: Oracle) -> Iterator[Vector]:
        """See `Procedure`."""
        point = oracle.start
        first = second = np.zeros_like(point.value)
        decays = np.ones(2)
        while True:
            gradient = mean(all_gradients(oracle, [point]))
            decays *= _BETAS
            first = _BETAS[0] * first + (1 - _BETAS[0]) * gradient.value
            second = _BETAS[1] * second + (1 - _BETAS[1]) * gradient.value**2
            scale = np.sqrt(second / (1 - decays[1])) + _EPSILON
            direction = first / (1 - decays[0]) / scale
            point -= self.lr * Vector(direction, gradient.node, gradient.ready)
            yield point
