"""The hardest Lipschitz convex function: a path of kinks, and a maximum over many coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from pprs._arguments import counts, finite, non_negative, positive
from pprs.theory.objective import Array
from pprs.theory.worst_case._split import Half, Split


@dataclass(frozen=True)
class NonSmooth(Split):
    r"""The function of Eq. (8), whose minimiser is R away from 0.

    $f(\theta) = \gamma \sum_{i=1}^{2k} |\theta_{i+1} - \theta_i| - \beta\theta_1 + \delta
    \max_{2k+2 \leq i \leq 2k+1+l} \theta_i + \frac{\alpha}{2} \|\theta\|^2$ with
    $\gamma = \frac{L}{9\sqrt{k}}$, $\beta = \gamma (1 + \frac{1}{\sqrt{2k}})$,
    $\delta = \frac{L}{9}$ and $\alpha = \frac{L}{9R} \sqrt{1/k^2 + 1/l}$. The source leaves
    $\alpha$ open; with this one $\|\theta^*\| = R$. From Scaman, Bach, Bubeck, Massoulié, Lee,
    Optimal algorithms for non-smooth distributed optimization in networks, 2018, Theorem 2.

    Where there is a choice, `gradient` gives the subgradient that tells least: 0 for
    $|\cdot|$ at 0, and the first coordinate that attains the maximum.

    Args:
        lipschitz: L, above 0; holds within `lipschitz_radius` of 0.
        radius: R, the norm of the minimiser, above 0.
        pairs: k, at least 1.
        coordinates: l, the number of coordinates in the maximum, at least 1.

    Raises:
        ValueError: for an argument outside its range, or constants that overflow.

    Example:
        >>> f = NonSmooth(lipschitz=1.0, radius=2.0, pairs=1, coordinates=3)
        >>> f.dimension, round(f.minimum, 4), round(f.lipschitz_radius, 2)
        (6, -0.1283, 9.27)
    """

    lipschitz: float
    radius: float
    pairs: int
    coordinates: int

    def __post_init__(self) -> None:
        positive(lipschitz=self.lipschitz, radius=self.radius)
        counts(pairs=self.pairs, coordinates=self.coordinates)
        positive(curvature=self.curvature)
        finite("the minimum", self.minimum, lipschitz=self.lipschitz, radius=self.radius)

    @classmethod
    def for_time(cls, lipschitz: float, radius: float, time: float, depth: int) -> Self:
        r"""The instance that is hard up to a time t, as before Eq. (10).

        It has $l = \lfloor t \rfloor + 1$ and $k = \lfloor t/\Delta \rfloor + 1$.

        Args:
            lipschitz: L, above 0.
            radius: R, above 0.
            time: pipeline time t, at least 0.
            depth: number $\Delta$ of nodes of the chain, at least 1.
        """
        non_negative(time=time)
        counts(depth=depth)
        return cls(lipschitz, radius, math.floor(time / depth) + 1, math.floor(time) + 1)

    @property
    def dimension(self) -> int:
        """Number of coordinates, 2k + 1 + l."""
        return self._path + self.coordinates

    @property
    def curvature(self) -> float:
        r"""The factor $\alpha$ of the square."""
        return self.lipschitz / (9 * self.radius) * self._share

    @property
    def minimiser(self) -> Array:
        r"""$\theta^*_1 = \frac{\gamma}{\alpha\sqrt{2k}}$, then 2k times $\frac{\gamma}{2k\alpha}$,
        then l times $-\frac{\delta}{l\alpha}$; shape `(d,)`.
        """
        step, k = self._kink / self.curvature, self.pairs
        theta = np.full(self.dimension, step / (2 * k))
        theta[0] = step / math.sqrt(2 * k)
        theta[self._path :] = -self._weight / (self.coordinates * self.curvature)
        return theta

    @property
    def minimum(self) -> float:
        r"""$-\frac{1}{2\alpha} (\frac{\gamma^2}{k} + \frac{\delta^2}{l})$, which is
        $-\frac{\alpha}{2} R^2$.
        """
        return -self.lipschitz * self.radius / 18 * self._share

    @property
    def restricted_minimum(self) -> float:
        r"""$-\frac{\gamma^2}{4\alpha k}$, the least value with $\theta_{2k+1} = 0$ and one of the
        last l coordinates 0.

        There the maximum is at least 0, and the path costs at least $\gamma |\theta_1|$, so that
        $f(\theta) \geq -\frac{\gamma}{\sqrt{2k}} \theta_1 + \frac{\alpha}{2} \theta_1^2$. Less the
        minimum this is $\frac{1}{2\alpha} [\frac{\gamma^2}{2k} + \frac{\delta^2}{l}]$: Eq. (9),
        which has another n in the denominator.
        """
        return -self._kink / self.curvature * self._kink / (4 * self.pairs)

    @property
    def lipschitz_radius(self) -> float:
        r"""The largest radius around 0 within which the function is L-Lipschitz, above R.

        Without the square, the longest subgradient alternates along the path:
        $(\beta + \gamma)^2 + 4 (2k - 1) \gamma^2 + \gamma^2 + \delta^2 = G^2$. The square adds at
        most $\alpha\|\theta\|$, and that much where $\theta$ is parallel to it.
        """
        ends = (2 + 1 / math.sqrt(2 * self.pairs)) ** 2 + 1
        steepest = self._kink * math.sqrt(ends + 4 * (2 * self.pairs - 1) + self.pairs)
        return (self.lipschitz - steepest) / self.curvature

    @property
    def _path(self) -> int:
        return 2 * self.pairs + 1

    @property
    def _share(self) -> float:
        return math.hypot(1 / self.pairs, 1 / math.sqrt(self.coordinates))

    @property
    def _kink(self) -> float:
        return self.lipschitz / (9 * math.sqrt(self.pairs))

    @property
    def _weight(self) -> float:
        return self.lipschitz / 9

    @property
    def _pull(self) -> float:
        return self._kink * (1 + 1 / math.sqrt(2 * self.pairs))

    def _half(self, theta: Array, half: Half) -> Array:
        kinks = self._kink * np.sum(np.abs(self._steps(theta)[..., half::2]), axis=-1)
        if half == 0:
            return np.asarray(kinks + self._weight * np.max(theta[..., self._path :], axis=-1))
        square = self.curvature / 2 * np.sum(theta**2, axis=-1)
        return np.asarray(kinks - self._pull * theta[..., 0] + square)

    def _half_gradient(self, theta: Array, half: Half) -> Array:
        signs = np.zeros((*theta.shape[:-1], self._path + 1))
        signs[..., 1 + half : -1 : 2] = np.sign(self._steps(theta)[..., half::2])
        gradient = np.zeros(theta.shape)
        gradient[..., : self._path] = -self._kink * np.diff(signs)
        if half == 0:
            # argmax takes the first of several: that is what makes the maximum hard.
            first = np.argmax(theta[..., self._path :], axis=-1, keepdims=True)
            np.put_along_axis(gradient[..., self._path :], first, self._weight, axis=-1)
            return gradient
        gradient[..., 0] -= self._pull
        return gradient + self.curvature * theta

    def _steps(self, theta: Array) -> Array:
        """The 2k differences along the path: each half has every second."""
        return np.diff(theta[..., : self._path])
