"""The problems of the benchmark of `pprs.minimize` are what its page says."""

import math

import pytest
import torch

from benchmarks.minimize.main import FIGURES, KNOWN, RIVAL_NAMES, compare, ratios, stored, tables
from benchmarks.minimize.problems import distance, problems, worst_case
from benchmarks.minimize.rivals import DEPTHS, RIVALS, best_setting, widened
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
    for rival in RIVAL_NAMES:
        (ratio,) = ratios(figures, 1000, next(iter(KNOWN)), rival)
        assert 0 < ratio < math.inf
    assert next(tables(figures)) == "34 of 34 runs of the rule reached ε."


def test_the_page_shows_the_committed_figures():
    page = FIGURES.with_name("README.md").read_text().splitlines()
    assert [line for line in tables(stored()) if line not in page] == []


def test_the_best_setting_of_a_rival_is_at_no_end_of_its_grid():
    for figure in stored():
        for method in RIVALS:
            assert widened(method, figure["rivals"][method]) == [], (figure["problem"], method)


def test_a_grid_whose_best_is_at_its_end_is_widened_there():
    assert widened("agd", {1.0: [9], 2.0: [8], 4.0: [7]}) == [8.0, 16.0]
    assert widened("agd", {1.0: [7], 2.0: [8]}) == [0.25, 0.5]
    assert widened("agd", {1.0: [9], 2.0: [7], 4.0: [7], 8.0: [8]}) == []
    assert widened("duchi", {1: [7], 4: [80], 16: [80]}) == []  # there is no K below 1
    assert best_setting({1: [99], 16: [8, 9, 9], 64: [6, 7, 7]}, DEPTHS[-1], "duchi") == 64


def test_a_scaled_problem_lies_r_times_as_far_with_the_same_slopes():
    near, far = distance(2, 5, 10), distance(2, 5, 10).scaled(100.0)
    x = torch.ones(5, dtype=torch.float64)
    assert far.fun(100 * x).item() == pytest.approx(100 * near.fun(x).item())
    assert (far.epsilon, far.ratio) == (100 * near.epsilon, near.ratio)
