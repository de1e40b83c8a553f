import numpy as np
import pytest
from theory.problems import deviations

from pprs.theory import Clock, Graph, Machine, ProvedPPRS, run
from pprs.theory.measured import Answer


def test_sigma_follows_the_measured_bias_within_its_leeway():
    """Against a literal version, in which sigma meets its least, its largest and its goal."""
    objective, lipschitz, radius, samples, epsilon, steps = deviations(), 3.0, 2.0, 6, 0.05, 40
    method = ProvedPPRS(lipschitz, radius, samples, epsilon)
    found = run(method, Clock(objective, Graph.chain(3), seed=4), steps)
    random = np.random.default_rng(4)
    x = z = total = np.zeros(4)
    smooth, weight = np.sqrt(2 / np.pi), 1.0
    largest = radius * np.sqrt(smooth / 2 / 2)  # the root of d is 2
    sigmas, kinds = [largest], set()
    for _ in range(steps):
        sigma = sigmas[-1]
        y = (1 - 1 / weight) * x + z / weight
        points = np.concatenate([[y], y + sigma * random.standard_normal((samples, 4))])
        losses = objective.value(points)
        bias = losses[1:].mean() - losses[0]
        wanted = sigma * min(1, epsilon / 2 / bias) if bias > 0 else sigma
        total = total + weight * objective.gradient(points)[1:].mean(0)
        after = (1 + np.sqrt(1 + 4 * weight**2)) / 2
        tried = {"goal": wanted, "least": largest / after / 2}
        sigmas.append(min(sigma, largest / after, max(tried.values())))
        kinds.add("largest" if sigmas[-1] < max(tried.values()) else max(tried, key=tried.get))
        damped = np.sqrt(4 / 3 / samples) * lipschitz / radius * after**1.5
        z = -total / (smooth * lipschitz / sigmas[-1] + damped)
        x, weight = (1 - 1 / weight) * x + z / weight, after
    np.testing.assert_allclose(found.last, x)
    assert (np.diff(sigmas) <= 0).all()
    assert kinds == {"goal", "least", "largest"}
    np.testing.assert_array_equal(found.times, 2 * (samples + 1 + 3 - 1) * np.arange(1, steps + 1))


@pytest.mark.parametrize("known", [{}, {"lower": -1.0}, {"width": 0.9}])
def test_the_machine_takes_the_steps_and_the_time_of_the_clock(known):
    method = ProvedPPRS(2.0, 1.0, 4, 0.1, **known)
    by_steps = run(method, Machine(deviations(3, examples=2), seed=1), 4)
    by_table = run(method, Clock(deviations(3, examples=2), seed=1), 4)
    np.testing.assert_allclose(by_steps.last, by_table.last)
    np.testing.assert_array_equal(by_steps.times, by_table.times)


def test_a_step_is_no_longer_than_the_smoothness_allows():
    clock = Clock(deviations(), seed=0)
    answers = ProvedPPRS(1.0, 1.0, 100, 0.1).iterates(clock)
    first = next(answers)
    assert isinstance(first, Answer)
    assert 0.8 < first.lr / (np.sqrt(np.pi / 2) * np.sqrt(np.sqrt(2 / np.pi) / 4)) < 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"samples": 0}, "samples must be an integer of at least 1, got 0"),
        ({"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
        ({"lipschitz": -1.0}, "lipschitz must be a finite number above 0, got -1.0"),
        ({"width": 0.0}, "width must be a finite number above 0, got 0.0"),
    ],
)
def test_bad_input_is_named(changed, named):
    with pytest.raises(ValueError, match=named):
        ProvedPPRS(**{"lipschitz": 1.0, "radius": 1.0, "samples": 3, "epsilon": 0.1, **changed})
