"""The problems of the benchmark of `pprs.minimize` are what its page says."""

import math

import pytest
import torch

from benchmarks.minimize.main import compare, gains, tables
from benchmarks.minimize.problems import distance, problems, worst_case
from pprs.theory import NonSmooth


@pytest.mark.parametrize("problem", problems(), ids=lambda problem: problem.name)
def test_no_gradient_is_longer_than_1_and_no_value_below_the_minimum(problem):
    random = torch.Generator().manual_seed(0)
    for scale in (0.0, 0.1, 1.0):
        x = scale * torch.randn(problem.dimension, generator=random, dtype=torch.float64)
        x *= min(1.0, 2 / max(x.norm().item(), 1e-9))
        (gradient,) = torch.autograd.grad(problem.fun(x.requires_grad_()), x)
        assert gradient.norm() <= 1 + 1e-9
        assert problem.fun(x) >= problem.minimum
    start = torch.zeros(problem.dimension, dtype=torch.float64)
    assert problem.fun(start) > problem.minimum + problem.epsilon


def test_the_worst_case_is_the_theorys():
    theory, problem = NonSmooth(1.0, 1.0, 2, 5), worst_case(2, 5, 10)
    x = torch.randn(10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert problem.fun(x).item() == pytest.approx(theory.chain(1).value(x.numpy()))
    least = problem.fun(torch.from_numpy(theory.minimiser)).item()
    assert least == pytest.approx(problem.minimum)


def test_a_small_problem_goes_through_all_methods_to_the_tables():
    figures = [compare(distance(math.inf, 5, 10))]
    assert all(0 < gain < math.inf for gain in gains(figures, 1000).values())
    assert next(tables(figures)) == "30 of 30 runs of the rule reached ε."
