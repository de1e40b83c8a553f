import pytest
import torch
from torch.func import functional_call, vmap

import pprs
from pprs.theory.worst_case import NonSmooth
from pprs_experiments.tasks.convex import WorstCase

FUNCTION = NonSmooth(lipschitz=2.0, radius=3.0, pairs=2, coordinates=4)


def at(theta):
    problem = WorstCase(FUNCTION)
    with torch.no_grad():
        problem.theta.copy_(torch.as_tensor(theta))
    return problem


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_values_and_subgradients_are_those_of_the_theory():
    for theta in (torch.zeros(9, dtype=torch.float64), normal(9)):
        problem = at(theta)
        problem().backward()
        assert problem().item() == FUNCTION.value(theta.numpy())
        assert problem.theta.grad.tolist() == FUNCTION.gradient(theta.numpy()).tolist()


def test_the_least_value_is_attained_at_the_radius():
    problem = at(FUNCTION.minimiser)
    assert problem().item() == pytest.approx(problem.minimum, abs=1e-12)
    assert problem.radius == pytest.approx(3.0)
    assert (problem.lipschitz, problem.reach) == (2.0, FUNCTION.lipschitz_radius)
    assert (problem.dimension, problem.examples) == (9, 1)


def test_smoothing_perturbs_it():
    theta = normal(9)
    problem = at(theta)
    loss = pprs.smooth(problem, problem, 0.3, samples=50, antithetic=True, seed=5)
    loss.backward()
    value = FUNCTION.value(theta.numpy())
    # Convex: no pair of perturbations averages to less. And at most sigma L E|X| more.
    assert value < loss.item() < value + 0.3 * 2 * 9**0.5
    assert problem.theta.grad.norm() <= 2


def test_the_gradient_of_the_smoothed_value_is_its_derivative():
    theta, direction = normal(9), normal(9, seed=1)
    options = dict(samples=20, seed=5, step=0)
    problem = at(theta)
    pprs.smooth(problem, problem, 0.3, **options).backward()
    h = 1e-7
    ahead, behind = (at(theta + s * direction) for s in (h, -h))
    difference = pprs.smooth(ahead, ahead, 0.3, **options) - pprs.smooth(
        behind, behind, 0.3, **options
    )
    assert (problem.theta.grad @ direction).item() == pytest.approx(
        difference.item() / (2 * h), abs=1e-6
    )


@pytest.mark.parametrize("place", [0, 1])
def test_values_at_many_points_are_those_at_each(place):
    points, problem = normal(5, 9), WorstCase(FUNCTION)

    def value(theta):
        return functional_call(problem, {"theta": theta}, ())

    together = vmap(value, in_dims=place)(points.movedim(0, place))
    assert together.tolist() == [FUNCTION.value(point.numpy()) for point in points]
