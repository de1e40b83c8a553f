"""Means and maxima of piecewise linear functions."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pprs._arguments import non_negative
from pprs_experiments.tasks.convex.optimum import Optimum, Program
from pprs_experiments.tasks.convex.problem import Convex

Aggregate: TypeAlias = Literal["mean", "maximum"]


class Polyhedral(Convex):
    r"""$f(\theta) = g_i \max_k (s_k a_i^\top \theta + c_{ki}) + \lambda_1 \|\theta\|_1 +
    \frac{\lambda_2}{2} \|\theta\|^2$, where $g_i$ is the mean or the maximum over m examples.

    Args:
        matrix: an example $a_i$ in each row, shape `(m, d)`, both at least 1.
        signs: the slopes $s_k$, shape `(k,)`.
        offsets: the offsets $c_{ki}$, shape `(k, m)`.
        aggregate: g.
        l1: $\lambda_1$, at least 0.
        l2: $\lambda_2$, at least 0.

    Raises:
        ValueError: for arguments out of range, shapes that do not fit, or numbers that are not
            finite.
    """

    matrix: Tensor
    signs: Tensor
    offsets: Tensor

    def __init__(
        self,
        matrix: Tensor,
        signs: Tensor,
        offsets: Tensor,
        aggregate: Aggregate,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        non_negative(l1=l1, l2=l2)
        if aggregate not in ("mean", "maximum"):
            raise ValueError(f'aggregate must be "mean" or "maximum", got {aggregate!r}')
        if matrix.dim() != 2 or not matrix.numel():
            raise ValueError(
                f"the examples must have shape (m, d), both at least 1, got {tuple(matrix.shape)}"
            )
        if offsets.shape != (len(signs), len(matrix)):
            raise ValueError(
                f"the offsets must have shape {(len(signs), len(matrix))}, one for each example, "
                f"got {tuple(offsets.shape)}"
            )
        if not (matrix.isfinite().all() and offsets.isfinite().all()):
            raise ValueError("the examples must be finite, got infinite ones or NaN")
        super().__init__(matrix.shape[1], len(matrix))
        for name, tensor in (("matrix", matrix), ("signs", signs), ("offsets", offsets)):
            self.register_buffer(name, tensor.to(torch.float64), persistent=False)
        self.aggregate, self.l1, self.l2 = aggregate, l1, l2

    def forward(self, examples: Tensor | None = None) -> Tensor:
        """The value at `theta`.

        Args:
            examples: numbers `(n,)` of the examples to take the mean over, all by default: a
                minibatch.

        Raises:
            ValueError: for examples of a maximum, of which a part tells nothing.
        """
        matrix, offsets = self.matrix, self.offsets
        if examples is not None:
            if self.aggregate == "maximum":
                raise ValueError("a part of the examples of a maximum does not estimate it")
            matrix, offsets = matrix[examples], offsets[:, examples]
        losses = (self.signs[:, None] * (matrix @ self.theta) + offsets).amax(0)
        value = losses.mean() if self.aggregate == "mean" else losses.amax()
        if self.l1:
            value = value + self.l1 * self.theta.abs().sum()
        if self.l2:
            value = value + self.l2 / 2 * self.theta.square().sum()
        return value

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant L, within `reach` of 0.

        A gradient of the mean is the examples' matrix times weights of at most 1/m: no longer than
        the mean of the examples' norms, nor the matrix's norm by √m.
        """
        norms = self.matrix.norm(dim=1)
        if self.aggregate == "maximum":
            data = float(norms.max())
        else:
            largest = float(torch.linalg.matrix_norm(self.matrix, 2))
            data = min(float(norms.mean()), largest / math.sqrt(self.examples))
        data *= float(self.signs.abs().max())
        square = self.l2 * self.reach if self.l2 else 0.0
        return data + self.l1 * math.sqrt(self.dimension) + square

    @property
    def reach(self) -> float:
        r"""How far from 0 the Lipschitz constant holds: everywhere, but for the square.

        With it, f exceeds its minimum by at least $\frac{\lambda_2}{2} \|\theta - \theta^*\|^2$.
        This is how far from 0 a point can be where f is no larger than at 0.
        """
        if not self.l2:
            return math.inf
        losses = self.offsets.amax(0)
        at_zero = float(losses.mean() if self.aggregate == "mean" else losses.amax())
        return self.radius + math.sqrt(2 * max(0.0, at_zero - self.minimum) / self.l2)

    def normalised(self) -> Polyhedral:
        r"""$f(R \theta) / (R L)$: the same problem in its own units, with L = 1 and R = 1.

        Step sizes and perturbations that fit one such problem then fit others better.
        """
        scale, unit = self.radius * self.lipschitz, self.lipschitz
        other = Polyhedral(
            self.matrix / unit,
            self.signs,
            self.offsets / scale,
            self.aggregate,
            l1=self.l1 / unit,
            l2=self.l2 * self.radius / unit,
        )
        value, theta = self.optimum.value / scale, self.optimum.theta / self.radius
        other.__dict__["optimum"] = Optimum(value, theta)  # which would be found again
        return other

    def _solve(self) -> Optimum:
        matrix, signs, offsets = (
            tensor.cpu().numpy() for tensor in (self.matrix, self.signs, self.offsets)
        )
        together = self.aggregate == "maximum"
        return Program(matrix, signs, offsets, together, self.l1, self.l2).solve()
