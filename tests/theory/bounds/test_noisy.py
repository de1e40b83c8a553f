"""Lemma 1 and Lemma 2 against exact worst cases, the algebra of their proofs, and noisy runs."""

import math
from functools import cache

import numpy as np
import pytest
from PEPit import PEP
from PEPit.functions import SmoothConvexFunction

from pprs.theory.bounds import lemma1, lemma2
from pprs.theory.bounds._sequence import lambdas

RUNS = 2000


@cache
def worst_case(step, minimizer):
    """The largest f(y_t) - f(x) without noise, for smoothness and radius of 1."""
    problem = PEP()
    f = problem.declare_function(SmoothConvexFunction, L=1.0)
    x = y = start = problem.set_initial_point()
    other = f.stationary_point() if minimizer else problem.set_initial_point()
    problem.set_initial_condition((start - other) ** 2 <= 1)
    terms = lambdas(step + 1)
    for t in range(step):
        following = x - f.gradient(x)
        momentum = (terms[t] - 1) / terms[t + 1]
        x, y = (1 + momentum) * following - momentum * y, following
    problem.set_performance_metric(f(y) - f(other))
    return problem.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0)


def linear_gap(step):
    """The largest f(y_t) - f(x) of linear functions: 1/(4A) where y_t moves by A gradients."""
    moved = 1.0
    for term in lambdas(max(step - 1, 1))[2:]:
        moved = term + (1 - 1 / term) * moved
    return 1 / (4 * moved)


# The solver warns where it stops short of its own tolerance. The comparison with linear functions
# shows that it is close enough.
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("step", range(1, 14))
def test_eq_11_without_noise_is_at_least_the_exact_worst_case(step):
    problem = dict(smoothness=1.0, radius=1.0, noise=0.0, step=step)
    for minimizer in (True, False):
        exact = worst_case(step, minimizer)
        assert lemma1(**problem) >= exact
        if step != 2 or minimizer:
            assert lemma1(**problem, printed=True) >= exact * (1 - 1e-6)
    assert worst_case(step, minimizer=False) == pytest.approx(linear_gap(step), rel=1e-3)
    # What is proved is less than four times too much, so a quarter of it would be refuted.
    assert lemma1(**problem) / 4 < worst_case(step, minimizer=True)


def test_eq_11_as_printed_fails_at_step_2_for_a_point_that_is_no_minimizer():
    # f(θ) = θ/2 is 1-smooth. y_2 is one step from the start, at -1/2; compare x = -1.
    gap = 0.5 * (-0.5 - -1.0)
    assert worst_case(2, minimizer=False) == pytest.approx(gap, rel=1e-4)
    problem = dict(smoothness=1.0, radius=1.0, noise=0.0, step=2)
    assert lemma1(**problem, printed=True) < gap <= lemma1(**problem)


def test_eq_11_as_printed_follows_from_what_is_proved_from_step_14_on():
    terms = lambdas(10_000)
    steps = np.arange(2, 10_001)
    mine = 1 / (2 * terms[steps - 1] ** 2)
    follows = mine <= 2 / (steps + 1) ** 2
    assert list(steps[~follows]) == list(range(2, 14))
    # The cited proof gives t² where the lemma has (t + 1)².
    assert np.all(mine <= 2 / steps**2)
    noise = np.cumsum(terms**2)[steps - 1] / terms[steps - 1] ** 2
    assert np.all(noise <= (steps + 1) / 2)


def test_lemma_1_is_the_sum_of_its_docstring():
    terms = lambdas(6)
    assert terms[:4] == pytest.approx([0, 1, (1 + math.sqrt(5)) / 2, 2.193527085])
    expected = 3 * 4 / (2 * terms[6] ** 2) + 0.25 / 3 * np.sum(terms**2) / terms[6] ** 2
    assert lemma1(smoothness=3.0, radius=2.0, noise=0.5, step=7) == pytest.approx(expected)
    printed = 2 * 3 * 4 / 64 + 8 * 0.25 / (2 * 3)
    assert lemma1(smoothness=3.0, radius=2.0, noise=0.5, step=7, printed=True) == printed


def test_step_1_has_the_law_of_step_2():
    problem = dict(smoothness=3.0, radius=2.0, noise=0.5)
    assert lemma1(**problem, step=1) == lemma1(**problem, step=2)


def huber(width):
    def gradient(x):
        length = np.linalg.norm(x, axis=-1, keepdims=True)
        return x * np.minimum(1.0, width / np.maximum(length, 1e-300))

    def value(x):
        length = np.linalg.norm(x, axis=-1)
        return np.where(length <= width, length**2 / 2, width * length - width**2 / 2)

    return gradient, value


def logistic():
    """log cosh(2x) / 4 in every coordinate: 1-smooth, with its minimum of 0 at 0."""
    return (
        lambda x: np.tanh(2 * x) / 2,
        lambda x: np.sum(np.logaddexp(2 * x, -2 * x) - math.log(2), axis=-1) / 4,
    )


def quadratic(curvature):
    return (lambda x: curvature * x), (lambda x: curvature * np.sum(x * x, axis=-1) / 2)


FUNCTIONS = {
    "quadratic": quadratic(1.0),
    "flat quadratic": quadratic(0.03),
    "huber": huber(0.25),
    "narrow huber": huber(0.06),
    "logistic": logistic(),
}


def noisy(gradient, x, noise, rng):
    return gradient(x) + noise / math.sqrt(x.shape[-1]) * rng.standard_normal(x.shape)


