"""Lower bounds with exact counts, against the functions that prove them."""

import itertools
import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PEPit import PEP
from PEPit.functions import ConvexLipschitzFunction
from scipy.optimize import minimize_scalar

from pprs.theory.bounds import (
    coordinates,
    exact_coordinates,
    gap_nonsmooth,
    gap_smooth_convex,
    lower_nonsmooth,
    lower_smooth_convex,
)
from pprs.theory.bounds._lower import _path_decay
from pprs.theory.worst_case import SmoothConvex

positive = st.floats(1e-3, 1e3)
depths = st.integers(1, 100)


@given(time=st.integers(1, 10_000), depth=depths)
def test_exact_counts_are_below_eq_3_and_add_two_for_every_trip_there_and_back(time, depth):
    for last_first in (False, True):
        count = exact_coordinates(time=time, depth=depth, last_first=last_first)
        assert count <= coordinates(time=time, depth=depth)[0]
        later = exact_coordinates(time=time + 2 * depth - 1, depth=depth, last_first=last_first)
        assert later == count + (2 if depth > 1 else 1)


def test_exact_counts_of_a_chain_of_four_are_known():
    def counted(last_first):
        return [
            exact_coordinates(time=t, depth=4, last_first=last_first)
            for t in (0.9, 1, 3.9, 4, 5, 7.9, 8, 11, 12, 15)
        ]

    assert counted(True) == [0, 1, 1, 2, 2, 2, 3, 4, 4, 5]
    assert counted(False) == [0, 1, 1, 1, 2, 2, 3, 3, 4, 5]


@pytest.mark.parametrize("found", [0, 1, 2, 7, 40])
def test_no_number_of_coordinates_of_eq_1_keeps_a_larger_gap(found):
    functions = [SmoothConvex(2.0, 3.0, pairs) for pairs in range(found // 2, 4 * found + 3)]
    gaps = [
        (f.restricted_minimum(found) if found else 0.0) - f.minimum
        for f in functions
        if f.coordinates > found
    ]
    bound = gap_smooth_convex(smoothness=2.0, radius=3.0, time=float(found), depth=1)
    assert bound == pytest.approx(max(gaps), rel=1e-12)


@given(smoothness=positive, radius=positive, epsilon=positive, depth=depths)
def test_the_exact_time_is_that_of_the_coordinate_that_is_missing(
    smoothness, radius, epsilon, depth
):
    problem = dict(smoothness=smoothness, radius=radius, depth=depth)
    time = lower_smooth_convex(**problem, epsilon=epsilon).time
    assert time >= lower_smooth_convex(**problem, epsilon=epsilon, printed=True).time * (1 - 1e-9)
    assert gap_smooth_convex(**problem, time=time) <= epsilon * (1 + 1e-9)
    if time:
        assert gap_smooth_convex(**problem, time=time - 0.5) > epsilon


def test_the_time_is_there_at_once_where_coordinates_are_beyond_counting():
    smooth = dict(smoothness=1.0, radius=1.0, depth=10)
    assert lower_smooth_convex(**smooth, epsilon=1e-200).time == pytest.approx(
        math.sqrt(3 / 32) * 1e100 * 19 / 2, rel=1e-9
    )


def test_exact_counts_double_the_lower_bounds_of_deep_chains():
    smooth = dict(smoothness=1.0, radius=1.0, epsilon=1e-5, depth=1000)
    assert lower_smooth_convex(**smooth).time == 95953
    assert lower_smooth_convex(**smooth, printed=True).time == pytest.approx(47413, abs=1)


def sharp_case(pairs, count, ratio):
    """(8) with δ = 1 and γ = ratio, R = 1: its gap over L, with a solver for both minima."""
    size, pull = 2 * pairs + 1, ratio * (1 + 1 / (2 * pairs))
    alpha = math.sqrt(ratio**2 * size / (4 * pairs**2) + 1 / count)
    theta, extra = cp.Variable(size), cp.Variable(count)
    value = (
        ratio * cp.norm1(cp.diff(theta))
        - pull * theta[0]
        + cp.max(extra)
        + alpha / 2 * (cp.sum_squares(theta) + cp.sum_squares(extra))
    )
    free, bound = cp.Problem(cp.Minimize(value)), [theta[-1] == 0, extra[-1] == 0]
    free.solve(solver="CLARABEL")
    assert np.sum(theta.value**2) + np.sum(extra.value**2) == pytest.approx(1, rel=1e-2)
    held = cp.Problem(cp.Minimize(value), bound)
    held.solve(solver="CLARABEL")
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=2 * pairs)))
    slopes = np.zeros((len(signs), size))
    slopes[:, :-1] -= ratio * signs
    slopes[:, 1:] += ratio * signs
    slopes[:, 0] -= pull
    steepest = math.sqrt((slopes**2).sum(axis=1).max() + 1)
    return (held.value - free.value) / (steepest + alpha)


