import math

import numpy as np
import pytest

from pprs.theory import Clock, GradientDescent, Graph, run
from pprs.theory.bounds import (
    gradient_descent,
    gradient_descent_gap,
    randomized_smoothing,
    randomized_smoothing_gap,
    subgradient,
    subgradient_gap,
)
from pprs.theory.replicas import on_chain


@pytest.mark.parametrize("epsilon", [0.3, 0.013])
def test_the_steps_to_a_precision_are_the_first_that_reach_it(epsilon):
    given = {"lipschitz": 2.0, "radius": 3.0}
    bound = subgradient(**given, epsilon=epsilon, depth=2)
    gap = subgradient_gap(**given, iterations=bound.iterations, lr=bound.lr)
    assert 0.999 * epsilon < gap <= epsilon * (1 + 1e-12)

    bound = gradient_descent(smoothness=2.0, radius=3.0, epsilon=epsilon, depth=2)
    gaps = [
        gradient_descent_gap(smoothness=2.0, radius=3.0, iterations=bound.iterations - early)
        for early in (0, 1)
    ]
    assert gaps[0] <= epsilon * (1 + 1e-12) < gaps[1]

    given["dimension"] = 50
    bound = randomized_smoothing(**given, epsilon=epsilon, depth=20)
    gaps = [
        randomized_smoothing_gap(
            **given, iterations=bound.iterations - early, samples=bound.samples
        )
        for early in (0, 1)
    ]
    assert gaps[0] <= epsilon * (1 + 1e-9) < gaps[1]


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_gradient_descent_is_no_better_than_its_gap_somewhere(steps):
    """On Drori and Teboulle's function: a parabola, straight from 1 / (2T + 1) on."""
    edge = 1 / (2 * steps + 1)
    objective = on_chain(
        lambda x, j: np.where(np.abs(x) < edge, x**2 / 2, edge * np.abs(x) - edge**2 / 2)[..., 0],
        lambda x, j: np.clip(x, -edge, edge),
        1,
    )
    last = run(GradientDescent(1.0), Clock(objective, Graph.chain(1), np.ones(1)), steps).values[-1]
    assert last == pytest.approx(gradient_descent_gap(smoothness=1.0, radius=1.0, iterations=steps))


@pytest.mark.parametrize("lr", [0.02, 0.3, 5.0])
def test_subgradient_descent_keeps_its_gap_with_every_step_size(lr):
    objective = on_chain(lambda x, j: 2 * np.abs(x)[..., 0], lambda x, j: 2 * np.sign(x), 1)
    clock = Clock(objective, Graph.chain(1), np.array([3.0]))
    values = [6.0, *run(GradientDescent(lr), clock, 40).values]
    for steps in range(1, 41):
        gap = subgradient_gap(lipschitz=2.0, radius=3.0, iterations=steps, lr=lr)
        assert min(values[:steps]) <= gap * (1 + 1e-12)
        assert gap <= 6.0


def test_no_gap_is_larger_than_that_of_the_start():
    given = {"lipschitz": 2.0, "radius": 3.0, "iterations": 1}
    assert subgradient_gap(**given, lr=1e9) == 6.0
    assert randomized_smoothing_gap(**given, dimension=9, samples=1) == 6.0
    assert math.isfinite(subgradient_gap(**given, lr=1e-300))
