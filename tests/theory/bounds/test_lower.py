"""Lower bounds against the functions that prove them, and against the rates of methods."""

import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import ndtr

from pprs.theory.bounds import (
    Bound,
    accelerated,
    coordinates,
    gap_nonsmooth,
    gap_smooth_convex,
    gradient_descent,
    gradient_descent_nonconvex,
    lower_nonsmooth,
    lower_smooth_convex,
    lower_smooth_nonconvex,
    pprs_convex,
    subgradient,
)

positive = st.floats(1e-3, 1e3)
depths = st.integers(1, 100)
C = 12 * 152


@given(time=st.floats(0, 1e4), depth=depths)
def test_eq_3_relaxed_number_of_coordinates_is_at_least_the_exact_one(time, depth):
    exact, relaxed = coordinates(time=time, depth=depth)
    assert 0 <= exact <= relaxed * (1 + 1e-12)


def test_eq_3_counts_one_more_coordinate_for_each_trip_along_the_chain():
    counted = [coordinates(time=t, depth=4)[0] for t in (0, 1, 3.9, 4, 6.9, 7, 10)]
    assert counted == [0, 1, 1, 2, 2, 3, 4]
    assert [coordinates(time=t, depth=1)[0] for t in (0, 0.9, 1, 1.9, 5)] == [0, 0, 1, 1, 5]
    # As printed, the relaxed form would be -1 here.
    assert coordinates(time=0, depth=1) == (0, 0.0)


def split_quadratic(pairs, smoothness):
    """Eq. (1): the matrix and the linear term of its value x'Ax/2 - b'x."""
    size = 2 * pairs + 1
    matrix = smoothness / 4 * (2 * np.eye(size) - np.eye(size, k=1) - np.eye(size, k=-1))
    return matrix, smoothness / 4 * np.eye(size)[0]


@pytest.mark.parametrize(("time", "depth"), [(1, 1), (1, 5), (6, 2), (9, 1), (25, 4)])
def test_eq_5_is_below_the_gap_of_the_function_of_eq_1(time, depth):
    pairs, smoothness = coordinates(time=time, depth=depth)[0], 3.0
    matrix, linear = split_quadratic(pairs, smoothness)
    assert np.linalg.eigvalsh(matrix)[-1] <= smoothness
    best = np.linalg.solve(matrix, linear)
    reached = np.linalg.solve(matrix[:pairs, :pairs], linear[:pairs])
    gap = (linear @ best - linear[:pairs] @ reached) / 2
    bound = gap_smooth_convex(
        smoothness=smoothness, radius=np.linalg.norm(best), time=time, depth=depth, printed=True
    )
    # At least a tenth: a constant ten times larger would be refuted. It loses most where the
    # relaxed form of Eq. (3) does.
    assert gap / 10 < bound <= gap


@given(smoothness=positive, radius=positive, epsilon=positive, depth=depths)
def test_eq_5_time_is_the_first_at_which_the_gap_is_epsilon(smoothness, radius, epsilon, depth):
    problem = dict(smoothness=smoothness, radius=radius, depth=depth, printed=True)
    time = lower_smooth_convex(**problem, epsilon=epsilon).time
    assert gap_smooth_convex(**problem, time=time) <= epsilon * (1 + 1e-9)
    if time > 0:
        assert gap_smooth_convex(**problem, time=time * (1 - 1e-6)) > epsilon * (1 - 1e-9)


def carmon(x):
    """The function of Eq. (6) and its gradient, by the formulas of Carmon et al. (2017)."""

    def bump(u):
        inside = u > 0.5
        w = 2 * np.where(inside, u, 1.0) - 1
        value = np.where(inside, np.exp(1 - w**-2), 0.0)
        return value, value * 4 / w**3

    def step(u):
        return math.sqrt(2 * math.pi * math.e) * ndtr(u), np.exp(0.5 - u * u / 2)

    before = np.concatenate([[1.0], x[:-1]])
    (p, dp), (q, dq) = bump(before), bump(-before)
    (a, da), (b, db) = step(x), step(-x)
    gradient = -p * da - q * db
    gradient[:-1] += (-dq * b - dp * a)[1:]
    return float(np.sum(q * b - p * a)), gradient


