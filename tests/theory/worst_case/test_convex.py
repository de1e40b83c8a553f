"""Eq. (1), (2), (4) and (5)."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pprs.theory.worst_case import SmoothConvex

PAIRS = [0, 1, 2, 5, 20]


def printed(theta, smoothness, pairs):
    """Eq. (1), term by term."""
    inner = sum((theta[i] - theta[i - 1]) ** 2 for i in range(1, 2 * pairs + 1))
    ends = theta[0] ** 2 + theta[2 * pairs] ** 2 - 2 * theta[0]
    return smoothness / 8 * (inner + ends)


def matrix(function):
    """M of the source: 2 on the diagonal and -1 beside it."""
    n, d = function.coordinates, function.dimension
    m = np.zeros((d, d))
    m[:n, :n] = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    return m


def differences(function, theta, step=1e-5):
    """Central differences, exact for squares but for rounding."""
    moves = step * np.eye(theta.size)
    return (function.value(theta + moves) - function.value(theta - moves)) / (2 * step)


@pytest.mark.parametrize("pairs", PAIRS)
def test_the_function_is_equation_1_in_scaled_coordinates(pairs):
    f = SmoothConvex(3.0, 0.7, pairs)
    theta = np.random.default_rng(0).normal(size=f.dimension)
    expected = f.scale**2 * printed(theta / f.scale, 3.0, pairs)
    assert f.value(theta) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("pairs", PAIRS)
def test_the_gradient_is_that_of_the_function_and_not_the_printed_one(pairs):
    f = SmoothConvex(3.0, 0.7, pairs, dimension=2 * pairs + 3)
    first = f.scale * np.eye(f.dimension)[0]
    for theta in np.random.default_rng(1).normal(size=(5, f.dimension)):
        slopes = differences(f, theta)
        np.testing.assert_allclose(f.gradient(theta), slopes, atol=1e-8)
        right = 3.0 / 4 * (matrix(f) @ theta - first)
        np.testing.assert_allclose(f.gradient(theta), right, atol=1e-12)
        wrong = 3.0 / 8 * (matrix(f) @ theta - 2 * first)
        assert np.max(np.abs(wrong - slopes)) > 1e-2


@pytest.mark.parametrize(("pairs", "dimension"), [(0, 0), (1, 0), (3, 9), (8, 17)])
def test_minimum_and_minimiser_are_those_of_a_solver(pairs, dimension):
    f = SmoothConvex(2.0, 1.5, pairs, dimension)
    theta = cp.Variable(f.dimension)
    unused = cp.sum_squares(theta[f.coordinates :]) if f.dimension > f.coordinates else 0
    problem = cp.Problem(cp.Minimize(f.scale**2 * printed(theta / f.scale, 2.0, pairs) + unused))
    problem.solve(solver=cp.CLARABEL)
    # The unused coordinates are free; the added squares keep them at 0.
    assert f.minimum == pytest.approx(problem.value, abs=1e-7)
    np.testing.assert_allclose(f.minimiser, theta.value, atol=1e-4)


@pytest.mark.parametrize("pairs", PAIRS)
def test_the_minimiser_is_a_radius_away_and_stationary_with_the_value_of_equation_2(pairs):
    f = SmoothConvex(2.0, 1.5, pairs, dimension=2 * pairs + 4)
    assert np.linalg.norm(f.minimiser) == pytest.approx(1.5, rel=1e-13)
    np.testing.assert_allclose(f.gradient(f.minimiser), 0, atol=1e-14)
    assert f.value(f.minimiser) == pytest.approx(f.minimum, rel=1e-12)
    unscaled = SmoothConvex(2.0, 1.5 / f.scale, pairs)
    assert unscaled.minimum == pytest.approx(-2.0 / 8 * (1 - 1 / (2 * pairs + 2)), rel=1e-14)


@pytest.mark.parametrize("pairs", PAIRS)
def test_the_curvature_is_between_0_and_the_smoothness_and_nearly_reaches_it(pairs):
    f = SmoothConvex(5.0, 1.0, pairs, dimension=2 * pairs + 2)
    hessian = f.gradient(np.eye(f.dimension)) - f.gradient(np.zeros(f.dimension))
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    spectrum = np.linalg.eigvalsh(hessian)
    assert spectrum[0] >= -1e-12
    # 4 cos²(π / (2(n + 1))) is the largest eigenvalue of M: 0.5 β for one coordinate, then near β.
    largest = 5.0 * np.cos(np.pi / (4 * pairs + 4)) ** 2
    assert spectrum[-1] == pytest.approx(largest, rel=1e-12)
    assert spectrum[-1] < 5.0


@pytest.mark.parametrize("pairs", PAIRS)
def test_the_first_coordinates_reach_no_less_than_equation_4(pairs):
    f = SmoothConvex(2.0, 1.5, pairs)
    for found in range(1, f.coordinates + 1):
        theta = np.zeros(f.dimension)
        part = matrix(f)[:found, :found]
        theta[:found] = np.linalg.solve(part, f.scale * np.eye(found)[0])
        assert f.restricted_minimum(found) == pytest.approx(float(f.value(theta)), rel=1e-10)
        expected = -2.0 / 8 * f.scale**2 * (1 - 1 / (found + 1))
        assert f.restricted_minimum(found) == pytest.approx(expected, rel=1e-12)
    assert f.restricted_minimum(f.coordinates) == f.minimum


@pytest.mark.parametrize("pairs", [1, 2, 5, 20, 300])
def test_half_of_the_coordinates_leave_the_gap_of_equation_5(pairs):
    f = SmoothConvex(2.0, 1.5, pairs)
    left = f.restricted_minimum(pairs) - f.minimum
    bound = 3 * 2.0 * 1.5**2 / (32 * (pairs + 1) ** 2)
    assert bound <= left <= bound * (1 + 1 / pairs)
    assert f.restricted_minimum(pairs + 1) - f.minimum < left


numbers = st.floats(0.01, 100.0)


@given(a=numbers, b=numbers, pairs=st.integers(0, 4), seed=st.integers(0, 99))
def test_units_scale_the_constants(a, b, pairs, seed):
    f, g = SmoothConvex(3.0, 0.7, pairs), SmoothConvex(3.0 * b / a**2, 0.7 * a, pairs)
    theta = np.random.default_rng(seed).normal(size=f.dimension)
    np.testing.assert_allclose(g.value(a * theta), b * f.value(theta), rtol=1e-9, atol=1e-9 * b)
    np.testing.assert_allclose(g.gradient(a * theta), b / a * f.gradient(theta), atol=1e-9 * b / a)
    np.testing.assert_allclose(g.minimiser, a * f.minimiser)
    assert g.minimum == pytest.approx(b * f.minimum)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 1), "smoothness must be a finite number above 0, got 0.0"),
        ((1.0, float("inf"), 1), "radius must be a finite number above 0, got inf"),
        ((1.0, 1.0, -1), "pairs must be an integer of at least 0, got -1"),
        ((1.0, 1.0, True), "pairs must be an integer of at least 0, got True"),
        ((1.0, 1.0, 1.5), "pairs .* got 1.5"),
        ((1.0, 1.0, 2, 4), "dimension must be an integer of at least 5, got 4"),
        ((1e200, 1e100, 1), "the minimum exceeds .* smoothness=1e\\+200, radius=1e\\+100"),
    ],
)
def test_wrong_constants_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SmoothConvex(*arguments)


@pytest.mark.parametrize("found", [0, 6, 1.5])
def test_a_wrong_number_of_found_coordinates_is_named(found):
    with pytest.raises(ValueError, match=f"found must be .*5?.* got {found}"):
        SmoothConvex(1.0, 1.0, 2).restricted_minimum(found)