def accelerated_values(function, noise, steps, rng):
    """Values of y_1, y_2, ... in runs from a distance of 1, shape (steps, RUNS)."""
    gradient, value = function
    x = np.full((RUNS, 4), 0.5)
    y, terms, values = x, lambdas(steps + 1), []
    for t in range(steps):
        following = x - noisy(gradient, x, noise, rng)
        momentum = (terms[t] - 1) / terms[t + 1]
        x, y = (1 + momentum) * following - momentum * y, following
        values.append(value(y))
    return np.array(values)


def standard_error(values):
    return values.std(axis=-1) / math.sqrt(values.shape[-1])


@pytest.mark.parametrize("noise", [0.1, 0.5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_eq_11_holds_in_noisy_runs(name, noise):
    # Each of the 20 comparisons of each of the 10 cases is false with probability below 3e-7,
    # even where the bound is the mean itself.
    rng = np.random.default_rng(1)
    values = accelerated_values(FUNCTIONS[name], noise, 20, rng)
    upper = values.mean(axis=-1) - 5 * standard_error(values)
    for step in range(1, 21):
        problem = dict(smoothness=1.0, radius=1.0, noise=noise, step=step)
        assert upper[step - 1] <= lemma1(**problem)
        assert upper[step - 1] <= lemma1(**problem, printed=True)


def test_noisy_runs_refute_a_twentieth_of_eq_11():
    rng = np.random.default_rng(2)
    values = accelerated_values(FUNCTIONS["quadratic"], 0.5, 20, rng)
    lower = values.mean(axis=-1) - 5 * standard_error(values)
    for step in range(1, 21):
        bound = lemma1(smoothness=1.0, radius=1.0, noise=0.5, step=step)
        assert lower[step - 1] > bound / 20


def descent(function, noise, steps, rng):
    """Values and squared gradients of noisy gradient descent, shapes (steps [+ 1], RUNS)."""
    gradient, value = function
    x = np.full((RUNS, 3), 1.2)
    values, squares = [value(x)], []
    for _ in range(steps):
        squares.append(np.sum(gradient(x) ** 2, axis=-1))
        x = x - noisy(gradient, x, noise, rng)
        values.append(value(x))
    return np.array(values), np.array(squares)


# 1-smooth, not convex, with its minimum of 0 at 0.
WAVES = (np.sin, lambda x: np.sum(1 - np.cos(x), axis=-1))


@pytest.mark.parametrize("function", [WAVES, quadratic(1.0)], ids=["waves", "quadratic"])
def test_eq_16_to_18_hold_without_convexity_in_noisy_runs(function):
    # Each of the 62 comparisons is false with probability below 3e-7.
    noise, steps = 0.4, 30
    values, squares = descent(function, noise, steps, np.random.default_rng(3))
    drops = values[:-1] - values[1:]
    each = squares - 2 * drops - noise**2  # Eq. (17), whose doubled form is Eq. (16)
    assert np.all(each.mean(axis=-1) <= 5 * standard_error(each))
    average = squares.mean(axis=0)
    gap = float(values[0, 0])
    bound = lemma2(smoothness=1.0, gap=gap, noise=noise, iterations=steps)
    assert average.mean() - 5 * standard_error(average) <= bound  # Eq. (18)
    assert squares.mean(axis=-1).min() <= bound  # Eq. (15)


def test_eq_17_is_exact_on_a_quadratic_so_that_less_noise_is_refuted():
    # On x²/2 both sides are equal: the step goes to minus the noise.
    noise = 0.4
    values, squares = descent(quadratic(1.0), noise, 30, np.random.default_rng(4))
    each = squares - 2 * (values[:-1] - values[1:])
    assert np.all(np.abs(each.mean(axis=-1) - noise**2) < 5 * standard_error(each))
    assert np.all(each.mean(axis=-1) - 5 * standard_error(each) > 0.8 * noise**2)
    # Nor does the minimum over t of Eq. (15) get below the noise.
    late = squares[5:]
    assert np.all(late.mean(axis=-1) + 5 * standard_error(late) > noise**2)


def test_lemma_2_without_noise_is_the_rate_of_gradient_descent():
    assert lemma2(smoothness=2.0, gap=3.0, noise=0.0, iterations=6) == 2.0
    assert lemma2(smoothness=2.0, gap=3.0, noise=0.5, iterations=6) == 2.25


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"smoothness": 0.0}, "smoothness must be a finite number above 0, got 0.0"),
        ({"noise": -0.1}, "noise must be a finite number of at least 0, got -0.1"),
        ({"step": 0}, "step must be an integer of at least 1, got 0"),
        ({"step": 1.5}, "step must be"),
        ({"radius": math.inf}, "radius must be"),
        ({"radius": 1e200}, "bound exceeds the largest floating-point number"),
    ],
)
def test_bad_input_of_lemma_1_is_named(changed, named):
    problem = {"smoothness": 1.0, "radius": 1.0, "noise": 0.1, "step": 3, **changed}
    with pytest.raises(ValueError, match=named):
        lemma1(**problem)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"gap": -1.0}, "gap must be a finite number of at least 0, got -1.0"),
        ({"iterations": 0}, "iterations must be an integer of at least 1, got 0"),
        ({"noise": 1e200}, "bound exceeds the largest floating-point number"),
    ],
)
def test_bad_input_of_lemma_2_is_named(changed, named):
    problem = {"smoothness": 1.0, "gap": 1.0, "noise": 0.1, "iterations": 3, **changed}
    with pytest.raises(ValueError, match=named):
        lemma2(**problem)
