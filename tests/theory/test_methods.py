import itertools

import numpy as np
import pytest
from theory.problems import deviations, quadratic

from pprs.theory import methods, run
from pprs.theory.clock import Clock
from pprs.theory.graph import Graph
from pprs.theory.machine import Machine
from pprs.theory.replicas import on_chain


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_a_step_of_gpipe_is_shorter_than_one_of_its_examples_in_sequence(depth):
    """Sequential training and GPipe are procedures of the same model."""
    examples = 4
    gpipe = run(methods.GPipe(0.1), Machine(deviations(depth, examples)), 2)
    sequential = run(methods.Sequential(0.1), Machine(deviations(depth, examples)), 2)
    np.testing.assert_allclose(gpipe.values, sequential.values)
    np.testing.assert_array_equal(gpipe.times, [2 * (4 + depth - 1), 4 * (4 + depth - 1)])
    np.testing.assert_array_equal(sequential.times, [2 * 4 * depth, 4 * 4 * depth])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_asynchronous_gradients_are_delta_minus_one_steps_old(depth):
    lr, steps = 0.05, 12
    found = run(methods.PipeDream(lr), Machine(quadratic([1.0, 3.0], depth)), steps)
    points = [np.zeros(2)]
    for t in range(steps):
        old = points[max(0, t - (depth - 1))]
        points.append(points[-1] - lr * (old - 1) * [1.0, 3.0])
    np.testing.assert_allclose(found.last, points[-1])
    np.testing.assert_array_equal(found.times, 2 * (depth + np.arange(steps)))


def test_accelerated_descent_is_algorithm_1_without_noise():
    eigenvalues, lr = np.array([1.0, 0.1]), 0.5
    found = run(methods.Accelerated(lr), Machine(quadratic(eigenvalues)), 7)
    x = y = np.zeros(2)
    weight = 0.0
    for _ in range(7):
        after = (1 + np.sqrt(1 + 4 * weight**2)) / 2
        mu = (weight - 1) / after
        new = x - lr * eigenvalues * (x - 1)
        x, y, weight = (1 + mu) * new - mu * y, new, after
    np.testing.assert_allclose(found.last, y)


def test_smoothing_averages_the_gradients_at_its_perturbations():
    objective, method = deviations(2), methods.PPRS(0.1, 0.0, sigma=0.7, samples=5)
    random = np.random.default_rng(8)
    points = 0.7 * random.standard_normal((5, 4))
    step = run(method, Machine(objective, seed=8), 1)
    np.testing.assert_allclose(step.last, -0.1 * objective.gradient(points).mean(0))


def test_noise_per_example_varies_less_than_shared_noise():
    def spread(noise):
        method = methods.PPRS(0.1, 0.0, sigma=1.0, samples=1, noise=noise)
        firsts = [run(method, Clock(deviations(1, 8), seed=s), 1).last for s in range(300)]
        return np.var(firsts, axis=0).sum()

    # The ratio is 0.57 with a standard error of 0.023: false alarms below 1e-6. It would be 1, with
    # one of 0.05, if the examples shared their noise.
    assert spread("example") < 0.75 * spread("shared")


def test_randomized_smoothing_keeps_its_published_rate():
    r"""Duchi et al. (2012), Corollary 2.3: $10 L R d^{1/4} / T + 5 L R / \sqrt{T K}$."""
    lipschitz, radius, samples, steps = 1.0, 2.0, 4, 200
    center = np.full(16, radius / 4)
    distance = on_chain(
        lambda x, j: np.linalg.norm(x - center, axis=-1),
        lambda x, j: (x - center) / np.linalg.norm(x - center, axis=-1, keepdims=True),
        16,
    )
    method = methods.RandomizedSmoothing(lipschitz, radius, samples)
    found = run(method, Clock(distance, seed=0), steps)
    t = np.arange(1, steps + 1)
    bound = 10 * radius * 16**0.25 / t + 5 * radius / np.sqrt(t * samples)
    assert (found.values <= bound).all()
    assert found.values[-1] < 0.2 * found.values[0]


def test_randomized_smoothing_is_the_published_method():
    objective, steps, samples = quadratic([1.0, 2.0, 0.5, 3.0]), 6, 3
    found = run(methods.RandomizedSmoothing(2.0, 0.5, samples), Clock(objective, seed=4), 6)
    random, scale = np.random.default_rng(4), 0.5 * 4**-0.25
    x = z = np.zeros(4)
    total, theta = np.zeros(4), 1.0
    for t in range(steps):
        y = (1 - theta) * x + theta * z
        points = y + scale * theta * random.standard_normal((samples, 4))
        total += objective.gradient(points).mean(0) / theta
        after = 2 / (1 + np.sqrt(1 + 4 / theta**2))
        eta = 2.0 * np.sqrt(t + 2) / (0.5 * np.sqrt(samples))
        z = -total / (2.0 / (scale * after) + eta / after)
        x, theta = (1 - theta) * x + theta * z, after
    np.testing.assert_allclose(found.last, x)


def test_asynchronous_passes_take_the_examples_in_turn():
    objective = deviations(1, examples=3)
    found = run(methods.PipeDream(0.1), Machine(objective), 5)
    point = np.zeros(4)
    for t in range(5):
        point = point - 0.1 * objective.gradient(point, t % 3)
    np.testing.assert_allclose(found.last, point)


def test_a_run_ends_where_it_is_told_and_knows_its_time():
    clock = Clock(quadratic([1.0]), Graph.chain(4))
    found = run(methods.GradientDescent(0.5), clock, 50, stop=0.01)
    assert found.values[-1] <= 0.01 < found.values[-2]
    assert found.time_to(0.01, 0.0) == found.times[-1] == 8 * len(found.times)
    assert found.time_to(1e-9, 0.0) == np.inf


def test_a_start_that_is_good_enough_takes_no_time():
    clock = Clock(quadratic([1.0]), Graph.chain(4))
    found = run(methods.GradientDescent(0.5), clock, 50, stop=0.5)  # its value exactly
    assert found.time_to(0.5, 0.0) == 0
    assert len(found.times) == 1


def test_the_momenta_are_those_of_lemma_1():
    first = list(itertools.islice(methods.momenta("nesterov"), 3))
    golden = (1 + np.sqrt(5)) / 2
    third = (golden - 1) / ((1 + np.sqrt(1 + 4 * golden**2)) / 2)
    np.testing.assert_allclose(first, [-1, 0, third])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: methods.GradientDescent(0), "lr must be a finite number above 0, got 0"),
        (lambda: methods.Accelerated(1.0, momentum=2), "momentum must be from 0 to 1"),
        (lambda: methods.Accelerated(1.0, momentum=-0.5), "momentum must be from 0 to 1"),
        (lambda: methods.PPRS(1.0, sigma=-1), "sigma must be .* at least 0, got -1"),
        (lambda: methods.PPRS(1.0, noise="foo"), "noise must be 'shared' or 'example', got 'foo'"),
        (lambda: methods.PPRS(1.0, samples=1.5), "samples must be an integer .* got 1.5"),
        (lambda: methods.RandomizedSmoothing(0, 1, 1), "lipschitz"),
        (lambda: methods.PipeDream(0.1, period=0), "period"),
    ],
)
def test_wrong_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
