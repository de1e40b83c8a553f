import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from experiments.tasks.real import DATA, needs_data
from pprs_experiments.tasks.convex import read_svm_examples, svm
from pprs_experiments.tasks.convex.optimum import Program
from pprs_experiments.tasks.examples import drawn


def program(together=False, **weights):
    random = np.random.default_rng(0)
    signs, offsets = np.array([-1.0, 0.0]), np.stack([np.ones(9), np.zeros(9)])
    return Program(random.normal(size=(9, 3)), signs, offsets, together, **weights)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_any_multipliers_bound_the_least_value_from_below(together, l1):
    problem = program(together, l1=l1, l2=0.3)
    least = problem.solve().value
    random = np.random.default_rng(1)
    bounds = [problem.bound(random.exponential(size=(2, 9))) for _ in range(200)]
    assert max(bounds) <= least
    assert max(bounds) > least - 0.5  # they are not worthless


def test_hinges_with_squares_are_those_of_a_box_constrained_dual():
    # The textbook's dual of an SVM without a bias, by another method than the interior point's.
    problem = program(l1=0.0, l2=0.3)
    rows, matrix = len(problem.matrix), problem.matrix

    def negative_dual(w):
        return (matrix.T @ w) @ (matrix.T @ w) / (2 * 0.3) - w.sum()

    found = minimize(
        negative_dual,
        np.full(rows, 0.5 / rows),
        jac=lambda w: matrix @ (matrix.T @ w) / 0.3 - 1,
        bounds=[(0, 1 / rows)] * rows,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    assert problem.solve().value == pytest.approx(-found.fun, abs=1e-9)


@needs_data
@pytest.mark.parametrize("aggregate", ["mean", "maximum"])
@pytest.mark.parametrize("weights", [dict(), dict(l1=1e-3), dict(l2=1e-3)])
def test_real_problems_are_solved_to_nine_digits(aggregate, weights):
    generator = torch.Generator().manual_seed(0)
    examples = drawn(read_svm_examples("mushrooms", DATA), 300, generator)
    problem = svm(examples, aggregate, **weights)
    with torch.no_grad():
        problem.theta.copy_(problem.optimum.theta)
    assert 0 <= problem().item() - problem.minimum + 1e-12 < 1e-9
