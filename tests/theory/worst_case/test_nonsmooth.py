"""Eq. (8), (9) and (10)."""

import itertools
import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from pprs.theory.worst_case import NonSmooth

SIZES = [(1, 1), (1, 4), (2, 3), (5, 1), (6, 40)]


def constants(f):
    """γ, β, δ and α, as the text before Eq. (10) has them, with α such that ‖θ*‖ = R."""
    gamma = f.lipschitz / (9 * math.sqrt(f.pairs))
    share = math.sqrt(1 / f.pairs**2 + 1 / f.coordinates)
    beta, delta = gamma * (1 + 1 / math.sqrt(2 * f.pairs)), f.lipschitz / 9
    return gamma, beta, delta, f.lipschitz / (9 * f.radius) * share


def printed(theta, f, size=abs, maximum=np.max):
    """Eq. (8), term by term."""
    gamma, beta, delta, alpha = constants(f)
    path = sum(size(theta[i] - theta[i - 1]) for i in range(1, 2 * f.pairs + 1))
    square = sum(theta[i] ** 2 for i in range(f.dimension))
    top = maximum(theta[2 * f.pairs + 1 :])
    return gamma * path - beta * theta[0] + delta * top + alpha / 2 * square


def solved(f, *zeros):
    """The least value with some coordinates 0, and where it is."""
    theta = cp.Variable(f.dimension)
    rules = [theta[i] == 0 for i in zeros]
    problem = cp.Problem(cp.Minimize(printed(theta, f, cp.abs, cp.max)), rules)
    # The default tolerances leave the minimiser to 1e-4.
    exact = dict(tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    problem.solve(solver=cp.CLARABEL, **exact)
    return problem.value, theta.value


@pytest.mark.parametrize(("pairs", "coordinates"), SIZES)
def test_the_function_is_equation_8_and_the_gradient_its_own(pairs, coordinates):
    f = NonSmooth(3.0, 0.7, pairs, coordinates)
    assert f.dimension == 2 * pairs + 1 + coordinates
    for theta in np.random.default_rng(0).normal(size=(10, f.dimension)):
        assert f.value(theta) == pytest.approx(printed(theta, f), rel=1e-12)
        slopes = approx_fprime(theta, f.value, 1e-7)
        np.testing.assert_allclose(f.gradient(theta), slopes, atol=1e-5)


@pytest.mark.parametrize(("pairs", "coordinates"), SIZES)
def test_minimum_and_minimiser_are_those_of_a_solver(pairs, coordinates):
    f = NonSmooth(3.0, 0.7, pairs, coordinates)
    least, where = solved(f)
    assert f.minimum == pytest.approx(least, rel=1e-8)
    np.testing.assert_allclose(f.minimiser, where, atol=1e-5)
    assert f.value(f.minimiser) == pytest.approx(f.minimum, rel=1e-12)
    assert np.linalg.norm(f.minimiser) == pytest.approx(0.7, rel=1e-12)
    gamma, _, delta, alpha = constants(f)
    expected = -(gamma**2 / pairs + delta**2 / coordinates) / (2 * alpha)
    assert f.minimum == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("pairs", "coordinates"), SIZES)
def test_what_is_left_with_coordinates_unseen_is_equation_9_without_its_n(pairs, coordinates):
    f = NonSmooth(3.0, 0.7, pairs, coordinates)
    gamma, _, delta, alpha = constants(f)
    least, _ = solved(f, 2 * pairs, 2 * pairs + 1)
    assert f.restricted_minimum == pytest.approx(least, rel=1e-8)
    assert f.restricted_minimum == pytest.approx(-(gamma**2) / (4 * alpha * pairs), rel=1e-12)
    right = (gamma**2 / (2 * pairs) + delta**2 / coordinates) / (2 * alpha)
    assert least - f.minimum == pytest.approx(right, rel=1e-7)
    nodes = 2
    assert abs(least - f.minimum - right / nodes) > 0.1 * right


def test_with_the_printed_n_equation_9_would_not_give_equation_10():
    time, depth, nodes = 50.0, 1000, 1000
    f = NonSmooth.for_time(3.0, 0.7, time, depth)
    left = f.restricted_minimum - f.minimum
    bound = 3.0 * 0.7 / 36 * math.sqrt(1 / (1 + time / depth) ** 2 + 1 / (1 + time))
    assert left / nodes < left / 2 < bound <= left


@given(time=st.floats(0, 2000), depth=st.integers(1, 200))
def test_the_instance_for_a_time_keeps_the_gap_of_equation_10_until_then(time, depth):
    f = NonSmooth.for_time(1.0, 1.0, time, depth)
    assert time < min(f.coordinates, f.pairs * depth)
    bound = math.sqrt(1 / (1 + time / depth) ** 2 + 1 / (1 + time)) / 36
    assert bound * (1 - 1e-12) <= f.restricted_minimum - f.minimum


@pytest.mark.parametrize(("pairs", "coordinates"), SIZES)
def test_no_point_with_coordinates_unseen_is_below_the_restricted_minimum(pairs, coordinates):
    f = NonSmooth(3.0, 0.7, pairs, coordinates)
    points = 0.3 * np.random.default_rng(1).normal(size=(2000, f.dimension)) + f.minimiser
    points[:, 2 * pairs] = 0
    points[np.arange(2000), 2 * pairs + 1 + np.arange(2000) % coordinates] = 0
    assert np.all(f.value(points) >= f.restricted_minimum)
    assert f.minimum < f.restricted_minimum < 0


