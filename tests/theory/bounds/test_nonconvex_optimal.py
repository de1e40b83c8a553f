"""The settings of least time without convexity: what they reach, and a search by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pprs.theory.bounds import (
    goldstein_norm,
    lemma2,
    pprs_nonconvex,
    pprs_nonconvex_optimal,
    tail,
)
from pprs.theory.bounds._optimal import SMOOTHNESS

CASES = [  # L, D, epsilon, r, d, depth
    (1.0, 1.0, 0.01, 0.1, 10_000, 20),
    (3.7, 0.6, 0.3, 0.05, 37, 19),
    (1.0, 1.0, 0.5, 0.1, 1, 1),
    (1.0, 1.0, 0.05, 0.1, 10**6, 1000),
]


def reached(lipschitz, gap, radius, dimension, sigma, steps, draws):
    """Eq. (22) with the smoothness of Theorem 2 and one gamma L sqrt(d)."""
    squared = lemma2(
        smoothness=SMOOTHNESS * lipschitz / sigma,
        gap=gap + sigma * lipschitz * math.sqrt(dimension),
        noise=lipschitz / math.sqrt(draws),
        iterations=steps,
    )
    return goldstein_norm(
        smoothed=math.sqrt(squared),
        lipschitz=lipschitz,
        probability=tail(radius / sigma / math.sqrt(dimension), dimension),
    )


def arguments(case):
    names = ("lipschitz", "gap", "epsilon", "goldstein_radius", "dimension", "depth")
    return dict(zip(names, case, strict=True))


@given(
    lipschitz=st.floats(1e-2, 1e2),
    gap=st.floats(1e-3, 1e3),
    radius=st.floats(1e-3, 1e2),
    dimension=st.integers(1, 5000),
    ratio=st.floats(1e-2, 1),
    depth=st.integers(1, 1000),
    batch=st.integers(1, 20),
    noise=st.sampled_from(["shared", "example"]),
)
def test_settings_reach_epsilon_sooner_than_those_before_eq_23(
    lipschitz, gap, radius, dimension, ratio, depth, batch, noise
):
    epsilon = ratio * lipschitz
    problem = arguments((lipschitz, gap, epsilon, radius, dimension, depth))
    bound = pprs_nonconvex_optimal(**problem, batch=batch, noise=noise)
    draws = bound.samples * (batch if noise == "example" else 1)
    norm = reached(lipschitz, gap, radius, dimension, bound.sigma, bound.iterations, draws)
    assert norm <= epsilon * (1 + 1e-9)
    assert bound.lr == pytest.approx(bound.sigma / SMOOTHNESS / lipschitz)
    assert bound.time == float(2 * bound.iterations * (bound.samples * batch + depth - 1))
    assert bound.time < pprs_nonconvex(**problem, batch=batch, noise=noise).time


@pytest.mark.parametrize("case", CASES)
def test_the_settings_before_eq_23_take_many_times_as_long(case):
    problem = arguments(case)
    assert pprs_nonconvex(**problem).time > 20 * pprs_nonconvex_optimal(**problem).time


@pytest.mark.parametrize("case", CASES[1:3])
def test_no_settings_take_much_less_time(case):
    lipschitz, gap, epsilon, radius, dimension, depth = case
    found = pprs_nonconvex_optimal(**arguments(case))
    least = math.inf
    for sigma in found.sigma * np.geomspace(0.5, 2, 41):
        for draws in np.unique(np.ceil(found.samples * np.geomspace(0.2, 5, 41))):
            p = tail(radius / sigma / math.sqrt(dimension), dimension)
            u = epsilon / lipschitz * (1 - p) - p
            room = u * u - 1 / draws
            if u > 0 and room > 0:
                smooth = gap / sigma / lipschitz + math.sqrt(dimension)
                steps = math.ceil(2 * SMOOTHNESS * smooth / room)
                least = min(least, 2 * steps * (draws + depth - 1))
    assert found.time <= least * 1.01
    assert least < 1.1 * found.time


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epsilon": 1.1}, "epsilon must be at most lipschitz=1.0, since every gradient is"),
        ({"gap": 0.0}, "gap must be"),
        ({"goldstein_radius": -1.0}, "goldstein_radius must be"),
        ({"batch": 0}, "batch must be an integer of at least 1, got 0"),
        ({"noise": "none"}, "noise must be"),
        ({"epsilon": 1e-300}, "iterations exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    good = dict(lipschitz=1.0, gap=1.0, epsilon=0.1, goldstein_radius=1.0, dimension=4, depth=3)
    with pytest.raises(ValueError, match=named):
        pprs_nonconvex_optimal(**{**good, **changed})
