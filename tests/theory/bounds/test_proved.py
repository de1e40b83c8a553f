"""The guarantee of a sigma that never rises: its terms, in runs, and the settings it gives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from theory.literal import falling_runs

from pprs.theory.bounds import pprs_optimal, pprs_proved, proved_gap, subgradient
from pprs.theory.bounds._sequence import lambdas

UNIT = dict(lipschitz=1.0, radius=1.0)


def test_the_gap_of_two_steps_is_that_of_the_theorem():
    """The terms of lambda are 1, (1 + sqrt 5)/2 and 2.194."""
    second = (1 + math.sqrt(5)) / 2
    third = (1 + math.sqrt(1 + 4 * second**2)) / 2
    zeta = math.sqrt(4 / 3) * 3 / 2 / math.sqrt(7)
    start = (math.sqrt(2 / math.pi) * 3 / 0.1 + zeta * third**1.5) * 2**2 / 2
    bias = 3 * 5 * (0.4 + second * 0.2)
    noise = 3**2 / 2 / 7 * (1 / zeta + second**0.5 / zeta)
    found = proved_gap(lipschitz=3.0, radius=2.0, dimension=25, samples=7, sigmas=[0.4, 0.2, 0.1])
    assert found == pytest.approx((start + bias + noise) / second**2)


def largest(rows):
    """The maximum of linear functions: its value, and a subgradient."""
    return (
        lambda x: (x @ rows.T).max(-1),
        lambda x: rows[(x @ rows.T).argmax(-1)],
    )


@pytest.mark.parametrize("samples", [1, 4, 30])
@pytest.mark.parametrize("kind", ["cliff", "steady", "random"])
def test_runs_on_random_maxima_keep_the_guarantee_and_it_says_something(kind, samples):
    """200 runs; a mean at the guarantee itself would fail with probability below 3e-7."""
    rng, steps, dimension = np.random.default_rng(0), 150, 6
    rows = rng.standard_normal((20, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[-1] = -rows[:-1].sum(0) / np.linalg.norm(rows[:-1].sum(0))  # 0 is a minimizer
    value, gradient = largest(rows)
    terms = lambdas(steps + 1)[1:]
    sigmas = {
        "cliff": np.where(np.arange(steps + 1) < 75, 0.06, 0.03),
        "steady": np.full(steps + 1, 0.03),
        "random": np.minimum.accumulate(0.5 / terms * rng.uniform(0.5, 1, steps + 1)),
    }[kind]
    start = rng.standard_normal(dimension)
    start /= np.linalg.norm(start)
    gaps = value(falling_runs(start, gradient, sigmas, samples, 200, rng))
    bound = proved_gap(**UNIT, dimension=dimension, samples=samples, sigmas=sigmas)
    assert gaps.mean() - 5 * gaps.std() / math.sqrt(200) <= bound
    assert bound < 0.6 * value(start)


@pytest.mark.parametrize("steps", [1, 2, 10, 100])
def test_a_linear_function_refutes_less_than_half_of_the_guarantee(steps):
    """It needs no smoothing: with many samples only the distance to the start is left, and steps
    as long as sigma lets them be have to reach the point that far away."""
    sigma = math.sqrt(2 / math.pi) / 2 / lambdas(steps)[-1] ** 2
    sigmas, samples = np.full(steps + 1, sigma), 10**12
    gap = 1 + falling_runs(np.zeros(1), np.ones_like, sigmas, samples, 1, None).item()
    bound = proved_gap(**UNIT, dimension=1, width=1e-9, samples=samples, sigmas=sigmas)
    assert bound == pytest.approx(1, rel=1e-4)
    assert 0.4999 * bound < gap < bound


@given(
    ratio=st.floats(1.01, 300),
    dimension=st.integers(1, 10_000),
    share=st.floats(1e-2, 1),
    depth=st.integers(1, 1000),
    samples=st.none() | st.integers(1, 300),
)
def test_settings_reach_epsilon_whatever_is_measured(ratio, dimension, share, depth, samples):
    problem = dict(**UNIT, dimension=dimension, width=share * math.sqrt(dimension))
    bound = pprs_proved(**problem, epsilon=1 / ratio, depth=depth, samples=samples)
    assert samples in (None, bound.samples)
    assert bound.time == 2 * bound.iterations * (bound.samples + 1 + depth - 1)
    sigmas = bound.sigma / lambdas(bound.iterations + 1)[1:]
    sigmas[-1] /= 2  # the least, after as large ones as may be
    gap = proved_gap(**problem, samples=bound.samples, sigmas=sigmas)
    assert gap <= 1 / ratio * (1 + 1e-9)
    if bound.iterations > 60:
        assert gap > 0.95 / ratio
    assert bound.lr < math.sqrt(math.pi / 2) * bound.sigma


@pytest.mark.parametrize("depth", [1, 30, 1000])
def test_no_other_number_of_samples_takes_less_time(depth):
    problem = dict(**UNIT, dimension=50, epsilon=0.05, depth=depth)
    times = [pprs_proved(**problem, samples=samples).time for samples in range(1, 400)]
    assert pprs_proved(**problem).time == min(times)


def test_the_price_of_measuring_is_a_few_times_the_least_time():
    problem = dict(**UNIT, epsilon=0.01, depth=1000)
    proved = pprs_proved(**problem, dimension=100).time
    assert 2 < proved / pprs_optimal(**problem, dimension=100).time < 3
    assert proved < subgradient(**problem).time / 3


def test_the_start_may_be_good_enough():
    assert pprs_proved(**UNIT, epsilon=1.0, dimension=9, depth=5).time == 0


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
        ({"width": 3.0}, r"width must be at most sqrt\(dimension\) = 2,"),
        ({"samples": 0}, "samples must be an integer of at least 1, got 0"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"epsilon": 1e-300}, "iterations exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    with pytest.raises(ValueError, match=named):
        pprs_proved(**{**UNIT, "epsilon": 0.1, "dimension": 4, "depth": 3, **changed})


@pytest.mark.parametrize("sigmas", [[0.1], [0.1, 0.2], [0.1, 0.0], [[0.1, 0.1]], [0.1, math.nan]])
def test_sigmas_that_rise_are_refused(sigmas):
    with pytest.raises(ValueError, match="sigmas must be two or more numbers above 0 that never"):
        proved_gap(**UNIT, dimension=4, samples=3, sigmas=sigmas)
