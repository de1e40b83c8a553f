"""Means of m examples: the variance of either noise, and the time that it costs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pprs.theory.bounds import (
    finite_sum_example,
    finite_sum_gpipe,
    finite_sum_shared,
    pprs_convex,
    subgradient,
    time_bound_finite_sum,
)

METHODS = {"shared": finite_sum_shared, "example": finite_sum_example}

constants = {
    "dimension": st.integers(1, 10_000),
    "ratio": st.floats(1e-3, 2),  # ε / (LR)
    "depth": st.integers(1, 1000),
    "batch": st.integers(1, 1000),
}


def problem_of(dimension, ratio, depth, batch):
    common = dict(lipschitz=2.0, radius=0.5, epsilon=ratio)
    return dict(**common, dimension=dimension, depth=depth, batch=batch)


def test_gpipe_is_the_subgradient_method_on_all_examples():
    problem = dict(lipschitz=2.0, radius=3.0, epsilon=0.5, depth=4, batch=10)
    bound = finite_sum_gpipe(**problem)
    assert bound == subgradient(**problem)
    assert (bound.iterations, bound.time) == (144, 2 * 144 * 13)


@given(**constants)
def test_settings_are_those_of_eq_13_but_for_the_rows(dimension, ratio, depth, batch):
    problem = problem_of(dimension, ratio, depth, batch)
    shared, own = finite_sum_shared(**problem), finite_sum_example(**problem)
    del problem["batch"]
    alone = pprs_convex(**problem)
    for bound in (shared, own):
        assert (bound.iterations, bound.sigma) == (alone.iterations, alone.sigma)
        assert (bound.lr, bound.momentum) == (alone.lr, alone.momentum)
    assert shared.samples == alone.samples
    assert shared.time == 2 * alone.iterations * (alone.samples * batch + depth - 1)
    assert own.samples == max(1, math.ceil(alone.samples / batch))
    assert own.time == 2 * alone.iterations * (own.samples * batch + depth - 1)
    assert own.time <= shared.time


@given(**constants)
def test_time_is_below_its_bound(dimension, ratio, depth, batch):
    problem = problem_of(dimension, ratio, depth, batch)
    for noise, method in METHODS.items():
        bound = time_bound_finite_sum(**problem, noise=noise)
        assert method(**problem).time <= bound * (1 + 1e-9)
    q, root = 1 / ratio, dimension**0.25
    if 3.5 * q * root > 8:
        own = 24.5 * q**2 + 7 * q / root + 7 * q * root * (batch + depth - 1)
        assert bound == pytest.approx(own)
        assert own <= (24.5 * q**2 + 7 * q * root * (batch + depth)) * (1 + 1e-12)


def test_noise_of_each_example_saves_almost_a_factor_of_the_examples():
    problem = dict(lipschitz=1.0, radius=1.0, epsilon=1e-3, dimension=16, depth=10, batch=100)
    assert finite_sum_shared(**problem).time > 90 * finite_sum_example(**problem).time


def squared_gradients(slopes, each, shared, rng, runs=20_000):
    """‖G‖² at 0 of the mean of the |a_j·θ|; the smoothed gradient is 0 there."""
    batch, dimension = slopes.shape
    size = (runs, each, 1 if shared else batch, dimension)
    products = np.sum(rng.standard_normal(size) * slopes, axis=-1)
    gradient = np.sign(products).mean(axis=1) @ slopes / batch
    return np.sum(gradient**2, axis=-1)


def test_variance_with_noise_of_each_example_is_that_of_all_rows():
    # |a·θ| at 0 has variance ‖a‖² = L², so L²/(nm) is exact: a right claim fails with
    # probability below 6e-7, and one that is smaller by a tenth is refuted.
    rng = np.random.default_rng(0)
    slopes = rng.standard_normal((4, 3))
    slopes *= 2 / np.linalg.norm(slopes, axis=1, keepdims=True)
    squares = squared_gradients(slopes, each=3, shared=False, rng=rng)
    claim, error = 4 / (3 * 4), squares.std() / math.sqrt(squares.size)
    assert abs(squares.mean() - claim) < 5 * error
    assert squares.mean() - 5 * error > 0.9 * claim


def test_variance_with_shared_noise_is_not_less_for_more_examples():
    # Examples that are all alike: L²/K is exact, and L²/(Km) refuted.
    rng = np.random.default_rng(1)
    slopes = np.tile([2.0, 0.0, 0.0], (4, 1))
    squares = squared_gradients(slopes, each=3, shared=True, rng=rng)
    error = squares.std() / math.sqrt(squares.size)
    assert abs(squares.mean() - 4 / 3) < 5 * error
    assert squares.mean() - 5 * error > 4 / (3 * 4)


def test_variance_with_shared_noise_is_at_most_that_of_one_example():
    # A claim that is met exactly would fail with probability below 3e-7.
    rng = np.random.default_rng(2)
    slopes = rng.standard_normal((4, 3))
    slopes *= 2 / np.linalg.norm(slopes, axis=1, keepdims=True)
    squares = squared_gradients(slopes, each=3, shared=True, rng=rng)
    assert squares.mean() - 5 * squares.std() / math.sqrt(squares.size) <= 4 / 3


@given(**constants, factor=st.floats(1, 10))
def test_time_grows_with_depth_and_constants_and_precision(dimension, ratio, depth, batch, factor):
    problem = problem_of(dimension, ratio, depth, batch)
    for method in METHODS.values():
        time = method(**problem).time
        for harder in (
            {"depth": depth + 1},
            {"epsilon": ratio / factor},
            {"lipschitz": 2.0 * factor},
            {"radius": 0.5 * factor},
        ):
            assert method(**{**problem, **harder}).time >= time


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epsilon": -0.1}, "epsilon must be a finite number above 0, got -0.1"),
        ({"batch": 0}, "batch must be an integer of at least 1, got 0"),
        ({"batch": 2.5}, "batch must be"),
        ({"depth": 0}, "depth must be"),
        ({"batch": 10**308, "epsilon": 1e-9}, "exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    good = dict(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=4, depth=3, batch=5)
    problem = {**good, **changed}
    for noise, method in METHODS.items():
        with pytest.raises(ValueError, match=named):
            method(**problem)
        with pytest.raises(ValueError, match=named):
            time_bound_finite_sum(**problem, noise=noise)


def test_a_noise_of_another_name_is_refused():
    problem = dict(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=4, depth=3, batch=5)
    with pytest.raises(ValueError, match='noise must be "shared" or "example", got \'own\''):
        time_bound_finite_sum(**problem, noise="own")
