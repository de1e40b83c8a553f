"""Eq. (19) to (23): exact tails, the parameters' algebra, and literal runs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from pprs.theory.bounds import (
    goldstein_bound,
    goldstein_norm,
    lemma2,
    pprs_nonconvex,
    smoothed_gradient_bound,
    tail,
    tail_bounds,
    time_scale_23,
)

constants = {
    "lipschitz": st.floats(1e-2, 1e2),
    "gap": st.floats(1e-6, 1e3),
    "goldstein_radius": st.floats(1e-3, 1e2),
    "dimension": st.integers(1, 5000),
    "ratio": st.floats(1e-3, 1),  # ε / L
}


def problem_of(lipschitz, gap, goldstein_radius, dimension, ratio):
    return dict(
        lipschitz=lipschitz,
        gap=gap,
        goldstein_radius=goldstein_radius,
        dimension=dimension,
        epsilon=ratio * lipschitz,
    )


def test_tail_of_one_and_two_dimensions_is_known():
    for a in (0.0, 0.5, 1.0, 3.0):
        assert tail(a, 1) == pytest.approx(2 * norm.sf(a))
        assert tail(a, 2) == pytest.approx(math.exp(-(a**2)))


@pytest.mark.parametrize(("a", "dimension"), [(1.3, 3), (1.2, 10), (1.1, 100)])
def test_tail_is_the_share_of_long_gaussian_vectors(a, dimension):
    # The probability that a right tail fails here is below 6e-7 for each case.
    draws = np.random.default_rng(0).standard_normal((20_000, dimension))
    share = np.mean(np.linalg.norm(draws, axis=1) > a * math.sqrt(dimension))
    exact = tail(a, dimension)
    error = math.sqrt(exact * (1 - exact) / 20_000)
    assert abs(share - exact) < 5 * error
    # The tail of a squared is refuted.
    assert abs(share - tail(a * a, dimension)) > 5 * error


@given(a=st.floats(1, 10), dimension=st.integers(1, 10_000))
def test_tail_bounds_after_eq_21_are_above_the_tail(a, dimension):
    chernoff, simple = tail_bounds(a, dimension)
    assert tail(a, dimension) <= chernoff * (1 + 1e-9)
    assert chernoff <= simple * (1 + 1e-9)
    assert simple <= 1


def test_tail_bounds_are_the_printed_expressions():
    a, d = 2.5, 6
    chernoff, simple = tail_bounds(a, d)
    assert chernoff == pytest.approx((a**2 * math.exp(1 - a**2)) ** (d / 2))
    assert simple == pytest.approx((2 * math.e) ** (d / 2) * math.exp(-d * a**2 / 4))
    # Chernoff's exponent is right to first order, so one that is larger by a tenth is refuted.
    assert tail(2.0, 400) > tail_bounds(2.0, 400)[0] ** 1.1


def test_eq_19_is_lemma_2_of_the_smoothed_objective():
    bound = smoothed_gradient_bound(
        lipschitz=2.0, gap=3.0, sigma=0.5, samples=4, iterations=10, dimension=9
    )
    assert bound == lemma2(smoothness=4.0, gap=3.0 + 0.5 * 2 * 3, noise=1.0, iterations=10)
    assert bound == pytest.approx(2 * 2 * (3 + 3) / (0.5 * 10) + 1)
    printed = smoothed_gradient_bound(
        lipschitz=2.0, gap=3.0, sigma=0.5, samples=4, iterations=10, dimension=9, printed=True
    )
    assert printed == pytest.approx(2 * 2 * (3 + 6) / (0.5 * 10) + 1)


def test_smoothing_does_not_lower_the_infimum():
    """The zigzag's smoothed values: none is below 0, but the least one lies above it."""
    x, sigma = np.linspace(-2, 2, 401), 0.5
    values = np.abs((x[:, None] + sigma * normal_grid() + 2) % 4 - 2).mean(axis=1)
    assert 0 < values.min() <= sigma  # so that a second gamma L sqrt(d) is not needed
    start = np.abs(x)
    assert np.all(values - start <= sigma)
    assert np.max(values - start) > sigma / 2  # but one is


def normal_grid():
    """Quantiles of a Gaussian, evenly spread."""
    return norm.ppf((np.arange(2000) + 0.5) / 2000)


def zigzag(x):
    """Slope of the distance to the nearest multiple of 4, which is 1-Lipschitz and not convex."""
    return np.sign((x + 2) % 4 - 2)


