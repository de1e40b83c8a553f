import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pprs.smoothing import smooth
from pprs.theory import Clock, PipeDream, RandomizedSmoothing, run
from pprs.theory.replicas import on_chain
from pprs_experiments.study.methods.updates import Delayed, DualAveraging, ScheduleFree, Subgradient
from pprs_experiments.tasks.convex import absolute_regression, maximum_of_linear


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def descend(parameter, update, slope, steps):
    """Where the parameter is after each step, by the gradient of a function."""
    places = []
    for _ in range(steps):
        parameter.grad = slope(parameter.detach())
        update.step()
        places.append(parameter.detach().clone())
    return places


def quadratic(theta):
    return torch.tensor([1.0, 3.0], dtype=torch.float64) * (theta - 1)


def parameter():
    return nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))


def test_subgradient_steps_shrink_with_the_root_of_their_number():
    moved = parameter()
    places = descend(moved, Subgradient([moved], lr=0.3), quadratic, steps=4)
    theta = parameter().detach()
    for t, place in enumerate(places):
        theta = theta - 0.3 / math.sqrt(t + 1) * quadratic(theta)
        torch.testing.assert_close(place, theta)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_delayed_steps_are_taken_by_gradients_of_so_many_steps_before(delay):
    moved = parameter()
    places = descend(moved, Delayed([moved], 0.05, delay), quadratic, steps=8)
    thetas = [parameter().detach()]
    for t in range(8):
        late = quadratic(thetas[t - delay]) if t >= delay else 0.0
        thetas.append(thetas[-1] - 0.05 * late)
    torch.testing.assert_close(torch.stack(places), torch.stack(thetas[1:]))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_delayed_descent_is_the_pipedream_of_the_theory(depth):
    a, b = normal(1, 4), normal(1) + 3
    objective = on_chain(
        lambda x, j: np.abs(x @ a[0].numpy() - b[0].numpy()),
        lambda x, j: np.sign(x @ a[0].numpy() - b[0].numpy())[..., None] * a[0].numpy(),
        4,
        depth,
        1,
    )
    expected = run(PipeDream(lr=0.1), Clock(objective), iterations=12)
    function = absolute_regression(a, b)
    update = Delayed([function.theta], 0.1, delay=depth - 1)
    values, times = [], []
    for step in range(1, 12 + depth):
        function.theta.grad = torch.autograd.grad(function(), function.theta)[0]
        update.step()
        if step >= depth:  # the first gradient is back after 2 depth
            values.append(function().item())
            times.append(2 * step)
    assert times == list(expected.times)
    np.testing.assert_allclose(values, expected.values, rtol=1e-12)


def test_dual_averaging_is_the_randomized_smoothing_of_the_theory():
    # Of a linear function, whose gradient is the same at all perturbations.
    a = normal(1, 6)
    objective = on_chain(
        lambda x, j: x @ a[0].numpy(),
        lambda x, j: np.broadcast_to(a[0].numpy(), x.shape),
        6,
        1,
        1,
    )
    method = RandomizedSmoothing(lipschitz=2.0, radius=3.0, samples=4)
    expected = run(method, Clock(objective), iterations=10)
    function = maximum_of_linear(a, torch.zeros(1))
    update = DualAveraging([function.theta], 2.0, 3.0, samples=4)
    values = []
    for _ in range(10):
        function.theta.grad = torch.autograd.grad(function(), function.theta)[0]
        update.step()
        with update.evaluating():
            values.append(function().item())
    np.testing.assert_allclose(values, expected.values, rtol=1e-12)


def test_dual_averaging_is_what_duchi_bartlett_and_wainwright_wrote():
    function = absolute_regression(normal(7, 3), normal(7))
    update = DualAveraging([function.theta], 2.0, 3.0, samples=4)
    x = z = start = torch.zeros(3, dtype=torch.float64)
    theta, total = 1.0, torch.zeros(3, dtype=torch.float64)
    u = 3.0 * 3**-0.25
    for t in range(6):
        y = (1 - theta) * x + theta * z
        torch.testing.assert_close(function.theta.detach(), y)
        assert update.sigma == pytest.approx(u * theta)
        function.theta.grad = None
        smooth(function, function, update.sigma, 4, seed=0, step=t).backward()
        total = total + function.theta.grad / theta
        following = 2 / (1 + math.sqrt(1 + 4 / theta**2))
        eta = 2.0 * math.sqrt(t + 2) / (3.0 * math.sqrt(4))
        z = start - total / (2.0 / (u * following) + eta / following)
        x = (1 - theta) * x + theta * z
        theta = following
        update.step()
        with update.evaluating():
            torch.testing.assert_close(function.theta.detach(), x)


def test_dual_averaging_puts_back_where_the_gradient_is_taken():
    moved = parameter()
    update = DualAveraging([moved], 2.0, 3.0, samples=4)
    place = descend(moved, update, quadratic, steps=3)[-1]
    with update.evaluating():
        inside = moved.detach().clone()
    assert not torch.equal(inside, place)
    assert torch.equal(moved, place)


def test_schedule_free_steps_are_those_of_its_authors():
    pytest.importorskip("schedulefree")
    moved = parameter()
    update = ScheduleFree([moved], lr=0.1, momentum=0.9)
    x = z = parameter().detach()
    for t in range(6):
        y = 0.1 * z + 0.9 * x
        torch.testing.assert_close(moved.detach(), y)
        moved.grad = quadratic(y)
        update.step()
        z = z - 0.1 * quadratic(y)
        x = x * (1 - 1 / (t + 1)) + z / (t + 1)
        held = moved.detach().clone()
        with update.evaluating():
            torch.testing.assert_close(moved.detach(), x)
        assert torch.equal(moved, held)


def test_schedule_free_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(ModuleNotFoundError, match="not installed: pip install ./experiments"):
        ScheduleFree([parameter()], lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: Subgradient(p, -1.0), "lr must be a finite number of at least 0, got -1.0"),
        (lambda p: Delayed(p, -1.0, 3), "lr must be a finite number of at least 0, got -1.0"),
        (lambda p: Delayed(p, 0.1, -3), "delay must be a finite number of at least 0, got -3"),
        (lambda p: DualAveraging(p, 0.0, 1.0, 4), "lipschitz must be a finite number above 0"),
        (lambda p: DualAveraging(p, 1.0, 0.0, 4), "radius must be a finite number above 0"),
        (lambda p: DualAveraging(p, 1.0, 1.0, 0), "samples must be an integer of at least 1"),
    ],
)
def test_settings_out_of_range_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build([parameter()])
