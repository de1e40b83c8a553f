"""Settings that are chosen for a precision: what they are made of and how they scale."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pprs.theory.bounds import (
    delayed_gradients,
    pprs_nonconvex_optimal,
    pprs_optimal,
    randomized_smoothing,
    sharp_gap,
    subgradient,
)
from pprs.theory.choose import PPRSSettings, choose

CONVEX = dict(epsilon=0.1, dimension=16, depth=20, lipschitz=2.0, radius=1.5)
OTHER = dict(epsilon=0.1, dimension=16, depth=20, lipschitz=2.0, gap=3.0, goldstein_radius=0.5)


def fields(settings):
    """All but where it comes from and what is better, and no momentum as 0."""
    values = dataclasses.asdict(settings)
    del values["equation"]
    values.pop("better", None)
    values.pop("dimension", None)
    return {**values, "momentum": values["momentum"] or 0.0}


@pytest.mark.parametrize("width", [None, 2.5])
def test_a_convex_objective_gets_the_settings_of_least_time(width):
    choice = choose(**CONVEX, width=width)
    assert fields(choice) == fields(pprs_optimal(**CONVEX, width=width))
    assert choice.equation == "Theorem 3"


@pytest.mark.parametrize("noise", ["shared", "example"])
def test_several_convex_examples_get_those_of_their_noise(noise):
    choice = choose(**CONVEX, batch=7, noise=noise)
    assert fields(choice) == fields(pprs_optimal(**CONVEX, batch=7, noise=noise))
    assert noise in choice.equation


def test_a_better_guarantee_of_another_method_is_named():
    unit = dict(lipschitz=1.0, radius=1.0, epsilon=0.1)
    shallow = choose(**unit, dimension=16, depth=10)
    assert shallow.better.method == "subgradient"
    assert shallow.better.bound == subgradient(**unit, depth=10)
    assert str(shallow).endswith("; subgradient takes less, 2000, by Bubeck (2015), Theorem 3.2")
    assert choose(**unit, dimension=16, depth=20).better is None
    wide = dict(unit, epsilon=0.01, dimension=10**8)
    plain, late = subgradient(**unit | {"epsilon": 0.01}, depth=20), choose(**wide, depth=20)
    assert late.time > late.better.bound.time == plain.time
    gpipe = choose(**unit, dimension=1000, depth=20, batch=30, noise="example").better
    assert gpipe.method == "GPipe"
    assert choose(**OTHER, convex=False).better is None


def test_the_better_method_is_the_best_of_all_the_others():
    constants = dict(lipschitz=1.0, radius=1.0, epsilon=0.1, dimension=10**6, depth=3)
    times = [
        method(**{k: v for k, v in constants.items() if k != without}).time
        for method, without in (
            (subgradient, "dimension"),
            (delayed_gradients, "dimension"),
            (randomized_smoothing, None),
        )
    ]
    assert choose(**constants).better.bound.time == min(times)


@pytest.mark.parametrize("noise", ["shared", "example"])
def test_other_objectives_get_the_least_time_and_gradient_descent(noise):
    choice = choose(**OTHER, convex=False, batch=3, noise=noise)
    assert fields(choice) == fields(pprs_nonconvex_optimal(**OTHER, batch=3, noise=noise))
    assert (choice.momentum, choice.equation) == (0.0, "Theorem 6")


def test_chosen_settings_reach_the_precision():
    choice = choose(**CONVEX)
    gap = sharp_gap(
        lipschitz=2.0,
        radius=1.5,
        dimension=16,
        iterations=choice.iterations,
        sigma=choice.sigma,
        samples=choice.samples,
    )
    assert 0.95 * 0.1 < gap <= 0.1


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
        ({"width": 4.5}, r"width must be at most sqrt\(dimension\) = 4, which always holds"),
        (
            {"width": 2.0, "convex": False, "gap": 1.0, "goldstein_radius": 1.0},
            "width must be left out with convex=False, got 2.0",
        ),
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