def smoothed_zigzag(x, sigma):
    """Its mean over Gaussian perturbations: the Fourier series of a square wave, damped."""
    waves = math.pi / 2 * np.arange(1, 40, 2)
    return 2 * np.sin(x[..., None] * waves) @ (np.exp(-((waves * sigma) ** 2) / 2) / waves)


def test_eq_19_holds_for_literal_runs_without_convexity():
    # A mean that is the bound itself would fail with probability below 3e-7.
    sigma, samples, steps, runs = 0.5, 8, 40, 2000
    rng = np.random.default_rng(0)
    x = np.full(runs, 1.9)
    squares = []
    for _ in range(steps):
        squares.append(smoothed_zigzag(x, sigma) ** 2)
        draws = x[:, None] + sigma * rng.standard_normal((runs, samples))
        error = zigzag(draws).mean(axis=1) - smoothed_zigzag(x, sigma)
        assert abs(error.mean()) < 5 * error.std() / math.sqrt(runs)
        x = x - sigma * zigzag(draws).mean(axis=1)
    average = np.mean(squares, axis=0)
    error = average.std() / math.sqrt(runs)
    problem = dict(lipschitz=1.0, gap=1.9, sigma=sigma, samples=samples, dimension=1)
    bound = smoothed_gradient_bound(**problem, iterations=steps)
    assert average.mean() - 5 * error <= bound
    assert np.min(np.mean(squares, axis=1)) <= bound
    assert average.mean() - 5 * error > bound / 20


def test_eq_21_splits_the_smoothed_gradient_at_the_radius():
    # f(θ) = max|θ_i| in 3 dimensions, at a point where the largest coordinate changes.
    sigma, theta = 0.7, np.array([1.0, 0.8, -0.3])
    draws = np.random.default_rng(0).standard_normal((100_000, 3))
    points = theta + sigma * draws
    index = np.abs(points).argmax(axis=1)
    gradients = np.zeros_like(points)
    rows = np.arange(len(points))
    gradients[rows, index] = np.sign(points[rows, index])
    a = 1.1
    near = np.linalg.norm(draws, axis=1) <= a * math.sqrt(3)
    share = 1 - near.mean()
    mean, inner = np.linalg.norm(gradients.mean(axis=0)), gradients[near].mean(axis=0)
    # For the sample itself, Eq. (21) is exact: no chance is left.
    assert mean >= (1 - share) * np.linalg.norm(inner) - share
    assert np.linalg.norm(inner) <= goldstein_norm(smoothed=mean, lipschitz=1.0, probability=share)
    # Without the tail the inequality is false.
    assert np.linalg.norm(inner) > goldstein_norm(smoothed=mean, lipschitz=1.0, probability=0.0)


def test_eq_22_puts_eq_19_and_the_tail_together():
    problem = dict(lipschitz=2.0, gap=3.0, sigma=0.1, samples=50, iterations=10_000, dimension=4)
    root = math.sqrt(smoothed_gradient_bound(**problem))
    p = tail(0.5 / (0.1 * 2), 4)
    bound = goldstein_bound(**problem, goldstein_radius=0.5)
    assert bound == pytest.approx((p * 2 + root) / (1 - p))
    assert p > 1e-5


@given(**constants)
def test_parameters_before_eq_23_reach_epsilon_in_eq_22(
    lipschitz, gap, goldstein_radius, dimension, ratio
):
    problem = problem_of(lipschitz, gap, goldstein_radius, dimension, ratio)
    bound = pprs_nonconvex(**problem, depth=3)
    epsilon = problem.pop("epsilon")
    a = goldstein_radius / (bound.sigma * math.sqrt(dimension))
    assert a >= 1
    assert tail_bounds(a, dimension)[1] == pytest.approx(epsilon / (3 * lipschitz))
    chosen = dict(sigma=bound.sigma, samples=bound.samples, iterations=bound.iterations)
    assert goldstein_bound(**problem, **chosen) <= epsilon * (1 + 1e-9)
    squared = smoothed_gradient_bound(
        lipschitz=lipschitz, gap=gap, dimension=dimension, **chosen, printed=True
    )
    assert math.sqrt(squared) == pytest.approx(epsilon / 3, rel=0.02)
    assert bound.lr == pytest.approx(bound.sigma / lipschitz)
    assert bound.momentum is None
    assert bound.time == float(2 * bound.iterations * (bound.samples + 2))