def test_eq_7_holds_for_as_many_coordinates_as_the_rounded_number():
    smoothness, gap, epsilon, depth = 2.0, 5.0, 0.03, 7
    time = lower_smooth_nonconvex(smoothness=smoothness, gap=gap, epsilon=epsilon, depth=depth).time
    size = round(1 + (time - 1) * 2 / (2 * depth - 1))
    assert size == 5  # of 6.09
    length = 152 * epsilon / smoothness  # scales θ; values by smoothness * length**2 / 152
    height, slope = smoothness * length**2 / 152, smoothness * length / 152
    rng = np.random.default_rng(0)
    lowest = min(
        minimize(carmon, rng.normal(size=size), jac=True, method="BFGS").fun for _ in range(20)
    )
    assert height * (carmon(np.zeros(size))[0] - lowest) <= gap

    def squared(x):
        return float(np.sum(carmon(np.append(x, 0.0))[1] ** 2))

    flattest = min(minimize(squared, 2 * rng.normal(size=size - 1)).fun for _ in range(20))
    assert slope * math.sqrt(flattest) > epsilon
    for x in 2 * rng.normal(size=(200, size)):
        columns = [(carmon(x + e)[1] - carmon(x - e)[1]) / 2e-5 for e in 1e-5 * np.eye(size)]
        assert np.linalg.norm(columns, 2) * smoothness / 152 <= smoothness


@pytest.mark.parametrize(
    ("ratio", "right", "printed"), [(2.9, 1, 20), (2.2, 1, 13), (0.95, 0, 0.5)]
)
def test_eq_7_as_printed_claims_more_than_whole_coordinates_give(ratio, right, printed):
    problem = dict(smoothness=1.0, gap=ratio * C, epsilon=1.0, depth=20)
    assert lower_smooth_nonconvex(**problem).time == right
    assert lower_smooth_nonconvex(**problem, printed=True).time == pytest.approx(printed)


def test_eq_7_needs_no_rounding_for_an_odd_number_of_coordinates():
    problem = dict(smoothness=1.0, gap=7.0 * C, epsilon=1.0, depth=20)
    assert lower_smooth_nonconvex(**problem).time == 1 + 3 * 39
    assert lower_smooth_nonconvex(**problem, printed=True).time == 61


def test_eq_10_adds_a_term_of_the_chain_and_one_of_the_maximum():
    gap = gap_nonsmooth(lipschitz=2.0, radius=3.0, time=24.0, depth=6, printed=True)
    assert gap == pytest.approx(6 / 36 * math.sqrt(1 / 5**2 + 1 / 25))


def nonsmooth_minimum(pairs, count, alpha, reached):
    """Minimum and minimizer of Eq. (8) with L = 1, with or without its last coordinates."""
    size = 2 * pairs + 1
    theta, extra = cp.Variable(size), cp.Variable(count)
    gamma = 1 / (9 * math.sqrt(pairs))
    value = (
        gamma * cp.norm1(cp.diff(theta))
        - gamma * (1 + 1 / math.sqrt(2 * pairs)) * theta[0]
        + cp.max(extra) / 9
        + alpha / 2 * (cp.sum_squares(theta) + cp.sum_squares(extra))
    )
    fixed = [theta[-1] == 0, extra[-1] == 0] if reached else []
    problem = cp.Problem(cp.Minimize(value), fixed)
    problem.solve(solver="CLARABEL")
    return problem.value, np.concatenate([theta.value, extra.value])


@pytest.mark.parametrize(("time", "depth"), [(0, 1), (3, 3), (7, 2), (12, 5)])
def test_eq_10_is_below_the_gap_of_the_function_of_eq_8(time, depth):
    pairs, count = time // depth + 1, time + 1
    assert coordinates(time=time, depth=depth)[1] < 2 * pairs + 1
    alpha = math.sqrt(1 / pairs**2 + 1 / count) / 9  # for a radius of 1
    lowest, best = nonsmooth_minimum(pairs, count, alpha, reached=False)
    assert np.linalg.norm(best) <= 1 + 1e-6
    gap = nonsmooth_minimum(pairs, count, alpha, reached=True)[0] - lowest
    bound = gap_nonsmooth(lipschitz=1.0, radius=1.0, time=time, depth=depth, printed=True)
    # A constant three times larger would be refuted.
    assert gap / 3 < bound <= gap * (1 + 1e-6)