@pytest.mark.parametrize(("time", "depth"), [(0, 1), (12, 5), (100, 200), (150, 50), (400, 100)])
def test_theorem_5_is_the_largest_gap_of_functions_like_eq_8(time, depth):
    reached = exact_coordinates(time=time, depth=depth, last_first=True)
    pairs = max(1, math.ceil(reached / 2))
    best = minimize_scalar(
        lambda ratio: -sharp_case(pairs, time + 1, math.exp(ratio)),
        bounds=(-4, 2),
        method="bounded",
        options={"xatol": 1e-2},
    )
    bound = _path_decay(time, depth)
    classical = 1 / (2 * math.sqrt(time + 1) + 2)  # without a path
    assert bound == pytest.approx(max(-best.fun, classical), rel=1e-3)
    assert (bound > 1.05 * classical) == (depth >= 50)
    assert bound > 2 * gap_nonsmooth(
        lipschitz=1.0, radius=1.0, time=time, depth=depth, printed=True
    )


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_theorem_8_is_what_the_best_method_of_one_node_reaches_in_as_many_passes(passes):
    lipschitz, radius = 2.0, 1.5
    problem = PEP()
    f = problem.declare_function(ConvexLipschitzFunction, M=lipschitz)
    best, x = f.stationary_point(), problem.set_initial_point()
    problem.set_initial_condition((x - best) ** 2 <= radius**2)
    problem.set_performance_metric(f(x) - f(best))
    for _ in range(passes):
        x = x - radius / (lipschitz * math.sqrt(passes + 1)) * f.gradient(x)
        problem.set_performance_metric(f(x) - f(best))
    exact = problem.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0)
    bound = gap_nonsmooth(lipschitz=lipschitz, radius=radius, time=float(passes), depth=1)
    assert bound == pytest.approx(exact, rel=1e-4)


def test_the_chain_counts_where_it_is_deep_for_the_precision():
    problem = dict(lipschitz=1.0, radius=1.0, epsilon=1 / 200)
    flat, deep = (lower_nonsmooth(**problem, depth=depth) for depth in (100, 1000))
    assert (flat.time, flat.equation, flat.dimension) == (39_999, "Theorem 8", 39_999)
    assert (deep.time, deep.equation) == (47_977, "Eq. (10), Theorem 5")
    pairs = math.ceil(exact_coordinates(time=47_976, depth=1000, last_first=True) / 2)
    assert deep.dimension == 2 * pairs + 1 + 47_977


@given(ratio=st.floats(0.1, 1e5), depth=depths)
def test_no_procedure_is_there_before_the_time_of_theorems_5_and_8(ratio, depth):
    problem = dict(lipschitz=1.0, radius=1.0, depth=depth)
    time = lower_nonsmooth(**problem, epsilon=1 / ratio).time
    assert time >= math.floor(lower_nonsmooth(**problem, epsilon=1 / ratio, printed=True).time)
    assert time >= ratio**2 * (1 - 1e-9) - 1  # Theorem 8
    if time:
        assert gap_nonsmooth(**problem, time=time - 0.5) * ratio > 1
    assert gap_nonsmooth(**problem, time=time) * ratio <= 1 + 1e-9
