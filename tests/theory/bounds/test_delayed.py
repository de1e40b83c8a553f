"""Delayed gradients: the step that is proved, in runs, and a longer one."""

import math

import numpy as np
import pytest

from pprs.theory import Clock, Graph, NonSmooth, PipeDream, on_chain, run
from pprs.theory.bounds import delayed_gradients, subgradient

UNIT = dict(lipschitz=1.0, radius=1.0)


@pytest.mark.parametrize(("ratio", "depth"), [(10.0, 1), (10.0, 4), (7.3, 9)])
def test_the_bound_is_kept_on_the_worst_case_function(ratio, depth):
    f = NonSmooth(**UNIT, pairs=1, coordinates=6)
    bound = delayed_gradients(**UNIT, epsilon=1 / ratio, depth=depth)
    clock = Clock(f.chain(1), Graph.chain(depth))
    found = run(PipeDream(bound.lr), clock, bound.iterations)
    assert found.times[-1] == bound.time
    assert found.time_to(1 / ratio, f.minimum) <= bound.time


def test_the_step_without_the_delay_in_it_oscillates_above_the_precision():
    """On |x|, gradients 20 steps old overshoot by 20 steps: R/(L sqrt(T)) misses where the proved
    step arrives."""
    depth, ratio = 21, 8.0
    distance = on_chain(lambda x, j: np.abs(x[..., 0]), lambda x, j: np.sign(x), dimension=1)
    bound = delayed_gradients(**UNIT, epsilon=1 / ratio, depth=depth)
    reached = {}
    for name, lr in (("proved", bound.lr), ("longer", 1 / math.sqrt(bound.iterations))):
        clock = Clock(distance, Graph.chain(depth), start=np.ones(1))
        values = run(PipeDream(lr), clock, bound.iterations).values
        reached[name] = values.mean()
    assert reached["proved"] <= 1 / ratio < reached["longer"]


def test_one_node_has_no_delay_and_many_cost_twice_the_subgradient_method_at_most():
    common = dict(**UNIT, epsilon=0.01)
    one, plain = delayed_gradients(**common, depth=1), subgradient(**common, depth=1)
    assert (one.iterations, one.lr, one.time) == (plain.iterations, plain.lr, plain.time)
    for depth in (2, 10, 1000):
        delayed, drained = (f(**common, depth=depth) for f in (delayed_gradients, subgradient))
        assert 1.5 <= delayed.time / drained.time < 2 + 1e-3
        assert delayed.lr == pytest.approx(drained.lr / (2 * depth - 1))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"epsilon": 1e-200}, "iterations exceeds the largest floating-point number"),
    ],
)
def test_bad_input_is_named(changed, named):
    with pytest.raises(ValueError, match=named):
        delayed_gradients(**{**UNIT, "epsilon": 0.1, "depth": 3, **changed})