@given(lipschitz=positive, radius=positive, epsilon=st.floats(1e-8, 1e3), depth=depths)
def test_eq_10_is_inverted(lipschitz, radius, epsilon, depth):
    problem = dict(lipschitz=lipschitz, radius=radius, depth=depth, printed=True)
    time = lower_nonsmooth(**problem, epsilon=epsilon).time
    if time == 0:
        assert gap_nonsmooth(**problem, time=0.0) <= epsilon * (1 + 1e-9)
    else:
        assert gap_nonsmooth(**problem, time=time) == pytest.approx(epsilon, rel=1e-9)


@given(constant=positive, radius=positive, epsilon=st.floats(1e-3, 1e3), depth=depths)
def test_no_method_is_faster_than_the_lower_bound(constant, radius, epsilon, depth):
    common = dict(epsilon=epsilon, depth=depth)
    smooth = dict(smoothness=constant, radius=radius, **common)
    slow = lower_smooth_convex(**smooth).time
    assert slow <= min(accelerated(**smooth).time, gradient_descent(**smooth).time)
    flat = dict(smoothness=constant, gap=radius, **common)
    assert lower_smooth_nonconvex(**flat).time <= gradient_descent_nonconvex(**flat).time
    rough = dict(lipschitz=constant, radius=radius, **common)
    slow = lower_nonsmooth(**rough).time
    assert slow <= min(subgradient(**rough).time, pprs_convex(**rough, dimension=1).time)


@given(
    constant=positive,
    radius=positive,
    epsilon=st.floats(1e-6, 1e3),
    depth=depths,
    factor=st.floats(1, 10),
)
def test_time_grows_with_depth_and_constants_and_precision(
    constant, radius, epsilon, depth, factor
):
    for bound, names in (
        (lower_smooth_convex, ("smoothness", "radius")),
        (lower_smooth_nonconvex, ("smoothness", "gap")),
        (lower_nonsmooth, ("lipschitz", "radius")),
    ):
        problem = {names[0]: constant, names[1]: radius, "epsilon": epsilon, "depth": depth}
        time = bound(**problem).time
        slack = time * (1 - 1e-9)
        assert bound(**{**problem, "depth": depth + 1}).time >= slack
        assert bound(**{**problem, "epsilon": epsilon / factor}).time >= slack
        for name in names:
            assert bound(**{**problem, name: problem[name] * factor}).time >= slack


def test_a_lower_bound_has_no_settings():
    bound = lower_nonsmooth(lipschitz=1.0, radius=1.0, epsilon=0.001, depth=3)
    assert bound == Bound(time=999_999.0, equation="Theorem 8", dimension=999_999)


BOUNDS = [
    (lower_smooth_convex, {"smoothness": 1.0, "radius": 1.0}),
    (lower_smooth_nonconvex, {"smoothness": 1.0, "gap": 1.0}),
    (lower_nonsmooth, {"lipschitz": 1.0, "radius": 1.0}),
]


@pytest.mark.parametrize(("bound", "objective"), BOUNDS)
def test_bad_input_is_named(bound, objective):
    good = {**objective, "epsilon": 0.1, "depth": 3}
    for name in (*objective, "epsilon"):
        for value in (0.0, -1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=f"{name} must be a finite number above 0, got"):
                bound(**{**good, name: value})
    for depth in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="depth must be an integer of at least 1, got"):
            bound(**{**good, "depth": depth})
    with pytest.raises(ValueError, match="exceeds the largest floating-point number"):
        bound(**{**good, "epsilon": 1e-300, next(iter(objective)): 1e300})


def test_a_negative_time_is_refused():
    with pytest.raises(ValueError, match="time must be a finite number of at least 0, got -1"):
        gap_nonsmooth(lipschitz=1.0, radius=1.0, time=-1.0, depth=1)
    with pytest.raises(ValueError, match="time must be"):
        coordinates(time=-0.1, depth=1)
