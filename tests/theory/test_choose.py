"""Settings that are chosen for a precision: what they are made of and how they scale."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pprs.theory.bounds import (
    finite_sum_example,
    finite_sum_shared,
    pprs_convex,
    pprs_gap,
    pprs_nonconvex,
)
from pprs.theory.choose import PPRSSettings, choose

CONVEX = dict(epsilon=0.1, dimension=16, depth=20, lipschitz=2.0, radius=1.5)
OTHER = dict(epsilon=0.1, dimension=16, depth=20, lipschitz=2.0, gap=3.0, goldstein_radius=0.5)


def fields(settings):
    """All but where it comes from, and no momentum as 0."""
    values = dataclasses.asdict(settings)
    del values["equation"]
    return {**values, "momentum": values["momentum"] or 0.0}


def test_one_convex_example_gets_eq_14():
    choice = choose(**CONVEX)
    assert fields(choice) == fields(pprs_convex(**CONVEX))
    assert choice.equation == "Eq. (14)"


@pytest.mark.parametrize(
    ("noise", "method"), [("shared", finite_sum_shared), ("example", finite_sum_example)]
)
def test_several_convex_examples_get_the_bound_of_their_noise(noise, method):
    choice = choose(**CONVEX, batch=7, noise=noise)
    assert fields(choice) == fields(method(**CONVEX, batch=7))
    assert noise in choice.equation


@pytest.mark.parametrize("noise", ["shared", "example"])
def test_other_objectives_get_eq_23_and_gradient_descent(noise):
    choice = choose(**OTHER, convex=False, batch=3, noise=noise)
    assert fields(choice) == fields(pprs_nonconvex(**OTHER, batch=3, noise=noise))
    assert (choice.momentum, choice.equation) == (0.0, "Eq. (23)")


def test_chosen_settings_reach_the_precision():
    choice = choose(**CONVEX)
    gap = pprs_gap(
        lipschitz=2.0,
        radius=1.5,
        dimension=16,
        iterations=choice.iterations,
        sigma=choice.sigma,
        samples=choice.samples,
    )
    assert 0.9 * 0.1 < gap <= 0.1


def test_a_choice_reads_as_one_line():
    choice = PPRSSettings(12, 3, 0.25, 0.0625, "nesterov", 1234567.0, "Eq. (14)")
    assert str(choice) == (
        "12 steps of 3 samples, sigma=0.25, lr=0.0625, momentum=nesterov: "
        "time 1.235e+06, by Eq. (14)"
    )


def test_a_start_that_is_good_enough_needs_no_time():
    choice = choose(**{**CONVEX, "epsilon": 3.0})
    assert (choice.iterations, choice.time) == (0, 0.0)


@given(
    ratio=st.floats(1e-3, 1),
    noise=st.sampled_from(["shared", "example"]),
    batch=st.integers(1, 100),
    convex=st.booleans(),
    length=st.integers(-20, 20),
    height=st.integers(-20, 20),
)
def test_units_scale_sigma_and_the_step_size(ratio, noise, batch, convex, length, height):
    # Powers of two, which rounding does not see.
    a, b = 2.0**length, 2.0**height
    common = dict(dimension=9, depth=4, batch=batch, noise=noise, convex=convex)
    sizes = dict(lipschitz=1.0, epsilon=ratio, radius=1.0, gap=1.0, goldstein_radius=1.0)
    here = choose(**common, **sizes)
    there = choose(
        **common,
        lipschitz=b / a,
        epsilon=ratio * (b if convex else b / a),
        radius=a,
        gap=b,
        goldstein_radius=a,
    )
    assert (here.iterations, here.samples) == (there.iterations, there.samples)
    assert here.time == there.time
    assert there.sigma == pytest.approx(here.sigma * a)
    assert there.lr == pytest.approx(here.lr * a**2 / b)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"radius": None}, "radius must be a number above 0 with convex=True, got None"),
        ({"convex": False}, "gap must be a number above 0 with convex=False, got None"),
        ({"convex": False, "gap": 1.0}, "goldstein_radius must be a number above 0"),
        ({"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"dimension": 3.5}, "dimension must be an integer of at least 1, got 3.5"),
        ({"batch": 0}, "batch must be an integer of at least 1, got 0"),
        ({"noise": "both"}, "noise must be"),
        ({"epsilon": 1e-300}, "exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    with pytest.raises(ValueError, match=named):
        choose(**{**CONVEX, **changed})
