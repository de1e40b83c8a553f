"""The settings of least time: their gap, an exhaustive search, and literal runs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf
from theory.literal import pprs_runs, signs_of_the_largest

from pprs.theory.bounds import (
    finite_sum_example,
    finite_sum_shared,
    pprs_convex,
    pprs_gap,
    pprs_optimal,
    sharp_gap,
    width_of_pieces,
)
from pprs.theory.bounds._optimal import SMOOTHNESS
from pprs.theory.bounds._sequence import lambdas

UNIT = dict(lipschitz=1.0, radius=1.0)


def test_the_smoothed_distance_is_as_smooth_as_the_theorem_says_and_no_smoother():
    """|x| smoothed has the slope erf(x / (sigma sqrt 2)), steepest at 0."""
    sigma, x = 0.3, np.linspace(-2, 2, 4001)
    slopes = np.diff(erf(x / sigma / math.sqrt(2))) / np.diff(x)
    assert slopes.max() <= SMOOTHNESS / sigma
    assert slopes.max() == pytest.approx(SMOOTHNESS / sigma, rel=1e-5)


def test_the_sum_in_lemma_1_is_below_what_the_theorem_takes_for_it():
    terms = lambdas(5000)[1:]
    sums = np.cumsum(terms**2) / terms**2
    assert np.all(sums <= (8 * terms + 7) / 12)
    assert np.all(sums[9:] > 0.9 * (8 * terms[9:] + 7) / 12)  # no tenth of it is wasted


def exhaustive(ratio, width, batch, depth, own):
    """The least 2T(nm + Δ - 1) over all T and n, each with its best sigma, by Lemma 1's sums."""
    terms = lambdas(2000)[1:]
    sums = np.cumsum(terms**2) / terms**2
    least = math.inf
    for samples in range(1, 400):
        spread = SMOOTHNESS * width + sums / (samples * own)
        enough = np.flatnonzero(terms**2 >= 2 * ratio**2 * spread)
        steps = 2 + enough[0] if len(enough) and enough[0] else 1
        if len(enough):
            least = min(least, 2 * steps * (samples * batch + depth - 1))
    return least


@pytest.mark.parametrize("depth", [1, 20, 300])
@pytest.mark.parametrize(
    ("ratio", "width", "batch", "noise"),
    [
        (1.3, 1.0, 1, "shared"),
        (10.0, 4.0, 1, "shared"),
        (25.0, 0.7, 1, "shared"),
        (10.0, 4.0, 5, "shared"),
        (10.0, 4.0, 5, "example"),
        (4.0, 10.0, 40, "example"),
    ],
)
def test_no_settings_take_much_less_time(ratio, width, batch, noise, depth):
    least = exhaustive(ratio, width, batch, depth, batch if noise == "example" else 1)
    found = pprs_optimal(
        **UNIT,
        epsilon=1 / ratio,
        dimension=100,
        width=width,
        depth=depth,
        batch=batch,
        noise=noise,
    )
    # The closed form costs a step or two; with few steps that is some share of them.
    assert least <= found.time <= least * (1 + 1.5 / math.sqrt(found.iterations))


@given(
    lipschitz=st.floats(1e-2, 1e2),
    radius=st.floats(1e-2, 1e2),
    dimension=st.integers(1, 10_000),
    ratio=st.floats(2e-3, 2),
    depth=st.integers(1, 1000),
    share=st.floats(1e-3, 1),
)
def test_settings_reach_epsilon_sooner_than_those_of_eq_13(
    lipschitz, radius, dimension, ratio, depth, share
):
    problem = dict(lipschitz=lipschitz, radius=radius, dimension=dimension)
    problem["width"] = share * math.sqrt(dimension)
    epsilon = ratio * lipschitz * radius
    bound = pprs_optimal(**problem, epsilon=epsilon, depth=depth)
    assert bound.time <= pprs_convex(**problem, epsilon=epsilon, depth=depth).time
    assert bound.time == 2 * bound.iterations * (bound.samples + depth - 1)
    if bound.iterations:
        settings = dict(iterations=bound.iterations, sigma=bound.sigma, samples=bound.samples)
        assert sharp_gap(**problem, **settings) <= epsilon * (1 + 1e-9)
        assert bound.lr == pytest.approx(bound.sigma / SMOOTHNESS / lipschitz)
        reached = lambdas(max(1, bound.iterations - 1))[-1]
        spread = SMOOTHNESS * problem["width"] + (8 * reached + 7) / 12 / bound.samples
        sigma = SMOOTHNESS * radius / reached / math.sqrt(2 * spread)
        assert bound.sigma == pytest.approx(sigma, rel=1e-3 if bound.iterations > 100_000 else 1e-9)


