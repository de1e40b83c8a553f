"""The rate of randomized smoothing: its algebra, and runs of the published method."""

import math

import numpy as np
import pytest

from pprs.theory import Clock, Graph, RandomizedSmoothing, on_chain, run
from pprs.theory.bounds import randomized_smoothing

UNIT = dict(lipschitz=1.0, radius=1.0)


def rate(steps, samples, ratio, dimension):
    return 10 * ratio * dimension**0.25 / steps + 5 * ratio / math.sqrt(steps * samples)


@pytest.mark.parametrize("depth", [1, 30, 4000])
def test_it_takes_the_least_time_that_the_published_rate_allows(depth):
    bound = randomized_smoothing(**UNIT, epsilon=0.1, dimension=16, depth=depth)
    assert rate(bound.iterations, bound.samples, 10, 16) <= 1 + 1e-12
    assert bound.time == 2 * bound.iterations * (bound.samples + depth - 1)
    least = math.inf
    for samples in range(1, 1000):
        steps = next(t for t in range(200, 5000) if rate(t, samples, 10, 16) <= 1 - 1e-11)
        least = min(least, 2 * steps * (samples + depth - 1))
    assert bound.time == least


def test_runs_of_the_published_method_arrive_in_time():
    center = np.full(4, 0.5)
    distance = on_chain(
        lambda x, j: np.linalg.norm(x - center, axis=-1),
        lambda x, j: (x - center) / np.linalg.norm(x - center, axis=-1, keepdims=True),
        dimension=4,
    )
    bound = randomized_smoothing(**UNIT, epsilon=0.5, dimension=4, depth=9)
    method = RandomizedSmoothing(1.0, 1.0, bound.samples)
    found = run(method, Clock(distance, Graph.chain(9)), bound.iterations)
    assert found.times[-1] == bound.time
    assert found.values[-1] <= 0.5


def test_examples_share_the_perturbations():
    one = randomized_smoothing(**UNIT, epsilon=0.1, dimension=9, depth=30)
    many = randomized_smoothing(**UNIT, epsilon=0.1, dimension=9, depth=30, batch=6)
    assert many.time == 2 * many.iterations * (many.samples * 6 + 29)
    assert one.time < many.time < 6 * one.time


def test_the_start_may_be_good_enough():
    assert randomized_smoothing(**UNIT, epsilon=1.0, dimension=9, depth=5).time == 0


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epsilon": -1.0}, "epsilon must be a finite number above 0, got -1.0"),
        ({"dimension": 0}, "dimension must be an integer of at least 1, got 0"),
        ({"epsilon": 1e-300}, "iterations exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    with pytest.raises(ValueError, match=named):
        randomized_smoothing(**{**UNIT, "epsilon": 0.1, "dimension": 4, "depth": 3, **changed})
