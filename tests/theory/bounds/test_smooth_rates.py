"""Rates of gradient methods on smooth objectives against exact worst cases from PEPit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PEPit import PEP
from PEPit.functions import SmoothConvexFunction, SmoothFunction

from pprs.theory.bounds import accelerated, gradient_descent, gradient_descent_nonconvex, lemma1
from pprs.theory.bounds._sequence import lambdas, steps_until

SMOOTHNESS, RADIUS = 2.0, 1.5


def solve(problem):
    return problem.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0)


def convex_start():
    problem = PEP()
    f = problem.declare_function(SmoothConvexFunction, L=SMOOTHNESS)
    best = f.stationary_point()
    start = problem.set_initial_point()
    problem.set_initial_condition((start - best) ** 2 <= RADIUS**2)
    return problem, f, best, start


@pytest.mark.parametrize("steps", range(1, 6))
def test_gradient_descent_is_as_slow_as_its_exact_worst_case(steps):
    problem, f, best, x = convex_start()
    for _ in range(steps):
        x = x - f.gradient(x) / SMOOTHNESS
    problem.set_performance_metric(f(x) - f(best))
    exact = solve(problem)
    assert exact == pytest.approx(SMOOTHNESS * RADIUS**2 / (4 * steps + 2), rel=1e-4)
    case = dict(smoothness=SMOOTHNESS, radius=RADIUS, depth=3)
    bound = gradient_descent(**case, epsilon=exact * 1.001)
    assert (bound.iterations, bound.lr, bound.time) == (steps, 0.5, 6 * steps)
    assert gradient_descent(**case, epsilon=exact * 0.999).iterations == steps + 1


@pytest.mark.parametrize("steps", range(3, 8))
def test_accelerated_bound_is_between_once_and_twice_the_exact_worst_case(steps):
    problem, f, best, x = convex_start()
    y, terms = x, lambdas(steps + 1)
    for t in range(steps):
        following = x - f.gradient(x) / SMOOTHNESS
        momentum = (terms[t] - 1) / terms[t + 1]
        x, y = (1 + momentum) * following - momentum * y, following
    problem.set_performance_metric(f(y) - f(best))
    exact = solve(problem)
    bound = lemma1(smoothness=SMOOTHNESS, radius=RADIUS, noise=0.0, step=steps)
    assert exact <= bound <= 2 * exact
    case = dict(smoothness=SMOOTHNESS, radius=RADIUS, depth=3)
    reached = accelerated(**case, epsilon=bound * (1 + 1e-12))
    assert (reached.iterations, reached.momentum) == (steps, "nesterov")
    assert reached.time == 6 * steps
    assert accelerated(**case, epsilon=bound * 0.999).iterations == steps + 1


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_gradient_descent_without_convexity_is_no_slower_than_its_bound(steps):
    problem = PEP()
    f = problem.declare_function(SmoothFunction, L=SMOOTHNESS)
    x = start = problem.set_initial_point()
    for _ in range(steps):
        gradient = f.gradient(x)
        problem.set_performance_metric(gradient**2)
        x = x - gradient / SMOOTHNESS
    problem.set_initial_condition(f(start) - f(x) <= 3.0)
    exact = solve(problem)
    bound = 2 * SMOOTHNESS * 3.0 / steps
    assert exact <= bound * (1 + 1e-6)
    assert bound <= 2 * exact
    case = dict(smoothness=SMOOTHNESS, gap=3.0, depth=2)
    reached = gradient_descent_nonconvex(**case, epsilon=math.sqrt(bound) * (1 + 1e-12))
    assert (reached.iterations, reached.time) == (steps, 4 * steps)


def test_a_start_within_epsilon_needs_no_step():
    case = dict(smoothness=2.0, radius=1.0, epsilon=1.0, depth=4)
    assert gradient_descent(**case).time == accelerated(**case).time == 0


@given(target=st.floats(1.0001, 2000))
def test_steps_until_is_the_first_step(target):
    step = steps_until(target)
    terms = lambdas(step)
    assert terms[step - 2] < target <= terms[step - 1]


def test_many_steps_are_few_too_many():
    step = steps_until(150_000.0)
    terms = lambdas(step)
    first = int((terms < 150_000.0).sum()) + 1
    assert first <= step <= first + 3


@given(
    smoothness=st.floats(1e-3, 1e3),
    radius=st.floats(1e-3, 1e3),
    epsilon=st.floats(1e-2, 1e3),
    depth=st.integers(1, 50),
    length=st.integers(-20, 20),
    height=st.integers(-20, 20),
)
def test_units_change_only_the_step_size(smoothness, radius, epsilon, depth, length, height):
    # Powers of two, which rounding does not see.
    a, b = 2.0**length, 2.0**height
    for method in (gradient_descent, accelerated):
        here = method(smoothness=smoothness, radius=radius, epsilon=epsilon, depth=depth)
        there = method(
            smoothness=smoothness * b / a**2, radius=radius * a, epsilon=epsilon * b, depth=depth
        )
        assert (here.iterations, here.time) == (there.iterations, there.time)
        assert there.lr == pytest.approx(here.lr * a**2 / b)


@given(
    epsilon=st.floats(1e-4, 10),
    factor=st.floats(1, 10),
    depth=st.integers(1, 50),
)
def test_time_grows_with_depth_and_constants_and_precision(epsilon, factor, depth):
    for method, distance in (
        (gradient_descent, "radius"),
        (accelerated, "radius"),
        (gradient_descent_nonconvex, "gap"),
    ):
        problem = {"smoothness": 1.0, distance: 1.0, "epsilon": epsilon, "depth": depth}
        time = method(**problem).time
        for harder in (
            {"depth": depth + 1},
            {"epsilon": epsilon / factor},
            {"smoothness": factor},
            {distance: factor},
        ):
            assert method(**{**problem, **harder}).time >= time


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan, 1e-320])
def test_a_precision_out_of_range_is_named(epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        gradient_descent(smoothness=1e10, radius=1.0, epsilon=epsilon, depth=1)
    with pytest.raises(ValueError, match="epsilon"):
        gradient_descent_nonconvex(smoothness=1.0, gap=1.0, epsilon=epsilon, depth=1)
    if epsilon != 1e-320:
        with pytest.raises(ValueError, match="epsilon"):
            accelerated(smoothness=1.0, radius=1.0, epsilon=epsilon, depth=1)


@pytest.mark.parametrize("depth", [0, -3, 1.5, True])
def test_a_depth_that_is_no_count_is_named(depth):
    for method in (gradient_descent, accelerated):
        with pytest.raises(ValueError, match="depth must be an integer of at least 1"):
            method(smoothness=1.0, radius=1.0, epsilon=0.1, depth=depth)


def test_a_time_beyond_floating_point_is_refused():
    with pytest.raises(ValueError, match="time exceeds the largest floating-point number"):
        gradient_descent(smoothness=1.0, radius=1.0, epsilon=1e-300, depth=10**20)
