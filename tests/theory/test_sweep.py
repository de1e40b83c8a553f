import math

import numpy as np
import pytest
from theory.problems import quadratic

from pprs.theory.methods import PPRS, GradientDescent
from pprs.theory.sweep import Sweep, collected, crossing, sweep

DEPTHS = [1, 2, 5, 20]


def made(times, name="m"):
    return Sweep(name, np.array(DEPTHS, float), np.asarray(times, float))


def test_the_lines_recover_what_made_the_times():
    random = np.random.default_rng(0)
    exact = 300 + 7 * np.array(DEPTHS)[:, None] * np.ones(6)
    fit = made(exact * (1 + 0.01 * random.normal(size=(4, 6)))).fit()
    # two figures of 24 times with 1 % noise: five standard errors, false alarms below 2e-4
    assert abs(fit.intercept - 300) < 5 * fit.intercept_error < 20
    assert abs(fit.slope - 7) < 5 * fit.slope_error < 2
    assert abs(made(exact * 1.1).fit().intercept - 300) > 5 * fit.intercept_error
    power = made(np.array(DEPTHS)[:, None] ** 0.5 * np.ones(3)).fit()
    assert power.exponent == pytest.approx(0.5)


def test_gradient_descent_takes_time_in_proportion_to_depth():
    objective = quadratic([1.0, 0.1])
    measured = sweep(
        objective, lambda _: GradientDescent(1.0), DEPTHS, epsilon=1e-3, minimum=0.0, limit=99
    )
    times = collected("GD", measured)
    fit = times.fit()
    assert fit.exponent == pytest.approx(1, abs=1e-9)
    assert fit.intercept == pytest.approx(0, abs=1e-6)
    steps = math.ceil(math.log(1e-3 / 0.05) / math.log(0.9**2))  # 0.05 0.9^(2n) is left after n
    assert times.median[0] == 2 * steps
    assert fit.slope == pytest.approx(2 * steps)


def test_seeds_and_depths_draw_noise_of_their_own():
    def method(depth):
        return PPRS(1.0, 0.0, sigma=1.0, samples=2)

    measured = sweep(
        quadratic([1.0, 0.3, 0.1]), method, [1, 1], epsilon=0.1, minimum=0.0, limit=400, seeds=8
    )
    times = [time for _, time in measured]
    assert len(times) == 16
    assert len(set(times[:8])) > 1
    assert times[:8] == times[8:]


def test_what_is_not_reached_is_infinite_and_not_fitted():
    objective = quadratic([1.0, 0.001])
    measured = sweep(
        objective, lambda _: GradientDescent(1.0), DEPTHS, epsilon=1e-9, minimum=0.0, limit=5
    )
    times = collected("GD", measured)
    assert np.isinf(times.times).all()
    assert times.fit() is None


def test_where_the_start_is_near_enough_nothing_is_fitted():
    measured = sweep(
        quadratic([1.0]), lambda _: GradientDescent(1.0), DEPTHS, epsilon=9.0, minimum=0.0, limit=5
    )
    times = collected("GD", measured)
    assert (times.times == 0).all()
    assert times.fit() is None


def test_the_crossing_is_where_the_lines_meet():
    depths = np.array(DEPTHS)[:, None]
    steep, flat = made(10 * depths * np.ones(2)), made(50 + 5 * depths * np.ones(2))
    assert crossing(flat, steep) == pytest.approx(10)
    assert crossing(steep, flat) == np.inf


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="epsilon must be .* above 0, got 0"):
        list(sweep(quadratic([1.0]), GradientDescent, [1], epsilon=0, minimum=0.0, limit=1))
    with pytest.raises(ValueError, match="depth must be an integer of at least 1, got 0"):
        list(sweep(quadratic([1.0]), GradientDescent, [0], epsilon=1, minimum=0.0, limit=1))