@given(**constants, depth=st.integers(1, 1000))
def test_eq_23_with_the_gap_of_smoothing_bounds_the_time(
    lipschitz, gap, goldstein_radius, dimension, ratio, depth
):
    problem = problem_of(lipschitz, gap, goldstein_radius, dimension, ratio)
    assert pprs_nonconvex(**problem, depth=depth).time <= 3700 * time_scale_23(
        **problem, depth=depth
    )


def test_eq_23_as_printed_loses_to_any_constant_as_the_gap_vanishes():
    problem = dict(lipschitz=1.0, goldstein_radius=1.0, dimension=10, epsilon=0.1, depth=3)
    previous = 0.0
    for gap in (1.0, 1e-3, 1e-6, 1e-9):
        time = pprs_nonconvex(**problem, gap=gap).time
        ratio = time / time_scale_23(**problem, gap=gap, printed=True)
        assert ratio > previous
        previous = ratio
        assert time / time_scale_23(**problem, gap=gap) < 3700
    assert previous > 1e9


@pytest.mark.parametrize("batch", [1, 3, 10_000])
def test_examples_share_perturbations_or_have_their_own(batch):
    problem = dict(lipschitz=1.0, gap=1.0, goldstein_radius=1.0, dimension=10, epsilon=0.1, depth=4)
    alone = pprs_nonconvex(**problem)
    shared = pprs_nonconvex(**problem, batch=batch)
    own = pprs_nonconvex(**problem, batch=batch, noise="example")
    assert (alone.samples, shared.samples) == (1800, 1800)
    assert own.samples == max(1, math.ceil(1800 / batch))
    assert shared.time == 2 * alone.iterations * (1800 * batch + 3)
    assert own.time == 2 * alone.iterations * (own.samples * batch + 3)


@given(**constants, depth=st.integers(1, 100), factor=st.floats(1, 10))
def test_time_grows_with_depth_and_constants_and_precision(
    lipschitz, gap, goldstein_radius, dimension, ratio, depth, factor
):
    problem = problem_of(lipschitz, gap, goldstein_radius, dimension, ratio)
    time = pprs_nonconvex(**problem, depth=depth).time
    assert pprs_nonconvex(**problem, depth=depth + 1).time > time
    for harder in (
        {"epsilon": problem["epsilon"] / factor},
        {"lipschitz": lipschitz * factor},
        {"gap": gap * factor},
        {"goldstein_radius": goldstein_radius / factor},
        {"dimension": dimension + 1},
    ):
        assert pprs_nonconvex(**{**problem, **harder}, depth=depth).time >= time


@given(**constants, length=st.integers(-20, 20), height=st.integers(-20, 20))
def test_units_scale_sigma_and_the_step_size(
    lipschitz, gap, goldstein_radius, dimension, ratio, length, height
):
    # Powers of two, which rounding does not see.
    a, b = 2.0**length, 2.0**height
    problem = problem_of(lipschitz, gap, goldstein_radius, dimension, ratio)
    here = pprs_nonconvex(**problem, depth=5)
    there = pprs_nonconvex(
        lipschitz=lipschitz * b / a,
        gap=gap * b,
        goldstein_radius=goldstein_radius * a,
        epsilon=problem["epsilon"] * b / a,
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
        ({"epsilon": 1.1}, "epsilon must be at most lipschitz=1.0, since every gradient is"),
        ({"gap": 0.0}, "gap must be"),
        ({"goldstein_radius": -1.0}, "goldstein_radius must be"),
        ({"dimension": 1.5}, "dimension must be"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"batch": 0}, "batch must be an integer of at least 1, got 0"),
        ({"noise": "none"}, 'noise must be "shared" or "example", got \'none\''),
        ({"epsilon": 1e-300}, "iterations exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    good = dict(lipschitz=1.0, gap=1.0, epsilon=0.1, goldstein_radius=1.0, dimension=4, depth=3)
    with pytest.raises(ValueError, match=named):
        pprs_nonconvex(**{**good, **changed})


def test_tails_and_splits_out_of_range_are_named():
    with pytest.raises(ValueError, match="a must be at least 1, got 0.5"):
        tail_bounds(0.5, 3)
    with pytest.raises(ValueError, match="a must be a finite number of at least 0, got -1.0"):
        tail(-1.0, 3)
    with pytest.raises(ValueError, match="probability must be below 1, got 1.0"):
        goldstein_norm(smoothed=0.1, lipschitz=1.0, probability=1.0)
