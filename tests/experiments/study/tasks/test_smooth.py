from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from experiments.study.tasks.drawn import write_mushrooms
from experiments.tasks.real import DATA, needs_data
from pprs.compare.examples import Examples
from pprs_experiments.study.tasks.smooth import Logistic, SmoothTask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mushrooms(tmp_path_factory.mktemp("data"))


def task(**changes):
    return SmoothTask(**(dict(data="mushrooms", examples=80, depth=6) | changes))


def by_hand(examples, l2):
    """The value and its gradient at a point, in numpy."""
    signed = (examples.x * torch.where(examples.y == 1, 1, -1)[:, None]).numpy()

    def value(theta):
        return np.logaddexp(0, -signed @ theta).mean() + l2 / 2 * theta @ theta

    def gradient(theta):
        wrong = np.exp(-np.logaddexp(0, signed @ theta))
        return l2 * theta - wrong @ signed / len(signed)

    return value, gradient


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_the_value_is_that_of_the_logistic_loss_even_far_away(folder, scale):
    problem, examples = task(l2=0.01).problem(0, folder), task().drawn(0, folder)
    theta = scale * torch.randn(112, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        problem.model.theta.copy_(theta)
    value, _ = by_hand(examples, 0.01)
    assert problem.training_loss() == pytest.approx(value(theta.numpy()), rel=1e-13)


@pytest.mark.parametrize("l2", [1e-6, 1e-3, 0.1, 100.0])
@pytest.mark.parametrize("features", [None, 10])
def test_the_minimum_has_no_gradient_and_is_that_of_another_solver(folder, l2, features):
    settings = task(l2=l2, features=features)
    function, examples = settings.function(0, folder), settings.drawn(0, folder)
    theta = function.optimum.theta
    value, gradient = by_hand(examples, l2)
    assert np.linalg.norm(gradient(theta.numpy())) < 1e-11
    assert function.minimum == pytest.approx(value(theta.numpy()), abs=1e-15)
    found = minimize(
        value,
        np.zeros(function.dimension),
        jac=gradient,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 50_000, "maxfun": 50_000},
    )
    slack = found.jac @ found.jac / (2 * l2)  # by strong convexity
    assert -1e-14 <= found.fun - function.minimum <= slack + 1e-14


def test_the_minimum_is_found_where_newton_steps_alone_would_go_round_in_circles():
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        sizes = torch.randn(6, 1, generator=generator).mul(2).exp()
        x = (torch.randn(6, 2, generator=generator) * sizes).double()
        function = Logistic(Examples(x, torch.tensor([0, 1] * 3), classes=2), 1e-6)
        gradient, _ = function._derivatives(function.optimum.theta)
        assert gradient.norm() < 1e-11


def test_the_loss_of_a_far_example_is_exact():
    function = Logistic(Examples(torch.tensor([[21.0]]), torch.tensor([0]), classes=2), 2.0)
    with torch.no_grad():
        function.theta.fill_(1.0)
    assert function().item() - 22 == pytest.approx(np.exp(-21), rel=1e-4)


@needs_data
@pytest.mark.parametrize("data", ["a9a", "mushrooms"])
def test_the_minimum_of_real_data_has_no_gradient(data):
    function = task(data=data, examples=500, l2=1e-4).function(0, DATA)
    with torch.no_grad():
        function.theta.copy_(function.optimum.theta)
    function().backward()
    assert function.theta.grad.norm() < 1e-11


def test_parts_of_the_examples_are_means_and_all_of_them_the_value(folder):
    problem = task().problem(0, folder)
    with torch.no_grad():
        problem.model.theta.copy_(torch.linspace(-1, 1, 112))
    index = torch.tensor([5, 2, 70])
    parts = [problem.loss(number[None]).item() for number in index]
    assert problem.loss(*problem.chosen(index)).item() == pytest.approx(sum(parts) / 3)
    assert problem.loss(*problem.batch).item() == problem.training_loss()
    assert len(set(parts)) == 3


def test_gpipe_divides_the_examples_unless_it_may_not(folder):
    problem = task().problem(0, folder)
    assert problem.cost.divisible
    whole = replace(task(), divisible=False).problem(0, folder)
    assert whole.batch == ()
    assert problem.price().time < whole.price().time == 2 * 6
    assert whole.loss().item() == whole.training_loss() == problem.training_loss()


def test_the_smoothness_bounds_the_curvature(folder):
    function = task(l2=0.02).function(0, folder)
    hessians = [
        torch.autograd.functional.hessian(lambda t: function._value(t, function.signed), at)
        for at in (torch.zeros(112).double(), function.optimum.theta)
    ]
    curvatures = [torch.linalg.eigvalsh(hessian).max().item() for hessian in hessians]
    assert curvatures[0] == pytest.approx(function.smoothness)  # at 0 it is attained
    assert curvatures[1] < function.smoothness


def test_the_slope_is_bounded_and_the_bound_nearly_attained():
    examples = Examples(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), classes=2)
    function = Logistic(examples, 0.01)
    slopes = []
    for direction in ([1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]):
        function.theta.grad = None
        with torch.no_grad():
            function.theta.copy_(function.reach * torch.tensor(direction))
        function().backward()
        slopes.append(function.theta.grad.norm().item())
    assert 0.999 * function.lipschitz < max(slopes) <= function.lipschitz


def test_a_penalty_that_is_not_positive_and_other_classes_are_refused():
    examples = Examples(torch.eye(3).double(), torch.tensor([0, 1, 0]), classes=2)
    with pytest.raises(ValueError, match=r"l2 must be a finite number above 0, got 0\.0"):
        Logistic(examples, 0.0)
    with pytest.raises(ValueError, match="the examples must have 2 classes, got 3"):
        Logistic(replace(examples, classes=3), 0.1)
