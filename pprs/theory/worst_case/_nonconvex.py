"""The hardest β-smooth function to find a stationary point of: a staircase, seen step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pprs._arguments import finite, positive
from pprs.theory.objective import Array
from pprs.theory.worst_case._split import Half, Split

_SMOOTHNESS = 152.0
_GAP = 12.0
_TOP = math.sqrt(2 * math.pi * math.e)


@dataclass(frozen=True)
class SmoothNonconvex(Split):
    r"""The function of Carmon et al., Eq. (6), with no $\varepsilon$-stationary point in sight.

    $f(\theta) = \frac{\beta s^2}{152} f_T(\theta/s)$ with $s = 152 \varepsilon/\beta$, where
    $f_T(x) = -\Psi(1)\Phi(x_1) + \sum_{i=1}^{T-1} \Psi(-x_i)\Phi(-x_{i+1}) -
    \Psi(x_i)\Phi(x_{i+1})$, and T = 2k + 1 is the largest odd number that keeps
    $f(0) - \inf f \leq D$. It is $\beta$-smooth, and its gradient is longer than $\varepsilon$
    wherever a coordinate is 0. From Carmon, Duchi, Hinder, Sidford, Lower bounds for finding
    stationary points I, 2017, Section 3.2: $f_T(0) - \inf f_T \leq 12T$, $f_T$ is 152-smooth, and
    $\|\nabla f_T(x)\| > 1$ if some $|x_i| < 1$.

    Args:
        smoothness: $\beta$, above 0.
        gap: D, above 0.
        epsilon: $\varepsilon$, above 0 and at most $\sqrt{\beta D/1824}$.

    Raises:
        ValueError: for an argument outside its range.

    Example:
        >>> SmoothNonconvex(smoothness=1.0, gap=1.0, epsilon=0.01).coordinates
        5
    """

    smoothness: float
    gap: float
    epsilon: float

    def __post_init__(self) -> None:
        positive(smoothness=self.smoothness, gap=self.gap, epsilon=self.epsilon)
        given = {"smoothness": self.smoothness, "gap": self.gap, "epsilon": self.epsilon}
        finite("the number of coordinates", self._steps, **given)
        if self._steps < 1:
            largest = math.sqrt(self.smoothness) * math.sqrt(self.gap / (_GAP * _SMOOTHNESS))
            raise ValueError(
                f"epsilon must be at most {largest!r} for smoothness={self.smoothness!r} and "
                f"gap={self.gap!r}, got {self.epsilon!r}"
            )

    @property
    def coordinates(self) -> int:
        r"""T, the largest odd number of at most $\beta D/(12 \cdot 152\, \varepsilon^2)$."""
        return 2 * ((math.floor(self._steps) - 1) // 2) + 1

    @property
    def pairs(self) -> int:
        """The number k of Eq. (6), where T = 2k + 1."""
        return self.coordinates // 2

    @property
    def dimension(self) -> int:
        """Number of coordinates, T."""
        return self.coordinates

    @property
    def scale(self) -> float:
        r"""$s = 152 \varepsilon/\beta$: a gradient of at most $\varepsilon$ needs all
        $|\theta_i| \geq s$.
        """
        return _SMOOTHNESS * self.epsilon / self.smoothness

    @property
    def infimum(self) -> float:
        r"""$-\frac{\beta s^2}{152} \sqrt{2\pi e}\, (1 + e (T - 1))$, which no point reaches.

        Each term is at least its share of this, and tends to it as all coordinates grow. So the
        minimum in the source's D is an infimum.
        """
        return -self._height * _TOP * (1 + math.e * (self.coordinates - 1))

    @property
    def _steps(self) -> float:
        ratio = self.smoothness / self.epsilon * (self.gap / self.epsilon) / (_GAP * _SMOOTHNESS)
        # A ratio of 3 must not be rounded to below 3. D still holds: f_T(0) - inf f_T <= 11.3 T.
        return ratio * (1 + 1e-12)

    @property
    def _height(self) -> float:
        return self.epsilon * self.scale

    def _half(self, theta: Array, half: Half) -> Array:
        left, right = (end[..., half::2] for end in self._links(theta))
        links: Array = _psi(-left) * _phi(-right) - _psi(left) * _phi(right)
        return np.asarray(self._height * np.sum(links, axis=-1))

    def _half_gradient(self, theta: Array, half: Half) -> Array:
        left, right = (end[..., half::2] for end in self._links(theta))
        by_left = -_psi_slope(-left) * _phi(-right) - _psi_slope(left) * _phi(right)
        by_right = -(_psi(-left) + _psi(left)) * _phi_slope(right)
        gradient = np.zeros((*theta.shape[:-1], self.coordinates + 1))
        gradient[..., half : self.coordinates : 2] += by_left
        gradient[..., half + 1 :: 2] += by_right
        return self.epsilon * gradient[..., 1:]

    def _links(self, theta: Array) -> tuple[Array, Array]:
        """The two ends of the T links of (1, θ_1/s, ..., θ_T/s): each half has every second."""
        path = np.ones((*theta.shape[:-1], self.coordinates + 1))
        path[..., 1:] = theta / self.scale
        return path[..., :-1], path[..., 1:]


def _psi(x: Array) -> Array:
    r"""$\Psi(x) = \exp(1 - (2x - 1)^{-2})$ above 1/2, else 0."""
    above = x > 0.5
    root = np.where(above, 2 * x - 1, 1.0)
    return np.where(above, np.exp(1 - root**-2), 0.0)


def _psi_slope(x: Array) -> Array:
    root = np.where(x > 0.5, 2 * x - 1, 1.0)
    return 4 * root**-3 * _psi(x)


def _phi(x: Array) -> Array:
    r"""$\Phi(x) = \sqrt{e} \int_{-\infty}^x \exp(-t^2/2)\, dt$."""
    from scipy.special import ndtr

    return np.asarray(_TOP * ndtr(x))


def _phi_slope(x: Array) -> Array:
    return np.asarray(np.exp((1 - x**2) / 2))
