"""Eq. (6), and what Eq. (7) takes from Carmon et al."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import approx_fprime, minimize

from pprs.theory.worst_case import SmoothNonconvex

STEEPEST = 0.76042  # where |Ψ''| is largest


def instance(coordinates, smoothness=2.0, epsilon=0.1):
    """An instance with so many coordinates, and its gap in the middle of what gives them."""
    gap = 12 * 152 * epsilon**2 / smoothness * (coordinates + 1)
    f = SmoothNonconvex(smoothness, gap, epsilon)
    assert f.coordinates == f.dimension == coordinates == 2 * f.pairs + 1
    return f


def printed(x):
    """f_T of Eq. (6), term by term."""

    def psi(t):
        return math.exp(1 - (2 * t - 1) ** -2) if t > 0.5 else 0.0

    def phi(t):
        return math.sqrt(math.e) * quad(lambda u: math.exp(-u * u / 2), -math.inf, t)[0]

    total = -psi(1) * phi(x[0])
    for i in range(len(x) - 1):
        total += psi(-x[i]) * phi(-x[i + 1]) - psi(x[i]) * phi(x[i + 1])
    return total


@pytest.mark.parametrize("coordinates", [1, 3, 7])
def test_the_function_is_equation_6_in_scaled_coordinates(coordinates):
    f = instance(coordinates)
    for x in np.random.default_rng(0).uniform(-3, 3, size=(5, coordinates)):
        expected = 2.0 * f.scale**2 / 152 * printed(x)
        assert f.value(f.scale * x) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert f.scale == pytest.approx(152 * 0.1 / 2.0)


@pytest.mark.parametrize("coordinates", [1, 3, 9])
def test_the_gradient_is_that_of_the_function(coordinates):
    f = instance(coordinates)
    for theta in f.scale * np.random.default_rng(1).uniform(-2, 2, size=(20, coordinates)):
        slopes = approx_fprime(theta, f.value, 1e-6)
        np.testing.assert_allclose(f.gradient(theta), slopes, atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "coordinates"), [(1.0, 1), (2.99, 1), (3.0, 3), (4.99, 3), (5.01, 5), (100.9, 99)]
)
def test_it_has_the_largest_odd_number_of_coordinates_that_the_gap_allows(ratio, coordinates):
    for smoothness, epsilon in np.random.default_rng(2).lognormal(sigma=3, size=(200, 2)):
        gap = ratio * 12 * 152 * epsilon * epsilon / smoothness
        assert SmoothNonconvex(smoothness, gap, epsilon).coordinates == coordinates


@pytest.mark.parametrize("coordinates", [1, 3, 5, 11])
def test_no_descent_falls_below_the_infimum_nor_by_more_than_the_gap(coordinates):
    # The gap that leaves no room: a ratio of exactly T.
    f = SmoothNonconvex(2.0, 12 * 152 * 0.1**2 / 2.0 * coordinates, 0.1)
    assert f.coordinates == coordinates
    starts = f.scale * np.random.default_rng(3).uniform(-3, 3, size=(20, coordinates))
    ends = [minimize(f.value, start, jac=f.gradient, method="L-BFGS-B") for start in starts]
    lowest = min(float(end.fun) for end in ends)
    assert f.infimum <= lowest
    far = float(f.value(np.full(coordinates, 1e4 * f.scale)))
    assert f.infimum <= far <= f.infimum * (1 - 1e-7)
    at_zero = float(f.value(np.zeros(coordinates)))
    assert 0.15 * f.gap < at_zero - f.infimum <= f.gap


@pytest.mark.parametrize("coordinates", [1, 3, 7])
@pytest.mark.parametrize("unseen", ["last", "any"])
def test_the_gradient_is_long_wherever_a_coordinate_is_zero(coordinates, unseen):
    f = instance(coordinates)
    rng = np.random.default_rng(4)
    points = rng.uniform(-3, 3, size=(20_000, coordinates)) * rng.choice([0.5, 1, 10], (20_000, 1))
    which = np.full(20_000, -1) if unseen == "last" else rng.integers(coordinates, size=20_000)
    points[np.arange(20_000), which] = 0
    assert np.linalg.norm(f.gradient(f.scale * points), axis=1).min() > f.epsilon


def shortest(f, start, free):
    """The shortest gradient that a search finds from a start by moving the free coordinates."""

    def length(x):
        return float(np.linalg.norm(f.gradient(f.scale * np.where(free, x, start))))

    return float(minimize(length, start, method="Nelder-Mead", options={"maxiter": 600}).fun)


def test_a_search_finds_no_short_gradient_unless_it_may_move_the_last_coordinate():
    f = instance(3)
    starts = np.random.default_rng(5).uniform(-2, 2, size=(15, 3)) * [1, 1, 0]
    unseen = min(shortest(f, start, np.array([True, True, False])) for start in starts)
    seen = min(shortest(f, start, np.ones(3, bool)) for start in starts)
    assert seen < 0.1 * f.epsilon < f.epsilon < unseen


def test_the_gradient_is_lipschitz_with_the_smoothness_and_nearly_reaches_it():
    f = instance(5)
    rng = np.random.default_rng(6)
    points = rng.uniform(-2, 2, size=(50_000, 5))
    points[::2, 3:] += 5
    steps = rng.normal(size=points.shape) * 10 ** rng.uniform(-4, 0.5, size=(50_000, 1))
    change = f.gradient(f.scale * (points + steps)) - f.gradient(f.scale * points)
    quotients = np.linalg.norm(change, axis=1) / np.linalg.norm(f.scale * steps, axis=1)
    assert 0.7 * f.smoothness < quotients.max() < f.smoothness
    # The witness: |Ψ''| is largest, 32.4, and Φ of the next coordinate is √(2πe).
    low, high = (f.scale * np.array([0, 0, x, 9, 0]) for x in (STEEPEST, STEEPEST + 1e-5))
    witness = np.linalg.norm(f.gradient(high) - f.gradient(low)) / np.linalg.norm(high - low)
    assert witness / f.smoothness == pytest.approx(133.85 / 152, rel=1e-4)


numbers = st.floats(0.01, 100.0)


@given(a=numbers, b=numbers, pairs=st.integers(0, 4), seed=st.integers(0, 99))
def test_units_scale_the_constants(a, b, pairs, seed):
    f = instance(2 * pairs + 1)
    g = SmoothNonconvex(f.smoothness * b / a**2, f.gap * b, f.epsilon * b / a)
    assert g.coordinates == f.coordinates
    theta = f.scale * np.random.default_rng(seed).uniform(-2, 2, size=f.dimension)
    np.testing.assert_allclose(g.value(a * theta), b * f.value(theta), atol=1e-9 * b)
    np.testing.assert_allclose(g.gradient(a * theta), b / a * f.gradient(theta), atol=1e-9 * b / a)
    assert g.infimum == pytest.approx(b * f.infimum)


def test_an_epsilon_too_large_is_refused_with_the_largest():
    largest = math.sqrt(3.0 * 2.0 / 1824)
    with pytest.raises(ValueError, match="epsilon must be at most 0.0573539334") as refused:
        SmoothNonconvex(3.0, 2.0, 1.01 * largest)
    told = float(str(refused.value).split("at most ")[1].split()[0])
    assert SmoothNonconvex(3.0, 2.0, told).coordinates == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0, 0.01), "smoothness must be a finite number above 0, got -1.0"),
        ((1.0, 0.0, 0.01), "gap must be a finite number above 0, got 0.0"),
        ((1.0, 1.0, float("nan")), "epsilon must be a finite number above 0, got nan"),
        ((1.0, 1.0, 1e-200), "number of coordinates exceeds .* epsilon=1e-200"),
    ],
)
def test_wrong_constants_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SmoothNonconvex(*arguments)
