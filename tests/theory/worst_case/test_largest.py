"""The function of Theorem 8, and procedures that are run on it."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from pprs.theory import Accelerated, Clock, Machine, SubgradientDescent, Vector, run
from pprs.theory.bounds import gap_nonsmooth
from pprs.theory.worst_case import LargestCoordinate

UNITS = dict(lipschitz=3.0, radius=0.7)
each_size = pytest.mark.parametrize("coordinates", [1, 2, 9, 40])
each_depth = pytest.mark.parametrize("depth", [1, 2, 5])


def solved(f, rules=lambda theta: []):
    theta = cp.Variable(f.dimension)
    ball = f.radius * (1 + f.coordinates**-0.5)
    value = f.lipschitz * cp.maximum(cp.max(theta), cp.norm(theta) - ball)
    problem = cp.Problem(cp.Minimize(value), rules(theta))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return problem.value, theta.value


@each_size
def test_minimum_and_minimiser_are_those_of_a_solver(coordinates):
    f = LargestCoordinate(**UNITS, coordinates=coordinates)
    least, where = solved(f)
    assert f.minimum == pytest.approx(least, rel=1e-7)
    np.testing.assert_allclose(f.minimiser, where, atol=1e-4)
    assert f.value(f.minimiser) == pytest.approx(f.minimum, rel=1e-12)
    assert np.linalg.norm(f.minimiser) == pytest.approx(0.7, rel=1e-12)


@each_size
def test_with_a_coordinate_unseen_the_gap_is_that_of_theorem_8_and_no_larger(coordinates):
    f = LargestCoordinate.for_time(**UNITS, time=coordinates - 0.5)
    assert f.coordinates == coordinates
    held, _ = solved(f, lambda theta: [theta[-1] == 0])
    bound = gap_nonsmooth(**UNITS, time=coordinates - 0.5, depth=1)
    assert held - f.minimum == pytest.approx(bound, rel=1e-6)


@each_depth
def test_a_chain_is_the_function_and_its_passes_are_the_derivatives(depth):
    f, rng = LargestCoordinate(**UNITS, coordinates=6), np.random.default_rng(0)
    theta = rng.normal(size=(2, 30, 6)) * [[[0.1]], [[9.0]]]  # the maximum, and the norm
    chain = f.chain(depth)
    largest, ball = theta.max(-1), 0.7 * (1 + 6**-0.5)
    expected = 3 * np.maximum(largest, np.linalg.norm(theta, axis=-1) - ball)
    assert 0 < np.mean(expected > 3 * largest) < 1
    for function in (f, chain):
        np.testing.assert_allclose(function.value(theta), expected, rtol=1e-12)
        for point in (*theta[0, :5], *theta[1, :5]):
            slopes = approx_fprime(point, function.value, 1e-7)
            np.testing.assert_allclose(function.gradient(point), slopes, atol=1e-5)
        assert np.all(np.isfinite(function.gradient(np.zeros(6))))


def test_it_is_lipschitz_everywhere_and_by_no_smaller_constant():
    f, rng = LargestCoordinate(**UNITS, coordinates=6), np.random.default_rng(1)
    ends = rng.normal(size=(2, 5000, 6)) * 10 ** rng.uniform(-2, 2, size=(2, 5000, 1))
    apart = np.linalg.norm(ends[0] - ends[1], axis=-1)
    assert np.all(np.abs(f.value(ends[0]) - f.value(ends[1])) <= 3 * apart * (1 + 1e-12))
    assert f.value(np.full(6, 100.0)) - f.value(np.full(6, 10.0)) == pytest.approx(270 * 6**0.5)


@each_depth
def test_methods_stay_above_the_bound_until_its_time_and_reach_it(depth):
    time = 60
    f = LargestCoordinate.for_time(1.0, 1.0, time)
    step = 1 / np.sqrt(f.coordinates)
    for method in (SubgradientDescent(step), SubgradientDescent(0.5), Accelerated(step)):
        found = run(method, Clock(f.chain(depth)), iterations=40)
        before = found.values[np.array(found.times) <= time] - f.minimum
        bound = gap_nonsmooth(lipschitz=1.0, radius=1.0, time=time, depth=depth)
        # Equal: a larger constant would be refuted.
        assert before.min() == pytest.approx(bound, rel=1e-12)
    long = run(SubgradientDescent(step), Clock(f.chain(depth)), iterations=f.coordinates)
    assert long.values[-1] == pytest.approx(f.minimum)  # so that it is no matter of the function


@pytest.mark.parametrize("seed", range(5))
def test_no_random_combination_of_what_passes_give_is_below_the_bound(seed):
    rng, time = np.random.default_rng(seed), 12
    f = LargestCoordinate.for_time(1.0, 1.0, time)
    machine = Machine(f.chain(1))
    one = Vector(np.ones(1), "f1", 0.0)
    span, gaps = [machine.start], []
    while machine.time < time:
        point = machine.start
        for vector in span:
            point += rng.normal() * 10 ** rng.uniform(-2, 1) * vector
        gaps.append(float(f.value(point.value)) - f.minimum)
        span += machine.backward("f1", one, point)
    bound = gap_nonsmooth(lipschitz=1.0, radius=1.0, time=time, depth=1)
    assert min(gaps) >= bound * (1 - 1e-12)
    assert np.count_nonzero(point.value) == time - 1 or f.value(point.value) > 0


def test_a_procedure_that_wastes_no_pass_is_at_the_minimum_one_pass_after_the_bound():
    f = LargestCoordinate.for_time(1.0, 1.0, 12)
    machine = Machine(f.chain(1))
    one = Vector(np.ones(1), "f1", 0.0)
    point = machine.start
    while point.ready < f.coordinates:
        assert f.value(point.value) - f.minimum == pytest.approx(1 / np.sqrt(13), rel=1e-12)
        (found,) = machine.backward("f1", one, point)
        point -= 1 / np.sqrt(f.coordinates) * found
    assert (point.ready, f.value(point.value)) == (13, pytest.approx(f.minimum))


def test_on_a_chain_one_end_finds_a_coordinate_in_each_pass_and_the_other_none():
    f = LargestCoordinate.for_time(1.0, 1.0, 12)
    machine = Machine(f.chain(3))
    second = machine.send(machine.forward("f1", machine.start), "f2")
    last = machine.send(machine.forward("f2", second), "f3")
    (gradient,) = machine.backward("f3", Vector(np.ones(1), "f3", 0.0), last)
    (gradient,) = machine.backward("f2", machine.send(gradient, "f2"), second)
    assert np.count_nonzero(gradient.value[:-1]) == 0
    gradient, point = machine.send(gradient, "f1"), machine.start
    while machine.time < 12:
        (found,) = machine.backward("f1", gradient, point)
        point -= 1 / np.sqrt(13) * found
    assert (machine.time, np.count_nonzero(point.value)) == (12, 12 - 4)
    bound = gap_nonsmooth(lipschitz=1.0, radius=1.0, time=12, depth=3)
    assert f.value(point.value) - f.minimum == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 1), "lipschitz must be a finite number above 0, got 0.0"),
        ((1.0, float("nan"), 1), "radius must be a finite number above 0, got nan"),
        ((1.0, 1.0, 0), "coordinates must be an integer of at least 1, got 0"),
        ((1e200, 1e200, 1), "the minimum exceeds .* lipschitz=1e\\+200, radius=1e\\+200"),
    ],
)
def test_wrong_constants_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LargestCoordinate(*arguments)
    with pytest.raises(ValueError, match=r"time must be a finite number of at least 0, got -1.0"):
        LargestCoordinate.for_time(1.0, 1.0, -1.0)
