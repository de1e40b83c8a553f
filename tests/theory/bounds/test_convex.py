"""Eq. (12) to (14) and the subgradient method: algebra, exact worst cases, and literal runs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PEPit import PEP
from PEPit.functions import ConvexLipschitzFunction
from theory.literal import pprs_runs, signs_of_the_largest

from pprs.theory import pipeline_time
from pprs.theory.bounds import pprs_convex, pprs_gap, subgradient, time_bound_14
from pprs.theory.bounds._sequence import lambdas

constants = {
    "lipschitz": st.floats(1e-2, 1e2),
    "radius": st.floats(1e-2, 1e2),
    "dimension": st.integers(1, 10_000),
    "ratio": st.floats(1e-3, 2),  # ε / (LR)
}


def problem_of(lipschitz, radius, dimension, ratio):
    epsilon = ratio * lipschitz * radius
    return dict(lipschitz=lipschitz, radius=radius, dimension=dimension, epsilon=epsilon)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_subgradient_bound_is_the_exact_worst_case(steps):
    lipschitz, radius = 2.0, 1.5
    problem = PEP()
    f = problem.declare_function(ConvexLipschitzFunction, M=lipschitz)
    best = f.stationary_point()
    x = problem.set_initial_point()
    problem.set_initial_condition((x - best) ** 2 <= radius**2)
    bound = subgradient(
        lipschitz=lipschitz,
        radius=radius,
        epsilon=lipschitz * radius / math.sqrt(steps) * (1 + 1e-12),
        depth=3,
        batch=4,
    )
    assert (bound.iterations, bound.time) == (steps, 2 * steps * 6)
    for _ in range(steps):
        gradient, value = f.oracle(x)
        problem.set_performance_metric(value - f(best))
        x = x - bound.lr * gradient
    exact = problem.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0)
    assert exact == pytest.approx(lipschitz * radius / math.sqrt(steps), rel=1e-4)


def test_eq_12_is_lemma_1_and_the_smoothing():
    problem = dict(lipschitz=2.0, radius=3.0, dimension=16, iterations=4, sigma=0.5, samples=9)
    smoothing = 2 * 0.5 * 4
    printed = 2 * 2 * 9 / (0.5 * 25) + 5 * 4 / 9 * 0.5 / (2 * 2) + smoothing
    assert pprs_gap(**problem, printed=True) == pytest.approx(printed)
    terms = lambdas(3)
    weight = np.sum(terms**2) / terms[3] ** 2
    proved = 4 * 9 / (2 * terms[3] ** 2) + 4 / 9 / 4 * weight + smoothing
    assert pprs_gap(**problem) == pytest.approx(proved)


def test_eq_13_is_proved_from_8_steps_on():
    def factor(steps):
        """Eq. (12) in units of LR/(T+1), for one dimension, where K = T + 1."""
        settings = dict(iterations=steps, sigma=1 / (steps + 1), samples=steps + 1)
        return (steps + 1) * pprs_gap(lipschitz=1.0, radius=1.0, dimension=1, **settings)

    assert [steps for steps in range(1, 1000) if factor(steps) > 3.5] == list(range(2, 8))
    # One step more is enough before.
    assert all(factor(t + 1) / (t + 2) <= 3.5 / (t + 1) for t in range(3, 8))


@given(steps=st.integers(8, 500), dimension=st.integers(1, 10_000))
def test_eq_13_follows_from_eq_12(steps, dimension):
    scale = dimension**0.25 / (steps + 1)
    samples = math.ceil((steps + 1) / math.sqrt(dimension))
    problem = dict(lipschitz=1.0, radius=1.0, dimension=dimension, iterations=steps)
    for printed in (True, False):
        gap = pprs_gap(
            **problem,
            sigma=1 / math.sqrt(dimension) * scale,
            samples=samples,
            printed=printed,
        )
        assert gap <= 3.5 * scale * (1 + 1e-9)
        if printed:
            between = 3 * scale + dimension**-0.25 / (2 * samples)
            assert gap == pytest.approx(between)


@pytest.mark.parametrize("steps", [10, 30, 300])
@pytest.mark.parametrize("width", [0.05, 1.0, 7.0])
def test_a_width_takes_the_place_of_the_root_of_the_dimension_in_eq_12_to_14(width, steps):
    scale = math.sqrt(width) / (steps + 1)
    problem = dict(lipschitz=1.0, radius=1.0, dimension=400, width=width)
    settings = dict(sigma=scale / width, samples=math.ceil((steps + 1) / width), iterations=steps)
    # K is all but whole here, so that 7/2 is nearly attained and a smaller width is refuted.
    assert pprs_gap(**problem, **settings) <= 3.5 * scale
    wider = {**problem, "width": 1.5 * width}
    assert pprs_gap(**wider, **settings) > pprs_gap(**problem, **settings) + 0.4 * scale
    epsilon = 3.5 * scale * (1 + 1e-9)  # so that no rounding adds a step
    bound = pprs_convex(**problem, epsilon=epsilon, depth=9)
    assert (bound.iterations, bound.samples) == (steps, settings["samples"])
    assert bound.sigma == pytest.approx(settings["sigma"])
    assert bound.time <= time_bound_14(**problem, epsilon=epsilon, depth=9)


def test_a_small_width_leaves_at_least_a_step():
    problem = dict(lipschitz=1.0, radius=1.0, epsilon=0.5, dimension=1, width=0.015625)
    bound = pprs_convex(**problem, depth=4)
    assert bound.iterations == 1
    assert bound.time <= time_bound_14(**problem, depth=4)


def test_a_width_of_the_root_of_the_dimension_changes_nothing():
    problem = dict(lipschitz=2.0, radius=3.0, epsilon=0.1, dimension=25, depth=7)
    assert pprs_convex(**problem, width=5.0) == pprs_convex(**problem)
    assert time_bound_14(**problem, width=5.0) == time_bound_14(**problem)


@given(**constants)
def test_settings_are_those_of_eq_13_and_reach_epsilon(lipschitz, radius, dimension, ratio):
    problem = problem_of(lipschitz, radius, dimension, ratio)
    bound = pprs_convex(**problem, depth=7)
    following = bound.iterations + 1
    assert bound.sigma == pytest.approx(radius * dimension**-0.25 / following)
    assert bound.samples == math.ceil(following / math.sqrt(dimension))
    assert bound.lr == pytest.approx(bound.sigma / lipschitz)
    assert bound.momentum == "nesterov"
    assert bound.time == bound.iterations * pipeline_time(bound.samples, 7)
    if bound.iterations == 0:
        assert problem["epsilon"] >= lipschitz * radius
        return
    gap = pprs_gap(
        lipschitz=lipschitz,
        radius=radius,
        dimension=dimension,
        iterations=bound.iterations,
        sigma=bound.sigma,
        samples=bound.samples,
    )
    assert gap <= problem["epsilon"] * (1 + 1e-9)
    wanted = 3.5 * dimension**0.25 / ratio
    least = math.ceil(wanted * (1 - 1e-12)) - 1
    assert least <= bound.iterations <= least + (1 if least < 8 else 0) + (wanted % 1 < 1e-9)


def test_fewer_than_8_steps_may_need_one_more_than_eq_13():
    # The printed form would do with 6 steps here: 7/2 / 7 = 0.5.
    problem = dict(lipschitz=1.0, radius=1.0, dimension=1, epsilon=0.505, depth=100)
    bound = pprs_convex(**problem)
    assert (bound.iterations, bound.equation) == (7, "Eq. (14)")
    chosen = dict(lipschitz=1.0, radius=1.0, dimension=1)
    assert pprs_gap(**chosen, iterations=6, sigma=1 / 7, samples=7) > 0.505
    assert pprs_gap(**chosen, iterations=7, sigma=1 / 8, samples=8) <= 0.505
    assert bound.time <= time_bound_14(**problem)


@given(**constants, depth=st.integers(1, 1000))
def test_eq_14_with_its_third_term_is_never_exceeded(lipschitz, radius, dimension, ratio, depth):
    problem = dict(**problem_of(lipschitz, radius, dimension, ratio), depth=depth)
    assert pprs_convex(**problem).time <= time_bound_14(**problem) * (1 + 1e-9)
    q = 1 / ratio
    if 3.5 * q * dimension**0.25 > 8:
        terms = 24.5 * q**2 + 7 * q * dimension**-0.25 + 7 * q * depth * dimension**0.25
        assert time_bound_14(**problem) == pytest.approx(terms)


def test_eq_14_as_printed_is_exceeded_where_the_steps_are_rounded_up():
    # T = 8 and K = ⌈9/√2⌉ = 7 > 1 + 8/√2, for a = (7/2) (LR/ε) d^(1/4) just above 8.
    epsilon = 3.5 * 2**0.25 / (8 + 1e-9)
    problem = dict(lipschitz=1.0, radius=1.0, epsilon=epsilon, dimension=2, depth=3)
    bound = pprs_convex(**problem)
    assert (bound.iterations, bound.samples, bound.time) == (8, 7, 144)
    assert time_bound_14(**problem, printed=True) == pytest.approx(128 / math.sqrt(2) + 48)
    assert time_bound_14(**problem, printed=True) < 140 < bound.time < time_bound_14(**problem)


@pytest.mark.parametrize("dimension", [1, 4, 16])
@pytest.mark.parametrize("epsilon", [0.1, 0.6])
def test_eq_13_holds_for_the_maximum_norm_in_literal_runs(dimension, epsilon):
    # A case whose mean is ε itself would fail with probability below 3e-7.
    problem = dict(lipschitz=1.0, radius=1.0, epsilon=epsilon, dimension=dimension, depth=1)
    bound = pprs_convex(**problem)
    start = np.full(dimension, dimension**-0.5)
    runs = pprs_runs(bound, start, signs_of_the_largest, 200, np.random.default_rng(0))
    values = np.abs(runs).max(axis=-1)
    assert values.mean() - 5 * values.std() / math.sqrt(200) <= epsilon


def test_literal_runs_refute_half_of_eq_13():
    problem = dict(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=64, depth=1)
    bound = pprs_convex(**problem)
    start = np.full(64, 0.125)
    runs = pprs_runs(bound, start, signs_of_the_largest, 50, np.random.default_rng(0))
    values = np.abs(runs).max(axis=-1)
    assert values.mean() - 5 * values.std() / math.sqrt(50) > 0.1 / 2


def test_one_sample_and_one_dimension_and_one_node_are_limits():
    wide = pprs_convex(lipschitz=1.0, radius=1.0, epsilon=0.5, dimension=10**6, depth=9)
    assert wide.samples == 1
    assert wide.time == 2 * wide.iterations * 9
    narrow = pprs_convex(lipschitz=1.0, radius=1.0, epsilon=0.01, dimension=1, depth=1)
    assert (narrow.iterations, narrow.samples) == (349, 350)
    assert narrow.time == 2 * 349 * 350


@given(**constants, depth=st.integers(1, 100), factor=st.floats(1, 10))
def test_time_grows_with_depth_and_constants_and_precision(
    lipschitz, radius, dimension, ratio, depth, factor
):
    problem = dict(**problem_of(lipschitz, radius, dimension, ratio), depth=depth)
    time = pprs_convex(**problem).time
    for harder in (
        {"depth": depth + 1},
        {"epsilon": problem["epsilon"] / factor},
        {"lipschitz": lipschitz * factor},
        {"radius": radius * factor},
    ):
        assert pprs_convex(**{**problem, **harder}).time >= time


@given(**constants, length=st.integers(-20, 20), height=st.integers(-20, 20))
def test_units_scale_sigma_and_the_step_size(lipschitz, radius, dimension, ratio, length, height):
    # Powers of two, which rounding does not see.
    a, b = 2.0**length, 2.0**height
    problem = problem_of(lipschitz, radius, dimension, ratio)
    here = pprs_convex(**problem, depth=5)
    there = pprs_convex(
        lipschitz=lipschitz * b / a,
        radius=radius * a,
        epsilon=problem["epsilon"] * b,
        dimension=dimension,
        depth=5,
    )
    assert (here.iterations, here.samples) == (there.iterations, there.samples)
    assert here.time == there.time
    assert there.sigma == pytest.approx(here.sigma * a)
    assert there.lr == pytest.approx(here.lr * a**2 / b)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
        ({"lipschitz": -1.0}, "lipschitz must be"),
        ({"radius": math.nan}, "radius must be"),
        ({"dimension": 0}, "dimension must be an integer of at least 1, got 0"),
        ({"dimension": 2.0}, "dimension must be"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"width": 0.0}, "width must be a finite number above 0, got 0.0"),
        (
            {"width": 2.1},
            r"width must be at most sqrt\(dimension\) = 2, which always holds, got 2.1",
        ),
        ({"epsilon": 1e-300}, "time exceeds the largest floating-point number"),
        ({"epsilon": 1e-300, "radius": 1e300}, "exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    good = {"lipschitz": 1.0, "radius": 1.0, "epsilon": 0.1, "dimension": 4, "depth": 3}
    problem = {**good, **changed}
    for function in (pprs_convex, time_bound_14):
        with pytest.raises(ValueError, match=named):
            function(**problem)
    del problem["dimension"]
    if not {"dimension", "width"} & changed.keys():
        with pytest.raises(ValueError, match=named.replace("time exceeds", "exceeds")):
            subgradient(**problem)


def test_a_step_of_no_examples_is_refused():
    with pytest.raises(ValueError, match="batch must be an integer of at least 1, got 0"):
        subgradient(lipschitz=1.0, radius=1.0, epsilon=0.1, depth=3, batch=0)
