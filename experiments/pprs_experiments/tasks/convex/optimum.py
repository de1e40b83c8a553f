"""Least values of convex functions, from solvers of linear and quadratic programs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.optimize import linprog
from torch import Tensor

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """The least value of a function.

    Args:
        value: the least value.
        theta: where it is attained, one such point, shape `(d,)`.
    """

    value: float
    theta: Tensor


@dataclass(frozen=True)
class Program:
    r"""The least value of $g(t) + \lambda_1 \|\theta\|_1 + \frac{\lambda_2}{2} \|\theta\|^2$ with
    $t_i \ge s_k a_i^\top \theta + c_{ki}$ for all k, where g is the mean or the maximum of t.

    Args:
        matrix: the rows $a_i$, shape `(m, d)`.
        signs: $s_k$, shape `(k,)`.
        offsets: $c_{ki}$, shape `(k, m)`.
        together: whether g is the maximum.
        l1: $\lambda_1$.
        l2: $\lambda_2$.
    """

    matrix: Array
    signs: Array
    offsets: Array
    together: bool
    l1: float
    l2: float

    def solve(self) -> Optimum:
        """Solve by SciPy's HiGHS without squares, else by Clarabel.

        Raises:
            ValueError: if there is no least value.
        """
        return self._quadratic() if self.l2 else self._linear()

    def _linear(self) -> Optimum:
        rows, dimension = self.matrix.shape
        levels = 1 if self.together else rows
        # Without a slope, a piece is a bound on t: half of the rows of a hinge.
        flat, steep = self.signs == 0, self.signs != 0
        least = self.offsets[flat].max(0, initial=-np.inf)
        lower = [least.max()] if self.together else least
        # θ = p - q with p, q >= 0, whose sum is |θ| where it costs something.
        matrix = sparse.csr_array(self.matrix)
        lift = sparse.csr_array(np.ones((rows, 1))) if self.together else sparse.eye_array(rows)
        blocks: Any = [[s * matrix, -s * matrix, -lift] for s in self.signs[steep]]
        above: Any = sparse.block_array(blocks, format="csr")
        found: Any = linprog(
            np.concatenate([np.full(2 * dimension, self.l1), np.full(levels, 1 / levels)]),
            A_ub=above,
            b_ub=-self.offsets[steep].ravel(),
            bounds=[*[(0, None)] * 2 * dimension, *((low, None) for low in lower)],
            method="highs-ipm",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if found.status != 0:
            raise ValueError(f"the least value was not found: the solver says {found.message}")
        theta = found.x[:dimension] - found.x[dimension : 2 * dimension]
        return Optimum(float(found.fun), torch.from_numpy(theta))

    def _quadratic(self) -> Optimum:
        cp: Any = import_module("cvxpy")  # its types lack most of its functions
        rows, dimension = self.matrix.shape
        theta, t = cp.Variable(dimension), cp.Variable(1 if self.together else rows)
        products = sparse.csr_array(self.matrix) @ theta
        pieces = zip(self.signs, self.offsets, strict=True)
        above = [t >= sign * products + offset for sign, offset in pieces]
        value = cp.sum(t) / t.size + self.l1 * cp.norm1(theta)
        problem = cp.Problem(cp.Minimize(value + self.l2 / 2 * cp.sum_squares(theta)), above)
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        if problem.status != cp.OPTIMAL:
            raise ValueError(f"the least value was not found: the solver says {problem.status}")
        weights = np.stack([constraint.dual_value for constraint in above])
        return Optimum(self.bound(weights), torch.from_numpy(np.asarray(theta.value)))

    def bound(self, weights: Array) -> float:
        r"""What no value is below: $w \cdot c - \frac{1}{2\lambda_2} \sum_j \max(0, |v_j| -
        \lambda_1)^2$ with $v = \sum_{ki} w_{ki} s_k a_i$, by Lagrange duality.

        A solver's value is inexact on either side; this one, at its multipliers, is below.

        Args:
            weights: any multipliers $w \ge 0$ of shape `(k, m)`; scaled to what they sum to: 1
                for a maximum, 1/m for each example of a mean.
        """
        weights = weights.clip(0)
        total = weights.sum() if self.together else weights.sum(0) * len(self.matrix)
        weights = weights / total
        slope = self.signs @ weights @ self.matrix
        steep = (np.abs(slope) - self.l1).clip(0)
        return float((weights * self.offsets).sum() - (steep**2).sum() / (2 * self.l2))