def test_the_subgradient_at_a_kink_is_the_one_that_tells_least():
    f = NonSmooth(1.0, 1.0, 2, 3)
    _, beta, delta, alpha = constants(f)
    at_zero = np.zeros(8)
    at_zero[[0, 5]] = -beta, delta
    np.testing.assert_allclose(f.gradient(np.zeros(8)), at_zero)
    tied = np.array([0, 0, 0, 0, 0, -1.0, 2.0, 2.0])
    at_tie = alpha * tied
    at_tie[[0, 6]] += -beta, delta
    np.testing.assert_allclose(f.gradient(tied), at_tie)


@pytest.mark.parametrize(("pairs", "coordinates"), SIZES)
def test_the_function_lies_above_its_subgradients_also_at_kinks(pairs, coordinates):
    f = NonSmooth(3.0, 0.7, pairs, coordinates)
    rng = np.random.default_rng(2)
    points = np.round(rng.normal(size=(300, f.dimension)))  # many coordinates are equal
    others = points + rng.normal(size=points.shape) * 10 ** rng.uniform(-3, 1, size=(300, 1))
    rise = np.sum(f.gradient(points) * (others - points), axis=1)
    assert np.all(f.value(others) - f.value(points) - rise >= -1e-12)
    # The strong convexity of the square is what remains: the inequality is not slack.
    least = f.curvature / 2 * np.sum((others - points) ** 2, axis=1)
    assert np.all(f.value(others) - f.value(points) - rise >= least - 1e-12)


def steepest(f):
    """The direction in which kinks, pull, maximum and square all add up."""
    gamma, beta, delta, _ = constants(f)
    direction = np.zeros(f.dimension)
    direction[: 2 * f.pairs + 1] = 2 * gamma * (-1.0) ** np.arange(1, 2 * f.pairs + 2)
    direction[[0, 2 * f.pairs, 2 * f.pairs + 1]] = -beta - gamma, -gamma, delta
    return direction / np.linalg.norm(direction)


@pytest.mark.parametrize(("pairs", "coordinates"), SIZES)
def test_it_is_lipschitz_within_its_radius_and_no_further(pairs, coordinates):
    f = NonSmooth(3.0, 0.7, pairs, coordinates)
    assert f.lipschitz_radius >= f.radius
    rng = np.random.default_rng(3)
    ends = rng.normal(size=(2, 20_000, f.dimension))
    ends *= f.lipschitz_radius / np.linalg.norm(ends, axis=-1, keepdims=True)
    ends *= rng.uniform(size=(2, 20_000, 1)) ** 0.1
    ends[1, ::2] = 0.999 * ends[0, ::2] + 0.001 * ends[1, ::2]
    apart = np.linalg.norm(ends[0] - ends[1], axis=-1)
    assert np.all(np.abs(f.value(ends[0]) - f.value(ends[1])) <= 3.0 * apart)

    def slope(start, end):
        along = f.lipschitz_radius * np.array([[start], [end]]) * steepest(f)
        return float(np.diff(f.value(along))[0] / (f.lipschitz_radius * (end - start)))

    assert 3.0 * 0.999 < slope(0.999, 1.0) < 3.0 < slope(1.0, 1.001)


def test_the_radius_of_the_minimiser_is_well_within():
    sizes = itertools.product([1, 2, 10, 1000], repeat=2)
    ratios = [NonSmooth(1.0, 1.0, *size).lipschitz_radius for size in sizes]
    assert min(ratios) > 3.5


numbers = st.floats(0.01, 100.0)


@given(a=numbers, b=numbers, size=st.sampled_from(SIZES), seed=st.integers(0, 99))
def test_units_scale_the_constants(a, b, size, seed):
    f, g = NonSmooth(3.0, 0.7, *size), NonSmooth(3.0 * b / a, 0.7 * a, *size)
    theta = np.random.default_rng(seed).normal(size=f.dimension)
    np.testing.assert_allclose(g.value(a * theta), b * f.value(theta), atol=1e-9 * b)
    np.testing.assert_allclose(g.gradient(a * theta), b / a * f.gradient(theta), atol=1e-9 * b / a)
    np.testing.assert_allclose(g.minimiser, a * f.minimiser)
    assert g.lipschitz_radius == pytest.approx(a * f.lipschitz_radius)
    assert g.restricted_minimum == pytest.approx(b * f.restricted_minimum)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 1, 1), "lipschitz must be a finite number above 0, got 0.0"),
        ((1.0, float("nan"), 1, 1), "radius must be a finite number above 0, got nan"),
        ((1.0, 1.0, 0, 1), "pairs must be an integer of at least 1, got 0"),
        ((1.0, 1.0, 1, 1.5), "coordinates must be an integer of at least 1, got 1.5"),
        ((1e200, 1e-200, 1, 1), "curvature must be .* got inf"),
        ((1e200, 1e200, 1, 1), "the minimum exceeds .* lipschitz=1e\\+200, radius=1e\\+200"),
    ],
)
def test_wrong_constants_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        NonSmooth(*arguments)


@pytest.mark.parametrize(
    ("time", "depth", "message"),
    [
        (-1.0, 1, "time must be a finite number of at least 0, got -1.0"),
        (float("inf"), 1, "time .* got inf"),
        (1.0, 0, "depth must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_times_and_depths_are_named(time, depth, message):
    with pytest.raises(ValueError, match=message):
        NonSmooth.for_time(1.0, 1.0, time, depth)
