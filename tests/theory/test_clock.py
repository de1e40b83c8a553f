import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theory.problems import deviations

from pprs.theory import methods
from pprs.theory.clock import Clock
from pprs.theory.graph import Graph
from pprs.theory.machine import Machine, ModelError
from pprs.theory.objective import Objective

EVERY = [
    methods.GradientDescent(0.1),
    methods.SubgradientDescent(0.1),
    methods.GPipe(0.1),
    methods.Sequential(0.1),
    methods.Accelerated(0.1),
    methods.Accelerated(0.1, momentum=0.9),
    methods.PPRS(0.1, sigma=0.2, samples=3),
    methods.PPRS(0.1, sigma=0.2, samples=2, noise="example"),
    methods.RandomizedSmoothing(lipschitz=2.0, radius=1.0, samples=3),
    methods.PipeDream(0.1),
]


def named(method):
    return f"{method.name}, {getattr(method, 'momentum', '')}, {getattr(method, 'noise', '')}"


@pytest.mark.parametrize("examples", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("method", EVERY, ids=named)
def test_the_clock_says_what_the_machine_does(method, depth, examples):
    """Same points, same times; the clock computes all perturbations on one node at once."""
    slow = methods.run(method, Machine(deviations(depth, examples), seed=3), 6)
    clock = Clock(deviations(1, examples), Graph.chain(depth), seed=3)
    fast = methods.run(method, clock, 6)
    np.testing.assert_array_equal(slow.times, fast.times)
    np.testing.assert_allclose(slow.values, fast.values, rtol=1e-12)
    np.testing.assert_allclose(slow.last, fast.last, rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_clock_counts_unequal_costs_and_latencies(data):
    depth, examples = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    times = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]), min_size=depth, max_size=depth)
    costs = dict(forward=data.draw(times), backward=data.draw(times))
    costs["latency"] = data.draw(times)[: depth - 1]
    plain = deviations(depth, examples)
    objective = Objective(Graph.chain(depth, **costs), plain.components, plain.dimension, examples)
    for method in (methods.GPipe(0.1), methods.PPRS(0.1, sigma=0.1, samples=4)):
        slow = methods.run(method, Machine(objective), 3)
        np.testing.assert_allclose(slow.times, methods.run(method, Clock(objective), 3).times)


def test_the_clock_refuses_passes_that_could_meet():
    method = methods.PipeDream(0.1, period=1.0)
    with pytest.raises(ModelError, match="could meet"):
        methods.run(method, Clock(deviations(3)), 4)
    unequal = Graph.chain(3, forward=[1, 2, 1])
    with pytest.raises(ModelError, match="could meet"):
        methods.run(methods.PipeDream(0.1, period=3.0), Clock(deviations(1), unequal), 4)
