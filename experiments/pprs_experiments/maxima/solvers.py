"""The specialised solver of each function: for the truth, and for the time that it takes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.optimize import linprog

from pprs_experiments.tasks.convex.optimum import Optimum

Array = npt.NDArray[np.float64]


def worst_group(signed: Array, groups: npt.NDArray[np.int64], penalty: float) -> Optimum:
    r"""The least of $\max_g \mathrm{mean}_{i \in g} \max(0, 1 - a_i^\top w) + \lambda
    \|w\|_\infty$.

    Args:
        signed: $a_i$, the examples times their labels, shape `(m, d)`.
        groups: of each example, from 0 on, shape `(m,)`.
        penalty: $\lambda$.
    """
    examples, dimension = signed.shape
    count = int(groups.max()) + 1
    means = sparse.csr_array(
        (1 / np.bincount(groups)[groups], (groups, np.arange(examples))), (count, examples)
    )
    ones = np.ones
    unit, column = sparse.eye_array(dimension), ones((dimension, 1))
    # w, the hinges, the largest mean of them, the largest weight
    blocks: Any = [
        [-sparse.csr_array(signed), -sparse.eye_array(examples), None, None],
        [None, means, -ones((count, 1)), None],
        [unit, None, None, -column],
        [-unit, None, None, -column],
    ]
    found = _linear_program(
        np.concatenate([np.zeros(dimension + examples), [1.0, penalty]]),
        sparse.block_array(blocks, format="csr"),
        np.concatenate([-ones(examples), np.zeros(count + 2 * dimension)]),
        [*[(None, None)] * dimension, *[(0, None)] * examples, (None, None), (0, None)],
    )
    return Optimum(found.fun, torch.from_numpy(found.x[:dimension]))


def multiclass(
    inputs: Array, labels: npt.NDArray[np.int64], classes: int, penalty: float
) -> Optimum:
    r"""The least of $\mathrm{mean}_i \max_k (1_{k \ne y_i} + w_k^\top x_i - w_{y_i}^\top x_i) +
    \lambda \|W\|_1$.

    Args:
        inputs: $x_i$, shape `(m, p)`.
        labels: $y_i$, shape `(m,)`.
        classes: how many there are.
        penalty: $\lambda$.

    Returns:
        The weights in rows for the classes, one after the other.
    """
    examples, features = inputs.shape
    size = classes * features
    members = np.eye(classes)[labels]
    rows, offsets, levels = [], [], []
    for k in range(classes):
        other = labels != k  # for k = y_i the inequality says that the level is at least 0
        difference = np.eye(classes)[k] - members[other]
        rows.append(np.einsum("ik,ip->ikp", difference, inputs[other]).reshape(-1, size))
        levels.append(np.flatnonzero(other))
        offsets.append(np.ones(other.sum()))
    matrix = sparse.csr_array(np.concatenate(rows))
    chosen = np.concatenate(levels)
    lift = sparse.csr_array((np.ones(len(chosen)), (np.arange(len(chosen)), chosen)))
    blocks: Any = [[matrix, -matrix, -lift]]
    found = _linear_program(
        np.concatenate([np.full(2 * size, penalty), np.full(examples, 1 / examples)]),
        sparse.block_array(blocks, format="csr"),
        -np.concatenate(offsets),
        [(0, None)] * (2 * size + examples),
    )
    return Optimum(found.fun, torch.from_numpy(found.x[:size] - found.x[size : 2 * size]))


def _linear_program(cost: Array, above: Any, limits: Array, bounds: Any) -> Any:
    found: Any = linprog(cost, A_ub=above, b_ub=limits, bounds=bounds, method="highs-ipm")
    if found.status != 0:
        raise ValueError(f"the least value was not found: the solver says {found.message}")
    return found


def differences(side: int) -> sparse.csr_array:
    """From the pixels of a square image, row by row, to the differences of neighbours."""
    along = sparse.eye_array(side - 1, side, k=1) - sparse.eye_array(side - 1, side)
    unit = sparse.eye_array(side)
    blocks: Any = [[sparse.kron(along, unit)], [sparse.kron(unit, along)]]
    return sparse.block_array(blocks, format="csr")


def total_variation(noisy: Array, penalty: float) -> Optimum:
    r"""The least of $\frac12 \|x - y\|^2 + \lambda \sum |\text{differences}|$, as a quadratic
    program.

    Args:
        noisy: y, shape `(side, side)`.
        penalty: $\lambda$.
    """
    cp: Any = import_module("cvxpy")  # its types lack most of its functions
    x = cp.Variable(noisy.size)
    change = cp.sum_squares(x - noisy.ravel()) / 2
    value = change + penalty * cp.norm1(differences(len(noisy)) @ x)
    problem = cp.Problem(cp.Minimize(value))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    if problem.status != cp.OPTIMAL:
        raise ValueError(f"the least value was not found: the solver says {problem.status}")
    return Optimum(float(problem.value), torch.from_numpy(np.asarray(x.value)))


def projected_dual(noisy: Array, penalty: float, steps: int, goal: float) -> tuple[Array, int]:
    r"""The same by Beck and Teboulle's accelerated projected gradient of the dual.

    Args:
        noisy: y, shape `(side, side)`.
        penalty: $\lambda$.
        steps: the most.
        goal: a value of the function that is good enough.

    Returns:
        x, and the steps that were taken.
    """
    operator, y = differences(len(noisy)), noisy.ravel()
    dual = ahead = np.zeros(operator.shape[0])
    momentum, x = 1.0, y
    for step in range(1, steps + 1):
        x = y - operator.T @ ahead
        following = np.clip(ahead + operator @ x / 8, -penalty, penalty)  # 8 bounds its square
        quicker = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / quicker * (following - dual)
        dual, momentum = following, quicker
        x = y - operator.T @ dual
        if ((x - y) ** 2).sum() / 2 + penalty * np.abs(operator @ x).sum() <= goal:
            return x, step
    return x, steps
