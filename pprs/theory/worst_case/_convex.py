"""The hardest β-smooth convex function: a path of springs, pulled at one end."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

import numpy as np

from pprs._arguments import counts, finite, positive
from pprs.theory.objective import Array
from pprs.theory.worst_case._split import Half, Split


@dataclass(frozen=True)
class SmoothConvex(Split):
    r"""Nesterov's function, Eq. (1), scaled so that its minimiser is R away from 0.

    $f(\theta) = \frac{\beta}{8} [\sum_{i=1}^{2k} (\theta_{i+1} - \theta_i)^2 + \theta_1^2 +
    \theta_{2k+1}^2 - 2c\theta_1]$, which is $c^2 f_1(\theta/c)$ for the $f_1$ of the source. It is
    convex and $\beta$-smooth, with $\nabla f(\theta) = \frac{\beta}{4} (M\theta - c e_1)$.

    Args:
        smoothness: $\beta$, above 0.
        radius: R, the norm of the minimiser, above 0.
        pairs: k, at least 0; the function depends on the first 2k + 1 coordinates.
        dimension: number d of coordinates, at least 2k + 1; by default (0) 2k + 1.

    Raises:
        ValueError: for an argument outside its range, or a minimum that overflows.

    Example:
        >>> f = SmoothConvex(smoothness=8.0, radius=0.5, pairs=0)
        >>> f.minimiser, f.minimum
        (array([0.5]), -0.5)
    """

    smoothness: float
    radius: float
    pairs: int
    dimension: int = 0

    def __post_init__(self) -> None:
        positive(smoothness=self.smoothness, radius=self.radius)
        _whole("pairs", self.pairs, 0)
        if self.dimension == 0:
            object.__setattr__(self, "dimension", self.coordinates)
        _whole("dimension", self.dimension, self.coordinates)
        finite("the minimum", self.minimum, smoothness=self.smoothness, radius=self.radius)

    @property
    def coordinates(self) -> int:
        """The 2k + 1 coordinates that the function depends on."""
        return 2 * self.pairs + 1

    @property
    def scale(self) -> float:
        r"""The factor c. With n = 2k + 1, the $f_1$ of the source has its minimiser at the norm
        $\sqrt{n (2n + 1) / (6 (n + 1))}$.
        """
        n = self.coordinates
        return self.radius / math.sqrt(n * (2 * n + 1) / (6 * (n + 1)))

    @property
    def minimiser(self) -> Array:
        r"""$\theta^*_i = c (1 - \frac{i}{2k+2})$ for $i \leq 2k + 1$, else 0; shape `(d,)`."""
        n = self.coordinates
        theta = np.zeros(self.dimension)
        theta[:n] = self.scale * (1 - np.arange(1, n + 1) / (n + 1))
        return theta

    @property
    def minimum(self) -> float:
        r"""$-\frac{\beta c^2}{8} (1 - \frac{1}{2k+2})$, Eq. (2)."""
        return self.restricted_minimum(self.coordinates)

    def restricted_minimum(self, found: int) -> float:
        r"""The least value with no coordinate non-zero but the first j, Eq. (4).

        It is $-\frac{\beta c^2}{8} (1 - \frac{1}{j+1})$.

        Args:
            found: number j of coordinates, from 1 to 2k + 1.
        """
        counts(found=found)
        if found > self.coordinates:
            raise ValueError(f"found must be at most {self.coordinates}, got {found!r}")
        return -self.smoothness * self.scale * self.scale / 8 * (1 - 1 / (found + 1))

    def _half(self, theta: Array, half: Half) -> Array:
        squares: Array = np.sum(self._stretch(theta)[..., half::2] ** 2, axis=-1)
        # θ_1² - 2cθ_1 is (θ_1 - c)² - c², and θ_1 is linked to c in the first half.
        return self.smoothness / 8 * (squares - (self.scale * self.scale if half == 0 else 0))

    def _half_gradient(self, theta: Array, half: Half) -> Array:
        stretch = self._stretch(theta)
        stretch[..., 1 - half :: 2] = 0
        gradient = np.zeros(theta.shape)
        gradient[..., : self.coordinates] = -self.smoothness / 4 * np.diff(stretch)
        return gradient

    def _stretch(self, theta: Array) -> Array:
        """The 2k + 2 differences of (c, θ_1, ..., θ_{2k+1}, 0): each half has every second."""
        path = np.zeros((*theta.shape[:-1], self.coordinates + 2))
        path[..., 0] = self.scale
        path[..., 1:-1] = theta[..., : self.coordinates]
        return np.diff(path)


def _whole(name: str, value: int, least: int) -> None:
    integral = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (integral and value >= least):
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