@pytest.mark.parametrize(("noise", "published"), [("shared", 0), ("example", 1)])
def test_means_of_examples_take_less_time_than_with_the_settings_of_eq_13(noise, published):
    problem = dict(**UNIT, epsilon=0.03, dimension=50, depth=20, batch=12)
    plain = (finite_sum_shared, finite_sum_example)[published](**problem)
    found = pprs_optimal(**problem, noise=noise)
    assert found.time == 2 * found.iterations * (found.samples * 12 + 19)
    assert 0.3 * plain.time < found.time < 0.75 * plain.time


def test_the_right_smoothness_and_width_lower_eq_12():
    settings = dict(**UNIT, dimension=64, iterations=50, sigma=0.01, samples=6)
    published, proved = pprs_gap(**settings), sharp_gap(**settings)
    of_radius = 1 / (0.01 * 2 * lambdas(49)[-1] ** 2)
    terms = lambdas(49)
    of_noise = 0.01 / 6 * np.sum((terms / terms[-1]) ** 2)
    change = (SMOOTHNESS - 1) * of_radius + (1 / SMOOTHNESS - 1) * of_noise
    assert proved - published == pytest.approx(change)
    narrow = sharp_gap(**settings, width=width_of_pieces(128))
    assert proved - narrow == pytest.approx(0.01 * (8 - math.sqrt(2 * math.log(128))))


@pytest.mark.parametrize("epsilon", [0.1, 0.4])
def test_literal_runs_on_the_maximum_norm_keep_the_precision(epsilon):
    """With the width of 2d linear pieces. A mean of epsilon itself would fail with probability
    below 3e-7."""
    dimension = 16
    bound = pprs_optimal(
        **UNIT, epsilon=epsilon, dimension=dimension, depth=5, width=width_of_pieces(32)
    )
    start = np.full(dimension, 0.25)
    runs = pprs_runs(bound, start, signs_of_the_largest, 200, np.random.default_rng(0))
    values = np.abs(runs).max(axis=-1)
    assert values.mean() - 5 * values.std() / math.sqrt(200) <= epsilon


def test_the_start_may_be_good_enough():
    assert pprs_optimal(**UNIT, epsilon=1.0, dimension=9, depth=5).time == 0


def test_deeper_pipelines_get_more_samples_and_fewer_steps():
    found = [
        pprs_optimal(**UNIT, epsilon=0.01, dimension=100, depth=depth) for depth in (1, 10, 1000)
    ]
    assert [b.samples for b in found] == sorted(b.samples for b in found)
    assert [b.iterations for b in found] == sorted((b.iterations for b in found), reverse=True)
    assert found[0].samples == 1  # one node never waits
    assert found[-1].samples > 50


def test_precisions_beyond_the_exact_sequence_go_on_smoothly():
    times = [
        pprs_optimal(**UNIT, epsilon=e, dimension=10**4, depth=10).time for e in (2e-4, 2e-5, 2e-6)
    ]
    assert times[1] / times[0] == pytest.approx(100, rel=0.1)
    assert times[2] / times[1] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
        ({"width": 3.0}, r"width must be at most sqrt\(dimension\) = 2,"),
        ({"width": -1.0}, "width must be a finite number above 0, got -1.0"),
        ({"noise": "both"}, "noise must be"),
        ({"batch": 0}, "batch must be an integer of at least 1, got 0"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"epsilon": 1e-300}, "iterations exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    with pytest.raises(ValueError, match=named):
        pprs_optimal(**{**UNIT, "epsilon": 0.1, "dimension": 4, "depth": 3, **changed})
